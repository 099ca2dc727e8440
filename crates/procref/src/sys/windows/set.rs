//! The set of a service: a record that its processes share, and counts that are handles.
//!
//! What a process does *with undo* it does by handles on a named object: the value is how many there are, and the kernel
//! closes those of a process that ends. All else is in the [`Record`], whose mutex makes one change of several
//! steps one: handles are opened before the values change and closed after it, so whoever is killed in the middle has either
//! changed nothing, or all and has then died.
//!
//! Nothing says that a handle was closed by a process's end. So who sleeps until something is given back waits for the end of
//! those who hold it, too; the record tells who they are.

use super::object::{self, Kind, ObjectError, handles};
use super::process::{MOST_WAITED, Process, wait_for_any};
use super::record::{Holding, Latched, Record, Waits};
use super::{current_pid, directory};
use crate::error::{Error, ErrorKind};
use crate::name::ServiceName;
use crate::protocol::set::{
    ASKED, CLIENTS, GUARDIAN, HEIRS, LAYOUT, LAYOUT_VERSION, LOCK, Op, PROBE, SEMAPHORES, Snapshot, TAKE_LOCK, UNLOCK,
    Values,
};
use std::collections::HashMap;
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long one sleep lasts at the most that somebody may give up. A wait that succeeds is woken at once.
const SLICE: Duration = Duration::from_millis(100);
/// How often somebody looks who cannot be woken, for there are too many.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The largest value.
const MOST: i32 = 32_767;

/// What is changed with undo, and the objects' names.
const UNDONE: [(u16, &str); 6] = [
    (CLIENTS, "clients"),
    (LOCK, "lock"),
    (GUARDIAN, "guardian"),
    (HEIRS, "heirs"),
    (ASKED, "asked"),
    (PROBE, "probe"),
];

/// Why an operation on a set did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    /// The set has been removed.
    Gone,
    /// The array does not apply now, also when its time was up.
    Refused,
    /// Does not happen here.
    #[expect(dead_code, reason = "signal handlers interrupt waits on other systems")]
    Interrupted,
    /// A count would go beyond what a set counts to.
    Full,
    /// The system said no.
    Os(Code),
}

/// The system's own number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

impl Code {
    /// ERROR_NOT_OWNER
    const NOT_HELD: Self = Self(288);

    /// What kind of error it is for a set's user, and what to do.
    pub(crate) const fn describe(self) -> (ErrorKind, Option<&'static str>) {
        match self.0 {
            // ERROR_ACCESS_DENIED
            5 => (ErrorKind::PermissionDenied, None),
            // ERROR_NOT_ENOUGH_MEMORY, ERROR_OUTOFMEMORY, ERROR_NO_SYSTEM_RESOURCES, ERROR_COMMITMENT_LIMIT
            8 | 14 | 1450 | 1455 => (ErrorKind::LimitReached, None),
            _ => (ErrorKind::System, None),
        }
    }
}

impl From<Code> for io::Error {
    fn from(code: Code) -> Self {
        Self::from_raw_os_error(code.0)
    }
}

impl From<SetError> for io::Error {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Os(code) => code.into(),
            SetError::Gone => io::ErrorKind::NotFound.into(),
            error => Self::other(format!("its record: {error:?}")),
        }
    }
}

impl From<io::Error> for SetError {
    fn from(error: io::Error) -> Self {
        /// ERROR_GEN_FAILURE
        const SOMETHING: i32 = 31;
        tracing::debug!(%error, "an object of a set");
        Self::Os(Code(error.raw_os_error().unwrap_or(SOMETHING)))
    }
}

impl From<ObjectError> for SetError {
    fn from(error: ObjectError) -> Self {
        /// ERROR_ACCESS_DENIED
        const FOREIGN: i32 = 5;
        match error {
            ObjectError::Os(error) => error.into(),
            ObjectError::Foreign(what) => {
                tracing::warn!(what, "an object of a set");
                Self::Os(Code(FOREIGN))
            }
        }
    }
}

/// A service's set: its name, and which of those that had this name one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    slot: Option<&'static Slot>,
    id: i32,
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Set {}

