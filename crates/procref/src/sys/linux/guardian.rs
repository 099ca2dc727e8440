//! The guardian: a process that sleeps until nobody holds the service, and stops it.
//!
//! The count falls by itself when the last client is killed; somebody must then act. The guardian holds no state that
//! matters. It is *started* where the program gives a way in (an exec of the program itself, or of a companion, with a
//! title that [`main_if_asked`] recognises), and *forked* elsewhere, without the memory it came with. Both run the
//! same loop: no allocation, no lock, no environment, no symbol that is bound late.
//!
//! The decisions are [`crate::protocol::guardian`]'s; this performs them.

#![expect(unsafe_code, reason = "descriptors by number, which the guardian was given")]

use super::detach::{self, FIRST_FD};
use super::hints::{self, Hints};
use super::pid::ask_pid;
use super::process::{self, Process};
use super::raw;
use super::service::{self, Reports};
use super::set::Set;
use super::sysv_sem::SetError;
use super::witness::{GUARDIAN_READS, GUARDIAN_WRITES, Witness};
use crate::options::{MOST_STEPS, StopStep};
use crate::protocol::guardian::{Action, Event, Guardian};
use crate::protocol::set::{
    GUARDIAN_IDLE, GUARDIAN_SHUT, GUARDIAN_SLEEP, Instance, LAST_LINGER, MARK_DOWN, Op, UNLOCK,
};
pub(crate) use crate::sys::launch::{Launch, Made, Stopper, use_companion};
use crate::sys::launch::{WAY_IN, WayIn};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use rustix::thread::Timespec;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Where a guardian says that it watches.
pub(super) const STATUS: i32 = 5;
/// Where a started guardian reads its plan.
const PLAN: i32 = 6;

/// How the title of a guardian begins, as `ps` shows it; the service's name follows.
pub(super) const TITLE: &str = "procref-guardian: ";

/// The longest folder and file name that a plan can hold, in bytes.
pub(crate) const MOST_PATH: usize = 1024;

/// A guardian starts declared services as its own children, and is there until they have ended.
pub(crate) const IS_PARENT: bool = true;

/// How long a client waits for the guardian that it makes to watch.
const MAKING: u64 = 30_000;

/// All that a guardian knows.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    set: i32,
    /// Milliseconds; 0 not to linger.
    linger: u64,
    steps: [StopStep; MOST_STEPS],
    step_count: usize,
    /// Every client holds a writing end of the pipe.
    pipe_is_complete: bool,
    /// The guardian starts the service itself, as its child.
    spawns: bool,
    /// None of the service's descendants may stay.
    sweeps: bool,
    /// How many descriptors it was given beside the first three.
    more_fds: usize,
    /// Where the command is that asks the service to stop, with the log behind it; 0 if there is none.
    stop_fd: i32,
    path: [u8; MOST_PATH],
    path_len: usize,
    folder_len: usize,
    /// The process, and when it started, that has to be gone before this one watches. Not for others to be told.
    after: Option<(u32, u64)>,
}

impl Plan {
    pub(crate) fn new(set: Set, linger: Duration, steps: &[StopStep], hints: &Hints, pipe_is_complete: bool) -> Self {
        let mut plan = Self {
            set: set.id(),
            linger: linger.as_millis().try_into().unwrap_or(u64::MAX),
            steps: [StopStep { signal: 0, grace: 0 }; MOST_STEPS],
            step_count: 0,
            pipe_is_complete,
            spawns: false,
            sweeps: false,
            more_fds: 0,
            stop_fd: 0,
            path: [0; MOST_PATH],
            path_len: 0,
            folder_len: 0,
            after: None,
        };
        for (slot, step) in plan.steps.iter_mut().zip(steps) {
            *slot = *step;
            plan.step_count += 1;
        }
        let (folder, stem) = hints.location();
        let folder = folder.as_os_str().as_bytes();
        let path = [folder, b"/", stem.as_bytes()].concat();
        if let Some(slot) = plan.path.get_mut(..path.len()) {
            slot.copy_from_slice(&path);
            plan.path_len = path.len();
            plan.folder_len = folder.len();
        }
        plan
    }

