//! The second witness: a pipe whose holders the kernel counts apart from the set.
//!
//! A set can be removed under its users (`ipcrm`, logind's RemoveIPC). The guardian holds both ends of a pipe, and
//! every client a writing end, so end of file says exactly "no client is left". It needs no name and no file: a
//! client opens the guardian's own descriptor through /proc. The count it makes is not the count, for it has no door:
//! it is asked only when the set has gone.

use super::process::Process;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::PipeFlags;
use std::io;

/// Where the guardian has the reading end.
pub(super) const GUARDIAN_READS: i32 = 3;
/// Where the guardian has a writing end.
pub(super) const GUARDIAN_WRITES: i32 = 4;

/// A writing end. Closed on exec, for a child of ours is no client, unless it was kept.
#[derive(Debug)]
pub(crate) struct Witness {
    writes: OwnedFd,
}

impl Witness {
    /// A new pipe: our writing end, and the reading end for the guardian.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let (reads, writes) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok((Self { writes }, reads))
    }

    /// A writing end of the pipe that this guardian holds.
    pub(crate) fn of_guardian(pid: u32, guardian: &Process) -> io::Result<Self> {
        let path = format!("/proc/{pid}/fd/{GUARDIAN_WRITES}");
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let writes = rustix::fs::open(path, flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&writes)?.st_mode);
        // While the guardian lives, the pid in the path is its own.
        if kind != FileType::Fifo || guardian.has_ended() {
            return Err(io::Error::other("the guardian has gone"));
        }
        Ok(Self { writes })
    }

    /// Another writing end.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { writes: self.writes.try_clone()? })
    }

    /// From here on another program that this process becomes has the end as well.
    pub(crate) fn keep_on_exec(&self) -> io::Result<()> {
        Ok(rustix::io::fcntl_setfd(&self.writes, rustix::io::FdFlags::empty())?)
    }

    /// The reading end of this pipe.
    pub(super) fn reading_end(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.writes.as_raw_fd());
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
    }
}

impl AsFd for Witness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writes.as_fd()
    }
}
