//! Looking on without taking part: which services there are, who holds one, waiting for one to come or go, and stopping
//! one by hand.
//!
//! Nothing here counts as a client, starts anything or keeps anything alive. It needs no description of the service, only
//! its name.
//!
//! ```no_run
//! # fn main() -> procref::Result<()> {
//! for service in procref::observe::all()? {
//!     let status = service.status()?;
//!     println!("{}: {}, {} clients", service.name(), status.state, status.clients);
//! }
//! # Ok(())
//! # }
//! ```

use crate::command::ServiceCommand;
use crate::engine::status::{Status, status};
use crate::engine::{Spec, observe};
use crate::error::Result;
use crate::name::ServiceName;
use crate::options::{Settings, StopLadder};
use crate::sys::Set;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// All services of this user in this IPC namespace, on Windows in this session, sorted by name: from the kernel's list. One that
/// begins in this very instant has no name yet, and is left out.
///
/// The hints of each are looked for where they are by default; see [`Observed::runtime_dir`].
///
/// # Errors
///
/// [`System`](crate::ErrorKind::System): the kernel refuses to list them.
pub fn all() -> Result<Vec<Observed>> {
    let mut names = Set::names()?;
    names.sort();
    Ok(names.into_iter().map(|name| Observed { name, folder: None, command: None }).collect())
}

/// One service, by its full name, as it is seen from outside.
#[derive(Clone, Debug)]
pub struct Observed {
    name: ServiceName,
    folder: Option<PathBuf>,
    command: Option<ServiceCommand>,
}

/// Who holds or awaits a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clients {
    /// How many processes, as the kernel counts.
    pub count: u32,
    /// Those of them that could be found, sorted by number. See [`Observed::clients`].
    pub known: Vec<Client>,
}

/// A process that holds a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it: the first 15 bytes of the program's, unless the process has changed it.
    pub name: String,
}

/// What came of stopping a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stopped {
    /// It ran, and has been stopped.
    Stopped,
    /// There was nothing to stop.
    NotRunning,
}

/// What came of looking for what killed processes have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leftovers {
    /// It is in order as it is.
    Nothing,
    /// Something was left; now it is not.
    Finished,
}

impl Observed {
    /// The service of this name, whether or not there is one.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](crate::ErrorKind::InvalidName).
    pub fn new(name: &str) -> Result<Self> {
        Ok(Self { name: ServiceName::new(name)?, folder: None, command: None })
    }

    /// The folder for hints: the one that those who share the service name, or its metadata is not found. The default is
    /// that of [`runtime_dir`](crate::blocking::Builder::runtime_dir).
    #[must_use]
    pub fn runtime_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// How the service is declared, for [`stop`](Self::stop) and [`finish_leftovers`](Self::finish_leftovers): its
    /// [`stop_command`](ServiceCommand::stop_command), if it has one, takes the place of the ladder's first signal. Nothing is
    /// started.
    #[must_use]
    pub fn command(mut self, command: ServiceCommand) -> Self {
        self.command = Some(command);
        self
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// What the service is doing.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): the [folder](Self::runtime_dir) is not an absolute path. What lies under
    /// the name is not ours to look at; or the count was removed while the service was in use
    /// ([`SetRemoved`](crate::ErrorKind::SetRemoved)).
    pub fn status(&self) -> Result<Status> {
        status(&*self.look()?)
    }

    /// Who holds or awaits the service.
    ///
    /// # Platform-specific behavior
    ///
    /// The count is the kernel's, which does not tell who they are. On Linux they are found by the pipe to the guardian that
    /// each holds an end of. The list may be shorter than the count: who still waits for the first start, processes of other
    /// users or of sandboxes that may not be looked into, those who became another program without
    /// [keeping](crate::blocking::ServiceHandle::keep) their end, and everybody while no guardian is there. Where a client has
    /// let go, a child of it that was forked before may be named in its place. On Windows they are those who have written
    /// themselves into the service's record.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status).
    pub fn clients(&self) -> Result<Clients> {
        let (count, holders) = observe::clients(&*self.look()?)?;
        let known = holders.into_iter().map(|holder| Client { pid: holder.pid, name: holder.name }).collect();
        Ok(Clients { count, known })
    }

    /// Waits until the service is up, at the most for `limit`; without one, for as long as it takes. `Ok(false)`: the time was
    /// up. One whose process has ended is not up. It sleeps in the kernel until something happens.
    ///
    /// # Platform-specific behavior
    ///
    /// Where there is no such service yet, the hint is waited for that whoever starts it writes into the
    /// [folder](Self::runtime_dir): this has to be the same one, and one that can be written into.
    ///
    /// # Errors
    ///
    /// As [`status`](Self::status); or the folder cannot be watched.
    pub fn wait_until_up(&self, limit: Option<Duration>) -> Result<bool> {
        observe::wait_until_up(&*self.look()?, limit)
    }

    /// Waits until nothing of the service is there: nothing runs, and nothing is being started, recovered or stopped.
    /// `Ok(false)`: the time was up. One whose process has ended while processes hold it is there until it has been recovered
    /// and stopped, or they are gone. It sleeps in the kernel until something happens.
    ///
    /// # Errors
    ///
    /// As [`wait_until_up`](Self::wait_until_up). That the count was removed is none: then the service's process is waited for.
    pub fn wait_until_gone(&self, limit: Option<Duration>) -> Result<bool> {
        observe::wait_until_gone(&*self.look()?, limit)
    }

    /// Stops the service, as far as nobody holds it: one that lingers, or that was orphaned. Returns when it has ended. While
    /// another process starts, recovers or stops it, this waits for that.
    ///
    /// With `force` it is stopped whoever holds it. The processes that do stay counted, and find it dead: the next `acquire` of
    /// any starts it anew.
    ///
    /// `how` takes the place of the ladder of those who share the service. Their `on_last_release` is not called.
    ///
    /// # Errors
    ///
    /// [`InUse`](crate::ErrorKind::InUse): processes hold or await it, which the text names as far as they are
    /// [known](Self::clients). [`StopFailed`](crate::ErrorKind::StopFailed): it does not end, or it is not a process, so that only
    /// a callback could stop it. [`SetRemoved`](crate::ErrorKind::SetRemoved): it runs, but who holds it is not counted any more;
    /// it is not stopped, not even by force. And as [`status`](Self::status).
    pub fn stop(&self, how: &StopLadder, force: bool) -> Result<Stopped> {
        let stopped = observe::stop(&self.spec(how)?, force)?;
        Ok(if stopped { Stopped::Stopped } else { Stopped::NotRunning })
    }

    /// Finishes what killed processes have left: an instance that nobody holds and no guardian watches, which is stopped by the
    /// ladder, an empty semaphore set, files that no set vouches for. What somebody holds, awaits or watches is not touched; nor
    /// is a process that was counted in a set that somebody has removed, for its clients may live.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop), but for `InUse` and `SetRemoved`; or stale files cannot be removed.
    pub fn finish_leftovers(&self, how: &StopLadder) -> Result<Leftovers> {
        let finished = observe::finish_leftovers(&self.spec(how)?)?;
        Ok(if finished { Leftovers::Finished } else { Leftovers::Nothing })
    }

    /// As somebody who only looks has it.
    fn look(&self) -> Result<Arc<Spec>> {
        self.spec(&StopLadder::default())
    }

    fn spec(&self, ladder: &StopLadder) -> Result<Arc<Spec>> {
        let settings = Settings { folder: self.folder.clone(), ladder: ladder.clone(), ..Settings::default() };
        Spec::new(self.name(), settings, self.command.clone())
    }
}
