//! What can be set for a service.

use crate::error::{Error, ErrorKind};
use crate::sys::{FORCE, signal_number};
use std::path::PathBuf;
use std::time::Duration;

/// One step of a stop ladder, as the guardian has it: the signal's number, and the grace in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StopStep {
    pub(crate) signal: i32,
    pub(crate) grace: u64,
}

/// The most steps that a ladder has, with `SIGKILL`.
pub(crate) const MOST_STEPS: usize = 8;

/// How long a process may take to be gone after `SIGKILL` before that is an error.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// A signal that asks a service to stop.
///
/// # Platform-specific behavior
///
/// Windows has none: there each of them asks in the same way, as [`process::terminate`](crate::process::terminate) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopSignal {
    /// `SIGTERM`: what most services take as "finish and end".
    Terminate,
    /// `SIGINT`: PostgreSQL's fast shutdown, for instance.
    Interrupt,
    /// `SIGQUIT`: nginx's graceful shutdown, for instance.
    Quit,
    /// `SIGHUP`.
    Hangup,
    /// `SIGUSR1`.
    User1,
    /// `SIGUSR2`.
    User2,
}

/// How a service is made to stop: a signal, some grace, the next signal, …, and in the end `SIGKILL`.
///
/// The guardian goes down this ladder when the last client was killed; a client does when its `on_last_release` has
/// not made the service end, and when an instance that nobody vouches for has to be finished before a new start.
///
/// The default is `SIGTERM` and 10 seconds.
///
/// # Platform-specific behavior
///
/// On Windows each step asks in the same way, the last one is `TerminateProcess`, and only who releases the service as the last
/// one goes down the ladder, or the guardian of a service that lingers: when the last client was killed, the kernel ends the
/// service at once.
///
/// ```
/// use procref::{StopLadder, StopSignal};
/// use std::time::Duration;
///
/// // PostgreSQL: SIGTERM would wait for connected clients.
/// let ladder = StopLadder::new(StopSignal::Interrupt, Duration::from_secs(20))
///     .then(StopSignal::Quit, Duration::from_secs(5));
/// # let _ = ladder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopLadder {
    steps: Vec<(StopSignal, Duration)>,
}

impl StopLadder {
    /// `signal`, then `grace`, then `SIGKILL`.
    #[must_use]
    pub fn new(signal: StopSignal, grace: Duration) -> Self {
        Self { steps: vec![(signal, grace)] }
    }

    /// One more signal and its grace before `SIGKILL`. A ladder has up to seven.
    #[must_use]
    pub fn then(mut self, signal: StopSignal, grace: Duration) -> Self {
        self.steps.push((signal, grace));
        self
    }

    /// `SIGKILL` at once.
    #[must_use]
    pub const fn kill() -> Self {
        Self { steps: Vec::new() }
    }

    pub(crate) fn raw(&self) -> Vec<StopStep> {
        let milliseconds = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
        let asked = self
            .steps
            .iter()
            .map(|(signal, grace)| StopStep { signal: signal_number(*signal), grace: milliseconds(*grace) });
        asked.chain([StopStep { signal: FORCE, grace: milliseconds(AFTER_KILL) }]).collect()
    }
}

impl Default for StopLadder {
    fn default() -> Self {
        Self::new(StopSignal::Terminate, Duration::from_secs(10))
    }
}

/// All settings of a service, callbacks apart.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) acquire_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    pub(crate) health_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) ladder: StopLadder,
    pub(crate) folder: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            acquire_timeout: None,
            start_timeout: Duration::from_secs(60),
            health_timeout: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(30),
            linger: Duration::ZERO,
            ladder: StopLadder::default(),
            folder: None,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
        if self.ladder.steps.len() >= MOST_STEPS {
            return wrong(format!(
                "the stop ladder has {} signals, and may have {}",
                self.ladder.steps.len(),
                MOST_STEPS - 1
            ));
        }
        if let Some(folder) = &self.folder {
            if !folder.is_absolute() {
                return wrong(format!("the runtime folder {} is not an absolute path", folder.display()));
            }
            // The name, the number of a namespace and an ending have to fit, too.
            if folder.as_os_str().len() > crate::sys::guardian::MOST_PATH - 128 {
                return wrong(format!(
                    "the runtime folder's path has {} bytes, which is too long",
                    folder.as_os_str().len()
                ));
            }
            if folder.as_os_str().as_encoded_bytes().contains(&0) {
                return wrong("the runtime folder's path has a NUL byte".into());
            }
        }
        Ok(())
    }
}

/// The settings that both builders have; they differ only in their callbacks.
macro_rules! setters {
    () => {
        /// How long an `acquire` waits at the most before it fails with
        /// [`TimedOut`](crate::ErrorKind::TimedOut), whatever it waits for. A start that it has begun goes on without
        /// it. No limit by default.
        pub fn acquire_timeout(mut self, limit: Duration) -> Self {
            self.settings.acquire_timeout = Some(limit);
            self
        }

        /// How long `on_first_acquire` and `on_recover` may take. 60 seconds by default.
        pub fn start_timeout(mut self, limit: Duration) -> Self {
            self.settings.start_timeout = limit;
            self
        }

        /// How long `on_health_check` may take; what takes longer is unhealthy. 5 seconds by default.
        pub fn health_timeout(mut self, limit: Duration) -> Self {
            self.settings.health_timeout = limit;
            self
        }

        /// How long `on_last_release` may take. After that, and when it has failed, the service is stopped by the
        /// [stop ladder](Self::stop_ladder). 30 seconds by default.
        pub fn stop_timeout(mut self, limit: Duration) -> Self {
            self.settings.stop_timeout = limit;
            self
        }

        /// How long the service stays after its last client has gone, in case another one comes. Not at all by
        /// default.
        ///
        /// When the time is over, the process that let go last calls `on_last_release`, on a thread of its own. If it
        /// has ended by then, the guardian stops the service by the [stop ladder](Self::stop_ladder). Only a service
        /// with a [pid](crate::ServiceInfo::pid) can linger.
        pub fn linger(mut self, time: Duration) -> Self {
            self.settings.linger = time;
            self
        }

        /// How the service is made to stop where no callback does it. `SIGTERM`, 10 seconds and `SIGKILL` by default.
        pub fn stop_ladder(mut self, ladder: crate::StopLadder) -> Self {
            self.settings.ladder = ladder;
            self
        }

        /// The service is this command, in place of the callbacks that start, recover and stop it. It is stopped by the
        /// [stop ladder](Self::stop_ladder), and none of its descendants is left.
        pub fn command(mut self, command: crate::ServiceCommand) -> Self {
            self.command = Some(command);
            self
        }

        /// The folder for hints: metadata, and the causes of failed starts. All programs that share a service must
        /// name the same one. By default `/run/user/UID/procref` where the system has made `/run/user/UID`, else
        /// `/tmp/procref-UID`; on Windows `%LOCALAPPDATA%\procref\run`. It is made where it is missing, and removed with the last file in it.
        pub fn runtime_dir(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
            self.settings.folder = Some(folder.into());
            self
        }
    };
}
pub(crate) use setters;