/// What this process has of the sets of one name.
#[derive(Debug)]
struct Slot {
    /// How the names of all objects begin.
    stem: String,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    objects: Option<Arc<Objects>>,
    /// They stay open though this process holds nothing: it has made the set just now.
    keep: bool,
}

/// The record, and what this process holds.
#[derive(Debug)]
struct Objects {
    /// Closed before the record is.
    held: Mutex<Held>,
    record: Record,
}

/// What this process holds of one set.
#[derive(Debug, Default)]
struct Held {
    /// Which set.
    of: i32,
    /// By the order of [`UNDONE`].
    handles: [Vec<OwnedHandle>; UNDONE.len()],
}

impl Objects {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds_nothing(&self) -> bool {
        self.held().handles.iter().all(Vec::is_empty)
    }

    /// Locks the record. What this process held of a set that somebody has removed is not held of the next one.
    fn lock(&self) -> io::Result<Latched<'_>> {
        let latched = self.record.lock()?;
        let (mut held, id) = (self.held(), latched.id());
        if held.of != id {
            *held = Held { of: id, ..Held::default() };
        }
        drop(held);
        Ok(latched)
    }
}

impl Slot {
    /// One for each name, for ever.
    fn of(name: &ServiceName) -> &'static Self {
        static SLOTS: OnceLock<Mutex<HashMap<String, &'static Slot>>> = OnceLock::new();
        let mut slots = SLOTS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let stem = stem(name);
        let new = || &*Box::leak(Box::new(Self { stem: stem.clone(), opened: Mutex::default() }));
        slots.entry(stem.clone()).or_insert_with(new)
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self, create: bool) -> Result<Option<Arc<Objects>>, ObjectError> {
        let mut opened = self.opened();
        if let Some(objects) = &opened.objects {
            let objects = Arc::clone(objects);
            opened.keep |= create;
            return Ok(Some(objects));
        }
        let Some(record) = Record::open(&self.stem, create)? else { return Ok(None) };
        let objects = Arc::new(Objects { held: Mutex::default(), record });
        *opened = Opened { objects: Some(Arc::clone(&objects)), keep: create };
        Ok(Some(objects))
    }

    /// Objects that this process has no use for are closed: a name goes with the last handle.
    fn settle(&self, over: bool) {
        let mut opened = self.opened();
        opened.keep &= !over;
        // Another thread may be about to hold something: it has the objects, and settles when it is done.
        let unused = |objects: &Arc<Objects>| Arc::strong_count(objects) == 1 && objects.holds_nothing();
        if !opened.keep && opened.objects.as_ref().is_some_and(unused) {
            opened.objects = None;
        }
    }

    /// The objects of one set have names of their own: what is left of one that was removed does not count in the next.
    fn name(&self, id: i32, what: &str) -> String {
        format!("{}.{id:08x}.{what}", self.stem)
    }
}

/// How the names of a service's objects begin, in the session's own namespace, which several users may have.
fn stem(name: &ServiceName) -> String {
    format!("Local\\{}{name}", prefix(name.domain()))
}

fn prefix(domain: &str) -> String {
    format!("{domain}-{LAYOUT_VERSION:04x}{:08x}-", object::user_mark())
}

/// What came of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Applied {
    Yes,
    Refused,
    TimedOut,
}

impl Set {
    /// The set of this name and user, if there is one.
    ///
    /// # Errors
    ///
    /// What lies under the name is not ours to use, or the system refuses.
    pub(crate) fn open(name: &ServiceName) -> Result<Option<(Self, Snapshot)>, Error> {
        let slot = Slot::of(name);
        let Some(objects) = slot.objects(false).map_err(|error| cannot_open(name, error))? else { return Ok(None) };
        let found = Self::found(name, slot, &objects);
        drop(objects);
        slot.settle(false);
        Ok(Some(found?).filter(|(_, snapshot)| !snapshot.is_fresh() || snapshot.view().clients > 0))
    }

