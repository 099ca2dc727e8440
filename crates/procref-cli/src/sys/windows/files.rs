//! Files and folders: where they are, whose they are, and who may do what.

use super::{succeeded, wide};
use std::borrow::Cow;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::path::{Component, Path, PathBuf, Prefix};
use std::ptr::{null_mut, slice_from_raw_parts};
use windows_sys::Win32::Foundation::{GENERIC_ALL, GENERIC_WRITE, LocalFree};
use windows_sys::Win32::Security::Authorization::{ConvertSidToStringSidW, GetNamedSecurityInfoW, SE_FILE_OBJECT};
use windows_sys::Win32::Security::{
    ACCESS_ALLOWED_ACE, ACL, CheckTokenMembership, DACL_SECURITY_INFORMATION, EqualSid, GetAce, GetTokenInformation,
    INHERIT_ONLY_ACE, IsWellKnownSid, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR, PSID, TOKEN_QUERY, TOKEN_USER,
    TokenUser, WinAnonymousSid, WinAuthenticatedUserSid, WinBuiltinAdministratorsSid, WinBuiltinUsersSid,
    WinInteractiveSid, WinLocalSystemSid, WinWorldSid,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_FLAG_BACKUP_SEMANTICS,
    GetFileInformationByHandle,
};
use windows_sys::Win32::System::SystemServices::ACCESS_ALLOWED_ACE_TYPE;
use windows_sys::Win32::System::Threading::{GetCurrentProcess, OpenProcessToken};

/// What to do where there is no place for what services leave.
pub(crate) const NO_STATE: &str = "set LOCALAPPDATA or XDG_STATE_HOME";

/// Where the user's own file is, for people.
pub(crate) const CONFIG_SHOWN: &str = r"%APPDATA%\procref";

/// What procref keeps, if the XDG base directory specification says nothing. `folder` is a variable that names an absolute
/// path.
pub(crate) fn default_state(folder: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let profile = || Some(folder("USERPROFILE")?.join("AppData").join("Local"));
    Some(folder("LOCALAPPDATA").or_else(profile)?.join("procref").join("state"))
}

/// The same for the user's own file, which goes with the user from machine to machine.
pub(crate) fn default_config(folder: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    Some(folder("APPDATA")?.join("procref"))
}

/// Where this user's hints are: what `runtime_dir` of procref's builders has as its default.
pub(crate) fn default_hints() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let beside = default_state(absolute).map(|state| state.with_file_name("run"));
    beside.unwrap_or_else(|| std::env::temp_dir().join("procref").join("run"))
}

/// The folder that is above all.
pub(crate) fn root() -> String {
    std::env::var("SystemDrive").unwrap_or_else(|_| "C:".to_owned()) + r"\"
}

