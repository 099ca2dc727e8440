//! For the tests: files and texts that are peculiar to this system.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::fs::symlink_dir;
use std::path::Path;

/// A text that is not Unicode.
pub(crate) fn no_text() -> OsString {
    OsString::from_wide(&[u16::from(b'C'), u16::from(b':'), 0xd800])
}

/// Another way to the same folder. `false`: this user may make none.
pub(crate) fn link(target: &str, link: &Path) -> bool {
    // Wine says that it has made one.
    symlink_dir(target.replace('/', r"\"), link).is_ok() && link.is_dir()
}

/// How the system says that a file may not be read. `None`: one's own file can always be made readable again.
pub(crate) fn lock_away(_: &Path) -> Option<&'static str> {
    None
}

/// Makes the file another user's. `None`: only administrators may give files away; what becomes of such a file is tested where
/// owners are told apart.
pub(crate) fn give_away(_: &Path) -> Option<&'static str> {
    None
}

/// Makes it this user's again.
pub(crate) fn take_back(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Lets everybody make files in the folder.
pub(crate) fn open_to_all(_: &Path) {}
