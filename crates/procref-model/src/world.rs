//! Clients, guardians and services over one set, one kernel operation at a time.

use crate::kernel::{Applied, Set, Undo};
use procref::protocol::acquire::{self, Acquire, Ways};
use procref::protocol::guardian::{self, Guardian};
use procref::protocol::release::{self, Door, Release};
use procref::protocol::set::{
    ANNOUNCE, ASK, ASK_NO_MORE, CLIENTS, GUARDIAN, GUARDIAN_IDLE, GUARDIAN_SHUT, GUARDIAN_SLEEP, HEIR_SHUT, HEIRS,
    Instance, JOIN, LEAVE_AS_HEIR, LEAVE_LAST, LEAVE_NOT_LAST, LEAVE_TO_GUARDIAN, LOCK, LOCK_UNGUARDED, MARK_DOWN, Op,
    RESIGN, Record, SOMEBODY_CAME, TAKE_LOCK, UNLOCK, WITHDRAW, WITHDRAW_AND_UNLOCK,
};

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many client processes there are.
    pub clients: usize,
    /// How often each of them acquires.
    pub rounds: u8,
    /// How many processes of ours are killed.
    pub kills: u8,
    /// How many times the service dies by itself.
    pub deaths: u8,
    /// How many starts fail.
    pub failures: u8,
    /// How many times somebody stops waiting.
    pub cancels: u8,
    /// How many times the set is removed by a stranger.
    pub removals: u8,
    /// Whether the service lingers.
    pub lingers: bool,
    /// Whether it can be recovered in place.
    pub recovers: bool,
    /// Whether a guardian starts it as its child.
    pub declared: bool,
    /// By which door a client, in place of acquiring, stops the service from outside.
    pub outside: Option<Door>,
    /// A mistake that is made on purpose, to see that the search finds it.
    pub mistake: Option<Mistake>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clients: 2,
            rounds: 1,
            kills: 0,
            deaths: 0,
            failures: 0,
            cancels: 0,
            removals: 0,
            lingers: false,
            recovers: false,
            declared: false,
            outside: None,
            mistake: None,
        }
    }
}

/// Mistakes that the search must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The last one leaves first and takes the lock afterwards.
    LeaveInTwoSteps,
    /// The unlock sets the value, which wipes everybody's undo.
    UnlockBySetval,
    /// The guardian wakes without the lock.
    StopWithoutLock,
    /// What is recorded but not up is forgotten instead of finished.
    NoPredecessorRule,
    /// A joiner does not look at the lock.
    JoinWithoutLock,
    /// A set that has gone is taken for a count of 0.
    GoneIsZero,
    /// The guardian, after lingering, does not look whether somebody has come.
    LingerWithoutLook,
    /// The lock is taken without undo.
    LockWithoutUndo,
    /// A removed set is not noticed by who makes the next one.
    NoWitness,
    /// A guardian that was slow to begin records its service though nobody asks for it any more.
    RecordUnasked,
}

/// A service's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Whether it runs.
    pub alive: bool,
    /// Nobody knows of it: its starter was killed before it could be recorded.
    pub lost: bool,
}

/// One process's place in what it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Nothing.
    Idle,
    /// Getting a reference.
    Acquiring {
        /// The library's decisions.
        machine: Acquire,
        /// What to do next.
        action: acquire::Action,
        /// How far the action has come.
        step: u8,
        /// The set that is used.
        set: u8,
        /// What was started and is not published.
        started: Option<u8>,
        /// The guardian that was made, by its place among the processes.
        made: Option<u8>,
    },
    /// Holding a service.
    Holding {
        /// The set that counts it.
        set: u8,
        /// Which service.
        service: u8,
    },
    /// Giving a reference back.
    Releasing {
        /// The library's decisions.
        machine: Release,
        /// What to do next.
        action: release::Action,
        /// How far the action has come.
        step: u8,
        /// The set that is used.
        set: u8,
        /// The guardian that was made.
        made: Option<u8>,
    },
    /// Watching.
    Guarding {
        /// The library's decisions.
        machine: Guardian,
        /// What to do next.
        action: guardian::Action,
        /// How far the action has come.
        step: u8,
        /// The set that is used.
        set: u8,
        /// It has said that it watches.
        said: bool,
        /// What it has said of the service that it was to start.
        spawned: Option<Spawned>,
        /// What the hints named when the set had gone.
        hinted: Option<u8>,
    },
}

/// What a guardian says of the service that it was to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spawned {
    /// It is recorded, and runs.
    Started,
    /// Nobody asks for it any more, or somebody else's is recorded.
    Overtaken,
    /// The set has gone.
    Failed,
}

/// A thread that works beside a client's own task.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// None.
    None,
    /// Replacing the guardian: the lock is held, and one is being made.
    Replacing {
        /// The set that is used.
        set: u8,
        /// The guardian that was made.
        made: Option<u8>,
    },
}

/// A process of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Whether it runs.
    pub alive: bool,
    /// What it does.
    pub task: Task,
    /// What it does beside that.
    pub job: Job,
    /// An heir's task, beside that.
    pub heir: Option<(Release, release::Action, u8, u8)>,
    /// What the kernel takes back.
    pub undo: Undo,
    /// How often it will still acquire.
    pub rounds: u8,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The set under the name's key.
    pub set: Option<Set>,
    /// How many sets there have been.
    pub sets: u8,
    /// All processes of ours: first the clients, then the guardians.
    pub processes: Vec<Process>,
    /// All services that were ever started.
    pub services: Vec<Service>,
    /// What the hints say: which set, and which service or starter.
    pub hints: Option<(u8, Hint)>,
    /// What may still go wrong.
    pub kills: u8,
    /// As above.
    pub deaths: u8,
    /// As above.
    pub failures: u8,
    /// As above.
    pub cancels: u8,
    /// As above.
    pub removals: u8,
    /// A guardian has been killed, or has been refused its work by a removed set.
    pub unguarded: bool,
}

