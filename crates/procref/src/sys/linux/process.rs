//! Processes by pidfd (pidfd_open(2)): a process that stays the same one.
//!
//! A pid is only an address while somebody holds the process. A recorded process is therefore a pid *and* the time it
//! started at; it is held by a pidfd before it is looked at, and signalled only through that. A readable pidfd proves
//! death. State `Z` in /proc proves nothing: a process whose main thread has ended shows it while it lives.
//!
//! The guardian uses [`stop`] and [`Process`] too: nothing here allocates on the way there.

use super::raw;
use crate::error::{Error, ErrorKind};
use crate::options::{StopSignal, StopStep};
use crate::sys::PerProcess;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use std::ffi::CStr;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

pub(crate) use rustix::process::Signal;

/// The number of the signal that nothing withstands: the last step of every ladder.
pub(crate) const FORCE: i32 = libc::SIGKILL;

/// The number that a step of a ladder has for this signal.
pub(crate) const fn signal_number(signal: StopSignal) -> i32 {
    match signal {
        StopSignal::Terminate => libc::SIGTERM,
        StopSignal::Interrupt => libc::SIGINT,
        StopSignal::Quit => libc::SIGQUIT,
        StopSignal::Hangup => libc::SIGHUP,
        StopSignal::User1 => libc::SIGUSR1,
        StopSignal::User2 => libc::SIGUSR2,
    }
}

/// Whether the system has reached one of its limits, for instance on open files.
pub(crate) fn is_limit(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOSPC | libc::ENOMEM))
}

/// A process, held: its number is not given to another one in what this can do with it.
#[derive(Debug)]
pub(crate) struct Process {
    pidfd: OwnedFd,
    start: u64,
}

impl Process {
    /// The process that has this number now; `None` if there is none.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(held) = Self::hold(pid)? else { return Ok(None) };
        // Read after the pidfd was opened: while the process can still be found, it is the one that is held.
        match Stat::of(pid) {
            Ok(stat) => Ok(Some(Self { start: stat.start, ..held })),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same for who knows by other means that it is the right one: when it started is not looked up.
    pub(crate) fn hold(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { pidfd, start: 0 })),
            // A thread that is not the first one of its process has a number that no process has.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The process that was recorded; `None` if it has gone, whoever has its number now.
    pub(crate) fn open_recorded(pid: u32, start: u64) -> io::Result<Option<Self>> {
        Ok(Self::open(pid)?.filter(|process| process.start == start))
    }

    /// When it started, in clock ticks since boot.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    /// Whether it has ended, reaped or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.wait(Some(0)).unwrap_or(false)
    }

    /// Sends a signal; `Ok(false)` if it has gone.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended, at the most for that many milliseconds; says whether it has.
    pub(crate) fn wait(&self, milliseconds: Option<u64>) -> io::Result<bool> {
        readable(self.pidfd.as_fd(), milliseconds)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Waits until a descriptor is readable or hung up. A signal does not shorten or lengthen the wait.
pub(super) fn readable(fd: BorrowedFd<'_>, milliseconds: Option<u64>) -> io::Result<bool> {
    any_readable(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], milliseconds)
}

