//! Performs what the state machines of [`crate::protocol`] decide.

use super::declared::{self, Prepared, Spawned};
use super::hooks::{Hooks, NoHooks};
use super::{Member, Origin, Spec, Watched};
use crate::blocking::ServiceHandle;
use crate::command::ServiceCommand;
use crate::error::{Error, ErrorKind, Result};
use crate::info::ServiceInfo;
use crate::process::Known;
use crate::protocol::acquire::{self, Acquire, Ways};
use crate::protocol::release::{self, Door, Release};
use crate::protocol::set::{
    ANNOUNCE, ASK, ASK_NO_MORE, AWAIT_UNLOCKED, HEIR_SHUT, Instance, JOIN, LEAVE_AS_HEIR, LEAVE_LAST, LEAVE_NOT_LAST,
    LEAVE_TO_GUARDIAN, LOCK_UNGUARDED, MARK_DOWN, Op, RESIGN, Record, SOMEBODY_CAME, Snapshot, TAKE_LOCK, UNLOCK,
    WITHDRAW, WITHDRAW_AND_UNLOCK,
};
use crate::sys::guardian::{Launch, Stopper};
use crate::sys::hints::{self, Live};
use crate::sys::words::{FORCE, HANGS, KILL, SET, SIGNAL, WITNESS};
use crate::sys::{self, Floor, Process, Set, SetError, Witness, guardian};
use std::io;
use std::mem;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Getting a reference, under way. It can begin on one thread, as far as nothing blocks, and go on on another one.
#[derive(Debug)]
pub(super) struct Acquiring {
    machine: Acquire,
    action: acquire::Action,
    origin: Origin,
    spec: Arc<Spec>,
    set: Option<Set>,
    /// The set as it was last read.
    snapshot: Option<Snapshot>,
    /// The instance that was found well, or published.
    found: Option<Found>,
    /// What was started but is not published yet.
    started: Option<ServiceInfo>,
    /// Its process, and when that started, where a guardian has started it.
    spawned: Option<(u32, u64)>,
    witness: Option<Witness>,
    error: Option<Error>,
}

#[derive(Debug)]
struct Found {
    info: ServiceInfo,
    process: Option<Process>,
}

/// How far it came.
#[derive(Debug)]
pub(super) enum Progress {
    /// The reference is there.
    Holds(Member),
    /// The process holds what it held before, and what failed is this.
    Failed(Error),
    /// Nobody wanted it any more.
    Cancelled,
    /// The next step may block.
    WouldBlock,
}

impl Acquiring {
    /// For a process that holds nothing, or that holds `held` and found it unhealthy.
    pub(super) fn new(spec: &Arc<Spec>, recovers: bool, held: Option<&Member>) -> Self {
        let ways = Ways { recovers, by_guardian: spec.declared.is_some() };
        let (machine, action) = Acquire::new(held.is_some(), ways);
        Self {
            machine,
            action,
            origin: Origin::here(),
            spec: Arc::clone(spec),
            set: held.map(|member| member.set),
            snapshot: None,
            found: None,
            started: None,
            spawned: None,
            witness: held.and_then(|member| member.witness.as_ref()).and_then(|witness| witness.try_clone().ok()),
            error: None,
        }
    }

    /// Goes on as far as nothing blocks and nothing of the program's is called.
    pub(super) fn advance(&mut self) -> Progress {
        self.go(None, &mut || false)
    }

    /// Goes on to the end.
    pub(super) fn finish(&mut self, hooks: &dyn Hooks, unwanted: &mut dyn FnMut() -> bool) -> Progress {
        self.go(Some(hooks), unwanted)
    }

    fn go(&mut self, hooks: Option<&dyn Hooks>, unwanted: &mut dyn FnMut() -> bool) -> Progress {
        use acquire::Action as A;
        loop {
            let event = match (self.action, hooks) {
                (A::Return(outcome), _) => return self.outcome(outcome),
                (A::Look, _) => self.look(),
                (A::Join, _) => self.come(&JOIN, "join"),
                (A::Check, hooks) => self.check(hooks),
                (_, None) => return Progress::WouldBlock,
                (A::Announce, _) => self.come(&ANNOUNCE, "announce itself"),
                (A::Lock, _) => self.lock(unwanted),
                (A::AskWitness, _) => self.ask_witness(),
                (A::Found, _) => self.found_set(),
                (A::MarkDown, _) => self.mark_down(),
                (A::Finish, Some(hooks)) => self.finish_predecessor(hooks),
                (A::EnsureGuardian, _) => self.ensure_guardian(),
                (A::Start, Some(hooks)) => self.start(hooks),
                (A::Recover, Some(hooks)) => self.recover(hooks),
                (A::Publish, _) => self.publish(),
                (A::Discard, Some(hooks)) => self.discard(hooks),
                (A::Unlock, _) => self.apply(&UNLOCK, "end the transition"),
                (A::Fail { leave }, _) => self.fail(leave),
                (A::Leave, Some(hooks)) => self.leave(hooks),
                (A::Withdraw, _) => self.withdraw(),
                (A::Abandon, _) => self.abandon(),
            };
            // A child that a callback has forked, and that comes back from it: lock and reference are its parent's.
            if !self.origin.is_here() {
                return Progress::Cancelled;
            }
            tracing::trace!(service = %self.spec.name, action = ?self.action, ?event, "acquire");
            // Nobody but a program that is not ours can be the cause of that.
            if let (acquire::Event::Refused, A::Announce | A::Lock | A::Unlock | A::Finish) = (event, self.action) {
                let error = Error::set(&self.spec.name, "go on", SetError::Refused);
                self.error.get_or_insert(error);
            }
            self.action = self.machine.next(event);
        }
    }

    /// A set that this has made but could not use must not stay.
    fn leave_fresh(&mut self) {
        let fresh = self.snapshot.take_if(|snapshot| snapshot.is_fresh());
        if fresh.is_some() && !self.machine.is_counted() {
            self.set().remove_unused();
        }
    }

