//! The set of a service: found by name, and never somebody else's.

use super::detach;
use super::process::{effective_uid, namespace_fingerprint};
use super::raw::{self, Errno};
use super::sysv_sem::{SemSet, SetError};
use crate::error::{Error, ErrorKind};
use crate::name::{ServiceName, fnv1a};
use crate::protocol::set::{
    AWAIT_UNPROBED, CLIENTS, LAYOUT, LAYOUT_VERSION, LOCK, Op, PROBE, RAISE_PROBE, SEMAPHORES, Snapshot, TAKE_LOCK,
    UNLOCK,
};
use std::time::{Duration, Instant};

/// How long one sleep in the kernel lasts at the most. It bounds only how late a wait that nobody wants any more is
/// noticed: a wait that succeeds is woken by the kernel at once.
const SLICE: Duration = Duration::from_millis(100);

/// Who takes a set from under its users.
pub(crate) const WHO_REMOVES_SETS: &str =
    "`ipcrm` and systemd-logind (RemoveIPC=yes, when a user's last session ends) remove sets";

/// A service's semaphore set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    sems: SemSet,
}

impl Set {
    /// The set of this name and user, if there is one.
    ///
    /// # Errors
    ///
    /// What lies under the name's key is not ours to use, or the kernel refuses.
    pub(crate) fn open(name: &ServiceName) -> Result<Option<(Self, Snapshot)>, Error> {
        Self::get(name, false)
    }

    /// The set of this name and user, made fresh where there is none.
    ///
    /// # Errors
    ///
    /// As [`Set::open`]; and the kernel's limits on sets.
    pub(crate) fn create(name: &ServiceName) -> Result<(Self, Snapshot), Error> {
        loop {
            if let Some(found) = Self::get(name, true)? {
                return Ok(found);
            }
        }
    }

    /// The names of all services of this user: those of the sets that are as this makes them, and lie under the key of the
    /// name in them. A bare counter's does not; nor has a set a name that nobody has named yet.
    ///
    /// # Errors
    ///
    /// The kernel refuses to list sets.
    pub(crate) fn names() -> Result<Vec<ServiceName>, Error> {
        let user = effective_uid();
        let sets = SemSet::all().map_err(|errno| {
            Error::new(ErrorKind::System, "cannot list the semaphore sets").source(std::io::Error::from(errno))
        })?;
        let ours = sets.into_iter().filter(|(_, stat)| {
            (stat.uid, stat.creator, stat.mode, stat.semaphores) == (user, user, 0o600, SEMAPHORES)
        });
        let named = ours.filter_map(|(sems, _)| {
            let snapshot = sems.values().map(Snapshot::new).ok()?;
            let name = ServiceName::new(std::str::from_utf8(&snapshot.name()).ok()?).ok()?;
            let found = SemSet::get(key_of(&name, user), false).ok()?;
            (snapshot.value(LAYOUT) == LAYOUT_VERSION && found == sems).then_some(name)
        });
        Ok(named.collect())
    }

    /// `None`: there is none, or it was removed while it was looked at.
    fn get(name: &ServiceName, create: bool) -> Result<Option<(Self, Snapshot)>, Error> {
        let user = effective_uid();
        let key = key_of(name, user);
        let sems = match SemSet::get(key, create) {
            Ok(sems) => sems,
            Err(Errno(libc::ENOENT)) => return Ok(None),
            // Too few semaphores, or a mode that keeps us out: look at what is there.
            Err(errno @ Errno(libc::EINVAL | libc::EACCES)) if create => match SemSet::get(key, false) {
                Ok(sems) => sems,
                Err(Errno(libc::ENOENT)) => return Err(cannot_create(name, errno)),
                Err(errno) => return Err(cannot_open(name, key, errno)),
            },
            Err(errno) if create => return Err(cannot_create(name, errno)),
            Err(errno) => return Err(cannot_open(name, key, errno)),
        };
        match Self::verify(name, key, user, sems) {
            Ok(snapshot) => Ok(Some((Self { sems }, snapshot))),
            Err(Verdict::Gone) => Ok(None),
            Err(Verdict::Wrong(error)) => Err(error),
        }
    }

