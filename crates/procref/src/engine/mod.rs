//! One process's side of a service: its handles, which share one reference, and the threads that block for them.
//!
//! Processes, not handles, count in the kernel. All handles of a process share one reference; acquiring again is a
//! matter of user space. Whatever may block (waiting for a lock, starting, stopping) happens on a thread of its own,
//! for threads and tasks alike; the only steps made by the caller itself are those that never sleep.

mod declared;
mod driver;
pub(crate) mod hooks;
pub(crate) mod observe;
pub(crate) mod status;
mod ticket;

use crate::command::ServiceCommand;
use crate::error::{Error, ErrorKind, Result};
use crate::info::ServiceInfo;
use crate::name::ServiceName;
use crate::options::{Settings, StopStep};
use crate::process::Known;
use crate::sys::hints::{self, Hints};
use crate::sys::service::Need;
use crate::sys::words::WITNESS;
use crate::sys::{PerProcess, Process, Set, SetError, Witness, watch};
use driver::{Acquiring, Progress, Released, Releasing, Trouble};
use hooks::Hooks;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use ticket::Ticket;

pub(crate) use ticket::Pending;

/// The process that began something. A child that is forked in the middle of it has a copy, which has to do nothing: what
/// that has taken in the kernel is its parent's.
#[derive(Clone, Copy, Debug)]
struct Origin {
    pid: u32,
}

impl Origin {
    fn here() -> Self {
        Self { pid: crate::sys::current_pid() }
    }

    fn is_here(self) -> bool {
        self.pid == crate::sys::current_pid()
    }
}

/// What a program says of a service, callbacks apart.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: ServiceName,
    pub(crate) settings: Settings,
    pub(crate) ladder: Vec<StopStep>,
    pub(crate) hints: Hints,
    /// The command, where it takes the place of callbacks.
    pub(crate) declared: Option<ServiceCommand>,
}

impl Spec {
    pub(crate) fn new(name: &str, settings: Settings, declared: Option<ServiceCommand>) -> Result<Arc<Self>> {
        let name = ServiceName::new(name)?;
        settings.check().map_err(|error| error.service(&name))?;
        declared.as_ref().map_or(Ok(()), ServiceCommand::check).map_err(|error| error.service(&name))?;
        let folder = settings.folder.clone().unwrap_or_else(hints::default_folder);
        let (ladder, hints) = (settings.ladder.raw(), Hints::new(&folder, &name));
        Ok(Arc::new(Self { name, settings, ladder, hints, declared }))
    }

    fn has_stop_command(&self) -> bool {
        self.declared.as_ref().is_some_and(|command| command.stop.is_some())
    }
}

/// The reference of this process.
#[derive(Debug)]
pub(crate) struct Member {
    set: Set,
    generation: u32,
    info: ServiceInfo,
    process: Option<Process>,
    #[expect(dead_code, reason = "as long as it exists, the service's number means no other process")]
    known: Option<Known>,
    witness: Option<Witness>,
    guardian: Mutex<Watched>,
    /// It was found unhealthy and could not be recovered: others take it for one to be finished.
    unfit: AtomicBool,
}

/// How far the guardian's death can be noticed.
#[derive(Debug)]
enum Watched {
    /// It has not been asked for yet; the process, if it could be held.
    NotYet(Option<Process>),
    /// It will be noticed, for as long as this is kept.
    Yes(#[expect(dead_code, reason = "dropped, it watches no longer")] watch::Watch),
    /// It cannot be.
    No,
}

impl Member {
    fn is_alive(&self) -> bool {
        self.process.as_ref().is_none_or(|process| !process.has_ended())
    }

