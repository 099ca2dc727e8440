//! Named kernel objects, for this user alone, and the kernel's count of the handles on each.
//!
//! Names live in the session's own namespace (`Local\`). Each object is made with this user as its owner and with a DACL that
//! names this user and nobody else, and one that is found is used only if it is as those are.
//!
//! A user's programs share services whether they run as administrator or not. So neither owner nor integrity level is left to the
//! system: by itself it makes the group of administrators the owner of what one of these makes, and closes its jobs to the others.
//! What a program with less rights than a user's others (a sandbox) has made is none of ours to them.

#![expect(unsafe_code, reason = "system calls")]

use std::io;
use std::marker::PhantomData;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;
use std::sync::OnceLock;
use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectBasicInformation};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND, ERROR_INVALID_HANDLE, GetLastError, HANDLE,
    HLOCAL, INVALID_HANDLE_VALUE, LocalFree, SetLastError, WAIT_ABANDONED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetKernelObjectSecurity, GetSidSubAuthority, GetSidSubAuthorityCount,
    GetTokenInformation, LABEL_SECURITY_INFORMATION, OWNER_SECURITY_INFORMATION, PSECURITY_DESCRIPTOR,
    SACL_SECURITY_INFORMATION, SECURITY_ATTRIBUTES, TOKEN_INFORMATION_CLASS, TOKEN_MANDATORY_LABEL, TOKEN_QUERY,
    TOKEN_USER, TokenIntegrityLevel, TokenUser,
};
use windows_sys::Win32::System::JobObjects::{CreateJobObjectW, OpenJobObjectW};
use windows_sys::Win32::System::Memory::{CreateFileMappingW, FILE_MAP_ALL_ACCESS, OpenFileMappingW, PAGE_READWRITE};
use windows_sys::Win32::System::SystemServices::SECURITY_MANDATORY_MEDIUM_RID;
use windows_sys::Win32::System::Threading::{
    CreateEventW, CreateMutexW, CreateSemaphoreW, EVENT_ALL_ACCESS, GetCurrentProcess, MUTEX_ALL_ACCESS, OpenEventW,
    OpenMutexW, OpenProcessToken, OpenSemaphoreW, ReleaseMutex, SEMAPHORE_ALL_ACCESS, SetEvent, WaitForSingleObject,
};
use windows_sys::Win32::System::WindowsProgramming::PUBLIC_OBJECT_BASIC_INFORMATION;
use windows_sys::core::PWSTR;

/// All rights on a job (winnt.h).
const JOB_OBJECT_ALL_ACCESS: u32 = 0x001f_001f;

/// The types of object that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only its handles count; its value is not restored when a process dies, and never used.
    Semaphore,
    Mutex,
    /// Wakes one waiter, once.
    Event,
    Job,
    /// Memory of that many bytes, zeros at first.
    Section(u32),
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Semaphore => "semaphore",
            Self::Mutex => "mutex",
            Self::Event => "event",
            Self::Job => "job",
            Self::Section(_) => "section",
        }
    }
}

/// Why an object cannot be had.
#[derive(Debug)]
pub(crate) enum ObjectError {
    /// Something that this user has not made for itself alone lies under the name.
    Foreign(String),
    /// The system says no.
    Os(io::Error),
}

impl From<ObjectError> for io::Error {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Foreign(what) => Self::new(io::ErrorKind::PermissionDenied, what),
            ObjectError::Os(error) => error,
        }
    }
}

/// Text as the system takes it.
pub(super) fn wide(text: impl AsRef<std::ffi::OsStr>) -> Vec<u16> {
    use std::os::windows::ffi::OsStrExt;
    text.as_ref().encode_wide().chain([0]).collect()
}

/// The object of this name, made where there is none; whether it was made.
pub(super) fn create(kind: Kind, name: &str) -> Result<(OwnedHandle, bool), ObjectError> {
    let (handle, made) = raw_create(kind, Some(name)).map_err(|error| refused(kind, name, error))?;
    if !made {
        check(kind, name, &handle)?;
    }
    Ok((handle, made))
}

