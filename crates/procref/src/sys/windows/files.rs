//! Files that a service writes and a client reads: its log.

#![expect(unsafe_code, reason = "system calls")]

use super::object::wide;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DELETE_PENDING, ERROR_LOCK_VIOLATION, ERROR_SHARING_VIOLATION, ERROR_USER_MAPPED_FILE,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_FLAG_OPEN_REPARSE_POINT, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetDiskFreeSpaceExW, GetFileInformationByHandle,
};

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    volume: u32,
    index: u64,
}

impl Identity {
    /// That of an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let mut information = BY_HANDLE_FILE_INFORMATION::default();
        // SAFETY: the kernel writes one structure.
        if unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut information) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let index = u64::from(information.nFileIndexHigh) << 32 | u64::from(information.nFileIndexLow);
        Ok(Self { volume: information.dwVolumeSerialNumber, index })
    }

    /// That of the file which has this name now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Self::of(&open_to_read(path)?)
    }
}

/// Does something with a file. Whoever scans or indexes files has them open without sharing them, for a moment: then this tries
/// again, for so long that it was none of those.
pub(crate) fn patiently<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const PATIENCE: Duration = Duration::from_millis(500);
    /// Nothing tells when a file is shared again.
    const AGAIN: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match act() {
            Err(error) if is_kept_by_others(&error) && Instant::now() < deadline => std::thread::sleep(AGAIN),
            result => return result,
        }
    }
}

/// Whether it may be that somebody has the file open.
fn is_kept_by_others(error: &io::Error) -> bool {
    // Access is denied also to what somebody has open who is not to have it any more.
    const CODES: [u32; 5] = [
        ERROR_ACCESS_DENIED,
        ERROR_SHARING_VIOLATION,
        ERROR_LOCK_VIOLATION,
        ERROR_DELETE_PENDING,
        ERROR_USER_MAPPED_FILE,
    ];
    error.raw_os_error().is_some_and(|code| CODES.contains(&(code as u32)))
}

/// Others may read, write, move and remove it meanwhile.
const SHARED: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// Opens a log to write to its end. Where it is missing, it is made. A link is not followed.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).share_mode(SHARED).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    let log = patiently(|| options.open(path))?;
    // The link itself has been opened.
    if log.metadata()?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link"));
    }
    Ok(log)
}

/// Opens a file to read. Whoever writes it may go on, move it away and remove it.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).share_mode(SHARED).open(path)
}

/// Reads from that place on.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    file.seek_read(buffer, from)
}

/// Whether there is no room for more on the disk of this folder.
pub(crate) fn is_full(folder: &Path) -> bool {
    let (path, mut room) = (wide(folder), 0);
    // SAFETY: a path that ends with a zero, and a number that the kernel writes.
    let told = unsafe { GetDiskFreeSpaceExW(path.as_ptr(), &raw mut room, ptr::null_mut(), ptr::null_mut()) };
    told != 0 && room == 0
}