/// Makes a folder, and those above it. In the user's profile others may not look into it: it inherits that.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Whether this user may make something in the folder: the system is asked for no more than the right to it.
pub(crate) fn may_write(folder: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.access_mode(FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    options.open(folder).map(drop)
}

/// Without symbolic links, and in the case in which it is on the disk. In the form `C:\…`, which all programs understand,
/// where that is the same folder.
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    let whole = fs::canonicalize(path)?;
    let mut components = whole.components();
    let Some(Component::Prefix(prefix)) = components.next() else { return Ok(whole) };
    let Prefix::VerbatimDisk(disk) = prefix.kind() else { return Ok(whole) };
    let short = PathBuf::from(format!(r"{}:\", char::from(disk)))
        .join(components.as_path().strip_prefix(r"\").unwrap_or(components.as_path()));
    // A name such as `nul` or `a.` is another one in it, and a long path may be none.
    let same = fs::canonicalize(&short).is_ok_and(|found| found == whole);
    Ok(if same { short } else { whole })
}

/// A path, as it is a part of a service's name.
pub(crate) fn path_bytes(path: &Path) -> Cow<'_, [u8]> {
    match path.to_str() {
        Some(text) => Cow::Borrowed(text.as_bytes()),
        None => Cow::Owned(path.as_os_str().encode_wide().map(|unit| format!("{unit:04x}")).collect::<String>().into()),
    }
}

/// All who can meet are in one session. Its number is followed by a mark of the service's name, for names are the same to
/// the file system that are not to the kernel.
pub(crate) fn met_here() -> impl Fn(&str) -> bool {
    let session = super::session().unwrap_or(0);
    move |place| place.split_once('-').is_some_and(|(number, _)| number.parse() == Ok(session))
}

/// Whether two open files are one. A volume can be without a number: under Wine the one of a file that has been moved.
pub(crate) fn same_file(one: &File, other: &File) -> bool {
    let which = |file: &File| {
        let mut found = BY_HANDLE_FILE_INFORMATION::default();
        // SAFETY: the handle is open, and what is found is written to where it is kept.
        succeeded(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) }).ok()?;
        Some((found.dwVolumeSerialNumber, (found.nFileIndexHigh, found.nFileIndexLow)))
    };
    match (which(one), which(other)) {
        (Some((volume, file)), Some((other_volume, other_file))) => {
            file == other_file && (volume == other_volume || volume == 0 || other_volume == 0)
        }
        (one, other) => one == other,
    }
}

/// Whether a stranger may have put the file where it is found from below, into a folder under `C:\`, for instance, where by
/// default all users may: then who that is. Where the file system knows no owners nobody is one.
pub(crate) fn planter(file: &Path, _: &Metadata) -> Option<String> {
    let stranger = stranger(file)?;
    file.parent().is_none_or(everybody_may_add_files).then_some(stranger)
}

/// Who the file or folder belongs to, if that is neither this user nor who is above all.
pub(super) fn stranger(file: &Path) -> Option<String> {
    let security = Security::of(file, OWNER_SECURITY_INFORMATION).ok()?;
    security.owner_is_a_stranger().then(|| format!("another user ({})", security.owner_shown()))
}

pub(super) fn everybody_may_add_files(folder: &Path) -> bool {
    Security::of(folder, DACL_SECURITY_INFORMATION).map_or(true, |folder| folder.everybody_may_add_files())
}

/// Who a file belongs to, and who may do what with it.
struct Security {
    descriptor: PSECURITY_DESCRIPTOR,
    owner: PSID,
    dacl: *mut ACL,
}

impl Security {
    fn of(file: &Path, what: u32) -> io::Result<Self> {
        let path = wide(file.as_os_str());
        let mut found = Self { descriptor: null_mut(), owner: null_mut(), dacl: null_mut() };
        // SAFETY: the path ends with a zero; what is found is written to where it is kept.
        let error = unsafe {
            GetNamedSecurityInfoW(
                path.as_ptr(),
                SE_FILE_OBJECT,
                what,
                &raw mut found.owner,
                null_mut(),
                &raw mut found.dacl,
                null_mut(),
                &raw mut found.descriptor,
            )
        };
        if error == 0 { Ok(found) } else { Err(io::Error::from_raw_os_error(error as i32)) }
    }

    /// Neither this user, nor a group of theirs, nor who is above all users.
    fn owner_is_a_stranger(&self) -> bool {
        let mut ours = 0;
        // SAFETY: the owner is part of the descriptor, which is there; no token is this thread's own.
        let known =
            !self.owner.is_null() && unsafe { CheckTokenMembership(null_mut(), self.owner, &raw mut ours) } != 0;
        let above = [WinBuiltinAdministratorsSid, WinLocalSystemSid];
        // SAFETY: as above.
        let is_above = || above.iter().any(|kind| unsafe { IsWellKnownSid(self.owner, *kind) } != 0);
        known && ours == 0 && !is_above() && !self.owner_is_this_user()
    }

    /// A user is no group, so not every system takes them for a member.
    fn owner_is_this_user(&self) -> bool {
        let mut token = null_mut();
        // SAFETY: it takes nothing.
        let this = unsafe { GetCurrentProcess() };
        // SAFETY: the handle is written to where it is kept.
        if unsafe { OpenProcessToken(this, TOKEN_QUERY, &raw mut token) } == 0 {
            return false;
        }
        // SAFETY: the handle is a new one.
        let token = unsafe { OwnedHandle::from_raw_handle(token) };
        // The structure and, behind it, the identifier, of 68 bytes at the most.
        let mut user = [0_u64; 16];
        let (size, mut length) = (size_of_val(&user) as u32, 0);
        let room = user.as_mut_ptr().cast();
        // SAFETY: no more is written than there is room for.
        if unsafe { GetTokenInformation(token.as_raw_handle(), TokenUser, room, size, &raw mut length) } == 0 {
            return false;
        }
        // SAFETY: what has been written, aligned for it, begins with this.
        let user = unsafe { (*user.as_ptr().cast::<TOKEN_USER>()).User.Sid };
        // SAFETY: both identifiers lie in what is there.
        unsafe { EqualSid(self.owner, user) != 0 }
    }

    fn owner_shown(&self) -> String {
        let mut text = null_mut();
        // SAFETY: as above; the text is written to where it is kept.
        if unsafe { ConvertSidToStringSidW(self.owner, &raw mut text) } == 0 {
            return "unknown".to_owned();
        }
        // SAFETY: the text ends with a zero, and nothing behind it is looked at.
        let length = (0..).take_while(|&at| unsafe { text.wrapping_add(at).read() } != 0).count();
        // SAFETY: so much of it is there.
        let shown = String::from_utf16_lossy(unsafe { &*slice_from_raw_parts(text, length) });
        // SAFETY: the system has made it for us, and it is not used any more.
        unsafe { LocalFree(text.cast()) };
        shown
    }

    /// Whether a group that everybody is in may.
    fn everybody_may_add_files(&self) -> bool {
        if self.dacl.is_null() {
            return true;
        }
        // SAFETY: the list is part of the descriptor, which is there.
        let entries = unsafe { (*self.dacl).AceCount };
        (0..entries.into()).any(|index| self.entry_is_for_everybody(index))
    }

    fn entry_is_for_everybody(&self, index: u32) -> bool {
        let mut entry = null_mut();
        // SAFETY: there are more entries than that; where it is, is written to where it is kept.
        if unsafe { GetAce(self.dacl, index, &raw mut entry) } == 0 {
            return true;
        }
        let entry: *const ACCESS_ALLOWED_ACE = entry.cast();
        // SAFETY: all kinds of entries begin with this.
        let header = unsafe { (*entry).Header };
        if u32::from(header.AceType) != ACCESS_ALLOWED_ACE_TYPE || u32::from(header.AceFlags) & INHERIT_ONLY_ACE != 0 {
            return false;
        }
        // SAFETY: an entry of this type has a mask.
        let mask = unsafe { (*entry).Mask };
        // SAFETY: and an identifier, which begins here.
        let who: PSID = unsafe { &raw const (*entry).SidStart }.cast_mut().cast();
        let everybody = [WinWorldSid, WinAuthenticatedUserSid, WinBuiltinUsersSid, WinInteractiveSid, WinAnonymousSid];
        // SAFETY: as above.
        let is_everybody = |kind: &i32| unsafe { IsWellKnownSid(who, *kind) } != 0;
        mask & (FILE_ADD_FILE | GENERIC_WRITE | GENERIC_ALL) != 0 && everybody.iter().any(is_everybody)
    }
}

impl Drop for Security {
    fn drop(&mut self) {
        // SAFETY: the system has made it for us, and what points into it goes with it.
        unsafe { LocalFree(self.descriptor) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use windows_sys::Win32::Security::Authorization::{
        ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
    };
    use windows_sys::Win32::Security::{GetSecurityDescriptorDacl, GetSecurityDescriptorOwner};

    /// As the definition language has it: O:owner D:(type;flags;rights;;;who)
    fn security(text: &str) -> Security {
        let text = wide(OsStr::new(text));
        let mut found = Security { descriptor: null_mut(), owner: null_mut(), dacl: null_mut() };
        let (mut present, mut defaulted) = (0, 0);
        // SAFETY: the text ends with a zero; the descriptor is written to where it is kept.
        succeeded(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut found.descriptor,
                null_mut(),
            )
        })
        .expect("it can be understood");
        // SAFETY: the descriptor is there.
        succeeded(unsafe { GetSecurityDescriptorOwner(found.descriptor, &raw mut found.owner, &raw mut defaulted) })
            .expect("it is whole");
        // SAFETY: the descriptor is there.
        succeeded(unsafe {
            GetSecurityDescriptorDacl(found.descriptor, &raw mut present, &raw mut found.dacl, &raw mut defaulted)
        })
        .expect("it is whole");
        found
    }

    #[test]
    fn strangers_and_everybodys_folders() {
        for owner in ["O:BA", "O:SY", "O:WD"] {
            assert!(!security(owner).owner_is_a_stranger(), "{owner}");
        }
        let stranger = security("O:S-1-5-21-1-2-3-4711");
        assert!(stranger.owner_is_a_stranger());
        assert_eq!(stranger.owner_shown(), "S-1-5-21-1-2-3-4711");
        let open = ["D:(A;;FA;;;WD)", "D:(A;;0x2;;;AU)", "D:(A;;GA;;;BU)", "D:(D;;FA;;;AN)(A;;FW;;;IU)"];
        let closed = [
            "D:",
            "D:(A;;FR;;;WD)",
            "D:(A;OICIIO;FA;;;AU)",
            "D:(A;;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-4)",
            "D:(D;;FA;;;WD)",
        ];
        for text in open {
            assert!(security(text).everybody_may_add_files(), "{text}");
        }
        for text in closed {
            assert!(!security(text).everybody_may_add_files(), "{text}");
        }
    }

    #[test]
    fn ones_own_files_are_no_strangers() {
        let file = std::env::temp_dir().join(format!("procref-own-{}", std::process::id()));
        fs::write(&file, "").expect("it can be written");
        let metadata = fs::metadata(&file).expect("it is there");
        assert_eq!((planter(&file, &metadata), stranger(&file)), (None, None));
        fs::remove_file(&file).expect("it is ours");
    }

    #[test]
    fn a_file_stays_the_same_one_when_it_is_moved() {
        let folder = std::env::temp_dir().join(format!("procref-same-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("it can be made");
        let [from, to] = ["from", "to"].map(|name| folder.join(name));
        let made = || File::create(&from).and_then(|_| File::open(&from)).expect("it can be made");
        let (one, other) = (made(), File::open(&from).expect("it is there"));
        assert!(same_file(&one, &other));
        fs::rename(&from, &to).expect("it is ours");
        assert!(same_file(&one, &File::open(&to).expect("it is there")));
        assert!(!same_file(&one, &made()));
        // What is open can be removed, but stays in its folder.
        drop((one, other));
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_folder_has_one_path() {
        let folder = std::env::temp_dir().join(format!("Procref-Path-{}", std::process::id()));
        fs::create_dir(&folder).expect("it can be made");
        let path = canonical(&folder).expect("it is there");
        assert!(!path.display().to_string().starts_with(r"\\"), "{path:?}");
        let other = PathBuf::from(folder.display().to_string().to_uppercase()).join(".");
        assert_eq!(canonical(&other).expect("it is the same"), path);
        assert!(path.display().to_string().contains("Procref-Path-"), "{path:?}");
        may_write(&path).expect("it is ours");
        fs::remove_dir(&folder).expect("it is empty");
    }
}
