//! Clients, guardians and services over one set, one kernel operation at a time.

use crate::kernel::{Applied, Set, Undo};
use crate::search::print;
use procref::protocol::acquire::{self, Acquire, Ways};
use procref::protocol::guardian::{self, Guardian};
use procref::protocol::release::{self, Door, Release};
use procref::protocol::set::{
    ANNOUNCE, ASK, ASK_NO_MORE, CLIENTS, GUARDIAN, GUARDIAN_IDLE, GUARDIAN_SHUT, GUARDIAN_SLEEP, HEIR_SHUT, HEIRS,
    Instance, JOIN, LEAVE_AS_HEIR, LEAVE_LAST, LEAVE_NOT_LAST, LEAVE_TO_GUARDIAN, LOCK, LOCK_UNGUARDED, MARK_DOWN, Op,
    PID, RESIGN, Record, SOMEBODY_CAME, TAKE_LOCK, UNLOCK, WITHDRAW, WITHDRAW_AND_UNLOCK,
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
    /// How many times the service's process dies by itself.
    pub deaths: u8,
    /// How many times a health check begins to fail while the service's process goes on.
    pub illnesses: u8,
    /// How many times a client that finds the service dead or ill asks for it once more.
    pub rechecks: u8,
    /// How many times a client is forked.
    pub forks: u8,
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
    /// What the service's process has forked.
    pub descendants: Descendants,
    /// By which door a client, in place of acquiring, stops the service from outside.
    pub outside: Option<Door>,
    /// A mistake that is made on purpose, to see that the search finds it.
    pub mistake: Option<Mistake>,
}

impl Config {
    /// Two clients, each once, and nothing that goes wrong.
    pub const TWO: Self = Self {
        clients: 2,
        rounds: 1,
        kills: 0,
        deaths: 0,
        illnesses: 0,
        rechecks: 0,
        forks: 0,
        failures: 0,
        cancels: 0,
        removals: 0,
        lingers: false,
        recovers: false,
        declared: false,
        descendants: Descendants::None,
        outside: None,
        mistake: None,
    };

    const fn ways(&self) -> Ways {
        Ways { recovers: self.recovers, by_guardian: self.declared }
    }

    /// How many places there are for processes that are not guardians: clients, and behind them their children.
    const fn people(&self) -> usize {
        self.clients + self.forks as usize
    }
}

/// What a service's process has forked, which lives on when that process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descendants {
    /// Nothing.
    None,
    /// Processes that bear the service's marks. A service that makes itself a daemon is one of these whose first process
    /// dies.
    Marked,
    /// Processes that have left their session and cleared their environment: only their parent tells whose they are.
    Shed,
    /// A callback starts what makes itself a daemon, and names the process that has ended by then instead of the daemon.
    Misnamed,
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
    /// What a guardian begins is noted nowhere but in the set.
    BeginUnnoted,
    /// A removed set is not noticed by who makes the next one.
    NoWitness,
    /// A guardian that was slow to begin records its service though nobody asks for it any more.
    RecordUnasked,
    /// Who stops the service marks it as down when it has ended, not before.
    StopBeforeDown,
    /// A forked child's copy of a handle releases the reference, which is its parent's.
    ForkedCopyReleases,
    /// A forked child takes its parent's registry for its own.
    ForkedRegistry,
    /// A child that a callback has forked comes back from the callback, and goes on with its parent's transition.
    ForkedTransition,
    /// Only the service's own process is stopped.
    NoSweep,
    /// A service whose own process has ended is taken for one of which nothing is left.
    EndedIsGone,
    /// A service whose own process has ended counts as healthy for as long as a descendant lives.
    DescendantIsService,
    /// What a callback names is published without a look whether it lives.
    PublishUnseen,
    /// A guardian that loses its set does not know what it has started.
    ForgottenChild,
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Whether its process runs.
    pub alive: bool,
    /// Whether descendants of that run.
    pub descendants: bool,
    /// The guardian that is the foster parent of descendants that can be found by nothing else.
    pub foster: Option<u8>,
    /// Its health check fails.
    pub ill: bool,
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
        /// The service that it holds already, or has found well.
        service: Option<u8>,
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
    Started(u8),
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
    /// What it has of its parent's, if it was forked.
    pub inherited: Option<Inherited>,
}

/// What a forked child has of its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inherited {
    /// The set whose pipe it has an end of.
    pub set: u8,
    /// The service, if the parent held it: the child has copies of its handles. Without, the end stays until it ends.
    pub service: Option<u8>,
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
    /// As above.
    pub illnesses: u8,
    /// As above.
    pub rechecks: u8,
    /// As above.
    pub forks: u8,
    /// A guardian has been killed, or has been refused its work by a removed set.
    pub unguarded: bool,
    /// A guardian has been killed.
    pub guardian_killed: bool,
}

/// What the hints name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hint {
    /// A service.
    Service(u8),
    /// The process that starts one.
    Starter(u8),
    /// The same, and what a guardian has begun for it.
    Begun(u8, u8),
}

/// How far the start of a declared service has come.
enum Started {
    /// To this step, with this guardian, and this service that it has started.
    Goes(u8, Option<u8>, Option<u8>),
    /// To its end: it is this service.
    Is(u8),
    /// To another one.
    Failed,
}

/// The step in which what was started and is not ready is ended.
const NOT_READY: u8 = 10;

/// A promise that was broken.
pub type Broken = String;

/// What a step was, for people.
pub type Label = String;

/// Something that can happen next.
#[derive(Debug)]
pub struct Step {
    /// What it is, for people; empty where nobody asks.
    pub label: Label,
    /// Nobody can count on it: somebody is killed, a start fails.
    pub fault: bool,
    /// What comes of it.
    pub to: Result<World, Broken>,
}

