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

use crate::engine::{Spec, status};
use crate::error::Result;
use crate::name::ServiceName;
use crate::options::{Settings, StopLadder};
use crate::sys::Set;
use std::path::PathBuf;
use std::sync::Arc;

/// All services of this user in this IPC namespace, sorted by name: from the kernel's list of semaphore sets. One that
/// begins in this very instant has no name yet, and is left out.
///
/// The hints of each are looked for where they are by default; see [`Observed::runtime_dir`].
///
/// # Errors
///
/// [`System`](crate::ErrorKind::System): the kernel refuses to list semaphore sets.
pub fn all() -> Result<Vec<Observed>> {
    let mut names = Set::names()?;
    names.sort();
    Ok(names.into_iter().map(|name| Observed { name, folder: None }).collect())
}

/// One service, by its full name, as it is seen from outside.
#[derive(Clone, Debug)]
pub struct Observed {
    name: ServiceName,
    folder: Option<PathBuf>,
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
        Ok(Self { name: ServiceName::new(name)?, folder: None })
    }

    /// The folder for hints: the one that those who share the service name, or its metadata is not found. The default is
    /// that of [`runtime_dir`](crate::blocking::Builder::runtime_dir).
    #[must_use]
    pub fn runtime_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
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
    pub fn status(&self) -> Result<status::Status> {
        status::status(&*self.spec(&StopLadder::default())?)
    }

    fn spec(&self, ladder: &StopLadder) -> Result<Arc<Spec>> {
        let settings = Settings { folder: self.folder.clone(), ladder: ladder.clone(), ..Settings::default() };
        Spec::new(self.name(), settings, None)
    }
}
