//! Starting a service in its job, and leaving none of its descendants behind.
//!
//! Who starts it makes the process asleep, in the job, records it in the set, and only then lets it run: so there is no
//! moment in which a process runs that nobody knows of. Whoever is killed on the way closes a handle on the job.
//!
//! While any of its processes lives, the service's *mark* is there: a named event of which the service has a handle, and those
//! that it starts inherit one. It is how somebody who finds a fresh set knows that the kernel is still ending an earlier
//! instance. One that was started so that it inherits nothing has no mark, and ends with the others, perhaps a little later.

use super::guardian::{Launch, Stopper};
use super::job::killing_job;
use super::object::{self, Kind};
use super::process::Process;
use super::set::{Set, SetError};
use super::spawn::{Asleep, Spawn};
use super::witness::Witness;
use crate::protocol::set::CLIENTS;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::os::windows::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// What is to be started.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// An absolute path.
    pub(super) file: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Whether the kernel ends it when nobody holds it any more: 0 for not, on systems that can do without.
    pub(crate) floor_signal: i32,
}

impl Program {
    /// `file`, in that directory, with these arguments, of which the first is its name, and this environment and no other.
    ///
    /// # Errors
    ///
    /// A text cannot be handed to a program: it has a NUL.
    pub(crate) fn new<'a>(
        file: &Path,
        directory: &Path,
        arguments: impl IntoIterator<Item = &'a OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        floor_signal: i32,
    ) -> io::Result<Self> {
        let arguments: Vec<_> = arguments.into_iter().cloned().collect();
        let environment: Vec<_> = environment.into_iter().collect();
        let texts = arguments.iter().chain(environment.iter().flat_map(|(name, value)| [name, value]));
        for text in texts.map(OsString::as_os_str).chain([file.as_os_str(), directory.as_os_str()]) {
            if text.as_encoded_bytes().contains(&0) {
                let what = format!("{text:?} has a NUL, which no argument can have");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
        }
        Ok(Self { file: file.to_owned(), directory: directory.to_owned(), arguments, environment, floor_signal })
    }
}

impl Program {
    /// The process, asleep, in this job and with this output. `apart`: it may have to outlive this process.
    fn asleep(&self, log: &File, job: BorrowedHandle<'_>, apart: bool) -> io::Result<Asleep> {
        let (nothing, log) = (OpenOptions::new().read(true).open("NUL")?, log.as_handle());
        let spawn = Spawn {
            program: &self.file,
            arguments: &self.arguments,
            directory: Some(&self.directory),
            environment: Some(&self.environment),
            standard: [nothing.as_handle(), log, log],
            job: Some(job),
            apart,
        };
        spawn.asleep()
    }
}

/// Whether two names mean the same variable of the environment.
pub(crate) fn is_same_variable(a: &OsStr, b: &OsStr) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Another service that a service needs, and holds by itself: a reference in its set, and its job.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) set: Set,
    pub(crate) witness: Witness,
}

/// What has come of a start.
#[derive(Debug)]
pub(crate) struct Reports(Option<io::Result<Process>>);

impl Reports {
    /// Nothing was to be started.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) const fn of(started: io::Result<Process>) -> Self {
        Self(Some(started))
    }

    /// The service that was started, its process and when that started; `Ok(None)`: another one came in between. The error of
    /// the step that failed.
    pub(crate) fn started(&mut self) -> io::Result<Option<(u32, u64)>> {
        match self.0.take() {
            Some(Ok(process)) => {
                let started = (process.pid(), process.start());
                self.0 = Some(Ok(process));
                Ok(Some(started))
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Some(Err(error)) => Err(error),
            None => Err(io::Error::other("nothing was to be started")),
        }
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self, milliseconds: u64) -> io::Result<Option<ExitStatus>> {
        let Some(Ok(process)) = &self.0 else { return Ok(None) };
        if !process.wait(Some(milliseconds))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Some(ExitStatus::from_raw(process.exit_code()?)))
    }
}

/// Starts a service in the job that this process holds. `guardian`: the number of the guardian that watches, 0 where the kernel is it.
pub(super) fn start(set: Set, job: &Witness, launch: &Launch, guardian: u32) -> io::Result<Process> {
    // Nothing is recorded, so whatever is there was made by somebody who was killed before it could be let go.
    job.end_all()?;
    let mark = new_mark(set)?;
    let asleep = launch.program.asleep(&launch.log, job.as_handle(), true)?;
    asleep.give_to_all(mark.as_handle())?;
    drop(mark);
    for lock in &launch.keep {
        asleep.give(lock.as_handle())?;
    }
    let process = asleep.process().ok_or(io::ErrorKind::Other)?;
    for need in &launch.needs {
        asleep.give(need.witness.as_handle())?;
        need.set.hold_for(CLIENTS, process, |handle| asleep.give(handle)).map_err(io::Error::from)?;
    }
    let (pid, start) = (process.pid(), process.start());
    let snapshot = set.snapshot().map_err(io::Error::from)?;
    match set.apply(&snapshot.announcing(pid, start, guardian, job.number())) {
        Ok(()) => asleep.wake(),
        Err(SetError::Refused) => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// A new mark, when the one before has gone: the kernel ends what nobody holds any more, and that takes a moment.
pub(super) fn new_mark(set: Set) -> io::Result<OwnedHandle> {
    /// How long the kernel may take.
    const ENDING: Duration = Duration::from_secs(10);
    /// Nothing tells when a name goes.
    const LOOK_AGAIN: Duration = Duration::from_millis(2);
    let deadline = Instant::now() + ENDING;
    loop {
        let (mark, made) = object::create(Kind::Event, &set.common_name("mark"))?;
        if made {
            return Ok(mark);
        }
        drop(mark);
        if Instant::now() >= deadline {
            let what = "a process of an earlier instance, whose clients have all gone, does not end";
            return Err(io::Error::new(io::ErrorKind::TimedOut, what));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Ends all that is left of a service whose main process has gone.
pub(crate) fn sweep(set: Set, _: u32, _: u64, _: Option<u32>) {
    match Witness::open(set) {
        Ok(Some(job)) => {
            if let Err(error) = job.end_all() {
                tracing::error!(%error, "cannot end what is left of a service");
            }
        }
        Ok(None) => {}
        Err(error) => tracing::error!(%error, "cannot open a service's job"),
    }
}

/// The same for an instance of which only a file tells: its job has gone with whoever held it, and all that was in it.
pub(crate) const fn sweep_marked(_: u32, _: u64) {}

/// Starts the command that asks a service to stop. What is left of it ends when its job is dropped.
pub(super) fn ask_to_stop(stopper: &Stopper) -> io::Result<OwnedHandle> {
    let job = killing_job()?;
    stopper.program.asleep(&stopper.log, job.as_handle(), false)?.wake()?;
    Ok(job)
}