/// The object of this name, if there is one.
pub(super) fn open(kind: Kind, name: &str) -> Result<Option<OwnedHandle>, ObjectError> {
    let wide = wide(name);
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one of them")]
    // SAFETY: a name that ends with a zero and outlives the call.
    let handle = unsafe {
        match kind {
            Kind::Semaphore => OpenSemaphoreW(SEMAPHORE_ALL_ACCESS, 0, wide.as_ptr()),
            Kind::Mutex => OpenMutexW(MUTEX_ALL_ACCESS, 0, wide.as_ptr()),
            Kind::Event => OpenEventW(EVENT_ALL_ACCESS, 0, wide.as_ptr()),
            Kind::Job => OpenJobObjectW(JOB_OBJECT_ALL_ACCESS, 0, wide.as_ptr()),
            Kind::Section(_) => OpenFileMappingW(FILE_MAP_ALL_ACCESS, 0, wide.as_ptr()),
        }
    };
    match owned(handle) {
        Ok(handle) => {
            check(kind, name, &handle)?;
            Ok(Some(handle))
        }
        Err(error) if error.raw_os_error() == Some(ERROR_FILE_NOT_FOUND as i32) => Ok(None),
        Err(error) => Err(refused(kind, name, error)),
    }
}

/// An object without a name.
pub(super) fn unnamed(kind: Kind) -> io::Result<OwnedHandle> {
    raw_create(kind, None).map(|(handle, _)| handle)
}

fn raw_create(kind: Kind, name: Option<&str>) -> io::Result<(OwnedHandle, bool)> {
    let attributes = attributes()?;
    let name = name.map(wide);
    let name = name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one of them, and its error")]
    // SAFETY: the attributes live for ever, the name outlives the call; the last error is this thread's own.
    let (handle, error) = unsafe {
        SetLastError(0);
        let handle = match kind {
            Kind::Semaphore => CreateSemaphoreW(attributes, 0, 1, name),
            Kind::Mutex => CreateMutexW(attributes, 0, name),
            Kind::Event => CreateEventW(attributes, 0, 0, name),
            Kind::Job => CreateJobObjectW(attributes, name),
            Kind::Section(size) => CreateFileMappingW(INVALID_HANDLE_VALUE, attributes, PAGE_READWRITE, 0, size, name),
        };
        (handle, GetLastError())
    };
    let handle = if handle.is_null() { Err(io::Error::from_raw_os_error(error as i32)) } else { owned(handle) }?;
    Ok((handle, error != ERROR_ALREADY_EXISTS))
}

/// A handle that is this process's own, or the last error.
pub(super) fn owned(handle: HANDLE) -> io::Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just now opened by this thread, for nobody else.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn refused(kind: Kind, name: &str, error: io::Error) -> ObjectError {
    match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_ACCESS_DENIED) => {
            ObjectError::Foreign(format!("the {} {name} belongs to another user, or was made by one", kind.word()))
        }
        Some(ERROR_INVALID_HANDLE) => {
            ObjectError::Foreign(format!("under the name {name} there is an object that is no {}", kind.word()))
        }
        _ => ObjectError::Os(error),
    }
}

/// How many handles on it there are, in all processes. The kernel closes those of a process that ends, in whatever way.
pub(super) fn handles(object: &OwnedHandle) -> io::Result<u32> {
    let mut information = PUBLIC_OBJECT_BASIC_INFORMATION::default();
    let size = size_of_val(&information) as u32;
    // SAFETY: the kernel writes one structure of that size.
    let status = unsafe {
        NtQueryObject(
            object.as_raw_handle(),
            ObjectBasicInformation,
            (&raw mut information).cast(),
            size,
            ptr::null_mut(),
        )
    };
    if status < 0 {
        return Err(io::Error::other(format!("NtQueryObject says {status:#010x}")));
    }
    Ok(information.HandleCount)
}

/// A mutex that this thread has locked.
#[derive(Debug)]
pub(super) struct Locked {
    mutex: OwnedHandle,
    thread: PhantomData<*const ()>,
}