    /// The same for a service that a guardian starts, or that one has started.
    pub(crate) fn of_declared(self) -> Self {
        Self { sweeps: true, ..self }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let numbers = [
            self.set as u64,
            self.linger,
            u64::from(self.pipe_is_complete),
            u64::from(self.spawns),
            u64::from(self.sweeps),
            self.more_fds as u64,
            self.stop_fd as u64,
            self.path_len as u64,
            self.folder_len as u64,
            self.step_count as u64,
        ];
        let steps = self.steps.iter().flat_map(|step| [step.signal as u64, step.grace]);
        for number in numbers.into_iter().chain(steps) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.path);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, path) = bytes.split_at_checked((10 + 2 * MOST_STEPS) * 8)?;
        let mut numbers = numbers.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes));
        let mut plan = Self {
            set: numbers.next()? as i32,
            linger: numbers.next()?,
            pipe_is_complete: numbers.next()? != 0,
            spawns: numbers.next()? != 0,
            sweeps: numbers.next()? != 0,
            more_fds: numbers.next()? as usize,
            stop_fd: numbers.next()? as i32,
            path_len: numbers.next()? as usize,
            folder_len: numbers.next()? as usize,
            step_count: numbers.next()? as usize,
            steps: [StopStep { signal: 0, grace: 0 }; MOST_STEPS],
            path: path.try_into().ok()?,
            after: None,
        };
        for step in &mut plan.steps {
            *step = StopStep { signal: numbers.next()? as i32, grace: numbers.next()? };
        }
        let fits = plan.step_count <= MOST_STEPS && plan.path_len <= MOST_PATH && plan.folder_len <= plan.path_len;
        fits.then_some(plan)
    }

    fn steps(&self) -> &[StopStep] {
        self.steps.get(..self.step_count).unwrap_or(&[])
    }

    fn path(&self) -> &[u8] {
        self.path.get(..self.path_len).unwrap_or(&[])
    }
}

/// Runs the guardian and never returns, if this process was started to be one. Otherwise remembers that this program
/// may be started again as a guardian.
pub(crate) fn main_if_asked() {
    let mut args = std::env::args_os();
    if let (Some(title), None) = (args.next(), args.next())
        && title.as_bytes().starts_with(TITLE.as_bytes())
    {
        let mut bytes = Vec::new();
        // SAFETY: whoever started a program under this title placed the plan there; if not, reading fails.
        let plan = unsafe { OwnedFd::from_raw_fd(PLAN) };
        let read = File::from(plan).read_to_end(&mut bytes);
        let (plan, title) = (read.ok().and_then(|_| Plan::decode(&bytes)), CString::new(title.as_bytes()).ok());
        let (Some(plan), Some(title)) = (plan, title) else { raw::exit(125) };
        shed(&plan, &title);
    }
    let _ = WAY_IN.set(WayIn::Myself);
}

/// Becomes the guardian. What the loader and the start of the program have written would stay for as long as it
/// sleeps: the copy that a fork makes drops that.
fn shed(plan: &Plan, title: &CStr) -> ! {
    let pid = ask_pid();
    let start = Process::open(pid).ok().flatten().map(|process| process.start());
    let lean = Plan { after: start.map(|start| (pid, start)), ..*plan };
    let more = PLAN + 1..PLAN + 1 + plan.more_fds.min(service::MOST_FDS as usize) as i32;
    let fds = [GUARDIAN_READS, GUARDIAN_WRITES, STATUS].into_iter().chain(more);
    // SAFETY: the descriptors that a guardian is given; if they are not there, forking fails.
    let fds: Vec<_> = fds.map(|fd| unsafe { BorrowedFd::borrow_raw(fd) }).collect();
    match detach::fork(&lean, title, &fds, run) {
        Ok(()) => raw::exit(0),
        // A larger one is better than none, where its descriptors are not elsewhere.
        Err(_) if plan.more_fds == 0 => run(plan),
        Err(_) => raw::exit(125),
    }
}

