//! The kernel's count alone, for those who want nothing else.

use crate::error::{Error, ErrorKind, Result};
use crate::name::ServiceName;
use crate::protocol::set::{AWAIT_UNLOCKED, COUNT_ANOTHER, COUNT_FIRST, LEAVE_LAST, LEAVE_NOT_LAST, TAKE_LOCK, UNLOCK};
use crate::sys::{self, Set, SetError};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an acquired reference was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acquired {
    /// There was none before: 0 → 1.
    First,
    /// There were others.
    Another,
}

/// What a released reference was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Released {
    /// There is none any more: 1 → 0.
    Last,
    /// There are others.
    NotLast,
}

/// A count of references that several processes keep together.
///
/// The count is kept by the kernel: a process that ends, however it ends, has released all of its references. Each
/// answer belongs to the very change that was made: of a hundred processes that acquire at once, one is
/// [`First`](Acquired::First).
pub trait RefCounter: Send + Sync {
    /// The name that the count goes by.
    fn name(&self) -> &str;

    /// Takes one more reference.
    ///
    /// # Errors
    ///
    /// What lies under the name is not ours to use, a limit was reached, or the system cannot count.
    fn acquire(&self) -> Result<Acquired>;

    /// Gives one reference back that this object has taken, in this process.
    ///
    /// # Errors
    ///
    /// This object has none to give back, or the count has been removed ([`ErrorKind::SetRemoved`]).
    fn release(&self) -> Result<Released>;

    /// How many references there are, in all processes.
    ///
    /// # Errors
    ///
    /// What lies under the name is not ours to use, or the count has been removed while references of this object
    /// were counted ([`ErrorKind::SetRemoved`]): then nobody knows, and it is not 0.
    fn count(&self) -> Result<u32>;
}

/// The reference count of this system: on Linux a System V semaphore with `SEM_UNDO`, on Windows handles on a named one.
///
/// A counter and a [`SharedService`](crate::blocking::SharedService) of the same name have nothing to do with each
/// other. Nothing happens when the last process that holds a reference is killed: a count alone stops nothing, which is
/// what services are for. Dropping the counter releases the references that it took in this process.
///
/// ```
/// use procref::{Acquired, PlatformRefCounter, RefCounter, Released};
///
/// # fn main() -> procref::Result<()> {
/// let counter = PlatformRefCounter::new("doc-counter")?;
/// assert_eq!(counter.acquire()?, Acquired::First);
/// assert_eq!(counter.acquire()?, Acquired::Another);
/// assert_eq!(counter.count()?, 2);
/// assert_eq!(counter.release()?, Released::NotLast);
/// assert_eq!(counter.release()?, Released::Last);
/// # Ok(())
/// # }
/// ```
///
/// # Platform-specific behavior
///
/// On Linux, threads that have called `unshare(CLONE_SYSVSEM)`, and those that they make, can neither acquire nor release
/// ([`ErrorKind::Incompatible`]): what they take would not be the program's. The references survive `execve(2)` and then are the new program's. They are not inherited over `fork(2)`:
/// a child has none, and its copy of this object gives nothing back.
#[derive(Debug)]
pub struct PlatformRefCounter {
    name: ServiceName,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// The set that counts this object's references, how many they are, and of which process.
    set: Option<Set>,
    references: u32,
    pid: u32,
}

