//! The second witness: a pipe whose holders the kernel counts apart from the set.
//!
//! A set can be removed under its users (`ipcrm`, logind's RemoveIPC). The guardian holds both ends of a pipe, and
//! every client a writing end, so end of file says exactly "no client is left". It needs no name and no file: a
//! client opens the guardian's own descriptor through /proc. The count it makes is not the count, for it has no door:
//! it is asked only when the set has gone.

use super::guardian::TITLE;
use super::process::{PATH, Process, Stat, proc_path};
use super::raw::{each_entry, same_open_file};
use super::set::Set;
use crate::name;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat as Stat64};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::{fs, io};

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
    pub(crate) fn of_guardian(_: Set, pid: u32, guardian: &Process) -> io::Result<Self> {
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

    /// A writing end of the pipe of which a service has the reading end, for who comes while no guardian lives.
    ///
    /// The kernel has told the service to stop as soon as nobody had a writing end any more, and nobody can take that
    /// back: [`Floor::Abandoned`].
    pub(crate) fn of_service(_: Set, pid: u32, service: &Process, pipe: u32) -> io::Result<Floor> {
        let open = |thread: u32| {
            let path = format!("/proc/{pid}/task/{thread}/fd/{GUARDIAN_READS}");
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            // A regular file or a device that a service has under this number is looked at before it is opened.
            rustix::fs::stat(path.as_str()).and_then(|stat| {
                if is_pipe(&stat, pipe) {
                    rustix::fs::open(path.as_str(), flags, Mode::empty())
                } else {
                    Err(Errno::NOENT)
                }
            })
        };
        let reads = loop {
            // A thread that ends closes what it has; so does the first one of a process that lives on. Whoever is told to stop is
            // for a moment a process that lives and has no files.
            let Some(thread) = living_thread(pid) else { return Ok(Floor::Abandoned) };
            match open(thread) {
                Ok(reads) if fingerprint(reads.as_fd())? == pipe && !service.has_ended() => break reads,
                Ok(_) | Err(Errno::NOENT | Errno::SRCH) if lives(thread) && !service.has_ended() => {
                    // The service has closed it, and so the kernel signals nobody.
                    return Ok(Floor::None);
                }
                Ok(_) | Err(Errno::NOENT | Errno::SRCH) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        // End of file: nobody has a writing end. Nobody ever writes anything.
        if rustix::io::read(&reads, &mut [0_u8; 1]) == Ok(0) {
            return Ok(Floor::Abandoned);
        }
        // By our own end: the service may end just now.
        let path = format!("/proc/self/fd/{}", reads.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Floor::Held(Self { writes: rustix::fs::open(path, flags, Mode::empty())? }))
    }

    /// A writing end of the pipe that somebody else holds still, for who finds neither guardian nor service. `None`: nobody
    /// holds it, of whom this process may know.
    pub(crate) fn of_anybody(_: Set, pipe: u32) -> io::Result<Option<Self>> {
        for pid in numbers("/proc")? {
            let Ok(fds) = numbers(&format!("/proc/{pid}/fd")) else { continue };
            for fd in fds {
                let path = format!("/proc/{pid}/fd/{fd}");
                // To look at a file of somebody else's may take as long as its file system likes.
                let holds = fs::read_link(&path)
                    .is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"pipe:"))
                    && rustix::fs::stat(path.as_str()).is_ok_and(|stat| is_pipe(&stat, pipe))
                    && fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).is_ok_and(|info| is_for_writing(&info));
                if !holds {
                    continue;
                }
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
                let writes = match rustix::fs::open(path.as_str(), flags, Mode::empty()) {
                    Ok(writes) => writes,
                    // It has just gone.
                    Err(Errno::NOENT | Errno::SRCH) => continue,
                    Err(errno) => return Err(errno.into()),
                };
                let found = Self { writes };
                if found.is_of(pipe) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// For who is about to be counted: here a guardian holds the pipe for as long as somebody is.
    #[expect(clippy::unnecessary_wraps, reason = "on other systems there is something to do")]
    pub(crate) const fn of_comer(_: Set) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Whether it is of the pipe that is recorded of the service.
    #[expect(clippy::unnecessary_wraps, reason = "on other systems the service is asked")]
    pub(crate) fn holds(&self, _: &Process, pipe: u32) -> io::Result<bool> {
        Ok(self.is_of(pipe))
    }

    /// Whether it is an end of that pipe.
    fn is_of(&self, pipe: u32) -> bool {
        fingerprint(self.writes.as_fd()) == Ok(pipe)
    }

    /// A writing end with an open file of its own, for another process to keep.
    pub(crate) fn for_another(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.writes.as_raw_fd());
        Ok(rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// What callbacks have started has no floor: 0.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "on other systems there is something to do")]
    pub(crate) fn adopt(&self, _: &Process) -> io::Result<u32> {
        Ok(0)
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

/// What there is between a service and the kernel's word that nobody holds it.
#[derive(Debug)]
pub(crate) enum Floor {
    /// From here on this process is among those who hold it.
    Held(Witness),
    /// The service has closed its end: nothing happens when nobody holds it.
    None,
    /// Nobody holds it, so the service has been told to stop.
    Abandoned,
}

/// 30 bits that differ between pipes; never 0. Nothing here allocates.
pub(super) fn fingerprint(pipe: BorrowedFd<'_>) -> Result<u32, Errno> {
    Ok(fingerprint_of(&rustix::fs::fstat(pipe)?))
}

fn fingerprint_of(stat: &Stat64) -> u32 {
    name::fingerprint([stat.st_dev, stat.st_ino].map(u64::to_le_bytes).as_flattened()).max(1)
}

fn is_pipe(stat: &Stat64, pipe: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Fifo && fingerprint_of(stat) == pipe
}

impl AsFd for Witness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writes.as_fd()
    }
}

/// Whether a process has inherited the service's end of this pipe, and is neither a client, which has a writing end, nor a
/// guardian. Nothing here allocates.
pub(super) fn has_only_reading_end(pid: u32, pipe: u32) -> bool {
    let mut path = [0_u8; PATH];
    let of_pipe = |folder: BorrowedFd<'_>, name: &CStr| {
        rustix::fs::statat(folder, name, AtFlags::empty()).is_ok_and(|stat| is_pipe(&stat, pipe))
    };
    let folder = proc_path(&mut path, pid, b"/fd")
        .ok_or(Errno::NAMETOOLONG)
        .and_then(|path| rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()));
    // What is at its place is looked at first: of most processes, nothing else is.
    let Ok(folder) = folder else { return false };
    if !of_pipe(folder.as_fd(), c"3") || is_guardian(pid) {
        return false;
    }
    let mut writes = false;
    let listed = each_entry(folder.as_raw_fd(), |name| {
        // The link's mode says how it was opened (proc_pid_fd(5)). Not knowing is no reason to end a process; what is not there
        // any more, it has closed.
        let for_writing = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(link) => Mode::from_raw_mode(link.st_mode).contains(Mode::WUSR),
            Err(errno) => errno != Errno::NOENT,
        };
        writes |= for_writing
            && match rustix::fs::statat(&folder, name, AtFlags::empty()) {
                Ok(stat) => is_pipe(&stat, pipe),
                Err(errno) => errno != Errno::NOENT,
            };
    });
    listed.is_ok() && !writes
}

