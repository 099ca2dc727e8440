//! Where programs are, and how they end.

#![expect(unsafe_code, reason = "system calls")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use windows_sys::Win32::Foundation::MAX_PATH;
use windows_sys::Win32::System::SystemInformation::{GetSystemDirectoryW, GetWindowsDirectoryW};
use windows_sys::core::PWSTR;

/// Where programs are looked for if there is no `PATH`.
pub(crate) const DEFAULT_PATH: &str = "C:\\Windows\\System32";

/// The file of the program that is called so: itself, or with one of the endings of programs.
pub(crate) fn file(path: &Path) -> Option<PathBuf> {
    let endings = std::env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".into());
    if path.extension().is_some() && path.is_file() {
        return Some(path.to_owned());
    }
    let ended = endings.split(';').filter(|ending| !ending.is_empty()).map(|ending| {
        let mut ended = path.as_os_str().to_owned();
        ended.push(ending.to_ascii_lowercase());
        PathBuf::from(ended)
    });
    ended.chain([path.to_owned()]).find(|path| path.is_file())
}

/// The file that [`std::process::Command`] runs by that name, where the program's own `PATH` is this one, if it has one.
pub(super) fn find(name: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    const ENDING: &str = ".exe";
    let missing = || io::Error::new(io::ErrorKind::NotFound, "program not found");
    let bytes = name.as_encoded_bytes();
    if bytes.is_empty() || bytes.ends_with(b"\\") || bytes.ends_with(b"/") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "program path has no file name"));
    }
    let ended = |path: &Path| {
        let mut ended = path.as_os_str().to_owned();
        ended.push(ENDING);
        PathBuf::from(ended)
    };
    if Path::new(name).file_name() != Some(name) {
        let path = std::path::absolute(name)?;
        let has_ending = bytes.len() >= ENDING.len()
            && bytes.get(bytes.len() - ENDING.len()..).is_some_and(|end| end.eq_ignore_ascii_case(ENDING.as_bytes()));
        return Ok(Some(ended(&path)).filter(|ended| !has_ending && ended.is_file()).unwrap_or(path));
    }
    let own = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let inherited = std::env::var_os("PATH");
    let along = |path: Option<&OsStr>| path.map(std::env::split_paths).into_iter().flatten().collect::<Vec<_>>();
    let folders = along(path).into_iter().chain(own).chain(system_folders()).chain(along(inherited.as_deref()));
    let named = |folder: PathBuf| {
        let path = folder.join(name);
        if bytes.contains(&b'.') { path } else { ended(&path) }
    };
    folders.filter(|folder| !folder.as_os_str().is_empty()).map(named).find(|path| path.is_file()).ok_or_else(missing)
}

/// Where the system has its own programs.
fn system_folders() -> impl Iterator<Item = PathBuf> {
    let read = |get: unsafe extern "system" fn(PWSTR, u32) -> u32| {
        let mut path = [0_u16; MAX_PATH as usize];
        // SAFETY: the system writes no more than that many units.
        let length = unsafe { get(path.as_mut_ptr(), MAX_PATH) };
        let path = path.get(..length as usize).filter(|path| !path.is_empty());
        path.map(|path| PathBuf::from(OsString::from_wide(path)))
    };
    [read(GetSystemDirectoryW), read(GetWindowsDirectoryW)].into_iter().flatten()
}

/// Nowhere else.
pub(crate) const fn more_folders() -> Vec<PathBuf> {
    Vec::new()
}

/// Its name, for people: backslashes are shown as they are written here. What no name has stands out: "\t" may have become
/// a tab where a path was meant.
pub(crate) fn quoted(program: &OsStr) -> String {
    let text = program.to_string_lossy();
    let shown = text.chars().map(|c| if c.is_control() { c.escape_unicode().to_string() } else { c.into() });
    format!("\"{}\"", shown.collect::<String>())
}

/// How a program ended, after its name.
pub(crate) fn ended(status: ExitStatus) -> String {
    match status.code() {
        // What the system says of a crash is known by its hexadecimal digits.
        Some(code) if code < 0 => format!("ended with {:#010x}", code as u32),
        Some(code) => format!("exited with status {code}"),
        None => "ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are_written() {
        assert_eq!(quoted(OsStr::new(r"C:\Program Files\x.exe")), r#""C:\Program Files\x.exe""#);
        assert_eq!(quoted(OsStr::new("C:\tools")), r#""C:\u{9}ools""#);
    }

    #[test]
    fn programs_are_found_by_their_names() {
        let this = std::env::current_exe().expect("it has a path");
        let found = |name: &OsStr, path| find(name, path).map_err(|error| error.kind());
        // Beside this program, with and without the ending.
        for name in [this.file_name(), this.file_stem()] {
            assert_eq!(found(name.expect("it has a name"), None), Ok(this.clone()));
        }
        // By a path, which may lack the ending, and need not exist.
        assert_eq!(found(this.as_os_str(), None), Ok(this.clone()));
        assert_eq!(found(this.with_extension("").as_os_str(), None), Ok(this.clone()));
        let missing = this.with_file_name("no-such");
        assert_eq!(found(missing.as_os_str(), None), Ok(missing));
        // The program's own PATH comes first, and the system's folders are always there.
        let folder = std::env::temp_dir().join(format!("procref-program-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("it can be made");
        let (own, cmd) = (folder.join("cmd.exe"), OsStr::new("cmd"));
        std::fs::write(&own, "").expect("it can be written");
        assert_eq!(found(cmd, Some(folder.as_os_str())), Ok(own));
        std::fs::remove_dir_all(&folder).expect("it is there");
        let system = found(cmd, Some(folder.as_os_str())).expect("the system has one");
        assert!(system.is_file());
        // Nothing is added where there is a dot.
        assert_eq!(found("no.such".as_ref(), None), Err(io::ErrorKind::NotFound));
        assert_eq!(found("procref-no-such".as_ref(), None), Err(io::ErrorKind::NotFound));
        for none in ["", "x\\", "x/"] {
            assert_eq!(found(none.as_ref(), None), Err(io::ErrorKind::InvalidInput), "{none:?}");
        }
    }
}