/// What the hints name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// A service.
    Service(u8),
    /// The process that starts one.
    Starter(u8),
}

/// How far the start of a declared service has come.
enum Started {
    /// To this step, with this guardian.
    Goes(u8, Option<u8>),
    /// To its end: it is this service.
    Is(u8),
    /// To another one.
    Failed,
}

/// A promise that was broken.
pub type Broken = String;

/// What a step was, for people.
pub type Label = String;

type Next = Vec<(Label, Result<World, Broken>)>;

fn gone() -> Applied {
    Applied::Refused
}

impl World {
    /// The beginning.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let client = Process {
            alive: true,
            task: Task::Idle,
            job: Job::None,
            heir: None,
            undo: Undo::default(),
            rounds: config.rounds,
        };
        Self {
            set: None,
            sets: 0,
            processes: vec![client; config.clients],
            services: Vec::new(),
            hints: None,
            kills: config.kills,
            deaths: config.deaths,
            failures: config.failures,
            cancels: config.cancels,
            removals: config.removals,
            unguarded: false,
        }
    }

    /// Applies an array to the set with this number, for this process. `None`: that set has gone.
    fn apply(&mut self, process: usize, number: u8, ops: &[Op]) -> Option<Applied> {
        let set = self.set.as_mut().filter(|set| set.number == number)?;
        Some(self.processes.get_mut(process).map_or(gone(), |process| set.apply(ops, &mut process.undo)))
    }

    fn snapshot(&self, number: u8) -> Option<procref::protocol::set::Snapshot> {
        self.set.filter(|set| set.number == number).map(|set| set.snapshot())
    }

    fn remove(&mut self, number: u8) {
        if self.set.is_some_and(|set| set.number == number) {
            self.set = None;
        }
    }

    fn forget_hints(&mut self, number: u8) {
        if self.hints.is_some_and(|(set, _)| set == number) {
            self.hints = None;
        }
    }

    fn alive(&self, service: u8) -> bool {
        self.services.get(usize::from(service)).is_some_and(|service| service.alive)
    }

    fn lives(&self, hint: Hint) -> bool {
        match hint {
            Hint::Service(service) => self.alive(service),
            Hint::Starter(starter) => self.processes.get(usize::from(starter)).is_some_and(|process| process.alive),
        }
    }

    /// Somebody of ours ends a service.
    fn stop(&mut self, service: u8, who: &str) -> Result<(), Broken> {
        if !self.alive(service) {
            return Ok(());
        }
        let held = |process: &Process| matches!(process.task, Task::Holding { service: held, .. } if held == service);
        if let Some(holder) = self.processes.iter().position(|process| process.alive && held(process)) {
            return Err(format!("{who} stops service {service}, which client {holder} holds"));
        }
        if let Some(service) = self.services.get_mut(usize::from(service)) {
            service.alive = false;
        }
        Ok(())
    }

    /// A service is started.
    fn start(&mut self, who: usize) -> Result<u8, Broken> {
        if let Some(other) = self.services.iter().position(|service| service.alive && !service.lost) {
            return Err(format!("client {who} starts a service while service {other} runs"));
        }
        self.services.push(Service { alive: true, lost: false });
        Ok((self.services.len() - 1) as u8)
    }

    fn make_guardian(&mut self, number: u8, config: &Config) -> u8 {
        self.make_guardian_that(false, number, config)
    }

    fn make_guardian_that(&mut self, spawns: bool, number: u8, config: &Config) -> u8 {
        let (machine, action) = Guardian::new(config.lingers, spawns);
        let task = Task::Guarding { machine, action, step: 0, set: number, said: false, spawned: None, hinted: None };
        let guardian = Process { alive: true, task, job: Job::None, heir: None, undo: Undo::default(), rounds: 0 };
        // The place of a dead one can be used again: nobody waits for it, or it would have been seen to be dead.
        let clients = config.clients;
        let awaited = |place: usize| {
            self.processes.iter().any(|process| {
                let made = match (&process.task, &process.job) {
                    (Task::Acquiring { made, .. } | Task::Releasing { made, .. }, Job::None) => *made,
                    (_, Job::Replacing { made, .. }) => *made,
                    _ => None,
                };
                made == Some(place as u8)
            })
        };
        let place = (clients..self.processes.len())
            .find(|&place| self.processes.get(place).is_some_and(|process| !process.alive) && !awaited(place));
        match place {
            Some(place) => {
                if let Some(slot) = self.processes.get_mut(place) {
                    *slot = guardian;
                }
                place as u8
            }
            None => {
                self.processes.push(guardian);
                (self.processes.len() - 1) as u8
            }
        }
    }

    /// Whether a guardian that was made watches (`Some(true)`), has ended (`Some(false)`), or is under way.
    fn made(&self, place: u8) -> Option<bool> {
        let process = self.processes.get(usize::from(place))?;
        match &process.task {
            Task::Guarding { said: true, .. } => Some(true),
            _ if !process.alive => Some(false),
            _ => None,
        }
    }

    fn end(&mut self, process: usize) {
        let Some(process) = self.processes.get_mut(process) else { return };
        process.alive = false;
        let undo = std::mem::take(&mut process.undo);
        if let Some(set) = &mut self.set {
            set.take_back(&undo);
        }
    }

    fn kill(&mut self, victim: usize, config: &Config) {
        if let Some(Process { task: Task::Acquiring { started: Some(service), .. }, .. }) = self.processes.get(victim)
            && let Some(service) = self.services.get_mut(usize::from(*service))
            // A guardian records what it starts.
            && !config.declared
        {
            service.lost = true;
        }
        if victim >= config.clients {
            self.unguarded = true;
        }
        self.end(victim);
        if let Some(process) = self.processes.get_mut(victim) {
            process.task = match &process.task {
                Task::Guarding { said, machine, action, set, spawned, .. } => Task::Guarding {
                    machine: machine.clone(),
                    action: *action,
                    step: 0,
                    set: *set,
                    said: *said,
                    spawned: *spawned,
                    hinted: None,
                },
                _ => Task::Idle,
            };
            process.job = Job::None;
            process.heir = None;
        }
        self.tidy();
    }

    /// States that differ only in what can never matter again become the same.
    fn tidy(&mut self) {
        for process in &mut self.processes {
            if !process.alive {
                process.undo = Undo::default();
                process.rounds = 0;
            }
        }
    }

    /// Everything that can happen next.
    #[must_use]
    pub fn next(&self, config: &Config) -> Next {
        let mut next = Vec::new();
        for place in 0..self.processes.len() {
            let Some(process) = self.processes.get(place).filter(|process| process.alive) else { continue };
            self.steps(place, process, config, &mut next);
            if self.kills > 0 {
                let mut world = self.clone();
                world.kills -= 1;
                world.kill(place, config);
                next.push((format!("kill {place}"), Ok(world)));
            }
        }
        if self.deaths > 0 {
            for place in 0..self.services.len() {
                if self.services.get(place).is_some_and(|service| service.alive) {
                    let mut world = self.clone();
                    world.deaths -= 1;
                    if let Some(service) = world.services.get_mut(place) {
                        service.alive = false;
                    }
                    next.push((format!("service {place} dies"), Ok(world)));
                }
            }
        }
        if self.removals > 0 && self.set.is_some() {
            let mut world = self.clone();
            world.removals -= 1;
            world.set = None;
            world.unguarded = true;
            next.push(("ipcrm".into(), Ok(world)));
        }
        next
    }

    /// Whether nothing can happen any more but what goes wrong.
    #[must_use]
    pub fn is_quiet(&self, config: &Config) -> bool {
        let mut next = Vec::new();
        for (place, process) in self.processes.iter().enumerate() {
            if process.alive {
                self.steps(place, process, config, &mut next);
            }
        }
        next.is_empty()
    }

    /// What must hold when nothing more happens.
    pub fn check_quiet(&self, config: &Config) -> Result<(), Broken> {
        for (place, process) in self.processes.iter().enumerate().filter(|(_, process)| process.alive) {
            if place < config.clients {
                if process.task != Task::Idle || process.heir.is_some() || process.job != Job::None {
                    return Err(format!("client {place} waits for ever: {:?}", process.task));
                }
            } else {
                return Err(format!("guardian {place} stays: {:?}", process.task));
            }
        }
        let left = self.services.iter().position(|service| service.alive && !service.lost);
        if let Some(service) = left {
            let recorded = self.set.is_some_and(|set| {
                set.snapshot().record().instance == Instance::Process { pid: service as u32 + 1, start: 1 }
            });
            let hinted = self.hints.is_some_and(|(_, hint)| hint == Hint::Service(service as u8));
            if !self.unguarded {
                return Err(format!("service {service} runs, nobody holds it, and no guardian was killed"));
            }
            // When all have gone, the kernel itself stops a declared service.
            if !recorded && !hinted && !config.declared {
                return Err(format!("service {service} runs, nobody holds it, and nothing tells of it"));
            }
        }
        if let Some(set) = &self.set {
            let value = |sem: u16| set.values.get(usize::from(sem)).copied().unwrap_or(0);
            if value(CLIENTS) != 0 || value(LOCK) != 0 {
                return Err(format!("count {} and lock {} are left", value(CLIENTS), value(LOCK)));
            }
            // Who is killed before a guardian was made leaves an empty set, which the next one uses.
            if !self.unguarded && (self.kills == config.kills || set.snapshot().view().instance) {
                return Err("a set is left".into());
            }
        }
        Ok(())
    }

    /// What must hold at any time.
    pub fn check(&self) -> Result<(), Broken> {
        let Some(set) = &self.set else { return Ok(()) };
        let snapshot = set.snapshot();
        let view = snapshot.view();
        if view.up && snapshot.record().instance == Instance::None {
            return Err("up, but nothing is recorded".into());
        }
        let most = self.processes.len() as u16 + 1;
        match [CLIENTS, LOCK, GUARDIAN, HEIRS].iter().find(|&&sem| snapshot.value(sem) > most) {
            Some(sem) => Err(format!("semaphore {sem} has run away")),
            None => Ok(()),
        }
    }

    fn steps(&self, place: usize, process: &Process, config: &Config, next: &mut Next) {
        match &process.task {
            Task::Idle if process.rounds > 0 => {
                let mut world = self.clone();
                let (machine, action) =
                    Acquire::new(false, Ways { recovers: config.recovers, by_guardian: config.declared });
                world.edit(place, |process| {
                    process.rounds -= 1;
                    process.task = Task::Acquiring { machine, action, step: 0, set: 0, started: None, made: None };
                });
                next.push((format!("{place} acquires"), Ok(world)));
                if let (Some(door), Some(set)) = (config.outside, self.set) {
                    let (mut world, (machine, action)) = (self.clone(), Release::from_outside(door));
                    world.edit(place, |process| {
                        process.rounds -= 1;
                        process.task = Task::Releasing { machine, action, step: 0, set: set.number, made: None };
                    });
                    next.push((format!("{place} stops it from outside"), Ok(world)));
                }
            }
            Task::Idle => {}
            Task::Holding { set, service } => {
                let mut world = self.clone();
                let (machine, action) = Release::new(config.lingers || config.declared, !config.declared);
                let set = *set;
                world.edit(place, |process| {
                    process.task = Task::Releasing { machine, action, step: 0, set, made: None };
                });
                next.push((format!("{place} releases {service}"), Ok(world)));
            }
            Task::Acquiring { .. } => self.acquire(place, config, next),
            Task::Releasing { .. } => self.release(place, config, next),
            Task::Guarding { .. } => self.guard(place, config, next),
        }
        if process.heir.is_some() {
            self.inherit(place, config, next);
        }
        self.replace(place, process, config, next);
    }

    fn edit(&mut self, place: usize, edit: impl FnOnce(&mut Process)) {
        if let Some(process) = self.processes.get_mut(place) {
            edit(process);
        }
    }

    /// The thread that replaces a guardian.
    fn replace(&self, place: usize, process: &Process, config: &Config, next: &mut Next) {
        match process.job {
            Job::None => {
                let set = match process.task {
                    Task::Holding { set, .. } => set,
                    _ => return,
                };
                let mut world = self.clone();
                if world.apply(place, set, &LOCK_UNGUARDED) == Some(Applied::Yes) {
                    world.edit(place, |process| process.job = Job::Replacing { set, made: None });
                    next.push((format!("{place} replaces the guardian"), Ok(world)));
                }
            }
            Job::Replacing { set, made: None } => {
                let mut world = self.clone();
                let made = Some(world.make_guardian(set, config));
                world.edit(place, |process| process.job = Job::Replacing { set, made });
                next.push((format!("{place} makes a guardian"), Ok(world)));
            }
            Job::Replacing { set, made: Some(made) } => {
                if self.made(made).is_some() {
                    let mut world = self.clone();
                    let _ = world.unlock(place, set, config);
                    world.edit(place, |process| process.job = Job::None);
                    next.push((format!("{place} unlocks after replacing"), Ok(world)));
                }
            }
        }
    }

    fn unlock(&mut self, place: usize, set: u8, config: &Config) -> Option<Applied> {
        if config.mistake == Some(Mistake::UnlockBySetval) {
            let value = self.set.as_mut().filter(|held| held.number == set)?.values.get_mut(usize::from(LOCK))?;
            *value = 0;
            for process in &mut self.processes {
                if let Some(adjustment) = process.undo.adjustments.get_mut(usize::from(LOCK)) {
                    *adjustment = 0;
                }
                // The whole set's undo goes, as SETALL has it.
                if let Some(adjustment) = process.undo.adjustments.get_mut(usize::from(CLIENTS)) {
                    *adjustment = 0;
                }
            }
            return Some(Applied::Yes);
        }
        self.apply(place, set, &UNLOCK)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each action")]
    fn acquire(&self, place: usize, config: &Config, next: &mut Next) {
        use acquire::{Action as A, Event as E};
        let Some(Process { task: Task::Acquiring { machine, action, step, set, started, made }, .. }) =
            self.processes.get(place)
        else {
            return;
        };
        let (action, step, set, started, made) = (*action, *step, *set, *started, *made);
        let label = format!("{place} {action:?}/{step}");
        let mut world = self.clone();
        // Goes on within the action.
        let stay = |mut world: World, step: u8, started: Option<u8>, made: Option<u8>, next: &mut Next, label: &str| {
            world.edit(place, |process| {
                process.task = Task::Acquiring { machine: machine.clone(), action, step, set, started, made };
            });
            next.push((label.to_owned(), Ok(world)));
        };
        let done = |mut world: World, event: E, set: u8, started: Option<u8>, next: &mut Next| {
            let mut machine = machine.clone();
            let action = machine.next(event);
            world.edit(place, |process| {
                process.task = Task::Acquiring { machine, action, step: 0, set, started, made: None };
            });
            next.push((format!("{label} -> {event:?}"), Ok(world)));
        };
        let event = |applied: Option<Applied>| match applied {
            None => Some(E::Gone),
            Some(Applied::Yes) => Some(E::Done),
            Some(Applied::Refused) => Some(E::Refused),
            Some(Applied::Sleeps) => None,
        };
        let seen = |world: &World| world.snapshot(set).map_or(E::Gone, |snapshot| E::Seen(snapshot.view()));
        match (action, step) {
            (A::Return(outcome), _) => {
                use acquire::Outcome as O;
                let task = match outcome {
                    O::Joined | O::Started | O::Recovered => {
                        let instance = world.snapshot(set).map(|snapshot| snapshot.record().instance);
                        match started.or(match instance {
                            Some(Instance::Process { pid, .. }) => Some(pid as u8 - 1),
                            _ => None,
                        }) {
                            Some(service) => Task::Holding { set, service },
                            // Removed in the meantime: held, but what, is not modelled further.
                            None => Task::Idle,
                        }
                    }
                    _ => Task::Idle,
                };
                world.edit(place, |process| process.task = task);
                next.push((label, Ok(world)));
            }
            (A::Look, _) => {
                if world.set.is_none() {
                    world.sets += 1;
                    world.set = Some(Set::new(world.sets));
                }
                if let Some(found) = world.set {
                    done(world, E::Seen(found.snapshot().view()), found.number, None, next);
                }
            }
            (A::Join, _) => {
                let ops: Vec<Op> = match config.mistake {
                    Some(Mistake::JoinWithoutLock) => JOIN.into_iter().filter(|op| op.sem != LOCK).collect(),
                    _ => JOIN.to_vec(),
                };
                let applied = world.apply(place, set, &ops);
                if let Some(event) = event(applied) {
                    done(world, event, set, None, next);
                }
            }
            (A::Announce, _) => {
                let applied = world.apply(place, set, &ANNOUNCE);
                if let Some(event) = event(applied) {
                    done(world, event, set, None, next);
                }
            }
            (A::Lock, 0) => {
                if self.cancels > 0 {
                    let mut world = self.clone();
                    world.cancels -= 1;
                    done(world, E::Cancelled, set, None, next);
                }
                let mut ops = TAKE_LOCK;
                if config.mistake == Some(Mistake::LockWithoutUndo) {
                    ops.iter_mut().for_each(|op| op.undo = false);
                }
                match world.apply(place, set, &ops) {
                    None => done(world, E::Gone, set, None, next),
                    Some(Applied::Yes) => stay(world, 1, None, None, next, &label),
                    Some(_) => {}
                }
            }
            (A::Lock, _) => {
                let event = seen(&world);
                done(world, event, set, None, next);
            }
            (A::AskWitness, _) => {
                let lives = world.hints.is_some_and(|(_, hint)| world.lives(hint));
                let lives = lives && config.mistake != Some(Mistake::NoWitness);
                done(world, if lives { E::Healthy } else { E::Unhealthy }, set, None, next);
            }
            (A::Found, _) => {
                let naming = world.snapshot(set).map(|snapshot| snapshot.naming(b"x", 1));
                let applied = naming.and_then(|naming| world.apply(place, set, &naming));
                if let Some(event) = event(applied) {
                    done(world, event, set, None, next);
                }
            }
            (A::Check, _) => {
                let event = match world.snapshot(set) {
                    None => E::Gone,
                    Some(snapshot) => match snapshot.record().instance {
                        Instance::Process { pid, .. } if snapshot.view().up && world.alive(pid as u8 - 1) => E::Healthy,
                        _ => E::Unhealthy,
                    },
                };
                done(world, event, set, None, next);
            }
            (A::MarkDown, _) => match world.apply(place, set, &MARK_DOWN) {
                None => done(world, E::Gone, set, None, next),
                Some(_) => done(world, E::Done, set, None, next),
            },
            (A::Finish, 0) => match world.snapshot(set) {
                None => done(world, E::Gone, set, None, next),
                Some(snapshot) => {
                    let mut result = Ok(());
                    if let Instance::Process { pid, .. } = snapshot.record().instance
                        && config.mistake != Some(Mistake::NoPredecessorRule)
                    {
                        result = world.stop(pid as u8 - 1, &format!("client {place}"));
                    }
                    match result {
                        Ok(()) => stay(world, 1, None, None, next, &label),
                        Err(broken) => next.push((label, Err(broken))),
                    }
                }
            },
            (A::Finish, _) => {
                let forgetting = world.snapshot(set).map(|snapshot| snapshot.forgetting());
                let applied = forgetting.and_then(|forgetting| world.apply(place, set, &forgetting));
                if let Some(event) = event(applied) {
                    done(world, event, set, None, next);
                }
            }
            (A::EnsureGuardian, 0) => match world.snapshot(set) {
                None => done(world, E::Gone, set, started, next),
                Some(snapshot) if snapshot.view().guarded => done(world, E::Done, set, started, next),
                Some(_) => {
                    let made = Some(world.make_guardian(set, config));
                    stay(world, 1, started, made, next, &label);
                }
            },
            (A::EnsureGuardian, _) => match made.and_then(|made| self.made(made)) {
                Some(true) => done(world, E::Done, set, started, next),
                Some(false) => done(world, E::Failed, set, started, next),
                None => {}
            },
            (A::Start | A::Recover, 0)
                if world.hints.is_some_and(|(other, hint)| other != set && world.lives(hint))
                    && config.mistake != Some(Mistake::NoWitness) =>
            {
                done(world, E::Failed, set, None, next);
            }
            (A::Start | A::Recover, 0) => {
                world.hints = Some((set, Hint::Starter(place as u8)));
                stay(world, 1, None, None, next, &label);
            }
            (A::Start, step) if config.declared => match self.start_declared(place, (step, set, made), config) {
                Ok(Some((world, Started::Goes(step, made)))) => stay(world, step, None, made, next, &label),
                Ok(Some((world, Started::Is(service)))) => {
                    if self.failures > 0 {
                        let mut world = self.clone();
                        world.failures -= 1;
                        stay(world, 9, None, None, next, "it does not become ready");
                    }
                    done(world, E::Done, set, Some(service), next);
                }
                Ok(Some((world, Started::Failed))) => done(world, E::Failed, set, None, next),
                Ok(None) => {}
                Err(broken) => next.push((label, Err(broken))),
            },
            (A::Start | A::Recover, _) => {
                if self.failures > 0 {
                    let mut world = self.clone();
                    world.failures -= 1;
                    done(world, E::Failed, set, None, next);
                }
                match world.start(place) {
                    Ok(service) => done(world, E::Done, set, Some(service), next),
                    Err(broken) => next.push((label, Err(broken))),
                }
            }
            (A::Publish, 0) => {
                world.hints = started.map(|service| (set, Hint::Service(service)));
                stay(world, 1, started, None, next, &label);
            }
            (A::Publish, _) => {
                let publishing = world.snapshot(set).map(|snapshot| {
                    let instance = Instance::Process { pid: u32::from(started.unwrap_or(0)) + 1, start: 1 };
                    let generation = snapshot.next_generation();
                    snapshot.publishing(&Record { instance, port: 0, generation, details: 0, declared: false, pipe: 0 })
                });
                let applied = publishing.and_then(|publishing| world.apply(place, set, &publishing));
                if let Some(event) = event(applied) {
                    done(world, event, set, started, next);
                }
            }
            (A::Discard, _) => {
                let result = started.map_or(Ok(()), |service| world.stop(service, &format!("client {place}")));
                world.forget_hints(set);
                match result {
                    Ok(()) => done(world, E::Done, set, None, next),
                    Err(broken) => next.push((label, Err(broken))),
                }
            }
            (A::Unlock, _) => {
                let applied = world.unlock(place, set, config);
                if let Some(event) = event(applied) {
                    done(world, event, set, None, next);
                }
            }
            (A::Fail { leave }, 0) => match world.snapshot(set) {
                None => done(world, E::Done, set, None, next),
                Some(snapshot) => {
                    let view = snapshot.view();
                    let alone = leave && view.clients <= 1 && !view.instance && !view.up;
                    stay(world, if alone { 1 } else { 2 }, None, None, next, &label);
                }
            },
            (A::Fail { .. }, 1) | (A::Withdraw, 1) | (A::Abandon, _) => {
                if action != A::Abandon {
                    world.forget_hints(set);
                }
                world.remove(set);
                done(world, E::Done, set, None, next);
            }
            (A::Fail { .. }, 2) => {
                world.forget_hints(set);
                stay(world, 3, None, None, next, &label);
            }
            (A::Fail { leave }, _) => {
                let failing = world.snapshot(set).map(|snapshot| snapshot.failing(leave));
                let _ = failing.and_then(|failing| world.apply(place, set, &failing));
                done(world, E::Done, set, None, next);
            }
            (A::Withdraw, 0) => {
                let alone = world.snapshot(set).is_some_and(|snapshot| {
                    let view = snapshot.view();
                    view.clients <= 1 && !view.instance && !view.up
                });
                stay(world, if alone { 1 } else { 2 }, None, None, next, &label);
            }
            (A::Withdraw, _) => {
                let _ = world.apply(place, set, &WITHDRAW_AND_UNLOCK);
                done(world, E::Done, set, None, next);
            }
            (A::Leave, _) => {
                let (machine, action) = Release::new(false, !config.declared);
                world.edit(place, |process| {
                    process.task = Task::Releasing { machine, action, step: 0, set, made: None };
                });
                next.push((label, Ok(world)));
            }
        }
    }

    /// What a starter does that has a guardian start the service; `None`: it waits.
    fn start_declared(
        &self,
        place: usize,
        (step, set, made): (u8, u8, Option<u8>),
        config: &Config,
    ) -> Result<Option<(Self, Started)>, Broken> {
        use Started::{Failed, Goes, Is};
        let mut world = self.clone();
        let Some(snapshot) = world.snapshot(set) else { return Ok(Some((world, Failed))) };
        let recorded = match snapshot.record().instance {
            Instance::Process { pid, .. } => Some(pid as u8 - 1),
            _ => None,
        };
        let goes = match step {
            1 => {
                let _ = world.apply(place, set, &ASK);
                Goes(2, None)
            }
            // One that watches already holds no state, and makes way.
            2 => match snapshot.guardian_pid() {
                Some(guardian) => {
                    world.end(guardian as usize - 1);
                    world.tidy();
                    // Until this one has finished what that one had started, the kernel alone would see to it.
                    world.unguarded |= recorded.is_some();
                    Goes(2, None)
                }
                None => Goes(3, None),
            },
            // What it may have started until just now is finished; and, from 9 on, what is not ready.
            3 | 9 => match recorded {
                Some(service) => {
                    world.stop(service, &format!("client {place}"))?;
                    Goes(step + 1, None)
                }
                None => Goes(if step == 3 { 5 } else { 11 }, None),
            },
            4 | 10 => match world.apply(place, set, &snapshot.forgetting()) {
                Some(Applied::Yes) => Goes(step + 1, None),
                _ => Failed,
            },
            5 => Goes(6, Some(world.make_guardian_that(true, set, config))),
            6 => match made.and_then(|made| self.made(made)) {
                Some(true) => Goes(7, made),
                Some(false) => Goes(2, None),
                None => return Ok(None),
            },
            7 => match self.spawned(made) {
                Some(Spawned::Overtaken) => Goes(2, None),
                Some(outcome) => {
                    let _ = world.apply(place, set, &ASK_NO_MORE);
                    Goes(if outcome == Spawned::Started { 8 } else { 9 }, None)
                }
                None => return Ok(None),
            },
            8 => match recorded {
                Some(service) if self.alive(service) => Is(service),
                _ => Goes(9, None),
            },
            _ => Failed,
        };
        Ok(Some((world, goes)))
    }

    /// What a guardian has said of the service; one that has ended says nothing more.
    fn spawned(&self, made: Option<u8>) -> Option<Spawned> {
        let process = self.processes.get(usize::from(made?))?;
        match process.task {
            Task::Guarding { spawned: Some(spawned), .. } => Some(spawned),
            _ if !process.alive => Some(Spawned::Failed),
            _ => None,
        }
    }

    fn release(&self, place: usize, config: &Config, next: &mut Next) {
        let Some(Process { task: Task::Releasing { machine, action, step, set, made }, .. }) =
            self.processes.get(place)
        else {
            return;
        };
        let (set, made) = (*set, *made);
        let put = |process: &mut Process, state: Option<(Release, release::Action, u8)>, made: Option<u8>| {
            process.task = match state {
                Some((machine, action, step)) => Task::Releasing { machine, action, step, set, made },
                None => Task::Idle,
            };
        };
        self.releasing(place, (machine, *action, *step, set, made), &put, config, next);
    }

    fn inherit(&self, place: usize, config: &Config, next: &mut Next) {
        let Some(Process { heir: Some((machine, action, step, set)), .. }) = self.processes.get(place) else { return };
        let set = *set;
        let put = |process: &mut Process, state: Option<(Release, release::Action, u8)>, _: Option<u8>| {
            process.heir = state.map(|(machine, action, step)| (machine, action, step, set));
        };
        self.releasing(place, (machine, *action, *step, set, None), &put, config, next);
    }

    #[expect(clippy::type_complexity, reason = "where the state of a release is kept")]
    fn releasing(
        &self,
        place: usize,
        (machine, action, step, set, made): (&Release, release::Action, u8, u8, Option<u8>),
        put: &dyn Fn(&mut Process, Option<(Release, release::Action, u8)>, Option<u8>),
        config: &Config,
        next: &mut Next,
    ) {
        use release::{Action as A, Event as E};
        let label = format!("{place} {action:?}/{step}");
        let mut world = self.clone();
        let stay = |mut world: World, step: u8, made: Option<u8>, next: &mut Next| {
            world.edit(place, |process| put(process, Some((machine.clone(), action, step)), made));
            next.push((label.clone(), Ok(world)));
        };
        let done = |mut world: World, event: E, next: &mut Next| {
            let mut machine = machine.clone();
            let action = machine.next(event);
            world.edit(place, |process| put(process, Some((machine, action, 0)), None));
            next.push((format!("{label} -> {event:?}"), Ok(world)));
        };
        let apply = |mut world: World, ops: &[Op], next: &mut Next| match world.apply(place, set, ops) {
            None => done(world, E::Gone, next),
            Some(Applied::Yes) => done(world, E::Done, next),
            Some(Applied::Refused) => done(world, E::Refused, next),
            Some(Applied::Sleeps) => {}
        };
        match (action, step) {
            (A::Return(release::Outcome::LeftAsHeir), _) => {
                let (machine, action) = Release::inherit();
                world.edit(place, |process| {
                    put(process, None, None);
                    process.heir = Some((machine, action, 0, set));
                });
                next.push((label.clone(), Ok(world)));
            }
            (A::Return(_), _) => {
                world.edit(place, |process| put(process, None, None));
                next.push((label.clone(), Ok(world)));
            }
            (A::LeaveNotLast, _) if config.mistake == Some(Mistake::LeaveInTwoSteps) => match step {
                0 => {
                    let _ = world.apply(place, set, &WITHDRAW);
                    stay(world, 1, None, next);
                }
                _ => match world.snapshot(set) {
                    None => done(world, E::Gone, next),
                    Some(snapshot) if snapshot.view().clients > 0 => done(world, E::Done, next),
                    Some(_) => done(world, E::Refused, next),
                },
            },
            (A::LeaveLast, _) if config.mistake == Some(Mistake::LeaveInTwoSteps) => apply(world, &TAKE_LOCK, next),
            (A::LeaveNotLast, _) => apply(world, &LEAVE_NOT_LAST, next),
            (A::LeaveToGuardian { heir: false }, _) => apply(world, &LEAVE_TO_GUARDIAN, next),
            (A::LeaveToGuardian { heir: true }, _) => {
                // A process has one undo for its heirs: only one heir at a time is modelled.
                if self.processes.get(place).is_some_and(|process| process.heir.is_none()) {
                    apply(world, &LEAVE_AS_HEIR, next);
                }
            }
            (A::LeaveLast, _) => apply(world, &LEAVE_LAST, next),
            (A::Linger, _) => {
                done(world.clone(), E::TimedOut, next);
                apply(world, &SOMEBODY_CAME, next);
            }
            (A::ShutAsHeir, _) => apply(world, &HEIR_SHUT, next),
            (A::Shut(door), _) => apply(world, door.array(), next),
            (A::Resign, _) => apply(world, &RESIGN, next),
            (A::ReplaceGuardian, 0) => match world.apply(place, set, &LOCK_UNGUARDED) {
                None => done(world, E::Gone, next),
                Some(Applied::Yes) => stay(world, 1, None, next),
                Some(Applied::Refused) => done(world, E::Done, next),
                Some(Applied::Sleeps) => {}
            },
            (A::ReplaceGuardian, 1) => {
                let made = Some(world.make_guardian(set, config));
                stay(world, 2, made, next);
            }
            (A::ReplaceGuardian, _) => {
                if let Some(well) = made.and_then(|made| self.made(made)) {
                    match world.unlock(place, set, config) {
                        None => done(world, E::Gone, next),
                        _ => done(world, if well { E::Done } else { E::Failed }, next),
                    }
                }
            }
            (A::MarkDown, 0) => match world.snapshot(set) {
                None => done(world, E::Gone, next),
                Some(snapshot) if snapshot.view().instance => stay(world, 1, None, next),
                Some(_) => done(world, E::Refused, next),
            },
            (A::MarkDown, _) => match world.apply(place, set, &MARK_DOWN) {
                None => done(world, E::Gone, next),
                Some(_) => done(world, E::Done, next),
            },
            // The callback only asks: the service may go on for a while.
            (A::Stop, _) => done(world, E::Done, next),
            (A::Finish, 0) => {
                let instance = world.snapshot(set).map(|snapshot| snapshot.record().instance);
                let result = match instance {
                    Some(Instance::Process { pid, .. }) => world.stop(pid as u8 - 1, &format!("client {place}")),
                    _ => Ok(()),
                };
                match result {
                    Ok(()) => stay(world, 1, None, next),
                    Err(broken) => next.push((label.clone(), Err(broken))),
                }
            }
            (A::Finish, _) => match world.snapshot(set).map(|snapshot| snapshot.forgetting()) {
                None => done(world, E::Gone, next),
                Some(forgetting) => apply(world, &forgetting, next),
            },
            (A::Remove, 0) => match world.snapshot(set) {
                None => done(world, E::Gone, next),
                Some(snapshot) => stay(world, if snapshot.view().clients == 0 { 1 } else { 2 }, None, next),
            },
            (A::Remove, 1) => {
                world.forget_hints(set);
                world.remove(set);
                done(world, E::Done, next);
            }
            (A::Remove | A::Unlock, _) => match world.unlock(place, set, config) {
                None => done(world, E::Gone, next),
                Some(_) => done(world, E::Done, next),
            },
        }
    }

    fn guard(&self, place: usize, config: &Config, next: &mut Next) {
        use guardian::{Action as A, Event as E};
        let Some(Process { task: Task::Guarding { machine, action, step, set, said, spawned, hinted }, .. }) =
            self.processes.get(place)
        else {
            return;
        };
        let (action, step, set, said, spawned, hinted) = (*action, *step, *set, *said, *spawned, *hinted);
        let label = format!("guardian {place} {action:?}/{step}");
        let mut world = self.clone();
        let stay = |mut world: World, step: u8, hinted: Option<u8>, next: &mut Next| {
            world.edit(place, |process| {
                process.task = Task::Guarding { machine: machine.clone(), action, step, set, said, spawned, hinted };
            });
            next.push((label.clone(), Ok(world)));
        };
        let done = |mut world: World, event: E, said: bool, hinted: Option<u8>, next: &mut Next| {
            let mut machine = machine.clone();
            let action = machine.next(event);
            world.edit(place, |process| {
                process.task = Task::Guarding { machine, action, step: 0, set, said, spawned, hinted };
            });
            if event == E::Gone && hinted.is_none() {
                world.unguarded = true;
            }
            next.push((format!("{label} -> {event:?}"), Ok(world)));
        };
        let apply = |mut world: World, ops: &[Op], next: &mut Next| match world.apply(place, set, ops) {
            None => done(world, E::Gone, said, None, next),
            Some(Applied::Yes) => done(world, E::Done, said, None, next),
            Some(Applied::Refused) => done(world, E::Refused, said, None, next),
            Some(Applied::Sleeps) => {}
        };
        let without_lock = |ops: &[Op]| -> Vec<Op> { ops.iter().copied().filter(|op| op.sem != LOCK).collect() };
        match (action, step) {
            // The child records itself before it is the service. Until then it dies with the guardian.
            (A::Spawn, _) => {
                let service = world.services.len() as u32;
                let announcing =
                    world.snapshot(set).map(|snapshot| snapshot.announcing(service + 1, 1, place as u32 + 1, 0));
                let announcing = announcing.map(|announcing| match config.mistake {
                    // Without what it asks before the first change: that somebody asks, and nothing is recorded.
                    Some(Mistake::RecordUnasked) => announcing.get(3..).unwrap_or(&[]).to_vec(),
                    _ => announcing.to_vec(),
                });
                let spawned = match announcing.and_then(|announcing| world.apply(place, set, &announcing)) {
                    None => Spawned::Failed,
                    Some(Applied::Yes) => Spawned::Started,
                    Some(_) => Spawned::Overtaken,
                };
                if spawned == Spawned::Started
                    && let Err(broken) = world.start(place)
                {
                    next.push((label, Err(broken)));
                    return;
                }
                let mut machine = machine.clone();
                let action = machine.next(E::Done);
                world.edit(place, |process| {
                    let spawned = Some(spawned);
                    process.task = Task::Guarding { machine, action, step: 0, set, said, spawned, hinted };
                });
                next.push((format!("{label} -> {spawned:?}"), Ok(world)));
            }
            (A::Exit, _) => {
                world.end(place);
                world.edit(place, |process| {
                    process.task =
                        Task::Guarding { machine: machine.clone(), action, step, set, said, spawned, hinted: None };
                });
                world.tidy();
                next.push((label.clone(), Ok(world)));
            }
            (A::TakeToken, _) => {
                let guarding = world.snapshot(set).map(|snapshot| snapshot.guarding(place as u32 + 1));
                match guarding.and_then(|guarding| world.apply(place, set, &guarding)) {
                    None => done(world, E::Gone, said, None, next),
                    Some(Applied::Yes) => done(world, E::Done, true, None, next),
                    Some(_) => done(world, E::Refused, said, None, next),
                }
            }
            (A::Sleep | A::Shut, 0) => {
                let ops = if action == A::Sleep { &GUARDIAN_SLEEP[..] } else { &GUARDIAN_SHUT[..] };
                let ops = match config.mistake {
                    Some(Mistake::StopWithoutLock) => without_lock(ops),
                    Some(Mistake::LingerWithoutLook) if action == A::Shut => TAKE_LOCK.to_vec(),
                    _ => ops.to_vec(),
                };
                match world.apply(place, set, &ops) {
                    None => done(world, E::Gone, said, None, next),
                    Some(Applied::Yes) => stay(world, 1, None, next),
                    Some(Applied::Refused) => done(world, E::Refused, said, None, next),
                    Some(Applied::Sleeps) => {}
                }
            }
            (A::Sleep | A::Shut, _) => {
                let event = world.snapshot(set).map_or(E::Gone, |snapshot| E::Seen(snapshot.view()));
                done(world, event, said, None, next);
            }
            (A::Idle, _) => apply(world, &GUARDIAN_IDLE, next),
            (A::Linger, _) => {
                done(world.clone(), E::TimedOut, said, None, next);
                apply(world, &SOMEBODY_CAME, next);
            }
            (A::MarkDown, _) => match world.apply(place, set, &MARK_DOWN) {
                None => done(world, E::Gone, said, None, next),
                Some(_) => done(world, E::Done, said, None, next),
            },
            (A::Finish, 0) => match world.snapshot(set).map(|snapshot| snapshot.record().instance) {
                None => done(world, E::Gone, said, None, next),
                Some(Instance::None) => done(world, E::Done, said, None, next),
                Some(Instance::Other) => done(world, E::Refused, said, None, next),
                Some(Instance::Process { pid, .. }) => match world.stop(pid as u8 - 1, &format!("guardian {place}")) {
                    Ok(()) => stay(world, 1, None, next),
                    Err(broken) => next.push((label.clone(), Err(broken))),
                },
            },
            (A::Finish, _) => match world.snapshot(set).map(|snapshot| snapshot.forgetting()) {
                None => done(world, E::Gone, said, None, next),
                Some(forgetting) => apply(world, &forgetting, next),
            },
            (A::Remove, 0) => match world.snapshot(set) {
                None => done(world, E::Gone, said, None, next),
                Some(snapshot) => stay(world, if snapshot.view().clients == 0 { 1 } else { 2 }, None, next),
            },
            (A::Remove, 1) => {
                world.forget_hints(set);
                world.remove(set);
                done(world, E::Done, said, None, next);
            }
            (A::Remove, _) => match world.apply(place, set, &UNLOCK) {
                None => done(world, E::Gone, said, None, next),
                Some(_) => done(world, E::Refused, said, None, next),
            },
            (A::AwaitPipe, 0) => {
                let named = match world.hints {
                    Some((hinted, Hint::Service(service))) if hinted == set => Some(service),
                    _ => None,
                };
                match named {
                    Some(service) => stay(world, 1, Some(service), next),
                    None => done(world, E::Failed, said, None, next),
                }
            }
            (A::AwaitPipe, _) => {
                let holds = |process: &Process| match process.task {
                    Task::Acquiring { set: used, .. }
                    | Task::Holding { set: used, .. }
                    | Task::Releasing { set: used, .. } => process.alive && used == set,
                    _ => false,
                };
                let zero = config.mistake == Some(Mistake::GoneIsZero);
                if zero || !world.processes.iter().any(holds) {
                    done(world, E::Done, said, hinted, next);
                }
            }
            (A::FinishByHints, _) => {
                let result = hinted.map_or(Ok(()), |service| world.stop(service, &format!("guardian {place}")));
                if hinted.is_some() {
                    world.forget_hints(set);
                }
                match result {
                    Ok(()) => done(world, E::Done, said, None, next),
                    Err(broken) => next.push((label.clone(), Err(broken))),
                }
            }
        }
    }
}