/// Whether a process says of itself that it is a guardian.
fn is_guardian(pid: u32) -> bool {
    let mut path = [0_u8; PATH];
    let mut title = [0_u8; TITLE.len()];
    let file = proc_path(&mut path, pid, b"/cmdline")
        .ok_or(Errno::NAMETOOLONG)
        .and_then(|path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()));
    // Not knowing is no reason to end it.
    file.and_then(|file| rustix::io::read(&file, &mut title)).map_or(true, |_| title == *TITLE.as_bytes())
}

/// A process that holds a writing end.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// Its name, as the kernel has it.
    pub(crate) name: String,
}

/// One writing end.
#[derive(Debug)]
struct End {
    /// When its process started: whoever inherited it from another one started later.
    start: u64,
    pid: u32,
    fd: u32,
}

impl End {
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", self.pid, self.fd)
    }
}

/// Who holds a writing end of this guardian's pipe, as far as this process may look.
///
/// Each client opens its own end, while a child inherits its parent's: of those who share one open file the first to start
/// is the client, and the others are none. Where the kernel does not tell who shares one, those are left out who have an
/// ancestor among the holders.
pub(crate) fn holders(_: Set, guardian: Option<(u32, &Process)>) -> io::Result<Vec<Holder>> {
    let Some((guardian, held)) = guardian else { return Ok(Vec::new()) };
    let pipe = fs::read_link(format!("/proc/{guardian}/fd/{GUARDIAN_WRITES}"))?;
    // While the guardian lives, the pid in the path is its own.
    if held.has_ended() {
        return Err(io::Error::other("the guardian has gone"));
    }
    let mut ends = Vec::new();
    for pid in numbers("/proc")?.filter(|&pid| pid != guardian) {
        ends_of(pid, &pipe, &mut ends);
    }
    ends.sort_by_key(|end| (end.start, end.pid, end.fd));
    let mut own: Vec<&End> = Vec::new();
    for end in &ends {
        let shares = |other: &&End| {
            let same = same_open_file((other.pid, other.fd), (end.pid, end.fd));
            same.unwrap_or_else(|| other.pid != end.pid && is_ancestor(other.pid, end.pid))
        };
        if !own.iter().any(shares) {
            own.push(end);
        }
    }
    own.sort_by_key(|end| end.pid);
    own.dedup_by_key(|end| end.pid);
    let named = own.into_iter().filter_map(|end| {
        let name = fs::read(format!("/proc/{}/comm", end.pid)).ok()?;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned();
        // It still holds it, and its number is still its own.
        let holds = fs::read_link(end.path()).is_ok_and(|target| target == pipe);
        (holds && Stat::of(end.pid).ok()?.start == end.start).then_some(Holder { pid: end.pid, name })
    });
    Ok(named.collect())
}