/// The same for several.
pub(super) fn any_readable(fds: &mut [PollFd<'_>], milliseconds: Option<u64>) -> io::Result<bool> {
    // The common question "now?" needs no clock.
    let deadline = milliseconds.map(|time| match time {
        0 => 0,
        time => raw::monotonic().saturating_add(time.saturating_mul(1_000_000)),
    });
    loop {
        let left = deadline.map(|deadline| match deadline {
            0 => 0,
            deadline => deadline.saturating_sub(raw::monotonic()),
        });
        let time =
            left.map(|left| Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as _ });
        match poll(fds, time.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Makes sure that a process ends: each step's signal, then that step's grace, then the next step. `asked`: somebody
/// has just asked it to end in some other way, so it is first given the first step's grace for that. Says whether it
/// has gone.
pub(crate) fn stop(process: &Process, steps: &[StopStep], asked: bool) -> io::Result<bool> {
    if asked && process.wait(steps.first().map(|step| step.grace))? {
        return Ok(true);
    }
    for step in steps {
        if let Some(signal) = Signal::from_named_raw(step.signal)
            && !process.signal(signal)?
        {
            return Ok(true);
        }
        if process.wait(Some(step.grace))? {
            return Ok(true);
        }
    }
    Ok(process.has_ended())
}

/// The same for a process that a command has asked to end, in place of the first step's signal.
pub(crate) fn stop_asked(process: &Process, steps: &[StopStep]) -> io::Result<bool> {
    match steps {
        // The last one is force, and always comes.
        [first, rest @ ..] if !rest.is_empty() => Ok(process.wait(Some(first.grace))? || stop(process, rest, false)?),
        _ => stop(process, steps, true),
    }
}

/// When a process started that started so many clock ticks after boot. Always the same answer in one program: by the
/// clock as it was when that was first asked.
pub(crate) fn start_time(ticks: u64) -> SystemTime {
    /// USER_HZ of every architecture that this runs on.
    const TICK: u64 = 1_000_000_000 / 100;
    static BOOT: OnceLock<u64> = OnceLock::new();
    let boot = BOOT.get_or_init(|| raw::clock(libc::CLOCK_REALTIME).saturating_sub(raw::clock(libc::CLOCK_BOOTTIME)));
    SystemTime::UNIX_EPOCH + Duration::from_nanos(boot.saturating_add(ticks.saturating_mul(TICK)))
}

/// What is left of the time until `milliseconds` of the monotonic clock.
pub(crate) fn time_until(milliseconds: u64) -> Duration {
    Duration::from_nanos(milliseconds.saturating_mul(1_000_000).saturating_sub(raw::monotonic()))
}

/// What /proc says of a process, beside what a pidfd says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    pub(super) session: u32,
    /// In clock ticks since boot.
    pub(super) start: u64,
}

impl Stat {
    /// /proc/PID/stat (proc_pid_stat(5)).
    pub(super) fn of(pid: u32) -> Result<Self, Errno> {
        let mut path = [0_u8; PATH];
        let path = proc_path(&mut path, pid, b"/stat").ok_or(Errno::NAMETOOLONG)?;
        let file = retry_on_intr(|| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))?;
        // Longer than the line: a name of 16 bytes and 51 numbers. It is one read, so it is of one moment.
        let mut line = [0_u8; 1200];
        let len = retry_on_intr(|| rustix::io::read(&file, &mut line))?;
        Self::parse(line.get(..len).unwrap_or(&[])).ok_or(Errno::SRCH)
    }

    /// The process's name, in parentheses, may hold anything, also parentheses and spaces: count from the last one.
    fn parse(line: &[u8]) -> Option<Self> {
        let after_name = line.iter().rposition(|&byte| byte == b')')? + 2;
        let field = |number: usize| {
            let field = line.get(after_name..)?.split(|&byte| byte == b' ').nth(number - 3)?;
            field.iter().try_fold(0_u64, |sum, byte| {
                byte.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')))
            })
        };
        Some(Self { parent: field(4)? as u32, session: field(6)? as u32, start: field(22)? })
    }
}

/// The longest path that [`proc_path`] makes.
pub(super) const PATH: usize = 32;

/// `/proc/PID` and a file in it. Nothing allocates.
pub(super) fn proc_path<'a>(buffer: &'a mut [u8; PATH], pid: u32, file: &[u8]) -> Option<&'a CStr> {
    let mut digits = [0_u8; 10];
    let mut first = digits.len();
    let mut rest = pid;
    while rest > 0 || first == digits.len() {
        first = first.checked_sub(1)?;
        *digits.get_mut(first)? = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let parts = [b"/proc/".as_slice(), digits.get(first..)?, file];
    for (slot, byte) in buffer.iter_mut().zip(parts.into_iter().flatten().chain(b"\0")) {
        *slot = *byte;
    }
    CStr::from_bytes_until_nul(buffer).ok()
}

/// The user whose services these are.
pub(crate) fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// 30 bits that differ between PID or time namespaces: in another one a recorded pid is another process, and a start
/// time another time (time_namespaces(7)). 0 stands for one that this kernel does not have.
///
/// # Errors
///
/// The system does not say now. A guess would make strangers of processes that share a service.
pub(crate) fn namespace_fingerprint() -> Result<u32, Error> {
    static FINGERPRINT: PerProcess<u32> = PerProcess::new();
    let read = || {
        let inode = |path| match rustix::fs::stat(path) {
            Ok(stat) => Ok(stat.st_ino),
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(errno),
        };
        let inodes = [inode("/proc/self/ns/pid")?, inode("/proc/self/ns/time")?];
        Ok::<_, Errno>(crate::name::fingerprint(inodes.map(u64::to_le_bytes).as_flattened()))
    };
    FINGERPRINT.get_or_try_init(read).copied().map_err(|errno| {
        let what = "cannot tell in which PID and time namespaces this process is, from /proc/self/ns";
        Error::new(ErrorKind::System, what).source(io::Error::from(errno))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) b) c) S 7 8 9 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 424242 20 21\n";
        assert_eq!(Stat::parse(line), Some(Stat { parent: 7, session: 9, start: 424_242 }));
        for line in [b"".as_slice(), b"42 (x) S 1", b"42 (x", b"42 (x)"] {
            assert_eq!(Stat::parse(line), None);
        }
    }

    #[test]
    fn paths_of_all_lengths() {
        assert_eq!(proc_path(&mut [0; PATH], 0, b"/stat"), Some(c"/proc/0/stat"));
        assert_eq!(proc_path(&mut [0; PATH], 4_194_303, b"/environ"), Some(c"/proc/4194303/environ"));
        assert_eq!(proc_path(&mut [0; PATH], u32::MAX, b"/environ"), Some(c"/proc/4294967295/environ"));
        assert_eq!(proc_path(&mut [0; PATH], u32::MAX, b"/a-file-with-a-name-that-is-long"), None);
    }

    #[test]
    fn a_zombie_is_dead_and_a_pid_with_another_start_is_somebody_else() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
        let process = Process::open(child.id()).expect("it can be opened").expect("it lives");
        assert!(!process.has_ended());
        assert!(Process::open_recorded(child.id(), process.start() + 1).expect("it can be opened").is_none());
        assert!(process.signal(Signal::KILL).expect("it can be signalled"));
        assert!(process.wait(None).expect("it can be awaited"), "a zombie, not reaped");
        let zombie = Process::open(child.id()).expect("it can be opened").expect("its number is taken");
        assert!(zombie.has_ended());
        child.wait().expect("it can be reaped");
        assert!(Process::open(child.id()).expect("no error").is_none());
    }

    #[test]
    fn numbers_that_no_process_has() {
        for pid in [0, i32::MAX as u32, u32::MAX] {
            assert!(Process::open(pid).expect("no error").is_none(), "{pid}");
        }
    }
}