/// All that can happen next.
struct Next {
    steps: Vec<Step>,
    named: bool,
    fault: bool,
}

impl Next {
    fn name(&self, name: std::fmt::Arguments<'_>) -> Label {
        if self.named { name.to_string() } else { Label::new() }
    }

    fn push(&mut self, (label, to): (Label, Result<World, Broken>)) {
        self.steps.push(Step { label, fault: self.fault, to });
    }

    fn fault(&mut self, add: impl FnOnce(&mut Self)) {
        self.fault = true;
        add(self);
        self.fault = false;
    }
}

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
            inherited: None,
        };
        let unborn = Process { alive: false, rounds: 0, ..client.clone() };
        let mut processes = vec![client; config.clients];
        processes.resize(config.people(), unborn);
        Self {
            set: None,
            sets: 0,
            processes,
            services: Vec::new(),
            hints: None,
            kills: config.kills,
            deaths: config.deaths,
            failures: config.failures,
            cancels: config.cancels,
            removals: config.removals,
            illnesses: config.illnesses,
            rechecks: config.rechecks,
            forks: config.forks,
            unguarded: false,
            guardian_killed: false,
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
            Hint::Begun(starter, service) => self.lives(Hint::Starter(starter)) || self.lives(Hint::Service(service)),
        }
    }

    fn is_ill(&self, service: u8) -> bool {
        self.services.get(usize::from(service)).is_some_and(|service| service.ill)
    }

    fn recorded(&self, number: u8) -> Option<u8> {
        match self.snapshot(number)?.record().instance {
            Instance::Process { pid, .. } => Some(pid as u8 - 1),
            _ => None,
        }
    }

    /// Somebody of ours ends a service's process.
    fn stop(&mut self, service: u8, who: &str) -> Result<(), Broken> {
        if !self.alive(service) {
            return Ok(());
        }
        let held = |process: &Process| matches!(process.task, Task::Holding { service: held, .. } if held == service);
        if let Some(holder) = self.processes.iter().position(|process| process.alive && held(process))
            && !self.is_ill(service)
        {
            return Err(format!("{who} stops service {service}, which client {holder} holds"));
        }
        if self.set.is_some_and(|set| set.snapshot().view().up && self.recorded(set.number) == Some(service)) {
            return Err(format!("{who} stops service {service}, which is still up"));
        }
        self.dies(service);
        Ok(())
    }

    /// A service's process ends, by itself or not.
    fn dies(&mut self, service: u8) {
        let adopts = |guardian: &u8| self.processes.get(usize::from(*guardian)).is_some_and(|process| process.alive);
        let foster = self.services.get(usize::from(service)).and_then(|service| service.foster).filter(adopts);
        if let Some(service) = self.services.get_mut(usize::from(service)) {
            service.alive = false;
            service.ill = false;
            service.foster = foster;
        }
    }

    /// Ends what is left of a service whose process has gone. `guardian`: the one whose children are looked at, too.
    fn sweep(&mut self, service: u8, guardian: Option<u8>, config: &Config) {
        if let Some(service) = self.services.get_mut(usize::from(service))
            && (config.descendants != Descendants::Shed || (guardian.is_some() && service.foster == guardian))
        {
            service.descendants = false;
            service.foster = None;
        }
    }

    /// The same for what the set records, if it is still there, and its guardian's children.
    fn sweep_recorded(&mut self, set: u8, config: &Config) {
        if let (Some(service), Some(snapshot)) = (self.recorded(set), self.snapshot(set)) {
            self.sweep(service, snapshot.guardian_pid().map(|guardian| guardian as u8 - 1), config);
        }
    }

    /// Somebody of ours ends a service's process, and says whether he goes on with what that has left.
    fn finish(&mut self, service: u8, who: &str, config: &Config) -> Result<bool, Broken> {
        let ended = !self.alive(service);
        self.stop(service, who)?;
        Ok(match config.mistake {
            Some(Mistake::NoSweep) => false,
            Some(Mistake::EndedIsGone) if ended => false,
            _ => config.declared,
        })
    }

    /// What `on_last_release` does beside asking the service's process to end: what it has started is its own affair.
    fn callback_stops(&mut self, service: u8, config: &Config) {
        if !config.declared
            && let Some(service) = self.services.get_mut(usize::from(service))
        {
            service.descendants = false;
        }
    }

    /// A service is started.
    fn start(&mut self, who: usize, config: &Config) -> Result<u8, Broken> {
        // Of a callback's service, procref knows one process only.
        let runs = |service: &Service| !service.lost && (service.alive || (service.descendants && config.declared));
        if let Some(other) = self.services.iter().position(runs) {
            let what = if self.alive(other as u8) { "" } else { "a descendant of " };
            return Err(format!("client {who} starts a service while {what}service {other} runs"));
        }
        let descendants = config.descendants != Descendants::None;
        let foster = (config.descendants == Descendants::Shed).then_some(who as u8);
        let alive = config.descendants != Descendants::Misnamed;
        self.services.push(Service { alive, descendants, foster, ill: false, lost: false });
        Ok((self.services.len() - 1) as u8)
    }

    fn make_guardian(&mut self, number: u8, config: &Config) -> u8 {
        self.make_guardian_that(false, number, config)
    }

    fn make_guardian_that(&mut self, spawns: bool, number: u8, config: &Config) -> u8 {
        let (machine, action) = Guardian::new(config.lingers, spawns);
        let task = Task::Guarding { machine, action, step: 0, set: number, said: false, spawned: None, hinted: None };
        let (heir, undo, inherited) = (None, Undo::default(), None);
        let guardian = Process { alive: true, task, job: Job::None, heir, undo, rounds: 0, inherited };
        // The place of a dead one can be used again: nobody waits for it, or it would have been seen to be dead.
        let place = (config.people()..self.processes.len())
            .find(|&place| self.processes.get(place).is_some_and(|process| !process.alive) && !self.is_awaited(place));
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

    /// Whether somebody still asks what became of the guardian that he has made.
    fn is_awaited(&self, place: usize) -> bool {
        let place = Some(place as u8);
        self.processes.iter().any(|process| {
            let by_task =
                matches!(&process.task, Task::Acquiring { made, .. } | Task::Releasing { made, .. } if *made == place);
            by_task || matches!(&process.job, Job::Replacing { made, .. } if *made == place)
        })
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
        // Orphans of which nothing else tells are nobody's from here on.
        for service in self.services.iter_mut().filter(|service| service.foster == Some(process as u8)) {
            service.foster = None;
        }
        let Some(process) = self.processes.get_mut(process) else { return };
        process.alive = false;
        process.inherited = None;
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
        if victim >= config.people() {
            self.unguarded = true;
            self.guardian_killed = true;
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

    /// Everything that can happen next. `named`: with names.
    #[must_use]
    pub fn next(&self, config: &Config, named: bool) -> Vec<Step> {
        let mut next = Next { steps: Vec::new(), named, fault: false };
        for place in 0..self.processes.len() {
            if let Some(process) = self.processes.get(place).filter(|process| process.alive) {
                self.steps(place, process, config, &mut next);
            }
        }
        next.fault(|next| self.faults(config, next));
        next.steps
    }

    /// What can go wrong, and what need not happen.
    fn faults(&self, config: &Config, next: &mut Next) {
        let mut push = |label: std::fmt::Arguments<'_>, edit: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            edit(&mut world);
            let label = next.name(label);
            next.push((label, Ok(world)));
        };
        let lives = |place: &usize| self.processes.get(*place).is_some_and(|process| process.alive);
        if self.kills > 0 {
            for place in (0..self.processes.len()).filter(lives) {
                push(format_args!("kill {place}"), &|world| {
                    world.kills -= 1;
                    world.kill(place, config);
                });
            }
        }
        let alive = |place: &u8| self.alive(*place);
        if self.deaths > 0 {
            for place in (0..self.services.len() as u8).filter(alive) {
                push(format_args!("service {place} dies"), &|world| {
                    world.deaths -= 1;
                    world.dies(place);
                });
            }
        }
        if self.illnesses > 0 {
            for place in (0..self.services.len() as u8).filter(|place| alive(place) && !self.is_ill(*place)) {
                push(format_args!("service {place} falls ill"), &|world| {
                    world.illnesses -= 1;
                    if let Some(service) = world.services.get_mut(usize::from(place)) {
                        service.ill = true;
                    }
                });
            }
        }
        if self.removals > 0 && self.set.is_some() {
            push(format_args!("ipcrm"), &|world| {
                world.removals -= 1;
                world.set = None;
                world.unguarded = true;
            });
        }
        if self.forks > 0 {
            for place in (0..config.clients).filter(lives) {
                push(format_args!("{place} is forked"), &|world| world.fork(place, config));
            }
        }
    }

    /// A client is forked, by any of its threads: the child has the memory and the descriptors, and no undo.
    fn fork(&mut self, place: usize, config: &Config) {
        let starts = |child: usize| {
            let starts = |hint| matches!(hint, Hint::Starter(it) | Hint::Begun(it, _) if usize::from(it) == child);
            self.hints.is_some_and(|(_, hint)| starts(hint))
        };
        let is_free = |child: &usize| self.processes.get(*child).is_some_and(|it| !it.alive) && !starts(*child);
        let Some(child) = (config.clients..config.people()).find(is_free) else { return };
        self.forks -= 1;
        let Some(parent) = self.processes.get(place) else { return };
        let heir = parent.heir.as_ref().map(|heir| heir.3);
        let (inherited, task) = match &parent.task {
            Task::Holding { set, service } => (Some((*set, Some(*service))), Task::Idle),
            // Inside `on_first_acquire`: the child comes back from it, too.
            Task::Acquiring { machine, action: acquire::Action::Start, step: 1.., set, service, .. }
                if config.mistake == Some(Mistake::ForkedTransition) =>
            {
                let mut machine = machine.clone();
                let action = machine.next(acquire::Event::Failed);
                let (service, set) = (*service, *set);
                let task = Task::Acquiring { machine, action, step: 0, set, started: None, made: None, service };
                (Some((set, None)), task)
            }
            Task::Acquiring { set, .. } | Task::Releasing { set, .. } => (Some((*set, None)), Task::Idle),
            Task::Idle | Task::Guarding { .. } => (heir.map(|set| (set, None)), Task::Idle),
        };
        self.edit(child, |process| {
            process.alive = true;
            process.rounds = 1;
            process.task = task;
            process.inherited = inherited.map(|(set, service)| Inherited { set, service });
        });
    }

    /// The same, as one state for all that differ by nothing that can ever matter: by which of several processes does
    /// what, and by the numbers of what is gone.
    #[must_use]
    pub fn normal(mut self, config: &Config) -> Self {
        // Of a starter that was killed, nothing matters but what was begun for it.
        if let Some((set, Hint::Begun(starter, service))) = self.hints
            && !self.lives(Hint::Starter(starter))
        {
            self.hints = Some((set, Hint::Service(service)));
        }
        self.forget_the_dead(config);
        self.number_sets();
        self.number_services();
        for group in [0..config.clients, config.clients..config.people()] {
            let starter = match self.hints {
                Some((_, Hint::Starter(starter) | Hint::Begun(starter, _))) => Some(usize::from(starter)),
                _ => None,
            };
            let key = |place: usize| (Some(place) == starter, self.processes.get(place).map(print));
            let mut order: Vec<usize> = group.clone().collect();
            order.sort_by_cached_key(|&place| key(place));
            let sorted: Vec<Process> = order.iter().filter_map(|&place| self.processes.get(place).cloned()).collect();
            if let (Some((_, Hint::Starter(it) | Hint::Begun(it, _))), Some(to)) =
                (&mut self.hints, order.iter().position(|&place| Some(place) == starter))
            {
                *it = (group.start + to) as u8;
            }
            if let Some(slots) = self.processes.get_mut(group) {
                slots.clone_from_slice(&sorted);
            }
        }
        self
    }

    /// Guardians that have ended, and of whom nobody asks what became of them.
    fn forget_the_dead(&mut self, config: &Config) {
        for place in config.people()..self.processes.len() {
            if self.processes.get(place).is_some_and(|process| !process.alive) && !self.is_awaited(place) {
                self.edit(place, |process| process.task = Task::Idle);
            }
        }
        while self.processes.len() > config.people()
            && self.processes.last().is_some_and(|process| !process.alive && process.task == Task::Idle)
        {
            self.processes.pop();
        }
        // What the kernel would take back in a set that has gone.
        let set = self.set.map(|set| set.number);
        for process in &mut self.processes {
            if Some(process.undo.set) != set || process.undo.adjustments == [0; 8] {
                process.undo = Undo::default();
            }
        }
    }

    /// Every number of a set that somebody still uses.
    fn sets_used(&mut self, mut with: impl FnMut(&mut u8)) {
        let none = 0;
        self.set.iter_mut().for_each(|set| with(&mut set.number));
        self.hints.iter_mut().for_each(|(set, _)| with(set));
        for process in &mut self.processes {
            match &mut process.task {
                Task::Idle => {}
                Task::Acquiring { set, .. }
                | Task::Holding { set, .. }
                | Task::Releasing { set, .. }
                | Task::Guarding { set, .. } => with(set),
            }
            if let Job::Replacing { set, .. } = &mut process.job {
                with(set);
            }
            process.heir.iter_mut().for_each(|heir| with(&mut heir.3));
            process.inherited.iter_mut().for_each(|inherited| with(&mut inherited.set));
            if process.undo.set != none {
                with(&mut process.undo.set);
            }
        }
    }

    fn number_sets(&mut self) {
        // 0 is no set.
        let mut used = vec![0];
        self.sets_used(|set| used.push(*set));
        used.sort_unstable();
        used.dedup();
        self.sets_used(|set| *set = used.iter().position(|old| old == set).unwrap_or(0) as u8);
        self.sets = used.len() as u8 - 1;
    }

    /// Every number of a service that somebody still knows.
    fn services_known(&mut self, mut with: impl FnMut(&mut u8)) {
        if let Some((_, Hint::Service(service) | Hint::Begun(_, service))) = &mut self.hints {
            with(service);
        }
        if let Some(set) = &mut self.set
            && let Instance::Process { pid, .. } = set.snapshot().record().instance
            && let Some(value) = set.values.get_mut(usize::from(PID))
        {
            let mut service = pid as u8 - 1;
            with(&mut service);
            *value = u16::from(service) + 1;
        }
        for process in &mut self.processes {
            match &mut process.task {
                Task::Acquiring { started, service, .. } => started.iter_mut().chain(service).for_each(&mut with),
                Task::Holding { service, .. } => with(service),
                Task::Guarding { hinted, spawned, .. } => {
                    hinted.iter_mut().for_each(&mut with);
                    if let Some(Spawned::Started(service)) = spawned {
                        with(service);
                    }
                }
                Task::Idle | Task::Releasing { .. } => {}
            }
            process.inherited.iter_mut().filter_map(|inherited| inherited.service.as_mut()).for_each(&mut with);
        }
    }

    fn number_services(&mut self) {
        let mut known = Vec::new();
        self.services_known(|service| known.push(*service));
        let runs = |service: &Service| service.alive || service.descendants;
        let stays = |(place, service): &(usize, &Service)| runs(service) || known.contains(&(*place as u8));
        let kept: Vec<u8> = self.services.iter().enumerate().filter(stays).map(|(place, _)| place as u8).collect();
        self.services_known(|service| *service = kept.iter().position(|old| old == service).unwrap_or(0) as u8);
        self.services = kept.iter().filter_map(|&place| self.services.get(usize::from(place)).copied()).collect();
    }

    /// What must hold when nothing more happens.
    pub fn check_quiet(&self, config: &Config) -> Result<(), Broken> {
        for (place, process) in self.processes.iter().enumerate().filter(|(_, process)| process.alive) {
            if place < config.people() {
                if process.task != Task::Idle || process.heir.is_some() || process.job != Job::None {
                    return Err(format!("client {place} waits for ever: {:?}", process.task));
                }
            } else {
                return Err(format!("guardian {place} stays: {:?}", process.task));
            }
        }
        let known = |service: &Service| {
            // What lost its parent, its session and its environment is nobody's; and so is a daemon of a callback's
            // making, if the callback gave another number and nobody lives who could call the one that stops it.
            let swept = match config.descendants {
                Descendants::None => false,
                Descendants::Marked => config.declared,
                Descendants::Shed => config.declared && self.kills == config.kills,
                Descendants::Misnamed => self.kills == config.kills,
            };
            !service.lost && (service.alive || (service.descendants && swept))
        };
        let left = self.services.iter().position(known);
        if let Some(service) = left {
            let recorded = self.set.is_some_and(|set| self.recorded(set.number) == Some(service as u8));
            let names =
                |hint| matches!(hint, Hint::Service(named) | Hint::Begun(_, named) if usize::from(named) == service);
            let hinted = self.hints.is_some_and(|(_, hint)| names(hint));
            if !self.unguarded || (config.declared && !self.guardian_killed) {
                return Err(format!("service {service} runs, nobody holds it, and no guardian was killed"));
            }
            // When all have gone, the kernel itself stops a declared service.
            if !recorded && !hinted && !config.declared {
                return Err(format!("service {service} runs, nobody holds it, and nothing tells of it"));
            }
            if recorded {
                self.check_next_acquire(config)?;
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

    /// Whoever comes when all others have gone finishes what is recorded before anything else, and leaves nothing.
    fn check_next_acquire(&self, config: &Config) -> Result<(), Broken> {
        /// Far more than it takes.
        const MOST: usize = 300;
        let calm = Config { kills: 0, mistake: config.mistake, ..*config };
        let mut world = self.clone();
        (world.kills, world.deaths, world.failures, world.cancels, world.removals) = (0, 0, 0, 0, 0);
        (world.illnesses, world.rechecks, world.forks) = (0, 0, 0);
        world.edit(0, |process| {
            process.alive = true;
            process.rounds = 1;
        });
        for _ in 0..MOST {
            match world.next(&calm, false).into_iter().find(|step| !step.fault) {
                Some(step) => world = step.to?,
                None => break,
            }
        }
        let runs = |service: &Service| !service.lost && (service.alive || (service.descendants && config.declared));
        match world.services.iter().position(runs) {
            Some(service) => Err(format!("service {service} is recorded, and the next acquire does not finish it")),
            None if world.set.is_some() => Err("the next acquire leaves a set".into()),
            None => Ok(()),
        }
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
                let (machine, action) = Acquire::new(false, config.ways());
                let acquiring =
                    Task::Acquiring { machine, action, step: 0, set: 0, started: None, made: None, service: None };
                // Its registry is its own, and empty: whatever its parent holds, this is a process like any other.
                let copied = process.inherited.and_then(|inherited| Some((inherited.set, inherited.service?)));
                let task = match copied.filter(|_| config.mistake == Some(Mistake::ForkedRegistry)) {
                    Some((set, service)) => Task::Holding { set, service },
                    None => acquiring,
                };
                world.edit(place, |process| {
                    process.rounds -= 1;
                    process.task = task;
                });
                next.push((next.name(format_args!("{place} acquires")), Ok(world)));
                if let (Some(door), Some(set)) = (config.outside, self.set) {
                    let (mut world, (machine, action)) = (self.clone(), Release::from_outside(door));
                    world.edit(place, |process| {
                        process.rounds -= 1;
                        process.task = Task::Releasing { machine, action, step: 0, set: set.number, made: None };
                    });
                    next.push((next.name(format_args!("{place} stops it from outside")), Ok(world)));
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
                next.push((next.name(format_args!("{place} releases {service}")), Ok(world)));
                if self.rechecks > 0 && (!self.alive(*service) || self.is_ill(*service)) {
                    let mut world = self.clone();
                    world.rechecks -= 1;
                    let (machine, action) = Acquire::new(true, config.ways());
                    let service = Some(*service);
                    world.edit(place, |process| {
                        process.task =
                            Task::Acquiring { machine, action, step: 0, set, started: None, made: None, service };
                    });
                    next.push((next.name(format_args!("{place} acquires again")), Ok(world)));
                }
            }
            Task::Acquiring { .. } => self.acquire(place, config, next),
            Task::Releasing { .. } => self.release(place, config, next),
            Task::Guarding { .. } => self.guard(place, config, next),
        }
        if process.heir.is_some() {
            self.inherit(place, config, next);
        }
        if process.task == Task::Idle
            && process.job == Job::None
            && process.heir.is_none()
            && (config.clients..config.people()).contains(&place)
        {
            self.child(place, process, config, next);
        }
        self.replace(place, process, config, next);
    }

    /// What a forked child does beside acquiring.
    fn child(&self, place: usize, process: &Process, config: &Config, next: &mut Next) {
        if let Some(Inherited { set, service: Some(_) }) = process.inherited {
            let mut world = self.clone();
            let (machine, action) = Release::new(config.lingers || config.declared, !config.declared);
            world.edit(place, |process| {
                process.inherited = None;
                // Who has another number than the process that made the handle does nothing but close its descriptors.
                if config.mistake == Some(Mistake::ForkedCopyReleases) {
                    process.task = Task::Releasing { machine, action, step: 0, set, made: None };
                }
            });
            next.push((next.name(format_args!("{place} drops its copies")), Ok(world)));
        }
        let mut world = self.clone();
        world.end(place);
        world.tidy();
        next.push((next.name(format_args!("{place} ends")), Ok(world)));
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
                // It holds the reference, or did when this began.
                let set = match process.task {
                    Task::Holding { set, .. } | Task::Releasing { set, .. } => set,
                    Task::Acquiring { set, ref machine, .. } if machine.held() => set,
                    _ => return,
                };
                let mut world = self.clone();
                if world.apply(place, set, &LOCK_UNGUARDED) == Some(Applied::Yes) {
                    world.edit(place, |process| process.job = Job::Replacing { set, made: None });
                    next.push((next.name(format_args!("{place} replaces the guardian")), Ok(world)));
                }
            }
            Job::Replacing { set, made: None } => {
                let mut world = self.clone();
                let made = Some(world.make_guardian(set, config));
                world.edit(place, |process| process.job = Job::Replacing { set, made });
                next.push((next.name(format_args!("{place} makes a guardian")), Ok(world)));
            }
            Job::Replacing { set, made: Some(made) } => {
                if self.made(made).is_some() {
                    let mut world = self.clone();
                    let _ = world.unlock(place, set, config);
                    world.edit(place, |process| process.job = Job::None);
                    next.push((next.name(format_args!("{place} unlocks after replacing")), Ok(world)));
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
        let Some(Process { task: Task::Acquiring { machine, action, step, set, started, made, service }, .. }) =
            self.processes.get(place)
        else {
            return;
        };
        let (action, step, set, started, made, service) = (*action, *step, *set, *started, *made, *service);
        let label = next.name(format_args!("{place} {action:?}/{step}"));
        let mut world = self.clone();
        // Goes on within the action.
        let stay = |mut world: World, step: u8, started: Option<u8>, made: Option<u8>, next: &mut Next, label: &str| {
            world.edit(place, |process| {
                process.task = Task::Acquiring { machine: machine.clone(), action, step, set, started, made, service };
            });
            next.push((label.to_owned(), Ok(world)));
        };
        let done = |mut world: World, event: E, set: u8, started: Option<u8>, next: &mut Next| {
            let service = match event {
                E::Healthy if action == A::Check => world.recorded(set),
                E::Gone if !machine.held() => None,
                _ => service,
            };
            let mut machine = machine.clone();
            let action = machine.next(event);
            world.edit(place, |process| {
                process.task = Task::Acquiring { machine, action, step: 0, set, started, made: None, service };
            });
            next.push((next.name(format_args!("{label} -> {event:?}")), Ok(world)));
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
                        started.or(service).map(|service| Task::Holding { set, service })
                    }
                    // Who held it holds it still, whatever that is worth.
                    _ => service.filter(|_| machine.held()).map(|service| Task::Holding { set, service }),
                };
                let task = task.unwrap_or(Task::Idle);
                world.edit(place, |process| process.task = task);
                next.push((label, Ok(world)));
            }
            (A::Look, _) if machine.held() => {
                let event = seen(&world);
                done(world, event, set, None, next);
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
                    next.fault(|next| done(world, E::Cancelled, set, None, next));
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
                let up = world.snapshot(set).is_some_and(|snapshot| snapshot.view().up);
                let descends = |service: &u8| {
                    config.mistake == Some(Mistake::DescendantIsService)
                        && world.services.get(usize::from(*service)).is_some_and(|service| service.descendants)
                };
                let fit = |service: &u8| (world.alive(*service) && !world.is_ill(*service)) || descends(service);
                let event = match world.recorded(set) {
                    _ if world.snapshot(set).is_none() => E::Gone,
                    Some(service) if up && fit(&service) && !world.alive(service) => {
                        next.push((label, Err(format!("client {place} is given service {service}, which has ended"))));
                        return;
                    }
                    Some(service) if up && fit(&service) => E::Healthy,
                    _ => E::Unhealthy,
                };
                done(world, event, set, None, next);
            }
            (A::MarkDown, _) => match world.mark_down(place, set, config) {
                None => done(world, E::Gone, set, None, next),
                Some(_) => done(world, E::Done, set, None, next),
            },
            (A::Finish, 0) => match world.snapshot(set) {
                None => done(world, E::Gone, set, None, next),
                Some(_) => {
                    let recorded = world.recorded(set).filter(|_| config.mistake != Some(Mistake::NoPredecessorRule));
                    match recorded.map_or(Ok(false), |it| world.finish(it, &format!("client {place}"), config)) {
                        Ok(sweeps) => stay(world, if sweeps { 1 } else { 2 }, None, None, next, &label),
                        Err(broken) => next.push((label, Err(broken))),
                    }
                }
            },
            (A::Finish, 1) => {
                world.sweep_recorded(set, config);
                stay(world, 2, None, None, next, &label);
            }
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
                // What an instance has left whose set was removed before its process ended.
                if let Some((other, Hint::Service(service) | Hint::Begun(_, service))) =
                    world.hints.filter(|_| config.declared)
                    && other != set
                    && config.mistake != Some(Mistake::NoSweep)
                {
                    world.sweep(service, None, config);
                }
                world.hints = Some((set, Hint::Starter(place as u8)));
                stay(world, 1, None, None, next, &label);
            }
            (A::Start, step) if config.declared => match self.start_declared(place, (step, set, made, started), config)
            {
                Ok(Some((world, Started::Goes(step, made, started)))) => {
                    stay(world, step, started, made, next, &label);
                }
                Ok(Some((world, Started::Is(service)))) => {
                    if self.failures > 0 {
                        let mut world = self.clone();
                        world.failures -= 1;
                        next.fault(|next| stay(world, NOT_READY, started, None, next, "it does not become ready"));
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
                    next.fault(|next| done(world, E::Failed, set, None, next));
                }
                // Whoever recovers a service sees to the one that was.
                let old = world.recorded(set).filter(|_| action == A::Recover);
                let ended = old.map_or(Ok(()), |old| {
                    world.callback_stops(old, config);
                    world.stop(old, &format!("client {place}"))
                });
                match ended.and_then(|()| world.start(place, config)) {
                    Ok(service) => done(world, E::Done, set, Some(service), next),
                    Err(broken) => next.push((label, Err(broken))),
                }
            }
            (A::Publish, 0) => {
                if started.is_none_or(|service| !world.alive(service)) && config.mistake != Some(Mistake::PublishUnseen)
                {
                    done(world, E::Failed, set, started, next);
                } else {
                    stay(world, 1, started, None, next, &label);
                }
            }
            (A::Publish, 1) => {
                world.hints = started.map(|service| (set, Hint::Service(service)));
                stay(world, 2, started, None, next, &label);
            }
            (A::Publish, _) => {
                if let Some(service) = started.filter(|service| !world.alive(*service) && self.deaths == config.deaths)
                {
                    next.push((label, Err(format!("client {place} publishes service {service}, which had ended"))));
                    return;
                }
                let publishing = world.snapshot(set).map(|snapshot| {
                    let instance = Instance::Process { pid: u32::from(started.unwrap_or(0)) + 1, start: 1 };
                    let (generation, declared) = (snapshot.next_generation(), config.declared);
                    snapshot.publishing(&Record { instance, port: 0, generation, details: 0, declared, pipe: 0 })
                });
                let applied = publishing.and_then(|publishing| world.apply(place, set, &publishing));
                if let Some(event) = event(applied) {
                    done(world, event, set, started, next);
                }
            }
            // The set may have gone: then what the guardian has said is ended.
            (A::Discard, 0) if config.declared => {
                let who = format!("client {place}");
                match started.map_or(Ok(false), |service| world.finish(service, &who, config)) {
                    Ok(sweeps) => stay(world, if sweeps { 1 } else { 2 }, started, None, next, &label),
                    Err(broken) => next.push((label, Err(broken))),
                }
            }
            (A::Discard, 1) => {
                let guardian = world.snapshot(set).and_then(|snapshot| snapshot.guardian_pid());
                if let Some(service) = started {
                    world.sweep(service, guardian.map(|guardian| guardian as u8 - 1), config);
                }
                stay(world, 2, started, None, next, &label);
            }
            (A::Discard, 2) => {
                let forgetting = world.snapshot(set).map(|snapshot| snapshot.forgetting());
                let _ = forgetting.and_then(|forgetting| world.apply(place, set, &forgetting));
                world.forget_hints(set);
                done(world, E::Done, set, None, next);
            }
            (A::Discard, _) => {
                let result = started.map_or(Ok(()), |service| {
                    world.callback_stops(service, config);
                    world.stop(service, &format!("client {place}"))
                });
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
                None => {
                    world.forget_hints(set);
                    done(world, E::Done, set, None, next);
                }
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

    fn mark_down(&mut self, place: usize, set: u8, config: &Config) -> Option<Applied> {
        match config.mistake {
            Some(Mistake::StopBeforeDown) => Some(Applied::Yes),
            _ => self.apply(place, set, &MARK_DOWN),
        }
    }

    /// What a starter does that has a guardian start the service; `None`: it waits.
    fn start_declared(
        &self,
        place: usize,
        (step, set, made, started): (u8, u8, Option<u8>, Option<u8>),
        config: &Config,
    ) -> Result<Option<(Self, Started)>, Broken> {
        use Started::{Failed, Goes, Is};
        let mut world = self.clone();
        let snapshot = world.snapshot(set);
        // Without the set, what the guardian has said.
        let recorded = if snapshot.is_some() { world.recorded(set) } else { started };
        let goes = match (step, snapshot) {
            (..7, None) => Failed,
            (1, _) => {
                let _ = world.apply(place, set, &ASK);
                Goes(2, None, None)
            }
            // One that watches already holds no state, and makes way.
            (2, Some(snapshot)) => match snapshot.guardian_pid() {
                Some(guardian) => {
                    world.end(guardian as usize - 1);
                    world.tidy();
                    // Until this one has finished what that one had started, the kernel alone would see to it.
                    world.unguarded |= recorded.is_some();
                    world.guardian_killed |= recorded.is_some();
                    Goes(2, None, None)
                }
                None => Goes(3, None, None),
            },
            // What it may have started until just now is finished; and so is what does not become ready.
            (3 | NOT_READY, _) => match recorded {
                Some(service) if world.finish(service, &format!("client {place}"), config)? => {
                    Goes(step + 1, None, recorded)
                }
                Some(_) => Goes(step + 2, None, None),
                None => Goes(step + 3, None, None),
            },
            (4 | 11, _) => {
                let guardian = snapshot.and_then(|snapshot| snapshot.guardian_pid());
                if let Some(service) = recorded {
                    world.sweep(service, guardian.map(|guardian| guardian as u8 - 1), config);
                }
                Goes(step + 1, None, None)
            }
            (5 | 12, Some(snapshot)) => match world.apply(place, set, &snapshot.forgetting()) {
                Some(Applied::Yes) => Goes(step + 1, None, None),
                _ => Failed,
            },
            (6, _) => Goes(7, Some(world.make_guardian_that(true, set, config)), None),
            (7, _) => match made.and_then(|made| self.made(made)) {
                Some(true) => Goes(8, made, None),
                Some(false) => Goes(2, None, None),
                None => return Ok(None),
            },
            (8, _) => match self.spawned(made) {
                Some(Spawned::Overtaken) => Goes(2, None, None),
                Some(Spawned::Started(service)) => {
                    let _ = world.apply(place, set, &ASK_NO_MORE);
                    Goes(9, None, Some(service))
                }
                Some(Spawned::Failed) => {
                    let _ = world.apply(place, set, &ASK_NO_MORE);
                    Goes(NOT_READY, None, None)
                }
                None => return Ok(None),
            },
            // What becomes ready is awaited without a look at the set.
            (9, _) => match started {
                Some(service) if self.alive(service) => Is(service),
                _ => Goes(NOT_READY, None, started),
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
        let label = next.name(format_args!("{place} {action:?}/{step}"));
        let mut world = self.clone();
        let stay = |mut world: World, step: u8, made: Option<u8>, next: &mut Next| {
            world.edit(place, |process| put(process, Some((machine.clone(), action, step)), made));
            next.push((label.clone(), Ok(world)));
        };
        let done = |mut world: World, event: E, next: &mut Next| {
            let mut machine = machine.clone();
            let action = machine.next(event);
            world.edit(place, |process| put(process, Some((machine, action, 0)), None));
            next.push((next.name(format_args!("{label} -> {event:?}")), Ok(world)));
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
            (A::MarkDown, _) => match world.mark_down(place, set, config) {
                None => done(world, E::Gone, next),
                Some(_) => done(world, E::Done, next),
            },
            // The callback only asks: the service may go on for a while.
            (A::Stop, _) => {
                if let Some(service) = world.recorded(set) {
                    world.callback_stops(service, config);
                }
                done(world, E::Done, next);
            }
            (A::Finish, 0) => {
                let recorded = world.recorded(set);
                match recorded.map_or(Ok(false), |it| world.finish(it, &format!("client {place}"), config)) {
                    Ok(sweeps) => stay(world, if sweeps { 1 } else { 2 }, None, next),
                    Err(broken) => next.push((label.clone(), Err(broken))),
                }
            }
            (A::Finish, 1) => {
                world.sweep_recorded(set, config);
                stay(world, 2, None, next);
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
        let label = next.name(format_args!("guardian {place} {action:?}/{step}"));
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
            next.push((next.name(format_args!("{label} -> {event:?}")), Ok(world)));
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
                    Some(Applied::Yes) => Spawned::Started(service as u8),
                    Some(_) => Spawned::Overtaken,
                };
                // Noted before it is the service.
                if let (Spawned::Started(service), Some((noted, Hint::Starter(starter)))) = (spawned, world.hints)
                    && noted == set
                    && !matches!(config.mistake, Some(Mistake::BeginUnnoted | Mistake::ForgottenChild))
                {
                    world.hints = Some((set, Hint::Begun(starter, service)));
                }
                if matches!(spawned, Spawned::Started(_))
                    && let Err(broken) = world.start(place, config)
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
                next.push((next.name(format_args!("{label} -> {spawned:?}")), Ok(world)));
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
            (A::MarkDown, _) => match world.mark_down(place, set, config) {
                None => done(world, E::Gone, said, None, next),
                Some(_) => done(world, E::Done, said, None, next),
            },
            (A::Finish, 0) => match world.snapshot(set).map(|snapshot| snapshot.record().instance) {
                None => done(world, E::Gone, said, None, next),
                Some(Instance::None) => done(world, E::Done, said, None, next),
                Some(Instance::Other) => done(world, E::Refused, said, None, next),
                Some(Instance::Process { pid, .. }) => {
                    match world.finish(pid as u8 - 1, &format!("guardian {place}"), config) {
                        Ok(sweeps) => stay(world, if sweeps { 1 } else { 2 }, None, next),
                        Err(broken) => next.push((label.clone(), Err(broken))),
                    }
                }
            },
            (A::Finish, 1) => {
                if let Some(service) = world.recorded(set) {
                    world.sweep(service, Some(place as u8), config);
                }
                stay(world, 2, None, next);
            }
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
                    Some((hinted, Hint::Service(service) | Hint::Begun(_, service))) if hinted == set => Some(service),
                    // It knows what it has started, and so does nobody else if the starter is killed.
                    _ => match spawned {
                        Some(Spawned::Started(service)) if config.mistake != Some(Mistake::ForgottenChild) => {
                            Some(service)
                        }
                        _ => None,
                    },
                };
                match named {
                    Some(service) => stay(world, 1, Some(service), next),
                    None => done(world, E::Failed, said, None, next),
                }
            }
            (A::AwaitPipe, _) => {
                let works = |process: &Process| match process.task {
                    Task::Acquiring { set: used, .. }
                    | Task::Holding { set: used, .. }
                    | Task::Releasing { set: used, .. } => used == set,
                    _ => false,
                };
                let holds = |process: &Process| {
                    let heir = process.heir.as_ref().is_some_and(|heir| heir.3 == set);
                    let inherited = process.inherited.is_some_and(|inherited| inherited.set == set);
                    process.alive && (works(process) || heir || inherited)
                };
                let zero = config.mistake == Some(Mistake::GoneIsZero);
                if zero || !world.processes.iter().any(holds) {
                    done(world, E::Done, said, hinted, next);
                }
            }
            (A::FinishByHints, 0) => {
                let finished = hinted.map_or(Ok(false), |it| world.finish(it, &format!("guardian {place}"), config));
                match finished {
                    Ok(sweeps) => stay(world, if sweeps { 1 } else { 2 }, hinted, next),
                    Err(broken) => next.push((label.clone(), Err(broken))),
                }
            }
            (A::FinishByHints, 1) => {
                if let Some(service) = hinted {
                    world.sweep(service, Some(place as u8), config);
                }
                stay(world, 2, hinted, next);
            }
            (A::FinishByHints, _) => {
                let names = |hint| matches!(hint, Hint::Service(it) | Hint::Begun(_, it) if Some(it) == hinted);
                if world.hints.is_some_and(|(_, hint)| names(hint)) {
                    world.forget_hints(set);
                }
                done(world, E::Done, said, None, next);
            }
        }
    }
}
