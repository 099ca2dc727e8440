//! The guardian. Where nothing lingers it is the kernel itself: the last handle on the job ends the service. A service that
//! lingers needs a process that outlives its clients, which is *started*: the program itself, if its `main` begins with
//! [`main_if_asked`], or a companion.
//!
//! The decisions are [`crate::protocol::guardian`]'s; this performs them.

use super::hints::Hints;
use super::job::{killing_job, let_live};
use super::object::{self, Kind};
use super::process::{Process, monotonic, wait_for_any};
use super::service::{self, Program, Reports};
use super::set::{Set, SetError};
use super::spawn::Spawn;
use super::stop::{self, ctrl_break, leave_console};
use super::witness::Witness;
use super::{current_pid, folder};
use crate::name::ServiceName;
use crate::options::{MOST_STEPS, StopStep};
use crate::protocol::guardian::{Action, Event, Guardian};
use crate::protocol::set::{
    GUARDIAN, GUARDIAN_IDLE, GUARDIAN_SHUT, GUARDIAN_SLEEP, Instance, KERNEL_GUARDS_NO_MORE, LAST_LINGER, MARK_DOWN,
    Op, UNLOCK,
};
pub(crate) use crate::sys::launch::{Launch, Made, Stopper, use_companion};
use crate::sys::launch::{WAY_IN, WayIn};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::windows::ffi::{OsStrExt, OsStringExt};
use std::os::windows::io::AsHandle;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How the command line of a guardian begins, as the task manager shows it; the service's name follows.
const TITLE: &str = "procref-guardian: ";
/// How that of a process begins that only sends Ctrl-Break; the number follows.
const BREAK: &str = "procref-break: ";

/// The longest folder and file name, in bytes.
pub(crate) const MOST_PATH: usize = 1024;

/// Whoever starts a service is no guardian: nobody has to be a parent where there are jobs.
pub(crate) const IS_PARENT: bool = false;

/// How long a client waits for the guardian that it makes to watch.
const MAKING: Duration = Duration::from_secs(30);

/// All that a guardian knows.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    set: Set,
    /// Milliseconds; 0 not to linger.
    linger: u64,
    steps: Vec<StopStep>,
    /// None of the service's descendants may stay.
    sweeps: bool,
    folder: PathBuf,
    stem: String,
}

impl Plan {
    pub(crate) fn new(set: Set, linger: Duration, steps: &[StopStep], hints: &Hints, _: bool) -> Self {
        let (folder, stem) = hints.location();
        Self {
            set,
            linger: linger.as_millis().try_into().unwrap_or(u64::MAX),
            steps: steps.iter().take(MOST_STEPS).copied().collect(),
            sweeps: false,
            folder: folder.to_owned(),
            stem: stem.to_owned(),
        }
    }

    /// The same for a declared service.
    pub(crate) fn of_declared(self) -> Self {
        Self { sweeps: true, ..self }
    }

    fn encode(&self, name: &str, ready: &str, stopper: Option<&Program>) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(self.set.id().unsigned_abs().into());
        writer.number(self.linger);
        writer.number(self.sweeps.into());
        writer.number(self.steps.len() as u64);
        for step in &self.steps {
            writer.number(step.signal.unsigned_abs().into());
            writer.number(step.grace);
        }
        for text in [name, ready, &self.stem] {
            writer.text(text.as_ref());
        }
        writer.text(self.folder.as_os_str());
        writer.number(stopper.is_some().into());
        if let Some(program) = stopper {
            writer.text(program.file.as_os_str());
            writer.text(program.directory.as_os_str());
            writer.number(program.arguments.len() as u64);
            program.arguments.iter().for_each(|argument| writer.text(argument));
            writer.number(program.environment.len() as u64);
            for (name, value) in &program.environment {
                writer.text(name);
                writer.text(value);
            }
        }
        writer.0
    }
}

/// A plan on its way to a guardian: numbers, and texts with their lengths.
#[derive(Debug, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &std::ffi::OsStr) {
        let units: Vec<u16> = text.encode_wide().collect();
        self.number(units.len() as u64);
        units.iter().for_each(|unit| self.0.extend_from_slice(&unit.to_le_bytes()));
    }
}

#[derive(Debug)]
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<OsString> {
        let length = usize::try_from(self.number()?).ok()?.checked_mul(2)?;
        let (units, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let units: Vec<u16> =
            units.chunks_exact(2).filter_map(|unit| Some(u16::from_le_bytes(unit.try_into().ok()?))).collect();
        Some(OsString::from_wide(&units))
    }

    fn word(&mut self) -> Option<String> {
        self.text()?.into_string().ok()
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.number()?).map(|_| one(self)).collect()
    }
}