    /// Whether another handle may be had of it, as far as that can be said without asking the service.
    fn is_fit(&self) -> bool {
        self.is_alive() && !self.unfit.load(Ordering::Relaxed)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.guardian.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This process's side of one service.
#[derive(Debug)]
struct Entry {
    name: ServiceName,
    phase: Mutex<Phase>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing is held.
    Idle,
    /// The reference is there, and that many handles share it.
    Held { member: Arc<Member>, handles: usize },
    /// A thread acquires, recovers or releases. Handles of a reference that is being recovered may come and go.
    Busy { member: Option<Arc<Member>>, handles: usize, waiting: Vec<Ticket<Answer>> },
}

/// What somebody who waited is told.
type Answer = Result<Answered>;

#[derive(Debug)]
pub(crate) enum Answered {
    /// Here is a handle.
    Holds(Lease),
    /// Here is a handle of what was there before: whether the service is healthy is still to be asked.
    Unchecked(Lease),
    /// The reference was being released; it can be acquired anew.
    Again,
}

impl Entry {
    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_wanted(&self) -> bool {
        match &*self.lock() {
            Phase::Busy { waiting, .. } => waiting.iter().any(Ticket::is_wanted),
            Phase::Held { .. } | Phase::Idle => true,
        }
    }
}

/// The services of this process. A forked child has none of its parent's.
fn entry(name: &ServiceName) -> Arc<Entry> {
    static REGISTRY: PerProcess<Mutex<HashMap<ServiceName, Weak<Entry>>>> = PerProcess::new();
    let Ok(registry) = REGISTRY.get_or_try_init(|| Ok::<_, std::convert::Infallible>(Mutex::default()));
    let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = registry.get(name).and_then(Weak::upgrade) {
        return entry;
    }
    registry.retain(|_, entry| entry.strong_count() > 0);
    let entry = Arc::new(Entry { name: name.clone(), phase: Mutex::new(Phase::Idle) });
    registry.insert(name.clone(), Arc::downgrade(&entry));
    entry
}

/// One handle's share of the process's reference.
#[derive(Debug)]
pub(crate) struct Lease {
    entry: Arc<Entry>,
    member: Arc<Member>,
    spec: Arc<Spec>,
    /// The callbacks for a release that nobody awaits.
    hooks: Arc<dyn Hooks>,
    origin: Origin,
    released: bool,
}

thread_local! {
    /// The service whose callback this thread is in.
    static CALLBACK_OF: RefCell<Option<ServiceName>> = RefCell::default();
}

/// Runs a service's callback, or one step of it.
pub(crate) fn in_callback<T>(name: &ServiceName, call: impl FnOnce() -> T) -> T {
    struct Restore(Option<ServiceName>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CALLBACK_OF.set(self.0.take());
        }
    }
    let _restore = Restore(CALLBACK_OF.replace(Some(name.clone())));
    call()
}

/// What came of beginning to acquire.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The reference is there. Whether the service is healthy is still to be asked, where there is a callback for it.
    Holds(Lease),
    /// A thread sees to it.
    Waits(Pending<Answer>),
}

/// Begins to acquire: does what does not block, and has a thread do the rest. `hooks` are the callbacks for now,
/// `later` those for a release that nobody awaits.
pub(crate) fn begin(spec: &Arc<Spec>, hooks: Arc<dyn Hooks>, later: &Arc<dyn Hooks>) -> Result<Begun> {
    if CALLBACK_OF.with_borrow(|callback| callback.as_ref() == Some(&spec.name)) {
        let what = "one of its own callbacks acquires it, and would wait for itself for ever";
        return Err(Error::new(ErrorKind::InvalidInput, what).service(&spec.name));
    }
    let entry = entry(&spec.name);
    let mut phase = entry.lock();
    match &mut *phase {
        Phase::Held { member, handles } => {
            let member = Arc::clone(member);
            *handles += 1;
            drop(phase);
            let lease = Lease::new(&entry, &member, spec, later);
            lease.recheck(hooks)
        }
        Phase::Busy { waiting, .. } => {
            let (ticket, pending) = ticket::ticket();
            waiting.push(ticket);
            Ok(Begun::Waits(pending))
        }
        Phase::Idle => {
            let mut acquiring = Acquiring::new(spec, hooks.recovers(), None);
            let progress = if may_take(spec)? { acquiring.advance() } else { Progress::WouldBlock };
            match progress {
                Progress::Holds(member) => {
                    let member = Arc::new(member);
                    *phase = Phase::Held { member: Arc::clone(&member), handles: 1 };
                    drop(phase);
                    watch_guardian(&entry, spec, &member);
                    Ok(Begun::Holds(Lease::new(&entry, &member, spec, later)))
                }
                Progress::Failed(error) => Err(error),
                Progress::Cancelled | Progress::WouldBlock => {
                    let (ticket, pending) = ticket::ticket();
                    *phase = Phase::Busy { member: None, handles: 0, waiting: vec![ticket] };
                    drop(phase);
                    spawn_acquiring(&entry, acquiring, spec, hooks, later)?;
                    Ok(Begun::Waits(pending))
                }
            }
        }
    }
}

/// Has a thread go on with `acquiring`. If there can be no thread, everybody who waits is told.
fn spawn_acquiring(
    entry: &Arc<Entry>,
    acquiring: Acquiring,
    spec: &Arc<Spec>,
    hooks: Arc<dyn Hooks>,
    later: &Arc<dyn Hooks>,
) -> Result<()> {
    // Dropped, whether the thread has run or not, or panicked: nobody waits for an answer that never comes.
    let (origin, result) = (Origin::here(), None);
    let job = Job { origin, entry: Arc::clone(entry), spec: Arc::clone(spec), later: Arc::clone(later), result };
    spawn(spec, move || {
        let mut acquiring = acquiring;
        let result = match acquiring.finish(&*hooks, &mut || !job.entry.is_wanted()) {
            Progress::Holds(member) => Ok(Some(Arc::new(member))),
            Progress::Failed(error) => Err(error),
            Progress::Cancelled | Progress::WouldBlock => Ok(None),
        };
        job.end(result);
    })
}

fn spawn(spec: &Spec, run: impl FnOnce() + Send + 'static) -> Result<()> {
    watch::spawn("procref", run).map_err(|error| no_thread(spec, error))
}

fn no_thread(spec: &Spec, error: io::Error) -> Error {
    let error = match watch::why_no_thread(&error) {
        Some((why, help)) => {
            let what = format!("cannot start a thread to wait on: {why}");
            Error::new(ErrorKind::System, what).source(error).help(help)
        }
        None => Error::new(ErrorKind::LimitReached, "cannot start a thread to wait on").source(error),
    };
    error.service(&spec.name)
}

/// Whether this thread may change what is counted. If not, one that may has to: see [`watch`].
fn may_take(spec: &Spec) -> Result<bool> {
    let at_home = watch::is_at_home().map_err(|error| no_thread(spec, error))?;
    if !at_home && !watch::is_in_same_ipc_namespace().map_err(|error| no_thread(spec, error))? {
        let what = "this thread is in another IPC namespace than the one in which this program holds what it shares";
        let error = Error::new(ErrorKind::Incompatible, what).service(&spec.name);
        return Err(error.help("acquire it in another thread, or in a process of its own"));
    }
    Ok(at_home)
}

/// A thread's work on an entry, which it ends when it is dropped.
#[derive(Debug)]
struct Job {
    origin: Origin,
    entry: Arc<Entry>,
    spec: Arc<Spec>,
    later: Arc<dyn Hooks>,
    /// The new reference, or none because nobody wanted it.
    result: Option<Result<Option<Arc<Member>>>>,
}

impl Drop for Job {
    fn drop(&mut self) {
        // In a forked child nobody waits, and what is locked stays locked.
        if !self.origin.is_here() {
            return;
        }
        let result = self.result.take().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::System, "the thread that acquired it could not be started, or panicked")
                .service(&self.spec.name))
        });
        self.settle(result);
    }
}