impl PlatformRefCounter {
    /// The count of this name. Touches nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`]: the name is not 1 to 64 letters, digits, `-`, `_` and `.`, or begins with a dot.
    pub fn new(name: &str) -> Result<Self> {
        let held = Held { set: None, references: 0, pid: sys::current_pid() };
        Ok(Self { name: ServiceName::counter(name)?, held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = sys::current_pid();
        if held.pid != pid {
            *held = Held { set: None, references: 0, pid };
        }
        held
    }

    fn error(&self, operation: &str, error: SetError) -> Error {
        Error::set(&self.name, operation, error)
    }

    /// The kernel takes references back by a list that threads share. One that is taken with one list and given back with another counts once
    /// too little as soon as the first one ends.
    fn may_change(&self) -> Result<()> {
        if !sys::watch::is_elsewhere() {
            return Ok(());
        }
        let what = "this thread has an undo list of its own (unshare(CLONE_SYSVSEM)), and the references are in the other threads'";
        let error = Error::new(ErrorKind::Incompatible, what).service(&self.name);
        Err(error.help("acquire and release in threads that share theirs"))
    }

    /// Names a set that is fresh. `Gone` where it was removed meanwhile.
    fn found(&self, set: Set) -> Result<(), Trouble> {
        set.apply_while_wanted(&TAKE_LOCK, || false)?;
        let named = self.found_locked(set);
        match set.apply(&UNLOCK) {
            Err(error) if named.is_ok() => Err(error.into()),
            _ => named,
        }
    }

    fn found_locked(&self, set: Set) -> Result<(), Trouble> {
        let snapshot = set.snapshot()?;
        if !snapshot.is_fresh() {
            return Ok(());
        }
        if !sys::undo_works(set).map_err(Trouble::Error)? {
            let what = "this kernel or sandbox does not undo semaphore operations when a process dies";
            return Err(Trouble::Error(Error::new(ErrorKind::Unsupported, what)));
        }
        let namespace = sys::namespace_fingerprint().map_err(Trouble::Error)?;
        set.apply(&snapshot.naming(self.name.as_str().as_bytes(), namespace))?;
        Ok(())
    }

    fn acquire_in(&self, set: Set, fresh: bool) -> Result<Acquired, Trouble> {
        if fresh {
            self.found(set).inspect_err(|_| set.remove_unused())?;
        }
        loop {
            // Exactly one of the two applies at any moment, unless a transition is under way.
            for (array, acquired) in [(&COUNT_FIRST[..], Acquired::First), (&COUNT_ANOTHER[..], Acquired::Another)] {
                match set.apply(array) {
                    Ok(()) => return Ok(acquired),
                    Err(SetError::Refused) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            set.apply_while_wanted(&AWAIT_UNLOCKED, || false)?;
        }
    }
}

enum Trouble {
    Set(SetError),
    Error(Error),
}

impl From<SetError> for Trouble {
    fn from(error: SetError) -> Self {
        Self::Set(error)
    }
}

impl RefCounter for PlatformRefCounter {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn acquire(&self) -> Result<Acquired> {
        let mut held = self.held();
        self.may_change()?;
        loop {
            let (set, fresh) = match held.set {
                Some(set) if held.references > 0 => (set, false),
                _ => {
                    let (set, snapshot) = Set::create(&self.name)?;
                    (set, snapshot.is_fresh())
                }
            };
            match self.acquire_in(set, fresh) {
                Ok(acquired) => {
                    held.set = Some(set);
                    held.references += 1;
                    return Ok(acquired);
                }
                // The last one has just removed it.
                Err(Trouble::Set(SetError::Gone)) if held.references == 0 => {}
                Err(Trouble::Set(error)) => return Err(self.error("acquire", error)),
                Err(Trouble::Error(error)) => return Err(error.service(&self.name)),
            }
        }
    }

    fn release(&self) -> Result<Released> {
        let mut held = self.held();
        let Some(set) = held.set.filter(|_| held.references > 0) else {
            return Err(Error::new(ErrorKind::InvalidInput, "there is no reference to release").service(&self.name));
        };
        self.may_change()?;
        held.references -= 1;
        loop {
            match set.apply(&LEAVE_NOT_LAST) {
                Ok(()) => return Ok(Released::NotLast),
                Err(SetError::Refused) => {}
                Err(error) => return Err(self.error("release", error)),
            }
            match set.apply_while_wanted(&LEAVE_LAST, || false) {
                Ok(_) => {
                    let _ = set.remove();
                    return Ok(Released::Last);
                }
                Err(SetError::Refused) => {}
                Err(error) => return Err(self.error("release", error)),
            }
        }
    }

    fn count(&self) -> Result<u32> {
        let held = self.held();
        let clients = match held.set.filter(|_| held.references > 0) {
            Some(set) => set.clients().map_err(|error| self.error("count", error))?,
            None => Set::open(&self.name)?.map_or(0, |(_, snapshot)| snapshot.view().clients),
        };
        Ok(clients.into())
    }
}

impl Drop for PlatformRefCounter {
    fn drop(&mut self) {
        if self.held().references > 0
            && let Err(error) = self.may_change()
        {
            tracing::error!(counter = %self.name, %error, "cannot release: the process's end will");
            return;
        }
        while self.held().references > 0 {
            if let Err(error) = self.release() {
                tracing::error!(counter = %self.name, %error, "cannot release");
            }
        }
    }
}