    /// Only a set that this user made, for nobody else, of our size, with our layout and this name, is ours.
    fn verify(name: &ServiceName, key: i32, user: u32, sems: SemSet) -> Result<Snapshot, Verdict> {
        let system = |error| match error {
            SetError::Gone => Verdict::Gone,
            SetError::Os(errno) => Verdict::Wrong(cannot_open(name, key, errno)),
            other => Verdict::Wrong(Error::set(name, "look at the semaphore set", other)),
        };
        let wrong = |kind, what: String| Err(Verdict::Wrong(Error::new(kind, what).service(name).help(hands_off(key))));
        let stat = sems.stat().map_err(system)?;
        if stat.uid != user || stat.creator != user {
            let what = format!(
                "the semaphore set under this name's key {key:#010x} belongs to user {} (made by user {}), not to user {user}",
                stat.uid, stat.creator
            );
            return wrong(ErrorKind::PermissionDenied, what);
        }
        if stat.mode != 0o600 {
            let what = format!(
                "the semaphore set under this name's key {key:#010x} has mode {:04o} and not 0600: others could have changed it",
                stat.mode
            );
            return wrong(ErrorKind::PermissionDenied, what);
        }
        if stat.semaphores != SEMAPHORES {
            let what = format!(
                "the semaphore set under this name's key {key:#010x} has {} semaphores and not {SEMAPHORES}: it is another program's, or another version's",
                stat.semaphores
            );
            return wrong(ErrorKind::Incompatible, what);
        }
        let snapshot = sems.values().map(Snapshot::new).map_err(system)?;
        Self { sems }.is_of(name, &snapshot).map_err(Verdict::Wrong)?;
        Ok(snapshot)
    }

    /// Whether what the set says of itself is this name's: it may have been fresh when it was opened.
    pub(crate) fn is_of(self, name: &ServiceName, snapshot: &Snapshot) -> Result<(), Error> {
        let key = key_of(name, effective_uid());
        let wrong =
            |what: String, help: String| Err(Error::new(ErrorKind::Incompatible, what).service(name).help(help));
        match snapshot.value(LAYOUT) {
            0 => return Ok(()),
            LAYOUT_VERSION => {}
            other => {
                return wrong(
                    format!(
                        "the semaphore set under this name's key {key:#010x} has layout {other:#06x}, and this version of procref reads {LAYOUT_VERSION:#06x}"
                    ),
                    hands_off(key),
                );
            }
        }
        if snapshot.name() != name.as_str().as_bytes() {
            return wrong(
                format!(
                    "the key {key:#010x} of this name is taken by the service \"{}\": two names in four thousand million share a key",
                    String::from_utf8_lossy(&snapshot.name())
                ),
                "choose another name for one of the two".into(),
            );
        }
        let namespace = namespace_fingerprint().map_err(|error| error.service(name))?;
        if snapshot.namespace() != namespace {
            return wrong(
                "the service runs in another PID or time namespace, in which process numbers mean other processes".into(),
                "processes that share a service must share the PID namespace (containers of one pod: `shareProcessNamespace`), or use another IPC namespace".into(),
            );
        }
        Ok(())
    }

    /// The set with this identifier, which somebody has verified.
    pub(crate) const fn from_id(id: i32) -> Self {
        Self { sems: SemSet::from_id(id) }
    }

    pub(crate) const fn id(self) -> i32 {
        self.sems.id()
    }

    /// Applies an array that never sleeps.
    pub(crate) fn apply(self, ops: &[Op]) -> Result<(), SetError> {
        loop {
            match self.sems.apply(ops, None) {
                Err(SetError::Interrupted) => {}
                result => return result,
            }
        }
    }

    /// Applies an array that may sleep, at the most for `time`; a signal interrupts it.
    pub(crate) fn apply_within(self, ops: &[Op], time: Option<Duration>) -> Result<(), SetError> {
        self.sems.apply(ops, time)
    }