impl Job {
    fn end(mut self, result: Result<Option<Arc<Member>>>) {
        self.result = Some(result);
    }

    fn settle(&self, result: Result<Option<Arc<Member>>>) {
        let mut phase = self.entry.lock();
        let Phase::Busy { member: old, handles, waiting } = mem::replace(&mut *phase, Phase::Idle) else { return };
        let waiting: Vec<_> = waiting.into_iter().filter(Ticket::is_wanted).collect();
        let found_well = matches!(result, Ok(Some(_)));
        let (member, answer) = match result {
            Ok(Some(member)) => (Some(member), Ok(())),
            // Somebody may have begun to wait after it had been given up.
            Ok(None) => (old, Ok(())),
            Err(error) => (old, Err(error)),
        };
        let Some(member) = member else {
            drop(phase);
            for ticket in waiting {
                let _ = ticket.answer(answer.clone().map(|()| Answered::Again));
            }
            return;
        };
        match answer {
            Ok(()) if handles + waiting.len() > 0 => {
                let leases: Vec<_> =
                    waiting.iter().map(|_| Lease::new(&self.entry, &member, &self.spec, &self.later)).collect();
                *phase = Phase::Held { member: Arc::clone(&member), handles: handles + leases.len() };
                drop(phase);
                watch_guardian(&self.entry, &self.spec, &member);
                for (ticket, lease) in waiting.into_iter().zip(leases) {
                    let answered = if found_well { Answered::Holds(lease) } else { Answered::Unchecked(lease) };
                    // Who has stopped waiting in this instant gives the lease back by dropping it.
                    drop(ticket.answer(Ok(answered)));
                }
            }
            Err(error) if handles > 0 => {
                member.unfit.store(true, Ordering::Relaxed);
                *phase = Phase::Held { member, handles };
                drop(phase);
                for ticket in waiting {
                    let _ = ticket.answer(Err(error.clone()));
                }
            }
            answer => {
                // Nobody wants what there is.
                *phase = Phase::Busy { member: Some(Arc::clone(&member)), handles: 0, waiting: Vec::new() };
                drop(phase);
                for ticket in waiting {
                    let _ = ticket.answer(answer.clone().map(|()| Answered::Again));
                }
                let releasing = Releasing::new(&self.spec, &member, self.later.stops());
                let result = left(releasing.finish(&*self.later), &self.spec, &self.later);
                settle_released(&self.entry);
                if let Err(error) = result {
                    tracing::error!(service = %self.spec.name, %error, "cannot release what nobody waited for");
                }
            }
        }
    }
}

