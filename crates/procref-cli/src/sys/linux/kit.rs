//! For the tests: files and texts that are peculiar to this system.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

/// A text that is not Unicode.
pub(crate) fn no_text() -> OsString {
    OsStr::from_bytes(b"\xff").to_owned()
}

/// Another way to the same folder. `false`: this user may make none.
pub(crate) fn link(target: &str, link: &Path) -> bool {
    symlink(target, link).expect("it can be made");
    true
}

/// How the system says that a file may not be read, if this user is not above that.
pub(crate) fn lock_away(file: &Path) -> Option<&'static str> {
    fs::set_permissions(file, Permissions::from_mode(0o000)).ok()?;
    fs::read(file).is_err().then_some("Permission denied (os error 13)")
}

/// Makes the file another user's, called so. `None`: this user may not give files away.
pub(crate) fn give_away(file: &Path) -> Option<&'static str> {
    chown(file, Some(12345), None).ok()?;
    Some("another user (12345)")
}

/// Makes it this user's again.
pub(crate) fn take_back(file: &Path) -> io::Result<()> {
    chown(file, Some(rustix::process::geteuid().as_raw()), None)
}

/// Lets everybody make files in the folder.
pub(crate) fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o1777)).expect("it is ours");
}