    fn outcome(&mut self, outcome: acquire::Outcome) -> Progress {
        use acquire::Outcome as O;
        self.leave_fresh();
        let name = &self.spec.name;
        let error = self.error.take();
        match outcome {
            O::Joined | O::Started | O::Recovered => match (self.set, self.found.take()) {
                (Some(set), Some(found)) => {
                    tracing::debug!(service = %name, pid = found.info.pid(), outcome = ?outcome, "holds");
                    let generation = self.snapshot.map_or(0, |snapshot| snapshot.record().generation);
                    let guardian = hold_guardian(set, self.snapshot);
                    let mut witness = self.witness.take();
                    if let (None, Some((pid, process))) = (&witness, &guardian) {
                        match Witness::of_guardian(set, *pid, process) {
                            Ok(opened) => witness = Some(opened),
                            Err(error) => tracing::debug!(service = %name, %error, "no second witness"),
                        }
                    }
                    let guardian = Mutex::new(match self.snapshot {
                        Some(snapshot) if snapshot.kernel_guards() => Watched::No,
                        _ => Watched::NotYet(guardian.map(|(_, process)| process)),
                    });
                    let Found { info, process } = found;
                    let known = process.as_ref().zip(info.pid()).map(|(process, pid)| Known::new(pid, process.start()));
                    let unfit = AtomicBool::new(false);
                    Progress::Holds(Member { set, generation, info, process, known, witness, guardian, unfit })
                }
                _ => Progress::Failed(Error::new(ErrorKind::System, "joined, but found nothing").service(name)),
            },
            O::Failed => Progress::Failed(
                error.unwrap_or_else(|| Error::new(ErrorKind::System, "failed without a cause").service(name)),
            ),
            O::FailedElsewhere => Progress::Failed(error.unwrap_or_else(|| self.failed_elsewhere())),
            O::SetRemoved => Progress::Failed(error.unwrap_or_else(|| Error::set_removed(name, "acquire"))),
            O::Cancelled => Progress::Cancelled,
        }
    }

    fn failed_elsewhere(&self) -> Error {
        let failures = self.snapshot.map_or(0, |snapshot| snapshot.view().failures);
        let cause = self.set.and_then(|set| self.spec.hints.read_failure(set.id(), failures));
        let cause = cause.unwrap_or_else(|| "its cause was not left where it could be read".into());
        let what = "the start that was waited for failed in another process";
        Error::new(ErrorKind::StartFailed, what).service(&self.spec.name).source(Error::from(cause))
    }

    /// The set; every action but `Look` comes after it was opened.
    fn set(&self) -> Set {
        self.set.unwrap_or(Set::from_id(-1))
    }

    fn read(&mut self) -> Result<Snapshot, SetError> {
        let snapshot = self.set().snapshot()?;
        self.snapshot = Some(snapshot);
        Ok(snapshot)
    }

    fn error(&mut self, operation: &str, error: SetError) -> acquire::Event {
        match error {
            SetError::Gone => acquire::Event::Gone,
            SetError::Refused => acquire::Event::Refused,
            error => {
                self.error = Some(Error::set(&self.spec.name, operation, error));
                acquire::Event::Failed
            }
        }
    }

    fn failed(&mut self, error: Error) -> acquire::Event {
        self.error = Some(error.service(&self.spec.name));
        acquire::Event::Failed
    }

    fn cannot_read(&mut self, error: SetError) -> acquire::Event {
        self.error(&format!("read the {SET}"), error)
    }

    fn apply(&mut self, ops: &[Op], operation: &str) -> acquire::Event {
        match self.set().apply(ops) {
            Ok(()) => acquire::Event::Done,
            Err(error) => self.error(operation, error),
        }
    }

    /// Where nobody but its clients keeps a service alive, who is counted has to be one of those already: all others may let go
    /// of it in the next instant.
    fn come(&mut self, ops: &[Op], operation: &str) -> acquire::Event {
        if self.witness.is_none() {
            match Witness::of_comer(self.set()) {
                Ok(witness) => self.witness = witness,
                Err(error) => {
                    let what = "cannot hold what keeps it alive";
                    return self.failed(Error::new(ErrorKind::System, what).source(error));
                }
            }
        }
        self.apply(ops, operation)
    }

    fn look(&mut self) -> acquire::Event {
        // Who holds the service looks at the set that counts it, not at whatever has its key now.
        if let (Some(set), true) = (self.set, self.machine.held()) {
            return match set.snapshot() {
                Ok(snapshot) => self.seen(snapshot),
                Err(error) => self.error(&format!("look at the {SET}"), error),
            };
        }
        match Set::create(&self.spec.name) {
            Ok((set, snapshot)) => {
                // The one before has been removed, and what this holds of that keeps nothing of this one alive.
                if self.set.replace(set) != Some(set) {
                    self.witness = None;
                }
                self.seen(snapshot)
            }
            Err(error) => self.failed(error),
        }
    }

    fn seen(&mut self, snapshot: Snapshot) -> acquire::Event {
        self.snapshot = Some(snapshot);
        acquire::Event::Seen(snapshot.view())
    }

    fn lock(&mut self, unwanted: &mut dyn FnMut() -> bool) -> acquire::Event {
        match self.set().apply_while_wanted(&TAKE_LOCK, unwanted) {
            Ok(true) => match self.read() {
                Ok(snapshot) => match self.set().is_of(&self.spec.name, &snapshot) {
                    Ok(()) => acquire::Event::Seen(snapshot.view()),
                    Err(error) => {
                        self.give_back();
                        self.set = None;
                        self.failed(error)
                    }
                },
                // With the lock, which the machine does not know of yet.
                Err(error) => {
                    let _ = self.set().apply(&UNLOCK);
                    self.cannot_read(error)
                }
            },
            Ok(false) => acquire::Event::Cancelled,
            Err(error) => self.error("wait for the end of a transition", error),
        }
    }

    /// Is the recorded instance alive, and, where callbacks may be called, healthy?
    fn check(&mut self, hooks: Option<&dyn Hooks>) -> acquire::Event {
        let snapshot = match self.read() {
            Ok(snapshot) => snapshot,
            Err(error) => return self.cannot_read(error),
        };
        let record = snapshot.record();
        let process = match record.instance {
            Instance::Process { pid, start } => match Process::open_recorded(pid, start) {
                Ok(Some(process)) if !process.has_ended() => Some(process),
                Ok(_) => return self.unhealthy("its process has ended"),
                // Not knowing is no reason to start a second one.
                Err(error) => {
                    tracing::warn!(service = %self.spec.name, pid, %error, "cannot look at the service's process");
                    None
                }
            },
            Instance::Other => None,
            Instance::None => return self.unhealthy("nothing is recorded"),
        };
        if !snapshot.view().up {
            return self.unhealthy("it is being finished");
        }
        if record.pipe != 0
            && let (Instance::Process { pid, .. }, Some(process)) = (record.instance, &process)
        {
            match self.hold_pipe(pid, process, record.pipe, snapshot) {
                Ok(true) => {}
                Ok(false) => return self.unhealthy("all who held it were killed, and the kernel has told it to stop"),
                Err(error) => {
                    let what = format!("cannot open the {WITNESS} by which the kernel knows that somebody holds it");
                    return self.failed(Error::new(ErrorKind::System, what).source(error));
                }
            }
        }
        let info = self.recorded_info(&record);
        if let Some(hooks) = hooks
            && hooks.checks_health()
            && !hooks.is_healthy(info.clone())
        {
            return self.unhealthy("its health check says so");
        }
        self.found = Some(Found { info, process });
        acquire::Event::Healthy
    }

