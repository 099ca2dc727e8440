//! Private folders, and emptying them. The guardian removes one, too: nothing on the way there allocates.

use super::process::effective_uid;
use super::raw::{Errno, each_entry};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::ffi::CStr;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How deep a folder may be that is removed.
const DEEPEST: u32 = 64;

/// The folder that is above all others: where a service is that says nothing else.
pub(crate) fn root() -> PathBuf {
    PathBuf::from("/")
}

/// Where this user's programs keep what lasts; or why nobody knows.
pub(crate) fn state_home() -> Result<PathBuf, &'static str> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    home.ok_or("neither $HOME nor $XDG_STATE_HOME is set")
}

/// Makes a folder that only this user can look into, and those above it. One that is there already has to be this user's.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = std::fs::symlink_metadata(path)?;
    if metadata.is_dir() && metadata.uid() == effective_uid() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no folder, or belongs to another user"))
}

/// Removes all that is in a folder. Links are removed, and not followed.
pub(crate) fn empty(path: &Path) -> io::Result<()> {
    let folder = rustix::fs::open(path, FLAGS, Mode::empty())?;
    Ok(empty_opened(&folder, 0)?)
}

/// Removes a folder in another one, and all that is in it. `Ok(false)`: it was not there.
pub(super) fn remove(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<bool> {
    remove_to(parent, name, 0)
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn remove_to(parent: &OwnedFd, name: &CStr, depth: u32) -> rustix::io::Result<bool> {
    use rustix::io::Errno as E;
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) => return Ok(true),
        Err(E::NOENT) => return Ok(false),
        // NFS and others say EXIST of a folder that is not empty.
        Err(E::NOTEMPTY | E::EXIST) if depth < DEEPEST => {}
        Err(errno) => return Err(errno),
    }
    let folder = rustix::fs::openat(parent, name, FLAGS, Mode::empty())?;
    empty_opened(&folder, depth)?;
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    Ok(true)
}

fn empty_opened(folder: &OwnedFd, depth: u32) -> rustix::io::Result<()> {
    use rustix::io::Errno as E;
    loop {
        let (mut removed, mut result) = (false, Ok(()));
        // A file system need not show what comes after an entry that is removed: look again until there is nothing.
        let read = each_entry(folder.as_raw_fd(), |name| {
            if name == c"." || name == c".." {
                return;
            }
            let gone = match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                Err(E::ISDIR | E::PERM) => remove_to(folder, name, depth + 1).map(drop),
                other => other,
            };
            match gone {
                Ok(()) => removed = true,
                Err(errno) => result = Err(errno),
            }
        });
        read.map_err(|Errno(errno)| E::from_raw_os_error(errno))?;
        if !removed {
            return result;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn all_that_is_in_a_folder_goes_and_nothing_else() {
        let place = std::env::temp_dir().join(format!("procref-folder-{}", std::process::id()));
        let (folder, other) = (place.join("a"), place.join("b"));
        fs::create_dir_all(folder.join("x/y/z")).expect("it can be made");
        fs::create_dir_all(&other).expect("it can be made");
        fs::write(other.join("stays"), "").expect("it can be written");
        std::os::unix::fs::symlink(&other, folder.join("x/link")).expect("it can be made");
        for number in 0..300 {
            fs::write(folder.join(format!("x/y/a-file-with-a-name-of-some-length-{number}")), "")
                .expect("it can be written");
        }
        empty(&folder).expect("it can be emptied");
        assert_eq!(fs::read_dir(&folder).expect("it is there").count(), 0);
        fs::create_dir_all(folder.join("x/y")).expect("it can be made");
        let parent = rustix::fs::open(&place, FLAGS, Mode::empty()).expect("it is there");
        assert_eq!(remove(&parent, c"a"), Ok(true));
        assert_eq!(remove(&parent, c"a"), Ok(false), "it has gone already");
        assert!(!folder.exists() && other.join("stays").exists());
        assert!(remove(&parent, c"b/stays").is_err(), "a file is no folder");
        fs::remove_dir_all(&place).expect("it can be removed");
    }
}