    /// The set of this name and user, made fresh where there is none.
    ///
    /// # Errors
    ///
    /// As [`Set::open`].
    pub(crate) fn create(name: &ServiceName) -> Result<(Self, Snapshot), Error> {
        let slot = Slot::of(name);
        let Some(objects) = slot.objects(true).map_err(|error| cannot_open(name, error))? else {
            return Err(Error::new(ErrorKind::System, "cannot create its record").service(name));
        };
        let found = Self::found(name, slot, &objects);
        drop(objects);
        slot.settle(found.is_err());
        found
    }

    fn found(name: &ServiceName, slot: &'static Slot, objects: &Objects) -> Result<(Self, Snapshot), Error> {
        let cannot =
            |error: io::Error| Error::new(ErrorKind::System, "cannot look at its record").service(name).source(error);
        let latched = objects.lock().map_err(cannot)?;
        if !latched.is_ours() {
            let what = format!("the section {}.record is another program's, or another version's", slot.stem);
            return Err(Error::new(ErrorKind::Incompatible, what).service(name).help(HANDS_OFF));
        }
        let set = Self { slot: Some(slot), id: latched.id() };
        let values = set.values(objects, &latched).map_err(|error| Error::set(name, "look at its record", error))?;
        let snapshot = Snapshot::new(values);
        drop(latched);
        set.is_of(name, &snapshot)?;
        Ok((set, snapshot))
    }

    /// The names of all services of this user and session that somebody uses or looks at.
    ///
    /// # Errors
    ///
    /// The system refuses to list objects.
    pub(crate) fn names() -> Result<Vec<ServiceName>, Error> {
        let names = directory::names()
            .map_err(|error| Error::new(ErrorKind::System, "cannot list this session's named objects").source(error))?;
        let ours = names.iter().filter_map(|name| {
            let name = name.strip_prefix(&*prefix("procref"))?.strip_suffix(".record")?;
            let name = ServiceName::new(name).ok()?;
            let (_, snapshot) = Self::open(&name).ok()??;
            (snapshot.value(LAYOUT) == LAYOUT_VERSION).then_some(name)
        });
        Ok(ours.collect())
    }

    /// Whether what the set says of itself is this name's: it may have been fresh when it was opened.
    pub(crate) fn is_of(self, name: &ServiceName, snapshot: &Snapshot) -> Result<(), Error> {
        let layout = snapshot.value(LAYOUT);
        if layout == 0 || (layout == LAYOUT_VERSION && snapshot.name() == name.as_str().as_bytes()) {
            return Ok(());
        }
        let what =
            format!("its record has layout {layout:#06x}, and this version of procref reads {LAYOUT_VERSION:#06x}");
        Err(Error::new(ErrorKind::Incompatible, what).service(name).help(HANDS_OFF))
    }

    /// No set.
    pub(crate) const fn from_id(id: i32) -> Self {
        Self { slot: None, id }
    }

    pub(crate) const fn id(self) -> i32 {
        self.id
    }

    /// The name of another object of this set.
    pub(super) fn object_name(self, what: &str) -> String {
        self.slot.map_or_else(String::new, |slot| slot.name(self.id, what))
    }

    /// The name of an object of all sets of this name.
    pub(super) fn common_name(self, what: &str) -> String {
        self.slot.map_or_else(String::new, |slot| format!("{}.{what}", slot.stem))
    }

    /// Applies an array that never sleeps.
    pub(crate) fn apply(self, ops: &[Op]) -> Result<(), SetError> {
        self.apply_within(ops, Some(Duration::ZERO))
    }

    /// Applies an array that may sleep, at the most for `time`.
    pub(crate) fn apply_within(self, ops: &[Op], time: Option<Duration>) -> Result<(), SetError> {
        match self.perform(ops, time)? {
            Applied::Yes => Ok(()),
            Applied::Refused | Applied::TimedOut => Err(SetError::Refused),
        }
    }

    /// Applies an array that may sleep. `Ok(false)`: the time was up, or it was refused.
    pub(crate) fn apply_until(self, ops: &[Op], time: Duration) -> Result<bool, SetError> {
        Ok(self.perform(ops, Some(time))? == Applied::Yes)
    }