/// Locks the mutex of this name. One whose holder was killed is as good as free.
pub(super) fn lock(name: &str) -> io::Result<Locked> {
    let (mutex, _) = create(Kind::Mutex, name)?;
    lock_mutex(&mutex)?;
    Ok(Locked { mutex, thread: PhantomData })
}

impl Drop for Locked {
    fn drop(&mut self) {
        unlock_mutex(&self.mutex);
    }
}

/// Locks a mutex for this thread. Whoever holds one of ours never waits for anything.
pub(super) fn lock_mutex(mutex: &OwnedHandle) -> io::Result<()> {
    /// Somebody has been stopped in the middle of a change, by a debugger for example.
    const PATIENCE: u32 = 30_000;
    // SAFETY: a handle to a mutex.
    match unsafe { WaitForSingleObject(mutex.as_raw_handle(), PATIENCE) } {
        WAIT_OBJECT_0 | WAIT_ABANDONED => Ok(()),
        WAIT_TIMEOUT => {
            let what = "another process has stopped in the middle of a change, and keeps its mutex";
            Err(io::Error::new(io::ErrorKind::TimedOut, what))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Unlocks a mutex that this thread has locked.
pub(super) fn unlock_mutex(mutex: &OwnedHandle) {
    // SAFETY: a handle to a mutex; one that this thread has not locked stays as it is.
    unsafe { ReleaseMutex(mutex.as_raw_handle()) };
}

/// Wakes who waits for this event.
pub(super) fn set(event: &OwnedHandle) -> io::Result<()> {
    // SAFETY: a handle to an event.
    if unsafe { SetEvent(event.as_raw_handle()) } == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// This user alone.
fn attributes() -> io::Result<*const SECURITY_ATTRIBUTES> {
    struct Attributes(SECURITY_ATTRIBUTES);
    // SAFETY: nothing changes it or what it points to.
    unsafe impl Send for Attributes {}
    // SAFETY: the same.
    unsafe impl Sync for Attributes {}
    static ATTRIBUTES: OnceLock<Attributes> = OnceLock::new();
    if let Some(attributes) = ATTRIBUTES.get() {
        return Ok(&raw const attributes.0);
    }
    let user = user()?;
    // Those of lesser programs can only be as they are: by themselves they have the program's own level.
    let label = if integrity()? >= SECURITY_MANDATORY_MEDIUM_RID as u32 { "S:(ML;;NW;;;ME)" } else { "" };
    let text = wide(format!("O:{user}D:P(A;;GA;;;{user}){label}"));
    let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
    // SAFETY: text that ends with a zero; what comes back is kept for ever.
    let converted = unsafe {
        ConvertStringSecurityDescriptorToSecurityDescriptorW(
            text.as_ptr(),
            SDDL_REVISION_1,
            &raw mut descriptor,
            ptr::null_mut(),
        )
    };
    if converted == 0 {
        return Err(io::Error::last_os_error());
    }
    let attributes = SECURITY_ATTRIBUTES {
        nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
        lpSecurityDescriptor: descriptor,
        bInheritHandle: 0,
    };
    Ok(&raw const ATTRIBUTES.get_or_init(|| Attributes(attributes)).0)
}

/// This user's security identifier, as text.
pub(super) fn user() -> io::Result<&'static str> {
    static USER: OnceLock<String> = OnceLock::new();
    if let Some(user) = USER.get() {
        return Ok(user);
    }
    let told = token(TokenUser)?;
    let mut text: PWSTR = ptr::null_mut();
    // SAFETY: the buffer, which is aligned for it, begins with a TOKEN_USER that the kernel has filled.
    let user = unsafe { told.as_ptr().cast::<TOKEN_USER>().read() }.User;
    // SAFETY: the identifier lies in the buffer.
    if unsafe { ConvertSidToStringSidW(user.Sid, &raw mut text) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let user = take_text(text);
    Ok(USER.get_or_init(|| user))
}

/// What sets this user's names apart from those of others in the same session: of users who came by SSH, for example. Where it
/// cannot be told, no object can be made.
pub(super) fn user_mark() -> u32 {
    user().map_or(0, |user| crate::name::fingerprint(user.as_bytes()))
}

/// This process's integrity level: how much it may do among those of its user.
fn integrity() -> io::Result<u32> {
    let told = token(TokenIntegrityLevel)?;
    // SAFETY: the buffer, which is aligned for it, begins with a TOKEN_MANDATORY_LABEL that the kernel has filled.
    let label = unsafe { told.as_ptr().cast::<TOKEN_MANDATORY_LABEL>().read() }.Label;
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "they belong together")]
    // SAFETY: the identifier lies in the buffer, and its last part is the level.
    Ok(unsafe {
        let parts = *GetSidSubAuthorityCount(label.Sid);
        *GetSidSubAuthority(label.Sid, u32::from(parts).saturating_sub(1))
    })
}

/// What this process's token says: a structure and, behind it, an identifier, of 68 bytes at the most.
///
/// The structure points into the buffer, which must stay where it is.
fn token(class: TOKEN_INFORMATION_CLASS) -> io::Result<Box<[u64; 32]>> {
    let mut token = ptr::null_mut();
    // SAFETY: a number that is always the same.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: this process's own token, opened for reading.
    if unsafe { OpenProcessToken(this, TOKEN_QUERY, &raw mut token) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let token = owned(token)?;
    let (mut buffer, mut length) = (Box::new([0_u64; 32]), 0);
    let (told, size) = (buffer.as_mut_ptr().cast(), size_of_val(&*buffer) as u32);
    // SAFETY: the kernel writes no more than the buffer's size.
    if unsafe { GetTokenInformation(token.as_raw_handle(), class, told, size, &raw mut length) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(buffer)
}

/// Text that the system has allocated.
fn take_text(text: PWSTR) -> String {
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "they belong together")]
    // SAFETY: text that ends with a zero, and that is ours to free.
    unsafe {
        let length = (0..).take_while(|&at| *text.add(at) != 0).count();
        let taken = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text as HLOCAL);
        taken
    }
}

/// Owner, DACL and integrity level, as text.
fn security(object: &OwnedHandle) -> io::Result<String> {
    const WHAT: u32 = OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION | LABEL_SECURITY_INFORMATION;
    let mut buffer = vec![0_u64; 128];
    let mut needed = 0;
    let mut read = |buffer: &mut Vec<u64>| {
        let size = (buffer.len() * size_of::<u64>()) as u32;
        // SAFETY: the kernel writes no more than the buffer's size.
        unsafe {
            GetKernelObjectSecurity(object.as_raw_handle(), WHAT, buffer.as_mut_ptr().cast(), size, &raw mut needed)
        }
    };
    if read(&mut buffer) == 0 {
        buffer.resize(1 << 13, 0);
        if read(&mut buffer) == 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let mut text: PWSTR = ptr::null_mut();
    // SAFETY: a security descriptor that the kernel has written.
    let converted = unsafe {
        ConvertSecurityDescriptorToStringSecurityDescriptorW(
            buffer.as_mut_ptr().cast(),
            SDDL_REVISION_1,
            // Of which the label is one entry.
            WHAT | SACL_SECURITY_INFORMATION,
            &raw mut text,
            ptr::null_mut(),
        )
    };
    if converted == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(take_text(text))
}

/// Only what this user has made for itself alone is ours: it says of itself what a new one says.
fn check(kind: Kind, name: &str, object: &OwnedHandle) -> Result<(), ObjectError> {
    let expected = expected(kind).map_err(ObjectError::Os)?;
    let found = security(object).map_err(ObjectError::Os)?;
    if found == expected {
        return Ok(());
    }
    Err(ObjectError::Foreign(format!(
        "the {} {name} was made by another user, or others may use it: it says {found}, and not {expected}",
        kind.word()
    )))
}

/// What a new object of this user says of itself.
fn expected(kind: Kind) -> io::Result<&'static str> {
    static SAID: [OnceLock<String>; 5] = [const { OnceLock::new() }; 5];
    let (said, kind) = match kind {
        Kind::Semaphore => (&SAID[0], kind),
        Kind::Mutex => (&SAID[1], kind),
        Kind::Event => (&SAID[2], kind),
        Kind::Job => (&SAID[3], kind),
        Kind::Section(_) => (&SAID[4], Kind::Section(1)),
    };
    match said.get() {
        Some(said) => Ok(said),
        None => {
            let now = security(&unnamed(kind)?)?;
            Ok(said.get_or_init(|| now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(what: &str) -> String {
        format!("Local\\procref-test-{}-{what}", std::process::id())
    }

    #[test]
    fn handles_are_counted_and_the_name_goes_with_the_last() {
        for kind in [Kind::Semaphore, Kind::Mutex, Kind::Event, Kind::Job, Kind::Section(100)] {
            let name = name(kind.word());
            assert!(open(kind, &name).expect("no error").is_none(), "{kind:?}");
            let (first, made) = create(kind, &name).expect("it can be made");
            assert!(made, "{kind:?}");
            let (second, made) = create(kind, &name).expect("it can be had");
            assert!(!made, "{kind:?}");
            let third = open(kind, &name).expect("it can be opened").expect("it is there");
            assert_eq!(handles(&first).expect("it can be counted"), 3, "{kind:?}");
            drop((second, third));
            assert_eq!(handles(&first).expect("it can be counted"), 1, "{kind:?}");
            drop(first);
            assert!(open(kind, &name).expect("no error").is_none(), "{kind:?}");
        }
    }

    #[test]
    fn an_object_of_another_type_is_foreign() {
        let name = name("type");
        let (_mutex, _) = create(Kind::Mutex, &name).expect("it can be made");
        for error in [create(Kind::Event, &name).map(drop), open(Kind::Event, &name).map(drop)] {
            assert!(matches!(error, Err(ObjectError::Foreign(_))), "{error:?}");
        }
    }

    #[test]
    fn an_object_says_whose_it_is_whatever_its_maker_may_do() {
        let user = user().expect("it can be told");
        assert!(user.starts_with("S-1-"), "{user}");
        for kind in [Kind::Semaphore, Kind::Mutex, Kind::Event, Kind::Job, Kind::Section(100)] {
            let said = security(&unnamed(kind).expect("it can be made")).expect("it can be told");
            let (owner, rest) = said.split_once("D:").expect("it has a DACL");
            let (entries, label) = rest.split_once("S:").unwrap_or((rest, ""));
            assert!(owner.starts_with("O:") && !owner.contains(":BA"), "{kind:?}: {said}");
            assert_eq!(entries.matches('(').count(), 1, "{kind:?}: {said}");
            // Wine has no words for the type of the entry.
            let medium = integrity().expect("it can be told") >= SECURITY_MANDATORY_MEDIUM_RID as u32;
            assert_eq!(label.ends_with(";;;ME)"), medium, "{kind:?}: {said}");
        }
    }

    #[test]
    fn an_object_of_a_lesser_program_is_foreign() {
        let name = name("low");
        let (user, wide) = (user().expect("it can be told"), wide(&name));
        let text = self::wide(format!("O:{user}D:P(A;;GA;;;{user})S:(ML;;NW;;;LW)"));
        let mut descriptor: PSECURITY_DESCRIPTOR = ptr::null_mut();
        // SAFETY: text that ends with a zero; what comes back is not freed.
        let converted = unsafe {
            let none = ptr::null_mut();
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                none,
            )
        };
        assert_ne!(converted, 0);
        let attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: descriptor,
            bInheritHandle: 0,
        };
        // SAFETY: a name that ends with a zero.
        let made = unsafe { CreateEventW(&raw const attributes, 0, 0, wide.as_ptr()) };
        let _event = owned(made).expect("it can be made");
        let error = create(Kind::Event, &name).expect_err("a lesser program has made it");
        assert!(matches!(error, ObjectError::Foreign(_)), "{error:?}");
    }

    #[test]
    fn an_object_that_others_may_use_is_foreign() {
        let name = name("open");
        let wide = wide(&name);
        // SAFETY: a name that ends with a zero.
        let _event = owned(unsafe { CreateEventW(ptr::null(), 0, 0, wide.as_ptr()) }).expect("it can be made");
        let error = create(Kind::Event, &name).expect_err("it was made for others, too");
        assert!(matches!(error, ObjectError::Foreign(_)), "{error:?}");
    }
}