    /// Applies an array that may sleep, however often a signal interrupts it. `Ok(false)`: the time was up.
    pub(crate) fn apply_until(self, ops: &[Op], time: Duration) -> Result<bool, SetError> {
        let end = raw::monotonic().saturating_add(time.as_nanos().try_into().unwrap_or(u64::MAX));
        loop {
            let left = end.saturating_sub(raw::monotonic());
            match self.sems.apply(ops, Some(Duration::from_nanos(left))) {
                Ok(()) => return Ok(true),
                Err(SetError::Refused) => return Ok(false),
                Err(SetError::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies an array that may sleep until `unwanted` says that nobody wants it any more.
    /// `Ok(false)`: it was not applied, and nobody wants it.
    pub(crate) fn apply_while_wanted(self, ops: &[Op], mut unwanted: impl FnMut() -> bool) -> Result<bool, SetError> {
        loop {
            let asleep = Instant::now();
            match self.sems.apply(ops, Some(SLICE)) {
                Ok(()) => return Ok(true),
                Err(SetError::Interrupted) => {}
                // The same number says "the time is up" and "an operation that does not wait is refused".
                Err(SetError::Refused) if asleep.elapsed() >= SLICE => {}
                Err(error) => return Err(error),
            }
            if unwanted() {
                return Ok(false);
            }
        }
    }

    pub(crate) fn snapshot(self) -> Result<Snapshot, SetError> {
        self.sems.values().map(Snapshot::new)
    }

    /// How many processes hold or await the service.
    pub(crate) fn clients(self) -> Result<u16, SetError> {
        self.sems.value(CLIENTS)
    }

    /// How many processes wait for the end of a transition.
    pub(crate) fn waiting(self) -> Result<usize, SetError> {
        self.sems.waiting_for_zero(LOCK)
    }

    pub(crate) fn remove(self) -> Result<(), SetError> {
        self.sems.remove()
    }

    /// Removes a set that is fresh and counts nobody. Who has found it in this instant is told that it has gone.
    pub(crate) fn remove_unused(self) {
        let locked = match self.apply_within(&TAKE_LOCK, Some(Duration::ZERO)) {
            Ok(()) => true,
            // Where nobody may operate on sets, nobody uses it.
            Err(SetError::Os(Errno(libc::EPERM | libc::ENOSYS))) => false,
            Err(_) => return,
        };
        match self.snapshot() {
            Ok(snapshot) if snapshot.is_fresh() && snapshot.view().clients == 0 => drop(self.remove()),
            _ if locked => drop(self.apply(&UNLOCK)),
            _ => {}
        }
    }
}

/// The key of this name's semaphore set for this user. Never `IPC_PRIVATE`, which is 0.
///
/// No `ftok`: it makes a key of 8 bits of a number and 16 of an inode, so that strangers share one.
fn key_of(name: &ServiceName, user: u32) -> i32 {
    let layout = LAYOUT_VERSION.to_le_bytes();
    let parts = [name.domain().as_bytes(), &layout, &user.to_le_bytes(), name.as_str().as_bytes()];
    let hash = fnv1a(&parts.concat());
    match (hash ^ hash >> 32) as u32 as i32 {
        0 => 1,
        key => key,
    }
}

fn hands_off(key: i32) -> String {
    format!(
        "procref neither joins nor removes it; if nobody needs it, its owner can remove it with `ipcrm -S {key:#010x}`"
    )
}

enum Verdict {
    Gone,
    Wrong(Error),
}

/// Whether the kernel takes back what a process did with undo when it dies. Some sandboxes accept the flag and ignore
/// it; a count kept there would only ever grow.
pub(crate) fn undo_works(set: Set) -> Result<bool, Error> {
    let raise = |set: &Set| match set.apply(&RAISE_PROBE) {
        Ok(()) => 0,
        Err(SetError::Os(errno)) => errno.0,
        Err(SetError::Gone) => libc::EIDRM,
        Err(SetError::Refused | SetError::Interrupted) => libc::EAGAIN,
        Err(SetError::Full) => libc::ERANGE,
    };
    let probe = detach::in_short_lived_process(&set, raise).map_err(|error| {
        let kind = match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOMEM) => ErrorKind::LimitReached,
            _ => ErrorKind::System,
        };
        Error::new(kind, "cannot make the short-lived process that probes the kernel").source(error)
    })?;
    match probe {
        0 => {}
        libc::EIDRM => return Err(removed_meanwhile()),
        number => {
            let kind = match number {
                libc::ENOMEM | libc::ENOSPC => ErrorKind::LimitReached,
                _ => ErrorKind::Unsupported,
            };
            let error = Error::new(kind, "the kernel refuses semaphore operations with undo");
            return Err(error.source(std::io::Error::from(Errno(number))));
        }
    }
    /// How long another one's probe may take that was killed in the middle of it: its short-lived process goes on alone.
    const OTHERS: Duration = Duration::from_secs(2);
    let undone = match set.sems.value(PROBE) {
        Ok(0) => Ok(true),
        Ok(_) => set.apply_until(&AWAIT_UNPROBED, OTHERS),
        Err(error) => Err(error),
    };
    match undone {
        Ok(undone) => Ok(undone),
        Err(SetError::Gone) => Err(removed_meanwhile()),
        Err(SetError::Os(errno)) => {
            Err(Error::new(ErrorKind::System, "cannot read the undo probe").source(std::io::Error::from(errno)))
        }
        Err(error) => Err(Error::new(ErrorKind::System, format!("cannot read the undo probe: {error:?}"))),
    }
}

fn removed_meanwhile() -> Error {
    Error::new(ErrorKind::SetRemoved, "the semaphore set was removed while it was made")
}

fn cannot_open(name: &ServiceName, key: i32, errno: Errno) -> Error {
    let error = match errno.0 {
        libc::EACCES | libc::EPERM => Error::new(
            ErrorKind::PermissionDenied,
            format!("cannot open the semaphore set under this name's key {key:#010x}: it belongs to another user, or a security policy forbids it"),
        )
        .help(format!("`ipcs -s` shows its owner, who can remove it with `ipcrm -S {key:#010x}`")),
        libc::ENOSYS => return unsupported(name, errno),
        _ => Error::new(ErrorKind::System, format!("cannot open the semaphore set under this name's key {key:#010x}")),
    };
    error.service(name).source(std::io::Error::from(errno))
}

fn cannot_create(name: &ServiceName, errno: Errno) -> Error {
    let error = match errno.0 {
        libc::ENOSYS | libc::EPERM | libc::EACCES => return unsupported(name, errno),
        libc::ENOSPC => Error::new(ErrorKind::LimitReached, "cannot create the semaphore set: the system has as many as it may").help(
            "`ipcs -s` lists them and `ipcrm` removes what nobody needs; the limits are SEMMNI and SEMMNS in /proc/sys/kernel/sem",
        ),
        libc::EINVAL => Error::new(
            ErrorKind::LimitReached,
            format!("cannot create the semaphore set: it needs {SEMAPHORES} semaphores, more than a set may have here"),
        )
        .help("raise SEMMSL, the first number in /proc/sys/kernel/sem"),
        libc::ENOMEM => Error::new(ErrorKind::LimitReached, "cannot create the semaphore set: the kernel has no memory for it"),
        _ => Error::new(ErrorKind::System, "cannot create the semaphore set"),
    };
    error.service(name).source(std::io::Error::from(errno))
}

fn unsupported(name: &ServiceName, errno: Errno) -> Error {
    Error::new(ErrorKind::Unsupported, "this kernel or sandbox has no System V semaphores, by which procref counts")
        .service(name)
        .help("allow semget, semop, semtimedop and semctl in the sandbox's policy")
        .source(std::io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_name_and_user() {
        let key = |name: &str, user| key_of(&ServiceName::new(name).expect("a good name"), user);
        assert_ne!(key("db-a1", 0), key("db-b0", 0));
        assert_ne!(key("db", 0), key("db", 1));
        assert_eq!(key("db", 1000), key("db", 1000));
        let counter = key_of(&ServiceName::counter("db").expect("a good name"), 0);
        assert_ne!(key("db", 0), counter, "they share nothing");
    }
}