    /// Applies an array that may sleep until `unwanted` says that nobody wants it any more.
    /// `Ok(false)`: it was not applied, and nobody wants it.
    pub(crate) fn apply_while_wanted(self, ops: &[Op], mut unwanted: impl FnMut() -> bool) -> Result<bool, SetError> {
        loop {
            match self.perform(ops, Some(SLICE))? {
                Applied::Yes => return Ok(true),
                Applied::Refused => return Err(SetError::Refused),
                Applied::TimedOut if unwanted() => return Ok(false),
                Applied::TimedOut => {}
            }
        }
    }

    pub(crate) fn snapshot(self) -> Result<Snapshot, SetError> {
        self.with(|objects| {
            let latched = self.lock(objects)?;
            self.values(objects, &latched).map(Snapshot::new)
        })
    }

    /// How many processes hold or await the service.
    pub(crate) fn clients(self) -> Result<u16, SetError> {
        self.snapshot().map(|snapshot| snapshot.value(CLIENTS))
    }

    /// How many processes wait for the end of a transition.
    pub(crate) fn waiting(self) -> Result<usize, SetError> {
        self.with(|objects| {
            let waiters = self.lock(objects)?.waiters();
            let sleeps =
                |at| object::open(Kind::Event, &self.object_name(&wake(at))).is_ok_and(|event| event.is_some());
            Ok(waiters.into_iter().filter(|&(at, for_lock)| for_lock && sleeps(at)).count())
        })
    }

    pub(crate) fn remove(self) -> Result<(), SetError> {
        let removed = self.with(|objects| {
            let mut latched = self.lock(objects)?;
            let waiters = latched.waiters();
            latched.renew();
            *objects.held() = Held::default();
            self.wake(&mut latched, &waiters);
            Ok(())
        });
        if let Some(slot) = self.slot {
            slot.settle(true);
        }
        removed
    }

    /// Removes a set that is fresh and counts nobody. Who has found it in this instant is told that it has gone.
    pub(crate) fn remove_unused(self) {
        if self.apply_within(&TAKE_LOCK, Some(Duration::ZERO)).is_ok() {
            match self.snapshot() {
                Ok(snapshot) if snapshot.is_fresh() && snapshot.view().clients == 0 => drop(self.remove()),
                _ => drop(self.apply(&UNLOCK)),
            }
        }
        if let Some(slot) = self.slot {
            slot.settle(true);
        }
    }

    /// Has another process, which is a child of this one or the service, hold what this semaphore counts, until it ends. It
    /// holds the record as well: what nobody has open is forgotten.
    pub(super) fn hold_for(
        self,
        sem: u16,
        process: &Process,
        give: impl Fn(BorrowedHandle<'_>) -> io::Result<()>,
    ) -> Result<(), SetError> {
        self.with(|objects| {
            let mut latched = self.lock(objects)?;
            let (_, what) = UNDONE.iter().find(|(undone, _)| *undone == sem).copied().unwrap_or((CLIENTS, "clients"));
            let (handle, _) = object::create(Kind::Semaphore, &self.object_name(what))?;
            for object in objects.record.objects().into_iter().chain([handle.as_handle()]) {
                give(object)?;
            }
            latched.note((process.pid(), process.start()), sem, 1);
            let waiters = latched.waiters();
            self.wake(&mut latched, &waiters);
            Ok(())
        })
    }

    /// The processes that hold or await the service, as far as the record can tell.
    pub(super) fn client_processes(self) -> Result<Vec<Process>, SetError> {
        self.with(|objects| {
            let holders = self.lock(objects)?.holders();
            let clients = holders.into_iter().filter(|holding| holding.sem == CLIENTS);
            let live = |pid, start| Process::open_recorded(pid, start).ok().flatten().filter(|it| !it.has_ended());
            Ok(clients.filter_map(|holding| live(holding.pid, holding.start)).collect())
        })
    }

    fn with<T>(self, act: impl FnOnce(&Objects) -> Result<T, SetError>) -> Result<T, SetError> {
        let slot = self.slot.ok_or(SetError::Gone)?;
        let objects = slot.objects(false)?.ok_or(SetError::Gone)?;
        let result = act(&objects);
        drop(objects);
        slot.settle(false);
        result
    }

    fn lock(self, objects: &Objects) -> Result<Latched<'_>, SetError> {
        let latched = objects.lock()?;
        if latched.id() == self.id { Ok(latched) } else { Err(SetError::Gone) }
    }