/// What a guardian was started with.
#[derive(Debug)]
struct Order {
    name: String,
    set: i32,
    ready: String,
    plan: Plan,
    stopper: Option<Program>,
}

impl Order {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let set = i32::try_from(reader.number()?).ok()?;
        let linger = reader.number()?;
        let sweeps = reader.number()? != 0;
        let steps = reader.several(|reader| {
            Some(StopStep { signal: i32::try_from(reader.number()?).ok()?, grace: reader.number()? })
        })?;
        let [name, ready, stem] = [reader.word()?, reader.word()?, reader.word()?];
        let folder = PathBuf::from(reader.text()?);
        let stopper = match reader.number()? {
            0 => None,
            _ => Some(Program {
                file: reader.text()?.into(),
                directory: reader.text()?.into(),
                arguments: reader.several(Reader::text)?,
                environment: reader.several(|reader| Some((reader.text()?, reader.text()?)))?,
                floor_signal: 0,
            }),
        };
        let plan = Plan { set: Set::from_id(set), linger, steps, sweeps, folder, stem };
        reader.0.is_empty().then_some(Self { name, set, ready, plan, stopper })
    }
}

/// Does what this process was started for by another one of ours, and never returns, if it was. Otherwise remembers that
/// this program may be started again.
pub(crate) fn main_if_asked() {
    let _ = WAY_IN.set(WayIn::Myself);
    let mut args = std::env::args_os();
    let (Some(title), None) = (args.next(), args.next()) else { return };
    let Some(title) = title.to_str() else { return };
    if let Some(pid) = title.strip_prefix(BREAK) {
        leave_console();
        let sent = pid.parse().ok().is_some_and(|pid| ctrl_break(pid).is_ok());
        std::process::exit(if sent { 0 } else { 1 });
    }
    if title.starts_with(TITLE) {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        let order = read.ok().and_then(|_| Order::decode(&bytes));
        std::process::exit(if order.and_then(run).is_some() { 0 } else { 125 });
    }
}

fn way_in() -> Option<io::Result<PathBuf>> {
    Some(match WAY_IN.get()? {
        WayIn::Myself => std::env::current_exe(),
        WayIn::Companion(path) => Ok(path.clone()),
    })
}

/// Sends Ctrl-Break by a process that can leave its console. `None`: this program gives no way in.
pub(super) fn break_by_helper(pid: u32) -> Option<io::Result<bool>> {
    /// It attaches to a console and ends.
    const SENDING: u64 = 10_000;
    let program = way_in()?;
    let send = || {
        let nothing = OpenOptions::new().read(true).write(true).open("NUL")?;
        let standard = [nothing.as_handle(); 3];
        let arguments = [OsString::from(format!("{BREAK}{pid}"))];
        let job = killing_job()?;
        let spawn = Spawn {
            program: &program?,
            arguments: &arguments,
            directory: None,
            environment: None,
            standard,
            job: Some(job.as_handle()),
            apart: false,
        };
        let helper = spawn.run()?;
        if helper.wait(Some(SENDING))? && helper.exit_code()? == 0 {
            return Ok(true);
        }
        let _ = helper.terminate();
        Err(io::Error::new(io::ErrorKind::Unsupported, "it has no console of its own of which it leads a group"))
    };
    Some(send())
}

/// Makes a guardian, waits until it watches, and starts a service. `witness` is the job that this process already holds.
pub(crate) fn make(
    name: &str,
    plan: &Plan,
    witness: Option<&Witness>,
    launch: Option<&Launch>,
    stopper: Option<&Stopper>,
) -> io::Result<Made> {
    let set = plan.set;
    let new = match witness {
        Some(_) => None,
        None => Some(Witness::create(set)?),
    };
    let Some(job) = witness.or(new.as_ref()) else { return Err(io::ErrorKind::Other.into()) };
    let guardian = if plan.linger == 0 { guard_by_kernel(set)? } else { start(name, plan, stopper)? };
    let reports = launch.map_or_else(Reports::none, |launch| {
        let started = service::start(set, job, launch, guardian);
        Reports::of(started)
    });
    Ok(Made { witness: new, reports })
}

