//! Processes that stay the same ones: a handle, and when it was created.

#![expect(unsafe_code, reason = "system calls")]

use super::object::owned;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::time::{Duration, Instant, SystemTime};
use windows_sys::Wdk::System::SystemInformation::{NtQuerySystemInformation, SystemProcessInformation};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER, FILETIME, HANDLE, STATUS_INFO_LENGTH_MISMATCH, UNICODE_STRING,
    WAIT_ABANDONED_0, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, GetProcessTimes, INFINITE, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, QueryFullProcessImageNameW, TerminateProcess, WaitForMultipleObjects,
};

/// A process, by a handle: as long as that is open, nobody else has its number.
#[derive(Debug)]
pub(crate) struct Process {
    handle: OwnedHandle,
    pid: u32,
    start: u64,
    /// Whether the handle allows to end it.
    is_ours: bool,
}

impl Process {
    /// The process that has this number now; `None` if there is none.
    pub(crate) fn open(pid: u32) -> io::Result<Option<Self>> {
        const LOOK: u32 = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        // Numbers are multiples of four, and the system takes others for the one below.
        if pid == 0 || !pid.is_multiple_of(4) {
            return Ok(None);
        }
        let open = |rights| {
            // SAFETY: takes three numbers.
            owned(unsafe { OpenProcess(rights, 0, pid) })
        };
        let (handle, is_ours) = match open(LOOK | PROCESS_TERMINATE) {
            Err(error) if is_denied(&error) => (open(LOOK), false),
            result => (result, true),
        };
        match handle {
            Ok(handle) => Ok(Some(Self { is_ours, ..Self::of_handle(handle, pid)? })),
            Err(error) if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER as i32) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The process behind this handle, which allows everything.
    pub(super) fn of_handle(handle: OwnedHandle, pid: u32) -> io::Result<Self> {
        let start = creation_time(handle.as_raw_handle())?;
        Ok(Self { handle, pid, start, is_ours: true })
    }

    /// The same as [`Process::open`].
    pub(crate) fn hold(pid: u32) -> io::Result<Option<Self>> {
        Self::open(pid)
    }

    /// The process that was recorded; `None` if it has gone, whoever has its number now.
    pub(crate) fn open_recorded(pid: u32, start: u64) -> io::Result<Option<Self>> {
        match Self::open(pid) {
            Ok(found) => Ok(found.filter(|process| process.start == start)),
            // Numbers are given anew soon, also to those that nobody but the system may open.
            Err(error) if is_denied(&error) => {
                let is_same = |other: &Listed| (other.pid, other.start) == (pid, start);
                if listed()?.iter().any(is_same) { Err(error) } else { Ok(None) }
            }
            Err(error) => Err(error),
        }
    }

    /// When it was created, in units of [`UNIT`] since 1970.
    pub(crate) const fn start(&self) -> u64 {
        self.start
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended. Somebody's open handle keeps the number of one that has.
    pub(crate) fn has_ended(&self) -> bool {
        self.wait(Some(0)).unwrap_or(false)
    }

    /// Waits until it has ended, at the most for that many milliseconds; says whether it has.
    pub(crate) fn wait(&self, milliseconds: Option<u64>) -> io::Result<bool> {
        Ok(wait_for_any(&[self.handle.as_handle()], milliseconds.map(Duration::from_millis))?.is_some())
    }

    /// Ends it at once; `Ok(false)` if it has gone.
    pub(super) fn terminate(&self) -> io::Result<bool> {
        /// What a shell on Unix says of a process that SIGKILL ended.
        const KILLED: u32 = 128 + 9;
        if self.has_ended() {
            return Ok(false);
        }
        // SAFETY: a handle to a process.
        if unsafe { TerminateProcess(self.handle.as_raw_handle(), KILLED) } != 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            // One that is about to end refuses, for as long as that takes.
            error if self.is_ours && is_denied(&error) => Ok(true),
            error => Err(error),
        }
    }

    /// Its exit code, once it has ended.
    pub(super) fn exit_code(&self) -> io::Result<u32> {
        let mut code = 0;
        // SAFETY: the kernel writes one number.
        match unsafe { GetExitCodeProcess(self.handle.as_raw_handle(), &raw mut code) } {
            0 => Err(io::Error::last_os_error()),
            _ => Ok(code),
        }
    }

    /// The name of its program.
    pub(super) fn name(&self) -> String {
        let mut path = [0_u16; 1024];
        let mut length = path.len() as u32;
        // SAFETY: the kernel writes no more than `length` units.
        let told =
            unsafe { QueryFullProcessImageNameW(self.handle.as_raw_handle(), 0, path.as_mut_ptr(), &raw mut length) };
        if told == 0 {
            return String::new();
        }
        let path = String::from_utf16_lossy(path.get(..length as usize).unwrap_or(&[]));
        path.rsplit('\\').next().unwrap_or_default().to_owned()
    }
}

impl AsHandle for Process {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

/// The unit of start times. A set has 45 bits for one.
const UNIT: Duration = Duration::from_micros(100);

fn is_denied(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32)
}

fn creation_time(process: HANDLE) -> io::Result<u64> {
    let [mut created, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the kernel writes four times.
    if unsafe { GetProcessTimes(process, &raw mut created, &raw mut ended, &raw mut kernel, &raw mut user) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(start_of(u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime)))
}

/// In units of [`UNIT`], the system's own time.
const fn start_of(ticks: u64) -> u64 {
    /// From 1601, where the system begins to count, to 1970, in its own unit of 100 nanoseconds.
    const EPOCH: u64 = 116_444_736_000_000_000;
    ticks.saturating_sub(EPOCH) / (UNIT.as_nanos() as u64 / 100)
}

/// A process, as the system lists it: also one that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) pid: u32,
    /// The number of the process that made it, which may have gone: then it may be another one's.
    pub(super) parent: u32,
    pub(super) start: u64,
}

/// All processes.
pub(super) fn listed() -> io::Result<Vec<Listed>> {
    /// How an entry begins.
    #[repr(C)]
    struct Entry {
        next: u32,
        threads: u32,
        sizes_and_cycles: [u64; 3],
        created: u64,
        times: [u64; 2],
        name: UNICODE_STRING,
        priority: i32,
        pid: usize,
        parent: usize,
    }
    let (mut buffer, mut needed) = (vec![0_u64; 32 << 10], 0);
    loop {
        let size = (buffer.len() * size_of::<u64>()) as u32;
        // SAFETY: the kernel writes no more than the buffer's size.
        let status = unsafe {
            NtQuerySystemInformation(SystemProcessInformation, buffer.as_mut_ptr().cast(), size, &raw mut needed)
        };
        match status {
            0.. => break,
            STATUS_INFO_LENGTH_MISMATCH => buffer.resize(buffer.len() * 2, 0),
            status => return Err(io::Error::other(format!("NtQuerySystemInformation says {status:#010x}"))),
        }
    }
    // SAFETY: the same memory.
    let mut rest = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), size_of_val(buffer.as_slice())) };
    let mut all = Vec::new();
    while rest.len() >= size_of::<Entry>() {
        // SAFETY: it lies in the buffer, where the entry before says that there is one.
        let entry = unsafe { rest.as_ptr().cast::<Entry>().read_unaligned() };
        all.push(Listed { pid: entry.pid as u32, parent: entry.parent as u32, start: start_of(entry.created) });
        if entry.next == 0 {
            break;
        }
        rest = rest.get(entry.next as usize..).unwrap_or(&[]);
    }
    Ok(all)
}

