//! Folders for this user alone: below the user's own profile, which is closed to others.

use super::files::patiently;
use std::io;
use std::path::{Path, PathBuf};

/// The folder where a service is that says nothing else: the system's drive.
pub(crate) fn root() -> PathBuf {
    let mut root = std::env::var_os("SystemDrive").unwrap_or_else(|| "C:".into());
    root.push("\\");
    root.into()
}

/// Where this user's programs keep what lasts and belongs to this machine; or why nobody knows.
pub(crate) fn state_home() -> Result<PathBuf, &'static str> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let profile = || Some(absolute("USERPROFILE")?.join("AppData").join("Local"));
    absolute("LOCALAPPDATA").or_else(profile).ok_or("neither %LOCALAPPDATA% nor %USERPROFILE% is set")
}

/// Makes a folder, and those above it.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    patiently(|| std::fs::create_dir_all(path))?;
    check(path)
}

/// Whether it is a folder itself, and no link to one.
pub(super) fn check(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no folder, or a link to one"))
}

/// Removes a link to a folder, which could not be removed as a file.
fn remove_link(path: &Path, error: io::Error) -> io::Result<()> {
    std::fs::remove_dir(path).map_err(|_| error)
}

/// Removes all that is in a folder. Links are removed, and not followed.
pub(crate) fn empty(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => patiently(|| std::fs::remove_dir_all(entry.path()))?,
            // A link to a folder is removed as one.
            false => {
                patiently(|| std::fs::remove_file(entry.path()).or_else(|error| remove_link(&entry.path(), error)))?
            }
        }
    }
    Ok(())
}