/// From here on it is guarded: who holds it holds the job.
fn guard_by_kernel(set: Set) -> io::Result<u32> {
    loop {
        let snapshot = set.snapshot().map_err(io::Error::from)?;
        if snapshot.value(GUARDIAN) != 0 {
            // Somebody guards it already.
            return Ok(snapshot.guardian_pid().unwrap_or(0));
        }
        match set.apply(&snapshot.guarding_by_kernel()) {
            Ok(()) => return Ok(0),
            // A guardian came, or came and went, since the set was read.
            Err(SetError::Refused) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn start(name: &str, plan: &Plan, stopper: Option<&Stopper>) -> io::Result<u32> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let no_way = || {
        let what = "a service that lingers needs a process that outlives its clients, and this program gives no way to start one: call procref::guardian::init() at the top of main, or name a companion";
        io::Error::new(io::ErrorKind::Unsupported, what)
    };
    let program = way_in().ok_or_else(no_way)??;
    let snapshot = plan.set.snapshot().map_err(io::Error::from)?;
    if snapshot.guardian_pid().is_none() && snapshot.value(GUARDIAN) != 0 {
        plan.set.apply(&KERNEL_GUARDS_NO_MORE).map_err(io::Error::from)?;
    }
    let ready = format!("Local\\procref-ready-{}-{}", current_pid(), COUNT.fetch_add(1, Ordering::Relaxed));
    let (event, _) = object::create(Kind::Event, &ready)?;
    let (reads, mut writes) = io::pipe()?;
    let nothing = OpenOptions::new().read(true).write(true).open("NUL")?;
    let log = stopper.map_or_else(|| nothing.as_handle(), |stopper| stopper.log.as_handle());
    let arguments = [OsString::from(format!("{TITLE}{name}"))];
    // A folder that a process is in cannot be removed, and this one outlives whoever made it.
    let root = folder::root();
    let job = killing_job()?;
    let spawn = Spawn {
        program: &program,
        arguments: &arguments,
        directory: Some(&root),
        environment: None,
        standard: [reads.as_handle(), log, nothing.as_handle()],
        // If whoever makes it is killed before it watches, it ends.
        job: Some(job.as_handle()),
        apart: true,
    };
    let guardian = spawn.run()?;
    drop(reads);
    let order = plan.encode(name, &ready, stopper.map(|stopper| &stopper.program));
    // On a thread: a program that never reads it must not keep this one. It ends with the guardian, if that never does.
    std::thread::Builder::new().name("procref-order".into()).spawn(move || writes.write_all(&order))?;
    match wait_for_any(&[event.as_handle(), guardian.as_handle()], Some(MAKING)) {
        Ok(Some(0)) => let_live(&job).map(|()| guardian.pid()),
        Ok(Some(_)) | Err(_) => {
            let _ = guardian.terminate();
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the guardian ended before it watched"))
        }
        Ok(None) => {
            let _ = guardian.terminate();
            Err(io::Error::new(io::ErrorKind::TimedOut, "the guardian did not say that it watches"))
        }
    }
}

/// The guardian's loop.
fn run(order: Order) -> Option<()> {
    let name = ServiceName::new(&order.name).ok()?;
    let (set, _) = Set::open(&name).ok()??;
    // Before anybody relies on it.
    let job = Witness::create(set).ok().filter(|_| set.id() == order.set)?;
    let hints = Hints::at(order.plan.folder.clone(), order.plan.stem.clone());
    let stopper = order.stopper.and_then(|program| Some(Stopper { program, log: standard_output().ok()? }));
    let plan = Plan { set, ..order.plan };
    let mut performer = Performer { plan, hints, stopper, ready: order.ready };
    let (mut machine, mut action) = Guardian::new(performer.plan.linger > 0, false);
    while action != Action::Exit {
        let event = performer.perform(action);
        action = machine.next(event);
    }
    drop(job);
    Some(())
}

fn standard_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

#[derive(Debug)]
struct Performer {
    plan: Plan,
    hints: Hints,
    stopper: Option<Stopper>,
    ready: String,
}

impl Performer {
    fn perform(&mut self, action: Action) -> Event {
        let set = self.plan.set;
        match action {
            Action::TakeToken => self.take_token(),
            // Whoever made this one starts the service.
            Action::Spawn | Action::Exit => Event::Done,
            Action::Sleep => self.sleep_and_look(&GUARDIAN_SLEEP),
            Action::Idle => event(set.apply_within(&GUARDIAN_IDLE, None)),
            Action::Linger => self.linger(),
            Action::Shut => self.sleep_and_look(&GUARDIAN_SHUT),
            Action::MarkDown => match set.apply(&MARK_DOWN) {
                // It is down already.
                Err(SetError::Refused) => Event::Done,
                result => event(result),
            },
            Action::Finish => self.finish(),
            Action::Remove => match set.clients() {
                Ok(0) => {
                    self.hints.remove();
                    event(set.remove())
                }
                Ok(_) => match set.apply(&UNLOCK) {
                    Ok(()) => Event::Refused,
                    Err(error) => event(Err(error)),
                },
                Err(error) => event(Err(error)),
            },
            // The job goes with the last who holds it, and this process is about to let go of it.
            Action::AwaitPipe | Action::FinishByHints => Event::Failed,
        }
    }

    fn take_token(&self) -> Event {
        let set = self.plan.set;
        loop {
            let snapshot = match set.snapshot() {
                Ok(snapshot) => snapshot,
                Err(error) => return event(Err(error)),
            };
            if snapshot.value(GUARDIAN) != 0 {
                return Event::Refused;
            }
            match set.apply(&snapshot.guarding(current_pid())) {
                Ok(()) => {
                    if let Ok(Some(ready)) = object::open(Kind::Event, &self.ready) {
                        let _ = object::set(&ready);
                    }
                    return Event::Done;
                }
                // Another guardian was quicker, or came and went since the set was read.
                Err(SetError::Refused) => {}
                Err(error) => return event(Err(error)),
            }
        }
    }

    fn sleep_and_look(&self, ops: &[Op]) -> Event {
        match self.plan.set.apply_within(ops, None).and_then(|()| self.plan.set.snapshot()) {
            Ok(snapshot) => Event::Seen(snapshot.view()),
            Err(error) => event(Err(error)),
        }
    }

    fn linger(&self) -> Event {
        let set = self.plan.set;
        // Never 0, which says that nothing lingers.
        let until = monotonic().saturating_add(self.plan.linger).clamp(1, LAST_LINGER);
        let told = set.snapshot().and_then(|snapshot| match &*snapshot.lingering(until) {
            [] => Ok(()),
            ops => set.apply(ops),
        });
        let snapshot = match told.and_then(|()| set.snapshot()) {
            Ok(snapshot) => snapshot,
            Err(error) => return event(Err(error)),
        };
        match set.apply_until(&snapshot.somebody_came(), Duration::from_millis(self.plan.linger)) {
            Ok(true) => Event::Done,
            Ok(false) => Event::TimedOut,
            Err(error) => event(Err(error)),
        }
    }

    fn finish(&self) -> Event {
        let set = self.plan.set;
        let snapshot = match set.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return event(Err(error)),
        };
        match snapshot.record().instance {
            Instance::None => return Event::Done,
            Instance::Other => return Event::Refused,
            Instance::Process { pid, start } => self.finish_process(pid, start),
        }
        event(set.apply(&snapshot.forgetting()))
    }

    /// As long as a process cannot be ended, or not even be looked at, nobody may start another one: so this goes on trying.
    fn finish_process(&self, pid: u32, start: u64) {
        /// Seldom enough to be no burden.
        const AGAIN: Duration = Duration::from_secs(1);
        let mut stopper = self.stopper.as_ref();
        while !self.try_finish(pid, start, stopper.take()).unwrap_or(false) {
            std::thread::sleep(AGAIN);
        }
        if self.plan.sweeps {
            service::sweep(self.plan.set, pid, start, None);
        }
    }

    fn try_finish(&self, pid: u32, start: u64, stopper: Option<&Stopper>) -> io::Result<bool> {
        let Some(process) = Process::open_recorded(pid, start)? else { return Ok(true) };
        let steps = self.plan.steps.as_slice();
        // It may go on for as long as the service takes.
        let command = stopper.filter(|_| !process.has_ended()).and_then(|stopper| service::ask_to_stop(stopper).ok());
        if command.is_some() { stop::stop_asked(&process, steps) } else { stop::stop(&process, steps, false) }
    }
}

fn event(result: Result<(), SetError>) -> Event {
    match result {
        Ok(()) => Event::Done,
        Err(SetError::Gone) => Event::Gone,
        Err(SetError::Refused) => Event::Refused,
        Err(_) => Event::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_the_way_to_a_guardian() {
        let program = Program {
            file: "C:\\x\\y.exe".into(),
            directory: "C:\\".into(),
            arguments: vec!["y".into(), "a b".into()],
            environment: vec![("A".into(), "1".into())],
            floor_signal: 0,
        };
        let hints = Hints::at("C:\\run".into(), "db@1".into());
        let steps = [StopStep { signal: 2, grace: 10 }, StopStep { signal: 9, grace: 20 }];
        let plan = Plan::new(Set::from_id(7), Duration::from_secs(3), &steps, &hints, true).of_declared();
        for stopper in [None, Some(&program)] {
            let bytes = plan.encode("db", "ready", stopper);
            let order = Order::decode(&bytes).expect("it is whole");
            assert_eq!(order.plan.encode(&order.name, &order.ready, order.stopper.as_ref()), bytes);
            assert_eq!((order.set, order.name.as_str()), (7, "db"));
            for cut in 0..bytes.len() {
                assert!(Order::decode(bytes.get(..cut).unwrap_or(&[])).is_none(), "cut at {cut}");
            }
        }
    }
}