/// What came of a release that went to its end. An heir goes on on a thread that nobody waits for.
fn left(released: Released, spec: &Arc<Spec>, later: &Arc<dyn Hooks>) -> Result<()> {
    let releasing = match released {
        Released::Over(result) => return result.map(drop),
        Released::AsHeir(releasing) | Released::WouldBlock(releasing) => releasing,
    };
    let (name, hints, hooks) = (spec.name.clone(), spec.hints.clone(), Arc::clone(later));
    let spawned = spawn(spec, move || {
        match releasing.finish(&*hooks) {
            // Somebody else has stopped it.
            Released::Over(Err(error)) if error.kind() == ErrorKind::SetRemoved && hints.live().is_none() => {}
            Released::Over(Err(error)) => {
                tracing::error!(service = %name, %error, "cannot stop the service that has lingered");
            }
            _ => {}
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(service = %spec.name, %error, "on_last_release will not be called: the guardian stops the service");
    }
    Ok(())
}

/// The reference has been given back; who has come in the meantime begins anew.
fn settle_released(entry: &Entry) {
    let before = mem::replace(&mut *entry.lock(), Phase::Idle);
    if let Phase::Busy { waiting, .. } = before {
        for ticket in waiting {
            let _ = ticket.answer(Ok(Answered::Again));
        }
    }
}

/// A service is started by a callback or by a command, and a command stops by itself.
pub(crate) fn check_ways(spec: &Spec, starts: bool, others: bool) -> Result<()> {
    let wrong = |what: &str| Err(Error::new(ErrorKind::InvalidInput, what).service(&spec.name));
    match (&spec.declared, starts, others) {
        (None, false, _) => wrong("there is neither an on_first_acquire nor a command, so nobody could start it"),
        (Some(_), true, _) | (Some(_), _, true) => {
            wrong("a service with a command has no on_first_acquire, on_recover or on_last_release")
        }
        _ => Ok(()),
    }
}

pub(crate) fn acquire_timed_out(spec: &Spec) -> Error {
    let limit = spec.settings.acquire_timeout.unwrap_or_default();
    let what = format!("could not be acquired within {limit:?}: another process starts, recovers or stops it");
    Error::new(ErrorKind::TimedOut, what).service(&spec.name).help("`acquire_timeout` sets this limit")
}

pub(crate) fn callback_timed_out(callback: &str, limit: Duration) -> Error {
    Error::new(ErrorKind::TimedOut, format!("{callback} took longer than {limit:?}"))
}

pub(crate) fn panicked(callback: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::from(format!("{callback} panicked: {}", text.unwrap_or("with something that is not a text")))
}

/// What came of beginning to release.
#[derive(Debug)]
pub(crate) enum BegunRelease {
    /// It is over.
    Over(Result<()>),
    /// A thread sees to it.
    Waits(Pending<Result<()>>),
}

impl Lease {
    fn new(entry: &Arc<Entry>, member: &Arc<Member>, spec: &Arc<Spec>, hooks: &Arc<dyn Hooks>) -> Self {
        Self {
            entry: Arc::clone(entry),
            member: Arc::clone(member),
            spec: Arc::clone(spec),
            hooks: Arc::clone(hooks),
            origin: Origin::here(),
            released: false,
        }
    }

    pub(crate) fn info(&self) -> &ServiceInfo {
        &self.member.info
    }

    /// The callbacks for a release that nobody awaits.
    pub(crate) fn hooks(&self) -> Arc<dyn Hooks> {
        Arc::clone(&self.hooks)
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(crate) fn generation(&self) -> u32 {
        self.member.generation
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.member.is_alive()
    }

    /// What another process needs in order to hold the service by itself, while this lease lasts.
    pub(crate) fn for_another(&self) -> Result<Need> {
        let cannot = |error| {
            let what = format!("cannot be handed on: its guardian's {WITNESS} cannot be opened");
            Error::new(ErrorKind::System, what).service(&self.spec.name).source(error)
        };
        let none = || io::Error::from(io::ErrorKind::NotFound);
        let witness = self.member.witness.as_ref().ok_or_else(none).and_then(Witness::for_another).map_err(cannot)?;
        Ok(Need { set: self.member.set, witness })
    }

    /// As far as can be said without asking the service: is it worth asking?
    pub(crate) fn recheck(self, hooks: Arc<dyn Hooks>) -> Result<Begun> {
        if self.member.is_fit() { Ok(Begun::Holds(self)) } else { self.reject(hooks) }
    }

    /// The service was found unhealthy: gives this handle up, and waits until somebody has recovered the service.
    pub(crate) fn reject(mut self, hooks: Arc<dyn Hooks>) -> Result<Begun> {
        self.released = true;
        let entry = Arc::clone(&self.entry);
        let mut phase = entry.lock();
        let (ticket, pending) = ticket::ticket();
        match &mut *phase {
            Phase::Held { member, handles } if Arc::ptr_eq(member, &self.member) => {
                let (member, handles) = (Arc::clone(member), *handles - 1);
                let acquiring = Acquiring::new(&self.spec, hooks.recovers(), Some(&member));
                *phase = Phase::Busy { member: Some(member), handles, waiting: vec![ticket] };
                drop(phase);
                spawn_acquiring(&entry, acquiring, &self.spec, hooks, &self.hooks)?;
            }
            // Another thread of this process has recovered it already.
            Phase::Held { member, .. } => {
                let member = Arc::clone(member);
                drop(phase);
                return Ok(Begun::Holds(Self::new(&entry, &member, &self.spec, &self.hooks)));
            }
            Phase::Busy { handles, waiting, .. } => {
                *handles -= 1;
                waiting.push(ticket);
            }
            Phase::Idle => return Err(Error::new(ErrorKind::System, "lost its reference").service(&self.spec.name)),
        }
        Ok(Begun::Waits(pending))
    }

    /// Gives the handle up without giving its share of the reference back: the process keeps that until it ends, whatever
    /// program it becomes.
    pub(crate) fn keep(self) -> Result<()> {
        if !self.origin.is_here() {
            let what = "a forked child's copy of a handle has no reference that could be kept";
            return Err(Error::new(ErrorKind::InvalidInput, what).service(&self.spec.name));
        }
        if watch::is_elsewhere() {
            let what = "cannot be kept: this thread has called unshare(CLONE_SYSVSEM), or is in another IPC namespace, and the reference would end with the other threads";
            let error = Error::new(ErrorKind::InvalidInput, what).service(&self.spec.name);
            let_go(self);
            return Err(error.help("keep it in the thread that becomes another program, and do neither"));
        }
        let kept = self.member.witness.as_ref().map_or(Ok(()), Witness::keep_on_exec);
        if let Err(error) = kept {
            let what = format!("cannot keep the second witness's {WITNESS} open for another program");
            let error = Error::new(ErrorKind::System, what).service(&self.spec.name).source(error);
            let_go(self);
            return Err(error);
        }
        // It stays counted among the handles, and what it holds stays open: until this program has ended, its guardian is
        // watched, and the service's number is known.
        mem::forget(self);
        Ok(())
    }

    /// Begins to release: does what does not block, and has a thread do the rest.
    pub(crate) fn release(mut self, hooks: Arc<dyn Hooks>) -> BegunRelease {
        self.begin_release(hooks)
    }

    fn begin_release(&mut self, hooks: Arc<dyn Hooks>) -> BegunRelease {
        if mem::replace(&mut self.released, true) || !self.origin.is_here() {
            return BegunRelease::Over(Ok(()));
        }
        let mut phase = self.entry.lock();
        let member = match &mut *phase {
            // Whoever is at work while the entry is busy sees it when no handle is left.
            Phase::Busy { handles, .. } => {
                *handles -= 1;
                return BegunRelease::Over(Ok(()));
            }
            Phase::Held { handles, .. } if *handles > 1 => {
                *handles -= 1;
                return BegunRelease::Over(Ok(()));
            }
            Phase::Held { member, .. } => Arc::clone(member),
            Phase::Idle => return BegunRelease::Over(Ok(())),
        };
        *phase = Phase::Busy { member: Some(Arc::clone(&member)), handles: 0, waiting: Vec::new() };
        drop(phase);
        let releasing = Releasing::new(&self.spec, &member, hooks.stops());
        let may_give_back = watch::is_at_home().unwrap_or(false);
        let releasing = match if may_give_back { releasing.advance() } else { Released::WouldBlock(releasing) } {
            Released::WouldBlock(releasing) => releasing,
            released => {
                settle_released(&self.entry);
                return BegunRelease::Over(left(released, &self.spec, &self.hooks));
            }
        };
        let (ticket, pending) = ticket::ticket();
        let (origin, entry) = (self.origin, Arc::clone(&self.entry));
        let job = Stop { origin, entry, ticket: Some(ticket), result: Ok(()) };
        let (spec, later) = (Arc::clone(&self.spec), Arc::clone(&self.hooks));
        let spawned = spawn(&self.spec, move || {
            let result = left(releasing.finish(&*hooks), &spec, &later);
            job.end(result);
        });
        match spawned {
            Ok(()) => BegunRelease::Waits(pending),
            // The process keeps its reference until it ends; then the guardian stops the service.
            Err(error) => BegunRelease::Over(Err(error)),
        }
    }
}

/// A thread's work on a release, which it ends when it is dropped.
#[derive(Debug)]
struct Stop {
    origin: Origin,
    entry: Arc<Entry>,
    ticket: Option<Ticket<Result<()>>>,
    result: Result<()>,
}

impl Stop {
    fn end(mut self, result: Result<()>) {
        self.result = result;
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            return;
        }
        settle_released(&self.entry);
        let result = mem::replace(&mut self.result, Ok(()));
        if let Some(Err(Err(error))) = self.ticket.take().map(|ticket| ticket.answer(result)) {
            tracing::error!(service = %self.entry.name, %error, "cannot release");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let hooks = Arc::clone(&self.hooks);
        let result = match self.begin_release(hooks) {
            BegunRelease::Over(result) => result,
            BegunRelease::Waits(pending) if watch::may_wait() => pending.wait(None).unwrap_or(Ok(())),
            // The thread says by itself what goes wrong, when nobody waits for it.
            BegunRelease::Waits(_) => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(service = %self.spec.name, %error, "cannot release");
        }
    }
}

/// Lets go of a lease without waiting: for who may not block.
pub(crate) fn let_go(lease: Lease) {
    let hooks = Arc::clone(&lease.hooks);
    match lease.release(hooks) {
        BegunRelease::Over(Err(error)) => tracing::error!(%error, "cannot release"),
        // The thread says by itself what goes wrong, when nobody waits for it.
        BegunRelease::Over(Ok(())) | BegunRelease::Waits(_) => {}
    }
}

/// The first client to notice the death of a guardian makes a new one.
fn watch_guardian(entry: &Arc<Entry>, spec: &Arc<Spec>, member: &Arc<Member>) {
    // Held until the watch is in its place: the death may be noticed at once.
    let mut guardian = member.watched();
    let Watched::NotYet(process) = mem::replace(&mut *guardian, Watched::No) else { return };
    let died = {
        let (entry, spec, member) = (Arc::downgrade(entry), Arc::clone(spec), Arc::downgrade(member));
        move || {
            let spec_of_thread = Arc::clone(&spec);
            if let Err(error) = spawn(&spec, move || guardian_died(&entry, &spec_of_thread, &member)) {
                tracing::error!(service = %spec.name, %error, "cannot replace the guardian");
            }
        }
    };
    match process {
        Some(process) => match watch::on_death(Arc::new(process), died) {
            Ok(watch) => *guardian = Watched::Yes(watch),
            Err(error) => tracing::error!(service = %spec.name, %error, "cannot watch the guardian"),
        },
        // It died before it could be held.
        None => died(),
    }
}

fn guardian_died(entry: &Weak<Entry>, spec: &Arc<Spec>, member: &Weak<Member>) {
    // As long as this process holds that reference.
    let holds = || {
        let (entry, member) = (entry.upgrade()?, member.upgrade()?);
        let same = match &*entry.lock() {
            Phase::Held { member: current, .. } | Phase::Busy { member: Some(current), .. } => {
                Arc::ptr_eq(current, &member)
            }
            _ => false,
        };
        same.then_some((entry, member))
    };
    let Some((entry, member)) = holds() else { return };
    tracing::info!(service = %spec.name, "the guardian has died");
    match driver::replace_guardian(spec, member.set, member.witness.as_ref(), || holds().is_none()) {
        Ok(_) => {}
        // Who is counted no longer needs no guardian: the release will say so.
        Err(Trouble::Set(SetError::Gone)) => return,
        Err(Trouble::Set(error)) => {
            tracing::error!(service = %spec.name, ?error, "cannot replace the guardian");
            return;
        }
        Err(Trouble::Other(error)) => {
            tracing::error!(service = %spec.name, %error, "cannot replace the guardian");
            return;
        }
    }
    if holds().is_none() {
        return;
    }
    // Watch the one that is there now, whoever made it.
    let snapshot = member.set.snapshot().ok();
    if snapshot.is_some_and(|snapshot| snapshot.kernel_guards()) {
        return;
    }
    let process = driver::hold_guardian(member.set, snapshot).map(|(_, process)| process);
    *member.watched() = Watched::NotYet(process);
    watch_guardian(&entry, spec, &member);
}
