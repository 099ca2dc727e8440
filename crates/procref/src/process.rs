//! Processes, looked at and ended without hitting a stranger.
//!
//! A process number is only an address: when a process has gone, the system gives its number to somebody else. All
//! functions here hold the process, on Linux by a pidfd, while they deal with it, take a zombie for dead, and, where procref
//! knows when the process started (every [`ServiceInfo`](crate::ServiceInfo) that this program was given), take a
//! process that started at another time for another one. [`Process`] keeps that knowledge for any process.
//!
//! ```ignore-windows
//! use procref::process::{self, Process, SignalOutcome};
//! use std::time::Duration;
//!
//! # fn main() -> procref::Result<()> {
//! let mut child = std::process::Command::new("sleep").arg("60").spawn()?;
//! let held = Process::from_pid(child.id())?.expect("it has just been started");
//! assert!(process::is_alive(child.id()));
//! assert!(process::stop(child.id(), Duration::from_secs(5))?);
//! assert!(!held.is_alive(), "a zombie is dead");
//! child.wait()?;
//! assert_eq!(process::terminate(child.id()), SignalOutcome::NotRunning);
//! # Ok(())
//! # }
//! ```

use crate::error::{Error, Result};
use crate::options::StopStep;
use crate::sys::words::SIGNAL;
use crate::sys::{self, PerProcess, Signal};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What became of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalOutcome {
    /// It was sent.
    Sent,
    /// There is no such process any more, or the number is now another process's: nothing was sent.
    NotRunning,
    /// The process belongs to somebody else.
    NotPermitted,
    /// It lives, and has no ear for that: see [`terminate`].
    CannotBeAsked,
}

/// When the processes started that this program was told of, and how many times it was told.
fn known() -> &'static Mutex<HashMap<u32, (u64, usize)>> {
    static KNOWN: PerProcess<Mutex<HashMap<u32, (u64, usize)>>> = PerProcess::new();
    let Ok(known) = KNOWN.get_or_try_init(|| Ok::<_, Infallible>(Mutex::default()));
    known
}

/// As long as this exists, a number means the process that started then.
#[derive(Debug)]
pub(crate) struct Known {
    pid: u32,
    start: u64,
}

impl Known {
    pub(crate) fn new(pid: u32, start: u64) -> Self {
        let mut known = known().lock().unwrap_or_else(PoisonError::into_inner);
        match known.entry(pid).or_insert((start, 0)) {
            (known, count) if *known == start => *count += 1,
            // The number was another process's.
            stale => *stale = (start, 1),
        }
        Self { pid, start }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut known = known().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((start, count)) = known.get_mut(&self.pid)
            && *start == self.start
        {
            *count -= 1;
            if *count == 0 {
                known.remove(&self.pid);
            }
        }
    }
}

fn open(pid: Option<u32>) -> std::io::Result<Option<sys::Process>> {
    let Some(pid) = pid else { return Ok(None) };
    let start = known().lock().unwrap_or_else(PoisonError::into_inner).get(&pid).copied();
    match start {
        Some((start, _)) => sys::Process::open_recorded(pid, start),
        None => sys::Process::open(pid),
    }
}

/// Whether the process runs. A zombie does not. No pid, and the pid 0, is no process.
#[must_use]
pub fn is_alive(pid: impl Into<Option<u32>>) -> bool {
    matches!(open(pid.into()), Ok(Some(process)) if !process.has_ended())
}

/// Asks the process to end (`SIGTERM`). Does not wait. No pid, and the pid 0, is no process.
///
/// # Platform-specific behavior
///
/// On Windows its windows are asked to close (`WM_CLOSE`). Where it has none that can be seen, Ctrl-Break goes to its console
/// group, if nobody else has its console, who would hear it, too: whoever starts it gives it one of its own, by the
/// flags `CREATE_NO_WINDOW` and `CREATE_NEW_PROCESS_GROUP`. If neither is possible, the answer is
/// [`CannotBeAsked`](SignalOutcome::CannotBeAsked). procref's own declared services are started so.
pub fn terminate(pid: impl Into<Option<u32>>) -> SignalOutcome {
    signal(pid.into(), Signal::TERM)
}