    /// How many handles there are on what this semaphore counts.
    fn counted(self, objects: &Objects, at: usize) -> Result<i32, SetError> {
        if let Some(handle) = objects.held().handles.get(at).and_then(|handles| handles.first()) {
            return Ok(handles(handle)?.min(MOST as u32 + 1) as i32);
        }
        let Some((_, what)) = UNDONE.get(at) else { return Ok(0) };
        match object::open(Kind::Semaphore, &self.object_name(what))? {
            Some(handle) => Ok(handles(&handle)?.saturating_sub(1).min(MOST as u32 + 1) as i32),
            None => Ok(0),
        }
    }

    fn values(self, objects: &Objects, latched: &Latched<'_>) -> Result<Values, SetError> {
        let mut values = latched.stored();
        for (at, (sem, _)) in UNDONE.iter().enumerate() {
            let counted = self.counted(objects, at)?;
            if let Some(value) = values.get_mut(usize::from(*sem)) {
                *value = value.saturating_add(counted as u16);
            }
        }
        Ok(values)
    }

    /// Applies an array as soon as it applies, within `time`.
    fn perform(self, ops: &[Op], time: Option<Duration>) -> Result<Applied, SetError> {
        let slot = self.slot.ok_or(SetError::Gone)?;
        let objects = slot.objects(false)?.ok_or(SetError::Gone)?;
        let deadline = time.and_then(|time| Instant::now().checked_add(time));
        let result = self.perform_on(&objects, ops, deadline);
        // A process that has given back its share has no use for the objects. One that has named a set it made just now, and
        // held the lock for that, is yet to take one.
        let gives = |op: &Op| op.undo && op.delta < 0 && [CLIENTS, HEIRS].contains(&op.sem);
        let over = matches!(result, Ok(Applied::Yes)) && ops.iter().any(gives);
        drop(objects);
        slot.settle(over);
        result
    }