/// Makes a guardian and waits until it watches. `witness` is the pipe that this process already holds an end of.
pub(crate) fn make(
    name: &str,
    plan: &Plan,
    witness: Option<&Witness>,
    launch: Option<&Launch>,
    stopper: Option<&Stopper>,
) -> io::Result<Made> {
    let (new, reads) = match witness {
        Some(witness) => (None, witness.reading_end()?),
        None => {
            let (witness, reads) = Witness::new()?;
            (Some(witness), reads)
        }
    };
    let Some(writes) = witness.or(new.as_ref()) else { return Err(io::ErrorKind::Other.into()) };
    let (status, says) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let title = CString::new(format!("{TITLE}{name}"))?;
    // The program and the log come first, then what is kept, then what the service keeps.
    let first_need = launch.map_or(0, |launch| FIRST_FD as usize + 3 + 2 + launch.keep.len());
    let program = launch.map(|launch| launch.program.write(&launch.needs, first_need)).transpose()?;
    let stop = stopper.map(|stopper| stopper.program.write(&[], 0)).transpose()?;
    let mut fds = vec![reads.as_fd(), writes.as_fd(), says.as_fd()];
    if let (Some(launch), Some(program)) = (launch, &program) {
        fds.extend([program.as_fd(), launch.log.as_fd()]);
        fds.extend(launch.keep.iter().map(AsFd::as_fd));
        fds.extend(launch.needs.iter().map(|need| need.witness.as_fd()));
    }
    let mut stop_fd = 0;
    if let (Some(stopper), Some(stop)) = (stopper, &stop) {
        stop_fd = FIRST_FD + fds.len() as i32;
        fds.extend([stop.as_fd(), stopper.log.as_fd()]);
    }
    let plan = Plan { spawns: launch.is_some(), more_fds: fds.len() - 3, stop_fd, ..*plan };
    match WAY_IN.get() {
        Some(way_in) => {
            if let Err(error) = start(way_in, &title, &plan, &fds) {
                tracing::warn!(service = name, %error, "cannot start a guardian, forking one");
                detach::fork(&plan, &title, &fds, run)?;
            }
        }
        None => detach::fork(&plan, &title, &fds, run)?,
    }
    drop(says);
    drop(reads);
    let mut said = [0_u8; 1];
    if !process::readable(status.as_fd(), Some(MAKING))? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "the guardian did not say that it watches"));
    }
    let mut status = File::from(status);
    match status.read(&mut said)? {
        1 => Ok(Made { witness: new, reports: Reports::new(status) }),
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the guardian ended before it watched")),
    }
}

fn start(way_in: &WayIn, title: &CStr, plan: &Plan, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let program = match way_in {
        WayIn::Myself => c"/proc/self/exe".to_owned(),
        WayIn::Companion(path) => CString::new(path.as_os_str().as_bytes())?,
    };
    let (reads, writes) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // It fits into the pipe's buffer, so nobody has to read yet.
    let mut writes = File::from(writes);
    writes.write_all(&plan.encode())?;
    drop(writes);
    let mut fds = fds.to_vec();
    fds.insert((PLAN - GUARDIAN_READS) as usize, reads.as_fd());
    detach::spawn(&program, title, &fds)
}

/// The guardian's loop.
fn run(plan: &Plan) -> ! {
    if let Some((pid, start)) = plan.after
        && let Ok(Some(process)) = Process::open_recorded(pid, start)
    {
        let _ = process.wait(None);
    }
    let mut performer = Performer { plan, set: Set::from_id(plan.set), hinted: None, child: None };
    let (mut machine, mut action) = Guardian::new(plan.linger > 0, plan.spawns);
    while action != Action::Exit {
        let event = performer.perform(action);
        action = machine.next(event);
    }
    raw::exit(0)
}

struct Performer<'a> {
    plan: &'a Plan,
    set: Set,
    /// The process that the hints named when the set was found to have gone.
    hinted: Option<(u32, u64)>,
    /// What this guardian has started, where the hints did not name it yet.
    child: Option<(u32, u64)>,
}