/// When a process was created that has this start time.
pub(crate) fn start_time(start: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + UNIT.saturating_mul(u32::try_from(start >> 20).unwrap_or(u32::MAX)) * (1 << 20)
        + UNIT * (start & 0xf_ffff) as u32
}

/// Milliseconds since the system started: a clock that all processes share.
pub(super) fn monotonic() -> u64 {
    // SAFETY: reads a clock.
    unsafe { GetTickCount64() }
}

/// What is left of the time until `milliseconds` of that clock.
pub(crate) fn time_until(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds.saturating_sub(monotonic()))
}

/// Whether the system has reached one of its limits, for instance on memory.
pub(crate) fn is_limit(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| super::set::Code(code).describe().0 == crate::error::ErrorKind::LimitReached)
}

/// How many handles one wait can have.
pub(super) const MOST_WAITED: usize = 64;

/// Waits until one of the objects is signalled, at the most for that long; says which, if one was.
pub(super) fn wait_for_any(objects: &[BorrowedHandle<'_>], time: Option<Duration>) -> io::Result<Option<usize>> {
    const LONGEST: u32 = INFINITE - 1;
    let handles: Vec<HANDLE> = objects.iter().take(MOST_WAITED).map(AsRawHandle::as_raw_handle).collect();
    let deadline = time.and_then(|time| Instant::now().checked_add(time));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let milliseconds = match left {
            None => INFINITE,
            // Not less than was asked for.
            Some(left) => u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(LONGEST).min(LONGEST),
        };
        // SAFETY: that many handles, which are borrowed for as long as this waits.
        let woken = unsafe { WaitForMultipleObjects(handles.len() as u32, handles.as_ptr(), 0, milliseconds) };
        match woken {
            WAIT_FAILED => return Err(io::Error::last_os_error()),
            WAIT_TIMEOUT => {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(None);
                }
            }
            // An abandoned mutex is one that is had.
            woken if woken >= WAIT_ABANDONED_0 => return Ok(Some((woken - WAIT_ABANDONED_0) as usize)),
            woken => return Ok(Some((woken - WAIT_OBJECT_0) as usize)),
        }
    }
}

/// Process numbers mean the same to all processes of the system.
#[expect(clippy::unnecessary_wraps, reason = "other systems cannot always say")]
pub(crate) fn namespace_fingerprint() -> Result<u32, crate::error::Error> {
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_started_a_while_ago() {
        let process = Process::open(std::process::id()).expect("it can be opened").expect("it lives");
        assert!(!process.has_ended());
        let age = start_time(process.start()).elapsed().expect("it started in the past");
        assert!(age < Duration::from_secs(600), "{age:?}");
        assert!(process.start() < 1 << 45, "it fits into a set");
        assert!(Process::open_recorded(process.pid(), process.start() + 1).expect("no error").is_none());
    }

    #[test]
    fn the_system_lists_the_same_starts() {
        let process = Process::open(std::process::id()).expect("it can be opened").expect("it lives");
        let listed = listed().expect("they can be listed");
        let this = listed.iter().find(|it| it.pid == process.pid()).expect("it is among them");
        assert_eq!(this.start, process.start());
        assert!(listed.iter().all(|it| it.pid != this.parent || it.start <= this.start), "{this:?}");
    }

    #[test]
    fn numbers_that_no_process_has() {
        for pid in [0, 1, 3, u32::MAX, u32::MAX - 3] {
            assert!(Process::open(pid).expect("no error").is_none(), "{pid}");
        }
    }
}