    fn perform_on(self, objects: &Objects, ops: &[Op], deadline: Option<Instant>) -> Result<Applied, SetError> {
        let mut sleeper = None;
        let result = loop {
            let mut latched = match self.lock(objects) {
                Ok(latched) => latched,
                Err(error) => break Err(error),
            };
            let blocks = match self.attempt(objects, &mut latched, ops) {
                Ok(Attempt::Applied) => break Ok(Applied::Yes),
                Ok(Attempt::Refused) => break Ok(Applied::Refused),
                Ok(Attempt::Blocked { by }) => by,
                Err(error) => break Err(error),
            };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break Ok(Applied::TimedOut);
            }
            let sleeper = match &mut sleeper {
                Some(sleeper) => sleeper,
                none => match Sleeper::new(self, &mut latched, blocks) {
                    Ok(new) => none.insert(new),
                    Err(error) => break Err(error),
                },
            };
            let watched = match self.watch(objects, &mut latched, ops) {
                Ok(watched) => watched,
                Err(error) => break Err(error),
            };
            drop(latched);
            if let Err(error) = sleeper.sleep(&watched, deadline) {
                break Err(error.into());
            }
        };
        // Its event stays open meanwhile: a place whose event has gone is somebody else's next.
        if let Some(sleeper) = sleeper
            && let Ok(mut latched) = self.lock(objects)
            && let Some(at) = sleeper.at
        {
            latched.wait_no_more(at);
        }
        result
    }

    /// Applies an array, if it applies now.
    fn attempt(self, objects: &Objects, latched: &mut Latched<'_>, ops: &[Op]) -> Result<Attempt, SetError> {
        let mut stored = latched.stored();
        let mut values = self.values(objects, latched)?;
        let mut undo = [0_i32; UNDONE.len()];
        let mut change = [0_i32; SEMAPHORES];
        for op in ops {
            let Some(value) = values.get_mut(usize::from(op.sem)) else { return Ok(Attempt::Refused) };
            let next = i32::from(*value) + i32::from(op.delta);
            if next < 0 || (op.delta == 0 && *value != 0) {
                return Ok(if op.wait { Attempt::Blocked { by: op.sem } } else { Attempt::Refused });
            }
            if next > MOST {
                return Err(SetError::Full);
            }
            *value = next as u16;
            match UNDONE.iter().position(|(sem, _)| *sem == op.sem && op.undo).and_then(|at| undo.get_mut(at)) {
                Some(undo) => *undo += i32::from(op.delta),
                None => {
                    if let Some(change) = change.get_mut(usize::from(op.sem)) {
                        *change += i32::from(op.delta);
                    }
                }
            }
        }
        for (stored, change) in stored.iter_mut().zip(change) {
            // What somebody holds, nobody takes away.
            *stored = u16::try_from(i32::from(*stored) + change).map_err(|_| SetError::Os(Code::NOT_HELD))?;
        }
        self.commit(objects, latched, &stored, &undo)?;
        Ok(Attempt::Applied)
    }

    fn commit(
        self,
        objects: &Objects,
        latched: &mut Latched<'_>,
        stored: &Values,
        undo: &[i32; UNDONE.len()],
    ) -> Result<(), SetError> {
        let this = this_process()?;
        let mut held = objects.held();
        let mut opened = Vec::new();
        for ((change, held), (_, what)) in undo.iter().zip(held.handles.iter()).zip(UNDONE) {
            // Nobody gives back what somebody else has taken.
            if (held.len() as i32) + change < 0 {
                return Err(SetError::Os(Code::NOT_HELD));
            }
            let more = (0..*change).map(|_| object::create(Kind::Semaphore, &self.object_name(what)));
            opened.push(more.map(|made| made.map(|(handle, _)| handle)).collect::<Result<Vec<_>, _>>()?);
        }
        // From here on nothing fails.
        let changes = latched.stored() != *stored;
        if changes {
            latched.store(stored);
        }
        if undo.iter().any(|&change| change > 0) && latched.knows_no_more() {
            forget_the_dead(latched);
        }
        for (((change, held), more), (sem, _)) in undo.iter().zip(held.handles.iter_mut()).zip(opened).zip(UNDONE) {
            held.extend(more);
            let left = held.len().saturating_add_signed((*change).min(0) as isize);
            held.truncate(left);
            if *change != 0 {
                latched.note(this, sem, *change);
            }
        }
        drop(held);
        if changes || undo.iter().any(|&change| change != 0) {
            let waiters = latched.waiters();
            self.wake(latched, &waiters);
        }
        Ok(())
    }

    /// Wakes who sleeps: each looks by itself whether it was for this.
    fn wake(self, latched: &mut Latched<'_>, waiters: &[(usize, bool)]) {
        for &(at, _) in waiters {
            match object::open(Kind::Event, &self.object_name(&wake(at))) {
                Ok(Some(event)) => drop(object::set(&event)),
                // It was killed as it slept.
                Ok(None) => latched.wait_no_more(at),
                Err(error) => tracing::warn!(?error, "cannot wake a process that waits"),
            }
        }
    }

    /// The processes whose end can change what this array depends on.
    fn watch(self, objects: &Objects, latched: &mut Latched<'_>, ops: &[Op]) -> Result<Watched, SetError> {
        let mut watched = Watched::default();
        let this = this_process()?;
        for (at, (sem, _)) in UNDONE.iter().enumerate() {
            let mut asked = ops.iter().filter(|op| op.sem == *sem).peekable();
            if asked.peek().is_none() {
                continue;
            }
            // For nobody to be left, all of them have to go: the end of any one is enough to look again.
            let until_zero = asked.all(|op| op.wait && op.delta == 0);
            let mut known = 0;
            for holding in latched.holders().into_iter().filter(|holding| holding.sem == *sem) {
                let (pid, start) = (holding.pid, holding.start);
                if (pid, start) == this {
                    known += i32::from(holding.count);
                    continue;
                }
                match Process::open_recorded(pid, start) {
                    Ok(Some(process)) if !process.has_ended() => {
                        known += i32::from(holding.count);
                        if watched.processes.len() + 1 < MOST_WAITED {
                            watched.processes.push(process);
                        } else if !until_zero {
                            watched.looks_again = true;
                        }
                    }
                    // What it held has been given back, perhaps since the values were read.
                    Ok(_) => {
                        latched.forget(pid, start);
                        watched.at_once = true;
                    }
                    Err(_) => watched.looks_again = true,
                }
            }
            // Somebody holds it who is not in the record, an inspecting tool for example.
            watched.looks_again |= self.counted(objects, at)? > known;
        }
        Ok(watched)
    }
}