impl Performer<'_> {
    fn perform(&mut self, action: Action) -> Event {
        match action {
            Action::TakeToken => self.take_token(),
            Action::Spawn => {
                service::start(self.set, (self.plan.path(), self.plan.folder_len));
                Event::Done
            }
            Action::Sleep => self.sleep_and_look(&GUARDIAN_SLEEP),
            Action::Idle => event(self.sleep(&GUARDIAN_IDLE)),
            Action::Linger => self.linger(),
            Action::Shut => self.sleep_and_look(&GUARDIAN_SHUT),
            Action::MarkDown => match self.set.apply(&MARK_DOWN) {
                // It is down already.
                Err(SetError::Refused) => Event::Done,
                result => event(result),
            },
            Action::Finish => self.finish(),
            Action::Remove => match self.set.clients() {
                Ok(0) => {
                    hints::remove_raw(self.plan.path(), self.plan.folder_len, None);
                    event(self.set.remove())
                }
                Ok(_) => match self.set.apply(&UNLOCK) {
                    Ok(()) => Event::Refused,
                    Err(error) => event(Err(error)),
                },
                Err(error) => event(Err(error)),
            },
            Action::AwaitPipe => self.await_pipe(),
            Action::FinishByHints => {
                if let Some((pid, start)) = self.child {
                    self.finish_process(pid, start);
                }
                if let Some((pid, start)) = self.hinted {
                    self.finish_process(pid, start);
                    hints::remove_raw(self.plan.path(), self.plan.folder_len, Some(self.plan.set));
                }
                Event::Done
            }
            Action::Exit => Event::Done,
        }
    }

    fn take_token(&self) -> Event {
        loop {
            let snapshot = match self.set.snapshot() {
                Ok(snapshot) => snapshot,
                Err(error) => return event(Err(error)),
            };
            if snapshot.guardian_pid().is_some() {
                return Event::Refused;
            }
            match self.set.apply(&snapshot.guarding(ask_pid())) {
                Ok(()) => {
                    // SAFETY: the guardian was given this descriptor for just this.
                    let status = unsafe { BorrowedFd::borrow_raw(STATUS) };
                    let said = retry_on_intr(|| rustix::io::write(status, b"g"));
                    // Who waits for this one would wait for ever for what it starts.
                    if said != Ok(1) && self.plan.spawns {
                        return Event::Refused;
                    }
                    if !self.plan.spawns {
                        raw::close(STATUS);
                    }
                    return Event::Done;
                }
                // Another guardian was quicker, or came and went since the set was read.
                Err(SetError::Refused) => {}
                Err(error) => return event(Err(error)),
            }
        }
    }

    /// Applies an array however long that takes. Who is stopped and continued, or traced, leaves the queue with `EINTR`.
    fn sleep(&self, ops: &[Op]) -> Result<(), SetError> {
        loop {
            match self.set.apply_within(ops, None) {
                Err(SetError::Interrupted) => {}
                result => return result,
            }
        }
    }

    fn sleep_and_look(&self, ops: &[Op]) -> Event {
        match self.sleep(ops).and_then(|()| self.set.snapshot()) {
            Ok(snapshot) => Event::Seen(snapshot.view()),
            Err(error) => event(Err(error)),
        }
    }

    fn linger(&self) -> Event {
        // Never 0, which says that nothing lingers.
        let until = (raw::monotonic() / 1_000_000).saturating_add(self.plan.linger).clamp(1, LAST_LINGER);
        let told = self.set.snapshot().and_then(|snapshot| match &*snapshot.lingering(until) {
            [] => Ok(()),
            ops => self.set.apply(ops),
        });
        let snapshot = match told.and_then(|()| self.set.snapshot()) {
            Ok(snapshot) => snapshot,
            Err(error) => return event(Err(error)),
        };
        match self.set.apply_until(&snapshot.somebody_came(), Duration::from_millis(self.plan.linger)) {
            Ok(true) => Event::Done,
            Ok(false) => Event::TimedOut,
            Err(error) => event(Err(error)),
        }
    }

    fn finish(&self) -> Event {
        let snapshot = match self.set.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return event(Err(error)),
        };
        match snapshot.record().instance {
            Instance::None => return Event::Done,
            Instance::Other => return Event::Refused,
            Instance::Process { pid, start } => self.finish_process(pid, start),
        }
        event(self.set.apply(&snapshot.forgetting()))
    }

    /// As long as a process cannot be ended, or not even be looked at, nobody may start another one: so this goes on trying.
    fn finish_process(&self, pid: u32, start: u64) {
        /// Seldom enough to be no burden.
        const AGAIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut asks = self.plan.stop_fd != 0;
        while !self.try_finish(pid, start, asks).unwrap_or(false) {
            asks = false;
            let _ = rustix::thread::nanosleep(&AGAIN);
        }
        if self.plan.sweeps {
            service::sweep(self.set, pid, start, Some(ask_pid()));
        }
    }

    fn try_finish(&self, pid: u32, start: u64, asks: bool) -> io::Result<bool> {
        let Some(process) = Process::open_recorded(pid, start)? else { return Ok(true) };
        let asked = asks && !process.has_ended() && service::ask_to_stop(self.plan.stop_fd);
        match asked {
            true => process::stop_asked(&process, self.plan.steps()),
            false => process::stop(&process, self.plan.steps(), false),
        }
    }

    fn await_pipe(&mut self) -> Event {
        // Now, and only if they are about this set: later they may name an instance that is none of ours.
        self.hinted = match hints::claim_raw(self.plan.path(), self.plan.folder_len) {
            Some(claim) if claim.set == self.plan.set && !claim.starter => match claim.instance {
                Instance::Process { pid, start } => Some((pid, start)),
                _ => None,
            },
            _ => None,
        };
        // The set was removed before its start came to an end: nobody else knows of it, if who asked for it is killed now.
        self.child = service::child().filter(|_| self.hinted.is_none());
        if (self.hinted.is_none() && self.child.is_none()) || !self.plan.pipe_is_complete {
            return Event::Failed;
        }
        // SAFETY: the guardian was given this descriptor; its own writing end would keep the pipe open.
        drop(unsafe { OwnedFd::from_raw_fd(GUARDIAN_WRITES) });
        // SAFETY: the guardian was given this descriptor and keeps it until it ends.
        let reads = unsafe { BorrowedFd::borrow_raw(GUARDIAN_READS) };
        match process::readable(reads, None) {
            Ok(_) => Event::Done,
            Err(_) => Event::Failed,
        }
    }
}

