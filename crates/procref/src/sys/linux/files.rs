//! Files that a service writes and a client reads: its log.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// That of the file which has this name now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::from(&path.metadata()?))
    }

    fn from(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits() as i32
}

/// Does something with a file. Here nobody can keep others from it by having it open.
pub(crate) fn patiently<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    act()
}

/// Opens a log to write to its end. Where it is missing, it is made, for this user alone. A link is not followed.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(flags(OFlags::NOFOLLOW | OFlags::NOCTTY)).open(path)
}

/// Opens a file to read. Whoever writes it may go on, move it away and remove it. Whatever else has its name, nothing waits
/// and nothing is set off.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY)).open(path)
}

/// Reads from that place on.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    file.read_at(buffer, from)
}

/// Whether there is no room for more in the file system in which this folder is.
pub(crate) fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|room| room.f_blocks > 0 && room.f_bavail == 0)
}