/// Those who ended without giving anything back stay in the record until somebody looks.
fn forget_the_dead(latched: &mut Latched<'_>) {
    for Holding { pid, start, .. } in latched.holders() {
        if Process::open_recorded(pid, start).is_ok_and(|process| process.is_none_or(|process| process.has_ended())) {
            latched.forget(pid, start);
        }
    }
}

/// What came of trying an array.
#[derive(Clone, Copy, Debug)]
enum Attempt {
    Applied,
    Refused,
    /// It waits for this semaphore.
    Blocked {
        by: u16,
    },
}

/// What a sleeper waits for beside being woken.
#[derive(Debug, Default)]
struct Watched {
    processes: Vec<Process>,
    /// Something may change of which nobody tells.
    looks_again: bool,
    /// Something has changed already.
    at_once: bool,
}

/// A sleeping thread's event.
#[derive(Debug)]
struct Sleeper {
    event: Option<OwnedHandle>,
    /// Its place in the record; `None` if there is none.
    at: Option<usize>,
}

impl Sleeper {
    fn new(set: Set, latched: &mut Latched<'_>, blocks: u16) -> Result<Self, SetError> {
        let waits = if blocks == LOCK { Waits::ForLock } else { Waits::ForChange };
        let Some(at) = latched.wait_at(waits) else { return Ok(Self { event: None, at: None }) };
        match object::create(Kind::Event, &set.object_name(&wake(at))) {
            Ok((event, _)) => Ok(Self { event: Some(event), at: Some(at) }),
            Err(error) => {
                latched.wait_no_more(at);
                Err(error.into())
            }
        }
    }

    fn sleep(&self, watched: &Watched, deadline: Option<Instant>) -> io::Result<()> {
        if watched.at_once {
            return Ok(());
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let looks_again = watched.looks_again || self.event.is_none();
        let time = if looks_again { Some(left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)) } else { left };
        let objects: Vec<_> = self
            .event
            .iter()
            .map(AsHandle::as_handle)
            .chain(watched.processes.iter().map(AsHandle::as_handle))
            .collect();
        if objects.is_empty() {
            std::thread::sleep(time.unwrap_or(LOOK_AGAIN));
            return Ok(());
        }
        wait_for_any(&objects, time).map(drop)
    }
}

fn wake(at: usize) -> String {
    format!("wake-{at}")
}

/// This process, as the record tells of it.
fn this_process() -> io::Result<(u32, u64)> {
    static START: OnceLock<u64> = OnceLock::new();
    let pid = current_pid();
    if let Some(&start) = START.get() {
        return Ok((pid, start));
    }
    let gone = || io::Error::other("this process has no number");
    let start = Process::open(pid)?.ok_or_else(gone)?.start();
    Ok((pid, *START.get_or_init(|| start)))
}

/// Who takes sets from under their users.
pub(crate) const WHO_REMOVES_SETS: &str = "`procref stop --force` and its like do that";

const HANDS_OFF: &str = "procref does not use it; it goes when the last program that has it open has ended";

fn cannot_open(name: &ServiceName, error: ObjectError) -> Error {
    match error {
        ObjectError::Foreign(what) => Error::new(ErrorKind::PermissionDenied, what).help(HANDS_OFF),
        ObjectError::Os(error) => Error::new(ErrorKind::System, "cannot open its record").source(error),
    }
    .service(name)
}

/// The kernel closes the handles of every process that ends.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to be asked")]
pub(crate) fn undo_works(_: Set) -> Result<bool, Error> {
    Ok(true)
}

const _: () = assert!(SEMAPHORES < 128);

#[cfg(test)]
mod tests;