fn event(result: Result<(), SetError>) -> Event {
    match result {
        Ok(()) => Event::Done,
        Err(SetError::Gone) => Event::Gone,
        Err(SetError::Refused) => Event::Refused,
        Err(SetError::Interrupted | SetError::Full | SetError::Os(_)) => Event::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ServiceName;
    use std::path::Path;

    #[test]
    fn a_plan_survives_the_way_to_a_started_guardian() {
        let name = ServiceName::new("db").expect("a good name");
        let hints = Hints::new(Path::new("/run/user/1/procref"), &name);
        let steps = [StopStep { signal: 2, grace: 10 }, StopStep { signal: 9, grace: 20 }];
        let plan = Plan::new(Set::from_id(7), Duration::from_secs(3), &steps, &hints, true);
        let bytes = plan.encode();
        assert!(bytes.len() < 4096, "a pipe takes it without a reader");
        let read = Plan::decode(&bytes).expect("it is whole");
        assert_eq!(read.encode(), bytes);
        assert_eq!(read.steps(), steps);
        assert_eq!((read.set, read.linger, read.pipe_is_complete), (7, 3000, true));
        assert!(read.path().starts_with(b"/run/user/1/procref/db@"));
        for cut in 0..bytes.len() {
            assert!(Plan::decode(bytes.get(..cut).unwrap_or(&[])).is_none(), "cut at {cut}");
        }
    }
}