    /// Who is counted has to be among those who hold the service's pipe before it may rely on the service: the kernel stops
    /// that when nobody holds the pipe, whatever the count says. `Ok(false)`: it has done so.
    fn hold_pipe(&mut self, pid: u32, service: &Process, pipe: u32, seen: Snapshot) -> io::Result<bool> {
        let holds =
            |witness: &Option<Witness>| witness.as_ref().map_or(Ok(false), |witness| witness.holds(service, pipe));
        if holds(&self.witness)? {
            return Ok(true);
        }
        if let Some((pid, guardian)) = hold_guardian(self.set(), Some(seen)) {
            // As long as the guardian lives, somebody has held it.
            let opened = Witness::of_guardian(self.set(), pid, &guardian).ok();
            if holds(&opened)? {
                self.witness = opened;
                return Ok(true);
            }
        }
        match Witness::of_service(self.set(), pid, service, pipe)? {
            Floor::Held(witness) => self.witness = Some(witness),
            Floor::None => {}
            Floor::Abandoned => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the pipe of the guardian that is to be made is, or will be, that of all who are counted. Whoever was counted before holds
    /// the one of the guardian before, which may have gone, and so may the service: then it is taken from one of them.
    fn all_hold_one_pipe(&mut self, snapshot: &Snapshot) -> bool {
        let view = snapshot.view();
        if self.witness.is_some() || view.generation == 0 || view.clients == 1 {
            return true;
        }
        let pipe = snapshot.record().pipe;
        if pipe == 0 {
            return false;
        }
        match Witness::of_anybody(self.set(), pipe) {
            Ok(found) => {
                self.witness = found;
                true
            }
            Err(error) => {
                tracing::warn!(service = %self.spec.name, %error, "cannot find who holds it from before");
                false
            }
        }
    }

    fn unhealthy(&self, why: &str) -> acquire::Event {
        tracing::info!(service = %self.spec.name, why, "unhealthy");
        acquire::Event::Unhealthy
    }

    fn recorded_info(&self, record: &Record) -> ServiceInfo {
        recorded_info(&self.spec, self.set(), record)
    }

    fn ask_witness(&mut self) -> acquire::Event {
        let Some(live) = self.spec.hints.live() else { return acquire::Event::Unhealthy };
        self.error = Some(set_removed_under(&self.spec, &live));
        acquire::Event::Healthy
    }

    fn found_set(&mut self) -> acquire::Event {
        match sys::undo_works(self.set()) {
            Ok(true) => {}
            Ok(false) => {
                let what = "this kernel or sandbox accepts semaphore operations with undo, but does not undo them when a process dies";
                let help = "a count kept here would only ever grow; run outside of the sandbox";
                return self.failed(Error::new(ErrorKind::Unsupported, what).help(help));
            }
            Err(error) => return self.failed(error),
        }
        let Some(snapshot) = self.snapshot else { return acquire::Event::Gone };
        let namespace = match sys::namespace_fingerprint() {
            Ok(namespace) => namespace,
            Err(error) => return self.failed(error),
        };
        let naming = snapshot.naming(self.spec.name.as_str().as_bytes(), namespace);
        match self.set().apply(&naming) {
            Ok(()) => match self.read() {
                Ok(_) => acquire::Event::Done,
                Err(error) => self.cannot_read(error),
            },
            Err(SetError::Gone) => acquire::Event::Gone,
            Err(error) => self.failed(Error::set(&self.spec.name, &format!("name the {SET}"), error)),
        }
    }

    fn mark_down(&mut self) -> acquire::Event {
        match self.set().apply(&MARK_DOWN) {
            // It is down already.
            Ok(()) | Err(SetError::Refused) => acquire::Event::Done,
            Err(error) => self.error("mark the service as down", error),
        }
    }

    /// The predecessor rule: what is recorded but not up has to be finished before anything else happens.
    fn finish_predecessor(&mut self, hooks: &dyn Hooks) -> acquire::Event {
        let result = finish_recorded(&self.spec, self.set(), false, || match self.snapshot {
            Some(snapshot) if hooks.stops() => hooks.stop(recorded_info(&self.spec, self.set(), &snapshot.record())),
            _ => Ok(()),
        });
        match result {
            Ok(()) => match self.read() {
                Ok(_) => acquire::Event::Done,
                Err(error) => self.cannot_read(error),
            },
            Err(Trouble::Set(error)) => self.error("forget what has been stopped", error),
            Err(Trouble::Other(error)) => self.failed(error),
        }
    }

    fn ensure_guardian(&mut self) -> acquire::Event {
        let snapshot = match self.read() {
            Ok(snapshot) => snapshot,
            Err(error) => return self.cannot_read(error),
        };
        if snapshot.guardian_pid().is_some() {
            return acquire::Event::Done;
        }
        let complete = self.all_hold_one_pipe(&snapshot);
        match make_guardian(&self.spec, self.set(), self.witness.as_ref(), complete) {
            Ok(None) => {}
            Ok(witness) => self.witness = witness,
            Err(error) if error.kind() == ErrorKind::SetRemoved => return acquire::Event::Gone,
            Err(error) => return self.failed(error),
        }
        // For whoever is to hold it and its pipe.
        match self.read() {
            Ok(_) => acquire::Event::Done,
            Err(error) => self.cannot_read(error),
        }
    }

    /// A set that is removed in the middle of a start must not let a second one begin: the hint tells of this one.
    fn leave_hint(&self) -> Result<()> {
        // Whose set was removed before its process ended: nobody else knows what it has left.
        let ended = |pid, start| {
            if self.spec.declared.is_some() {
                sys::service::sweep_marked(pid, start);
            }
        };
        match self.spec.hints.write_starter(self.set().id(), ended) {
            Ok(None) => Ok(()),
            Ok(Some(live)) => Err(set_removed_under(&self.spec, &live)),
            Err(error) => {
                tracing::warn!(service = %self.spec.name, %error, "cannot write down that it is being started");
                Ok(())
            }
        }
    }

    fn start(&mut self, hooks: &dyn Hooks) -> acquire::Event {
        tracing::debug!(service = %self.spec.name, "starts");
        if let Err(error) = self.leave_hint() {
            return self.failed(error);
        }
        let spec = Arc::clone(&self.spec);
        if let Some(command) = &spec.declared {
            return match self.start_declared(command) {
                Ok(info) => {
                    self.started = Some(info);
                    acquire::Event::Done
                }
                Err(error) => {
                    // What was started must not stay for the next one.
                    self.finish_spawned();
                    let removed = matches!(self.set().snapshot(), Err(SetError::Gone));
                    self.failed(if removed { Error::set_removed(&spec.name, "start it") } else { cannot_start(error) })
                }
            };
        }
        let began = Instant::now();
        let limit = self.spec.settings.start_timeout;
        match hooks.start() {
            // A callback that cannot be interrupted is judged when it returns.
            Ok(info) if began.elapsed() > limit => {
                self.started = Some(info);
                self.discard(hooks);
                self.failed(super::callback_timed_out("on_first_acquire", limit))
            }
            Ok(info) => {
                self.started = Some(info);
                acquire::Event::Done
            }
            Err(error) => self.failed(callback_failed(ErrorKind::StartFailed, "on_first_acquire", error)),
        }
    }

    /// Ends what a guardian has started and nobody is to have: what is recorded, or, if the set has gone, what the guardian said.
    fn finish_spawned(&mut self) {
        let spec = Arc::clone(&self.spec);
        let finished = match (finish_recorded(&spec, self.set(), false, || Ok(())), self.spawned.take()) {
            (Err(Trouble::Set(SetError::Gone)), Some((pid, start))) => {
                stop_process(&spec, self.set(), pid, start, Told::Nothing, Some(None)).map_err(Trouble::Other)
            }
            (Err(Trouble::Set(SetError::Gone)), None) => Ok(()),
            (finished, _) => finished,
        };
        if let Err(trouble) = finished {
            tracing::error!(service = %spec.name, ?trouble, "cannot stop what was started and cannot be used");
        }
    }

    /// Has a new guardian start the service as its child. The one before, which holds no state, makes way for it.
    fn start_declared(&mut self, command: &ServiceCommand) -> Result<ServiceInfo> {
        let spec = Arc::clone(&self.spec);
        let prepared = Prepared::new(&spec, command)?;
        prepared.prepare_once(&spec, |launch| self.launch(&spec, launch, None))?;
        let (mut launch, mark) = prepared.launch(&spec)?;
        let spawned = self.launch(&spec, &mut launch, prepared.stopper())?;
        self.spawned = spawned.as_ref().ok().map(|spawned| (spawned.pid, spawned.start));
        let guardian = self.read().ok().and_then(|snapshot| snapshot.guardian_pid());
        prepared.await_ready(&spec, guardian, &mark, spawned)
    }

    /// Has a new guardian start something as its child. The one before, which holds no state, makes way for it, and what it
    /// had started is finished.
    ///
    /// What comes back tells whether it was started, and is recorded.
    fn launch(&mut self, spec: &Spec, launch: &mut Launch, stopper: Option<&Stopper>) -> Result<io::Result<Spawned>> {
        /// A guardian of somebody who was killed may come in between, and record what it starts before it is found.
        const ATTEMPTS: usize = 5;
        let read = |error| Error::set(&spec.name, &format!("read the {SET}"), error);
        let _asked = Asked::new(self.set()).map_err(|error| Error::set(&spec.name, "ask for a start", error))?;
        let mut attempts = 0;
        loop {
            let snapshot = self.read().map_err(read)?;
            if let Some(pid) = snapshot.guardian_pid() {
                // None: it has just gone, and the kernel is about to say so.
                if let Some(process) = find_guardian(self.set(), pid)? {
                    if self.witness.is_none() {
                        self.witness = Witness::of_guardian(self.set(), pid, &process).ok();
                    }
                    process.signal(sys::Signal::KILL)?;
                    process.wait(None)?;
                }
                continue;
            }
            // One whose starter was killed in the middle may have started the service until just now.
            match finish_recorded(spec, self.set(), false, || Ok(())) {
                Ok(()) => {}
                Err(Trouble::Set(error)) => return Err(read(error)),
                Err(Trouble::Other(error)) => return Err(error),
            }
            let complete = self.all_hold_one_pipe(&snapshot);
            if !complete {
                // The kernel would take the end of the few who hold the new one for everybody's.
                launch.program.floor_signal = 0;
            }
            let (witness, launch) = (self.witness.as_ref(), Some(&*launch));
            let Some(made) = launch_guardian(spec, self.set(), witness, complete, launch, stopper)? else { continue };
            if made.witness.is_some() {
                self.witness = made.witness;
            }
            attempts += 1;
            match Spawned::from_reports(made.reports) {
                Ok(Some(spawned)) => return Ok(Ok(spawned)),
                Ok(None) if attempts < ATTEMPTS => {}
                Ok(None) => return Ok(Err(io::Error::other("guardians of clients that were killed came in between"))),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn recover(&mut self, hooks: &dyn Hooks) -> acquire::Event {
        let record = match self.read() {
            Ok(snapshot) => snapshot.record(),
            Err(error) => return self.cannot_read(error),
        };
        tracing::info!(service = %self.spec.name, "recovers");
        let (_known, old) = (known(&record), self.recorded_info(&record));
        if let Err(error) = self.leave_hint() {
            return self.failed(error);
        }
        let info = match hooks.recover(old) {
            Ok(info) => info,
            Err(error) => return self.failed(callback_failed(ErrorKind::RecoverFailed, "on_recover", error)),
        };
        let replaced = match record.instance {
            Instance::Process { pid, start } if info.pid() != Some(pid) => {
                stop_process(&self.spec, self.set(), pid, start, Told::Nothing, record.declared.then_some(None))
            }
            _ => Ok(()),
        };
        self.started = Some(info);
        match replaced {
            Ok(()) => acquire::Event::Done,
            Err(error) => {
                self.failed(error);
                acquire::Event::Refused
            }
        }
    }

    fn publish(&mut self) -> acquire::Event {
        match self.try_publish() {
            Ok(event) => event,
            Err(error) => self.failed(cannot_start(error)),
        }
    }

    fn try_publish(&mut self) -> Result<acquire::Event> {
        let Some(info) = self.started.clone() else { return Err("nothing was started".into()) };
        let wrong = |what: String| Err(Error::new(ErrorKind::StartFailed, what));
        let process = match info.pid() {
            Some(pid) => match Process::open(pid)? {
                Some(process) if !process.has_ended() => Some((pid, process)),
                _ => {
                    let whose =
                        if self.spec.declared.is_some() { "" } else { ", which the callback says was started," };
                    return wrong(format!("the process {pid}{whose} is not running"));
                }
            },
            None if !self.spec.settings.linger.is_zero() => {
                return wrong("a service without a pid cannot linger: nobody could stop it later".into());
            }
            None => None,
        };
        let size: usize = info.metadata().iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > hints::MOST_DETAILS {
            return wrong(format!("its metadata has {size} bytes, and may have {}", hints::MOST_DETAILS));
        }
        let details = hints::encode(info.metadata());
        let (set, snapshot) = (self.set(), self.read());
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(SetError::Gone) => return Ok(acquire::Event::Gone),
            Err(error) => return Err(Error::set(&self.spec.name, &format!("read the {SET}"), error)),
        };
        // A guardian has laid the floor of what it has started.
        let pipe = match (&process, &self.witness) {
            _ if self.spec.declared.is_some() => snapshot.record().pipe,
            (Some((pid, process)), Some(witness)) => witness.adopt(process).map_err(|error| {
                let what = format!("the kernel cannot be told to end the process {pid} with its last client");
                Error::new(ErrorKind::StartFailed, what).source(error)
            })?,
            _ => 0,
        };
        let record = Record {
            instance: match &process {
                Some((pid, process)) => Instance::Process { pid: *pid, start: process.start() },
                None => Instance::Other,
            },
            port: info.port(),
            generation: snapshot.next_generation(),
            details: hints::checksum(&details),
            declared: self.spec.declared.is_some(),
            pipe,
        };
        if let Err(error) = self.spec.hints.write_info(set.id(), &record, &details) {
            if !details.is_empty() {
                let what = format!("cannot write its metadata into {}", self.spec.hints.location().0.display());
                return Err(Error::new(ErrorKind::StartFailed, what).source(error));
            }
            tracing::warn!(service = %self.spec.name, %error, "cannot write down which process it is");
        }
        match set.apply(&snapshot.publishing(&record)) {
            Ok(()) => {
                self.snapshot = self.set().snapshot().ok();
                self.started = None;
                self.spawned = None;
                self.found = Some(Found { info, process: process.map(|(_, process)| process) });
                Ok(acquire::Event::Done)
            }
            Err(SetError::Gone) => Ok(acquire::Event::Gone),
            // Only a guardian's death changes anything while the lock is held.
            Err(SetError::Refused) if set.snapshot().is_ok_and(|now| now.guardian_pid().is_none()) => {
                Ok(acquire::Event::Refused)
            }
            Err(error) => Err(Error::set(&self.spec.name, "publish the started service", error)),
        }
    }

    /// Nobody knows what was started here, so it must not stay.
    fn discard(&mut self, hooks: &dyn Hooks) -> acquire::Event {
        let started = self.started.take();
        if self.spec.declared.is_some() {
            // Its descendants, too: there is no callback that would see to them.
            self.finish_spawned();
        } else if let Some(info) = started {
            let process = info.pid().map(|pid| (pid, Process::open(pid)));
            let mut asked = false;
            if hooks.stops() {
                match hooks.stop(info) {
                    Ok(()) => asked = true,
                    Err(error) => {
                        tracing::error!(service = %self.spec.name, %error, "on_last_release failed for a service that could not be published");
                    }
                }
            }
            let gone = match process {
                Some((_, Ok(Some(process)))) => sys::stop(&process, &self.spec.ladder, asked).unwrap_or(false),
                Some((pid, Err(_))) => sys::stop_apart(pid, &self.spec.ladder, asked),
                None | Some((_, Ok(None))) => true,
            };
            if !gone {
                tracing::error!(service = %self.spec.name, "cannot stop a service that could not be published");
            }
        }
        self.spec.hints.remove_about(self.set().id());
        acquire::Event::Done
    }

    fn fail(&mut self, leave: bool) -> acquire::Event {
        let snapshot = match self.read() {
            Ok(snapshot) => snapshot,
            // Nothing is being started any more, under whatever set.
            Err(SetError::Gone) => {
                self.spec.hints.remove_about(self.set().id());
                return acquire::Event::Done;
            }
            Err(error) => {
                tracing::warn!(service = %self.spec.name, ?error, "cannot tell other processes that the start failed");
                self.give_back();
                return acquire::Event::Done;
            }
        };
        if leave && self.remove_if_alone(&snapshot) {
            return acquire::Event::Done;
        }
        self.spec.hints.remove_about(self.set().id());
        let failing = snapshot.failing(leave);
        let cause = self.error.as_ref().map_or_else(String::new, ToString::to_string);
        let failures = snapshot.next_failures();
        if let Err(error) = self.spec.hints.write_failure(self.set().id(), failures, &cause) {
            tracing::warn!(service = %self.spec.name, %error, "cannot tell other processes why the start failed");
        }
        if let Err(error) = self.set().apply(&failing) {
            tracing::warn!(service = %self.spec.name, ?error, "cannot tell other processes that the start failed");
            self.give_back();
        }
        acquire::Event::Done
    }

    /// Ends the transition, and takes back what this counted: nothing where the process held the service before.
    fn give_back(&self) {
        let ops: &[Op] = if self.machine.held() { &UNLOCK } else { &WITHDRAW_AND_UNLOCK };
        if let Err(error) = self.set().apply(ops) {
            tracing::warn!(service = %self.spec.name, ?error, "cannot end the transition: this process's end will");
        }
    }

    /// With the lock, nobody else counted and nothing recorded, the set has no use any more.
    fn remove_if_alone(&self, snapshot: &Snapshot) -> bool {
        let view = snapshot.view();
        let alone = view.clients <= 1 && !view.instance && !view.up;
        if alone {
            self.spec.hints.remove();
            let _ = self.set().remove();
        }
        alone
    }

    /// The reference may be the last one: then there may be something to stop.
    fn leave(&mut self, hooks: &dyn Hooks) -> acquire::Event {
        if let Some(set) = self.set {
            let witness = self.witness.take();
            let releasing = Releasing::of_set(&self.spec, set, witness, Release::new(false, hooks.stops()));
            if let Released::Over(Err(error)) = releasing.finish(hooks) {
                tracing::warn!(service = %self.spec.name, %error, "cannot release what nobody waited for");
            }
        }
        acquire::Event::Done
    }

    fn withdraw(&mut self) -> acquire::Event {
        // Now, with the lock: the last one who withdraws removes the file with the cause.
        if self.machine.failed_elsewhere() {
            self.error = Some(self.failed_elsewhere());
        }
        match self.read() {
            Ok(snapshot) if self.remove_if_alone(&snapshot) => {}
            _ => {
                let _ = self.set().apply(&WITHDRAW_AND_UNLOCK);
            }
        }
        acquire::Event::Done
    }

    fn abandon(&mut self) -> acquire::Event {
        let _ = self.set().remove();
        acquire::Event::Done
    }
}

impl Drop for Acquiring {
    fn drop(&mut self) {
        if !self.origin.is_here() {
            return;
        }
        // No thread could be started for the rest of it, or a callback's panic came through.
        if self.machine.is_under_way() {
            let set = self.set();
            let _ = match self.machine.gives_back() {
                acquire::Action::Withdraw => set.apply(&WITHDRAW_AND_UNLOCK),
                acquire::Action::Leave => set.apply(&WITHDRAW),
                acquire::Action::Unlock => set.apply(&UNLOCK),
                _ => Ok(()),
            };
        }
        self.leave_fresh();
    }
}

/// Giving a reference back, under way.
#[derive(Debug)]
pub(super) struct Releasing {
    machine: Release,
    action: release::Action,
    origin: Origin,
    spec: Arc<Spec>,
    set: Set,
    info: Option<(ServiceInfo, Option<Known>)>,
    /// `on_last_release` says that it has made the service stop.
    asked: bool,
    /// The reference, where it is not one that was never complete.
    member: Option<Arc<Member>>,
    /// Nothing is given back: it is stopped by somebody who holds nothing.
    from_outside: bool,
    witness: Option<Witness>,
    /// What the service needs, held until it has stopped.
    needs: Vec<ServiceHandle>,
    error: Option<Error>,
}

/// How far it came.
#[derive(Debug)]
pub(super) enum Released {
    /// It is over.
    Over(Result<release::Outcome>),
    /// The reference has been given back. When the service has lingered, `on_last_release` is to be called by this
    /// process, if it still lives.
    AsHeir(Releasing),
    /// The next step may block.
    WouldBlock(Releasing),
}

impl Releasing {
    pub(super) fn new(spec: &Arc<Spec>, member: &Arc<Member>, stops: bool) -> Self {
        // A guardian that is the service's parent stops it, whether or not it lingers before.
        let to_guardian = !spec.settings.linger.is_zero() || has_parent(spec);
        let machine = Release::new(to_guardian, stops);
        let mut releasing = Self::of_set(spec, member.set, None, machine);
        releasing.member = Some(Arc::clone(member));
        releasing
    }

    fn of_set(
        spec: &Arc<Spec>,
        set: Set,
        witness: Option<Witness>,
        (machine, action): (Release, release::Action),
    ) -> Self {
        let spec = Arc::clone(spec);
        let (info, asked, member, from_outside, error) = (None, false, None, false, None);
        let origin = Origin::here();
        let needs = Vec::new();
        Self { machine, action, origin, spec, set, info, asked, member, from_outside, witness, needs, error }
    }

    /// Goes on as far as nothing blocks.
    pub(super) fn advance(self) -> Released {
        self.go(None)
    }

    /// Goes on to the end.
    pub(super) fn finish(self, hooks: &dyn Hooks) -> Released {
        self.go(Some(hooks))
    }

    fn go(mut self, hooks: Option<&dyn Hooks>) -> Released {
        use release::Action as A;
        loop {
            let event = match (self.action, hooks) {
                (A::Return(release::Outcome::LeftAsHeir), _) => {
                    (self.machine, self.action) = Release::inherit();
                    self.witness = self.witness().and_then(|witness| witness.try_clone().ok());
                    self.member = None;
                    return Released::AsHeir(self);
                }
                (A::Return(outcome), _) => return Released::Over(self.outcome(outcome)),
                (A::LeaveNotLast, _) => self.event(self.set.apply(&LEAVE_NOT_LAST)),
                (A::LeaveToGuardian { heir: false }, None) if self.awaits_stop() => return Released::WouldBlock(self),
                (A::LeaveToGuardian { heir: false }, _) => self.leave_to_guardian(),
                (A::LeaveToGuardian { heir: true }, _) => self.event(self.set.apply(&LEAVE_AS_HEIR)),
                (_, None) => return Released::WouldBlock(self),
                (A::ReplaceGuardian, _) => self.replace_guardian(),
                (A::Linger, _) => match self.set.apply_until(&SOMEBODY_CAME, self.spec.settings.linger) {
                    Ok(true) => release::Event::Done,
                    Ok(false) => release::Event::TimedOut,
                    Err(error) => self.event(Err(error)),
                },
                (A::ShutAsHeir, _) => self.event(self.set.apply_while_wanted(&HEIR_SHUT, || false).map(|_| ())),
                (A::Resign, _) => self.event(self.set.apply(&RESIGN)),
                (A::LeaveLast, _) => self.event(self.set.apply_while_wanted(&LEAVE_LAST, || false).map(|_| ())),
                (A::Shut(door), _) => self.event(self.set.apply_while_wanted(door.array(), || false).map(|_| ())),
                (A::MarkDown, _) => self.mark_down(),
                (A::Stop, Some(hooks)) => self.stop(hooks),
                (A::Finish, _) => self.finish_instance(),
                (A::Remove, _) => self.remove(),
                (A::Unlock, _) => self.event(self.set.apply(&UNLOCK)),
            };
            // As for `Acquiring`: a forked child comes back from `on_last_release`.
            if !self.origin.is_here() {
                return Released::Over(Ok(release::Outcome::Left));
            }
            tracing::trace!(service = %self.spec.name, action = ?self.action, ?event, "release");
            self.action = self.machine.next(event);
        }
    }

    fn witness(&self) -> Option<&Witness> {
        self.member.as_ref().map_or(self.witness.as_ref(), |member| member.witness.as_ref())
    }

    fn awaits_stop(&self) -> bool {
        has_parent(&self.spec) && self.spec.settings.linger.is_zero()
    }

    /// The guardian wakes with the lock, in the very instant in which the last one leaves. It gives it back, or removes
    /// the set, when the service has been stopped.
    ///
    /// The ladder says how long the service's process may take. When that has ended, its descendants are looked for among all
    /// processes, for which there is no time: it is waited for as long as there is a guardian to do it.
    fn leave_to_guardian(&mut self) -> release::Event {
        let event = self.event(self.set.apply(&LEAVE_TO_GUARDIAN));
        if event != release::Event::Done || !self.awaits_stop() {
            return event;
        }
        let set = self.set;
        let patience: u64 = self.spec.ladder.iter().map(|step| step.grace).fold(0, u64::saturating_add);
        let deadline = Instant::now().checked_add(Duration::from_millis(patience));
        let late = || {
            let sweeps = |seen: Snapshot| seen.guardian_pid().is_some() && has_ended(&seen.record());
            deadline.is_some_and(|deadline| Instant::now() >= deadline) && !set.snapshot().is_ok_and(sweeps)
        };
        loop {
            match set.apply_while_wanted(&AWAIT_UNLOCKED, late) {
                Ok(true) => {}
                Ok(false) => break,
                // It is over.
                Err(_) => return event,
            }
            let Ok(snapshot) = set.snapshot() else { return event };
            let view = snapshot.view();
            // Somebody has come, and it is theirs; or it has been stopped, and that is over.
            if view.clients > 0 || !view.instance && !view.locked {
                return event;
            }
            if view.locked {
                continue;
            }
            // A guardian that was stopped and continued in that instant takes the lock a little later, and so does one that
            // takes the place of one that was killed.
            match set.apply_while_wanted(&snapshot.next_change(), late) {
                Ok(true) | Err(SetError::Refused) => {}
                Ok(false) => break,
                Err(_) => return event,
            }
        }
        let what = "it has not been stopped yet; its guardian goes on trying";
        self.error = Some(Error::new(ErrorKind::StopFailed, what).service(&self.spec.name));
        event
    }

    fn replace_guardian(&self) -> release::Event {
        match replace_guardian(&self.spec, self.set, self.witness(), || false) {
            Ok(_) => release::Event::Done,
            Err(Trouble::Set(SetError::Gone)) => release::Event::Gone,
            Err(Trouble::Set(error)) => {
                tracing::warn!(service = %self.spec.name, ?error, "no guardian can linger: it is stopped at once");
                release::Event::Failed
            }
            Err(Trouble::Other(error)) => {
                tracing::warn!(service = %self.spec.name, %error, "no guardian can linger: it is stopped at once");
                release::Event::Failed
            }
        }
    }

    fn outcome(&mut self, outcome: release::Outcome) -> Result<release::Outcome> {
        use release::Outcome as O;
        for error in mem::take(&mut self.needs).into_iter().rev().filter_map(|need| need.release().err()) {
            self.error.get_or_insert(error);
        }
        match outcome {
            O::SetRemoved if self.from_outside && self.error.is_none() => Ok(outcome),
            O::SetRemoved => Err(self.error.take().unwrap_or_else(|| Error::set_removed(&self.spec.name, "release"))),
            outcome => {
                tracing::debug!(service = %self.spec.name, ?outcome, "released");
                self.error.take().map_or(Ok(outcome), Err)
            }
        }
    }

    fn event(&mut self, result: Result<(), SetError>) -> release::Event {
        match result {
            Ok(()) => release::Event::Done,
            Err(SetError::Refused) => release::Event::Refused,
            Err(SetError::Gone) => release::Event::Gone,
            Err(error) => {
                // The kernel refuses to take the reference back: the process's end will.
                let operation = if self.from_outside { "stop it" } else { "leave" };
                self.error = Some(Error::set(&self.spec.name, operation, error));
                release::Event::Gone
            }
        }
    }

    fn mark_down(&mut self) -> release::Event {
        let snapshot = match self.set.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return self.in_transition(Err(error)),
        };
        let record = snapshot.record();
        if record.instance == Instance::None {
            return release::Event::Refused;
        }
        if self.from_outside && record.instance == Instance::Other {
            let what = "it is not one process, so only the on_last_release of a program that describes it can stop it";
            self.error = Some(Error::new(ErrorKind::StopFailed, what).service(&self.spec.name));
            return release::Event::Failed;
        }
        self.info = Some((recorded_info(&self.spec, self.set, &record), known(&record)));
        match self.set.apply(&MARK_DOWN) {
            // A recovery has failed, so it was down already.
            Ok(()) | Err(SetError::Refused) => release::Event::Done,
            error => self.in_transition(error),
        }
    }

    /// The same with the lock, which must not stay with a process that lives on.
    fn in_transition(&mut self, result: Result<(), SetError>) -> release::Event {
        match result {
            Ok(()) => release::Event::Done,
            Err(SetError::Gone) => release::Event::Gone,
            Err(error) => {
                self.error.get_or_insert_with(|| Error::set(&self.spec.name, "stop it", error));
                release::Event::Failed
            }
        }
    }

    fn stop(&mut self, hooks: &dyn Hooks) -> release::Event {
        if let Some((info, _known)) = self.info.take().filter(|_| hooks.stops()) {
            tracing::debug!(service = %self.spec.name, pid = info.pid(), "last release");
            match hooks.stop(info) {
                Ok(()) => self.asked = true,
                Err(error) => {
                    let error = callback_failed(ErrorKind::StopFailed, "on_last_release", error);
                    self.error = Some(error.service(&self.spec.name));
                }
            }
        }
        release::Event::Done
    }

    /// A callback that only sends SIGTERM is enough: here its effect is awaited, and seen to.
    fn finish_instance(&mut self) -> release::Event {
        let asked = self.asked;
        if !guardian::IS_PARENT {
            self.needs = declared::hold_needs(&self.spec);
        }
        let result = finish_recorded(&self.spec, self.set, asked, || Ok(()));
        match result {
            Ok(()) => release::Event::Done,
            Err(Trouble::Set(error)) => self.in_transition(Err(error)),
            Err(Trouble::Other(error)) => {
                self.error.get_or_insert(error.service(&self.spec.name));
                release::Event::Failed
            }
        }
    }

    fn remove(&mut self) -> release::Event {
        match self.set.clients() {
            Ok(0) => {
                // The guardian ends with the set, and that is no reason for a new one.
                if let Some(member) = &self.member {
                    *member.watched() = Watched::No;
                }
                self.spec.hints.remove();
                let removed = self.set.remove();
                self.removed(removed)
            }
            Ok(_) => self.event(self.set.apply(&UNLOCK)),
            Err(error) => self.removed(Err(error)),
        }
    }

    /// A set that cannot be removed is left to whoever comes next.
    fn removed(&mut self, result: Result<(), SetError>) -> release::Event {
        let event = self.in_transition(result);
        if event == release::Event::Failed {
            let _ = self.set.apply(&UNLOCK);
        }
        event
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        // No thread could be started for it, or it panicked: the guardian waits for heirs that live.
        if self.machine.is_heir() && self.origin.is_here() {
            let _ = self.set.apply(&RESIGN);
        }
    }
}

/// Whether the service's guardian is its parent.
const fn has_parent(spec: &Spec) -> bool {
    guardian::IS_PARENT && spec.declared.is_some()
}

/// Stops what runs, on behalf of somebody who holds nothing, and says how that went.
pub(super) fn stop_from_outside(spec: &Arc<Spec>, set: Set, door: Door) -> Result<release::Outcome> {
    let mut releasing = Releasing::of_set(spec, set, None, Release::from_outside(door));
    releasing.from_outside = true;
    match releasing.finish(&NoHooks) {
        Released::Over(result) => result,
        Released::AsHeir(_) | Released::WouldBlock(_) => Ok(release::Outcome::Left),
    }
}

/// What stands in the way.
#[derive(Debug)]
pub(super) enum Trouble {
    Set(SetError),
    Other(Error),
}

pub(super) fn recorded_info(spec: &Spec, set: Set, record: &Record) -> ServiceInfo {
    let metadata = match record.details {
        0 => Some(Default::default()),
        _ => spec.hints.read_details(set.id(), record).as_deref().and_then(hints::decode),
    };
    if metadata.is_none() {
        tracing::warn!(service = %spec.name, "its metadata is lost: the file with it is missing or damaged");
    }
    let pid = match record.instance {
        Instance::Process { pid, .. } => Some(pid),
        _ => None,
    };
    ServiceInfo::recorded(pid, record.port, metadata)
}

/// A set that is not there, though what it counted lives, has been removed.
pub(super) fn set_removed_under(spec: &Spec, live: &Live) -> Error {
    let (what, help) = match live {
        Live::Service(pid) => (
            format!("its process {pid} runs, but the {SET} that counted its clients has been removed"),
            format!(
                "no second one is started beside it; it stops when the last of its clients has gone, and if it has none: `{KILL} {pid}`"
            ),
        ),
        Live::Starter(pid) => (
            format!("the {SET} that counts its clients was removed while process {pid} started it"),
            "that start will find out, and take back what it started".into(),
        ),
    };
    Error::new(ErrorKind::SetRemoved, what).service(&spec.name).help(help)
}

/// While a callback deals with what is recorded, its number means no other process.
fn known(record: &Record) -> Option<Known> {
    match record.instance {
        Instance::Process { pid, start } => Some(Known::new(pid, start)),
        _ => None,
    }
}

/// Whether the recorded process is known to have ended.
fn has_ended(record: &Record) -> bool {
    match record.instance {
        Instance::Process { pid, start } => {
            Process::open_recorded(pid, start).is_ok_and(|found| found.is_none_or(|process| process.has_ended()))
        }
        Instance::None | Instance::Other => false,
    }
}

/// Makes sure that the recorded instance has gone, and forgets it. `asked`: it has just been asked to. `stop_other` stops what is not a process.
fn finish_recorded(spec: &Spec, set: Set, asked: bool, stop_other: impl FnOnce() -> Result<()>) -> Result<(), Trouble> {
    let snapshot = set.snapshot().map_err(Trouble::Set)?;
    let record = snapshot.record();
    match record.instance {
        Instance::None => return Ok(()),
        Instance::Process { pid, start } => {
            let lives =
                || Process::open_recorded(pid, start).is_ok_and(|found| found.is_some_and(|it| !it.has_ended()));
            let by_command = spec.has_stop_command() && !asked && lives();
            let info = by_command.then(|| recorded_info(spec, set, &record));
            let command = info.and_then(|info| declared::ask_to_stop(spec, &info));
            let how = match (asked, &command) {
                (true, _) => Told::ByCallback,
                (false, Some(_)) => Told::ByCommand,
                (false, None) => Told::Nothing,
            };
            let sweeps = record.declared.then(|| snapshot.guardian_pid());
            stop_process(spec, set, pid, start, how, sweeps).map_err(Trouble::Other)?
        }
        Instance::Other => stop_other()
            .map_err(|error| Trouble::Other(callback_failed(ErrorKind::StopFailed, "on_last_release", error)))?,
    }
    set.apply(&snapshot.forgetting()).map_err(Trouble::Set)
}

/// As long as this exists, a guardian may start the service for this process, which holds the lock.
#[derive(Debug)]
struct Asked(Set);

impl Asked {
    fn new(set: Set) -> Result<Self, SetError> {
        set.apply(&ASK).map(|()| Self(set))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.0.apply(&ASK_NO_MORE);
    }
}

/// What has been done already to make a process end.
#[derive(Clone, Copy, Debug)]
enum Told {
    Nothing,
    ByCallback,
    ByCommand,
}

/// `sweeps`: none of its descendants may stay, among them the children of this guardian.
fn stop_process(spec: &Spec, set: Set, pid: u32, start: u64, told: Told, sweeps: Option<Option<u32>>) -> Result<()> {
    let failed = |what: String| Error::new(ErrorKind::StopFailed, what).service(&spec.name);
    let process = Process::open_recorded(pid, start)
        .map_err(|error| failed(format!("cannot look at its process {pid}")).source(error))?;
    let sweep = || {
        if let Some(guardian) = sweeps {
            sys::service::sweep(set, pid, start, guardian);
        }
    };
    let Some(process) = process else {
        sweep();
        return Ok(());
    };
    let stopped = match told {
        Told::ByCommand => sys::stop_asked(&process, &spec.ladder),
        _ => sys::stop(&process, &spec.ladder, matches!(told, Told::ByCallback)),
    };
    match stopped {
        Ok(true) => {
            sweep();
            Ok(())
        }
        Ok(false) => Err(failed(format!("its process {pid} does not end, not even by {FORCE}"))
            .help(format!("no second one is started beside it; it may {HANGS}"))),
        Err(error) => Err(failed(format!("cannot {SIGNAL} its process {pid}")).source(error)),
    }
}

/// The system's own errors on the way to a service that is up.
fn cannot_start(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Callback => Error::new(ErrorKind::StartFailed, "cannot be started").source(error),
        _ => error,
    }
}

fn callback_failed(kind: ErrorKind, callback: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::TimedOut => error,
        _ => Error::new(kind, format!("{callback} failed")).source(error),
    }
}

/// Makes a guardian. `Ok(None)`: one that watches needs no new pipe, or is somebody else's.
fn make_guardian(spec: &Spec, set: Set, witness: Option<&Witness>, complete: bool) -> Result<Option<Witness>> {
    let recorded = |snapshot: Snapshot| recorded_info(spec, set, &snapshot.record());
    let info = set.snapshot().ok().filter(|_| spec.has_stop_command()).map(recorded);
    let stopper = info.and_then(|info| declared::stopper(spec, &info));
    let made = launch_guardian(spec, set, witness, complete, None, stopper.as_ref())?;
    Ok(made.and_then(|made| made.witness))
}

/// Makes a guardian, with a service for it to start. `Ok(None)`: there is one that is somebody else's.
fn launch_guardian(
    spec: &Spec,
    set: Set,
    witness: Option<&Witness>,
    complete: bool,
    launch: Option<&Launch>,
    stopper: Option<&Stopper>,
) -> Result<Option<guardian::Made>> {
    const ATTEMPTS: usize = 3;
    let plan = guardian::Plan::new(set, spec.settings.linger, &spec.ladder, &spec.hints, complete);
    let plan = if spec.declared.is_some() { plan.of_declared() } else { plan };
    let mut attempts = 0;
    loop {
        attempts += 1;
        tracing::debug!(service = %spec.name, "makes a guardian");
        let error = match guardian::make(spec.name.as_str(), &plan, witness, launch, stopper) {
            Ok(made) => return Ok(Some(made)),
            Err(error) => error,
        };
        match set.snapshot() {
            // The one of a client that was killed as it made it may come late, and be quicker than ours all the same.
            Ok(snapshot) if snapshot.guardian_pid().is_some() => return Ok(None),
            // It ends at once where there is nothing to watch.
            Err(SetError::Gone) => return Err(Error::set_removed(&spec.name, "make a guardian")),
            _ => {}
        }
        // Killed before it watched, or that other one has gone again.
        if error.kind() == io::ErrorKind::UnexpectedEof && attempts < ATTEMPTS {
            continue;
        }
        let what = "cannot make the guardian that stops the service when its last client is killed";
        return Err(Error::new(ErrorKind::GuardianFailed, what).service(&spec.name).source(error));
    }
}

/// Makes a guardian if none watches. `Ok(false)`: somebody else did, or nobody wants it any more.
pub(super) fn replace_guardian(
    spec: &Spec,
    set: Set,
    witness: Option<&Witness>,
    unwanted: impl FnMut() -> bool,
) -> Result<bool, Trouble> {
    match set.apply_while_wanted(&LOCK_UNGUARDED, unwanted) {
        Ok(true) => {}
        Ok(false) | Err(SetError::Refused) => return Ok(false),
        Err(error) => return Err(Trouble::Set(error)),
    }
    let made = make_guardian(spec, set, witness, witness.is_some());
    set.apply(&UNLOCK).map_err(Trouble::Set)?;
    made.map(|_| true).map_err(Trouble::Other)
}

/// Holds the guardian that watches this set, if the one that was seen is still the one, and can be held.
pub(super) fn hold_guardian(set: Set, seen: Option<Snapshot>) -> Option<(u32, Process)> {
    let pid = seen?.guardian_pid()?;
    find_guardian(set, pid).ok()?.map(|process| (pid, process))
}

/// The same; why it cannot be held is an error.
fn find_guardian(set: Set, pid: u32) -> io::Result<Option<Process>> {
    let process = Process::hold(pid)?;
    // It watches still, under that number: so the number was its own when the process was held.
    Ok(process.filter(|_| set.snapshot().is_ok_and(|snapshot| snapshot.guardian_pid() == Some(pid))))
}