/// The entries of a folder whose names are numbers.
fn numbers(folder: &str) -> io::Result<impl Iterator<Item = u32> + use<>> {
    Ok(fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// A process's writing ends of this pipe. None where this process may not look, and none of a guardian's.
fn ends_of(pid: u32, pipe: &Path, ends: &mut Vec<End>) {
    let Ok(fds) = numbers(&format!("/proc/{pid}/fd")) else { return };
    let Ok(Stat { start, .. }) = Stat::of(pid) else { return };
    let mut found = fds.map(|fd| End { start, pid, fd }).filter(|end| {
        fs::read_link(end.path()).is_ok_and(|target| target == pipe)
            && fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", end.fd)).is_ok_and(|info| is_for_writing(&info))
    });
    if let Some(first) = found.next() {
        // One that is being made is not recorded yet.
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if !title.starts_with(TITLE.as_bytes()) {
            ends.push(first);
            ends.extend(found);
        }
    }
}

/// What fdinfo says of how a file was opened: `flags:`, in octal (proc_pid_fdinfo(5)).
fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| OFlags::from_bits_retain(flags) & OFlags::ACCMODE == OFlags::WRONLY)
}

/// A thread of this process that is not just ending.
fn living_thread(pid: u32) -> Option<u32> {
    numbers(&format!("/proc/{pid}/task")).ok()?.find(|&thread| lives(thread))
}

fn lives(thread: u32) -> bool {
    Stat::of(thread).is_ok_and(|stat| !stat.ending)
}

fn is_ancestor(ancestor: u32, pid: u32) -> bool {
    let mut pid = pid;
    while let Ok(Stat { parent, .. }) = Stat::of(pid)
        && parent != 0
    {
        if parent == ancestor {
            return true;
        }
        pid = parent;
    }
    false
}