/// Ends the process by force (`SIGKILL`, on Windows `TerminateProcess`). Does not wait. No pid, and the pid 0, is no process.
pub fn kill(pid: impl Into<Option<u32>>) -> SignalOutcome {
    signal(pid.into(), Signal::KILL)
}

fn signal(pid: Option<u32>, signal: Signal) -> SignalOutcome {
    match open(pid) {
        Ok(Some(process)) => signal_held(&process, signal),
        Ok(None) => SignalOutcome::NotRunning,
        Err(_) => SignalOutcome::NotPermitted,
    }
}

/// The system takes signals for a zombie, too, and nothing comes of them.
fn signal_held(process: &sys::Process, signal: Signal) -> SignalOutcome {
    if process.has_ended() {
        return SignalOutcome::NotRunning;
    }
    match process.signal(signal) {
        Ok(true) => SignalOutcome::Sent,
        Ok(false) => SignalOutcome::NotRunning,
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => SignalOutcome::CannotBeAsked,
        Err(_) => SignalOutcome::NotPermitted,
    }
}

/// Asks the process to end (`SIGTERM`), gives it `grace`, then ends it by force (`SIGKILL`). Returns when it has ended,
/// at once if it had. `Ok(false)`: not even force ended it within ten more seconds.
///
/// This blocks; in a task, call it by `spawn_blocking`.
///
/// # Errors
///
/// The process cannot be looked at or signalled: it belongs to somebody else.
pub fn stop(pid: impl Into<Option<u32>>, grace: Duration) -> Result<bool> {
    let pid = pid.into();
    let Some(process) = open(pid).map_err(|error| cannot("look at", pid, error))? else { return Ok(true) };
    sys::stop(&process, &steps(grace), false).map_err(|error| cannot(SIGNAL, pid, error))
}

fn steps(grace: Duration) -> Vec<StopStep> {
    crate::options::StopLadder::new(crate::options::StopSignal::Terminate, grace).raw()
}

fn cannot(verb: &str, pid: Option<u32>, error: std::io::Error) -> Error {
    let what = format!("cannot {verb} the process {}", pid.unwrap_or(0));
    Error::new(crate::error::ErrorKind::System, what).source(error)
}

/// A process that stays the same one, whoever gets its number when it has ended.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    held: sys::Process,
}

impl Process {
    /// The process with this number; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The system refuses to say: too many open files, or, on Linux, no `/proc`.
    pub fn from_pid(pid: u32) -> Result<Option<Self>> {
        let held = open(Some(pid)).map_err(|error| cannot("look at", Some(pid), error))?;
        Ok(held.map(|held| Self { pid, held }))
    }

    /// Its number. Once it has ended, the number may be another process's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.held.has_ended()
    }

    /// Asks it to end (`SIGTERM`). Does not wait.
    pub fn terminate(&self) -> SignalOutcome {
        self.signal(Signal::TERM)
    }

    /// Ends it by force (`SIGKILL`). Does not wait.
    pub fn kill(&self) -> SignalOutcome {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> SignalOutcome {
        signal_held(&self.held, signal)
    }

    /// Waits until it has ended, at the most for `time`; says whether it has. Without `time` for as long as it takes.
    ///
    /// # Errors
    ///
    /// The system cannot wait.
    pub fn wait(&self, time: impl Into<Option<Duration>>) -> Result<bool> {
        let milliseconds = time.into().map(|time| time.as_millis().try_into().unwrap_or(u64::MAX));
        self.held.wait(milliseconds).map_err(|error| cannot("wait for", Some(self.pid), error))
    }

    /// As [`stop`], for this very process.
    ///
    /// # Errors
    ///
    /// It cannot be signalled: it belongs to somebody else.
    pub fn stop(&self, grace: Duration) -> Result<bool> {
        sys::stop(&self.held, &steps(grace), false).map_err(|error| cannot(SIGNAL, Some(self.pid), error))
    }
}
