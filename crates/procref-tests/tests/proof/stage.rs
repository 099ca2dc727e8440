//! One case: a world of its own, a program that plays the role in it, and what has to be true afterwards.

use crate::roles::{Before, Role, Whom};
use procref::ServiceState;
use procref::blocking::ServiceHandle;
use procref_tests::part::{Kind, Part, Participant};
use procref_tests::proof::Tally;
pub(crate) use procref_tests::proof::chosen;
use procref_tests::sandbox::{PATIENCE, hold, wait_for_end};
use procref_tests::trace::{Follow, Side, Stop, Then, Traced, trace};
use procref_tests::{Events, Sandbox};
use std::collections::HashSet;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const ROLE: &str = env!("CARGO_BIN_EXE_role");
const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// How long whatever has to go may take.
const GOING: Duration = Duration::from_secs(20);

/// What a case may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    OneInstance,
    NothingLeft,
    OthersUnharmed,
    NextWorks,
    CauseNamed,
}

/// A promise that was broken, and how.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) Promise, pub(crate) String);

pub(crate) type Outcome<T = ()> = Result<T, Broken>;

pub(crate) fn broken<T>(promise: Promise, how: impl Into<String>) -> Outcome<T> {
    Err(Broken(promise, how.into()))
}

/// Whose stop this is, as far as a role is concerned.
#[derive(Debug)]
pub(crate) struct Filter {
    whom: Whom,
    listens: bool,
    services: HashSet<usize>,
}

impl Filter {
    pub(crate) fn new(role: &Role) -> Self {
        Self { whom: role.whom, listens: false, services: HashSet::new() }
    }

    /// Whether this stop is one of those that are attacked.
    pub(crate) fn takes(&mut self, stop: &Stop) -> bool {
        if let Some(mark) = stop.mark() {
            self.listens = mark == 1;
            return false;
        }
        match self.whom {
            Whom::Program => self.listens && stop.index == 0 && !is_mark(stop),
            Whom::Guardian => {
                if stop.number == libc::SYS_execve
                    && stop.side == Side::Exit(0)
                    && std::fs::read_link(format!("/proc/{}/exe", stop.process)).is_ok_and(|exe| exe == *SERVICE)
                {
                    self.services.insert(stop.index);
                }
                stop.index != 0 && !self.services.contains(&stop.index)
            }
        }
    }
}

fn is_mark(stop: &Stop) -> bool {
    stop.number == libc::SYS_getpriority
}

/// The surroundings of a case.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) part: Part,
    /// The test itself takes part.
    pub(crate) test: Participant,
    /// And holds the service, where the role wants that.
    held: Option<ServiceHandle>,
    /// How many descriptors the program may still have while it plays its role.
    pub(crate) free_descriptors: Option<usize>,
    role: Role,
}

impl Stage {
    pub(crate) fn new(role: &Role) -> Self {
        let sandbox = Sandbox::new();
        let part = Part::new(&sandbox, SERVICE, role.kind, role.linger);
        let test = part.enter().expect("a good description");
        let held = (role.before != Before::Nothing).then(|| test.acquire().expect("nothing stands in the way"));
        if let (Before::Dead, Some(held)) = (role.before, &held) {
            let pid = held.info().pid().expect("it is a process");
            let process = hold(pid);
            procref::process::kill(pid);
            assert!(wait_for_end(&process, Instant::now() + PATIENCE), "it was killed");
        }
        Self { sandbox, part, test, held, free_descriptors: None, role: *role }
    }

    /// Runs the program, which does `mode`. What it says of panics goes to a file.
    pub(crate) fn run(&self, mode: &str, on_stop: impl FnMut(&Stop) -> Then + Send) -> Outcome<Traced> {
        let mut command = self.sandbox.command(ROLE);
        command.args([mode, if self.role.started { "started" } else { "forked" }]).args(self.part.arguments());
        if let Some(free) = self.free_descriptors {
            command.env("FREE_DESCRIPTORS", free.to_string());
        }
        command.stderr(File::create(self.complaints()).expect("a file"));
        let follow = match self.role.whom {
            Whom::Program => Follow::Threads,
            Whom::Guardian => Follow::Forks,
        };
        let traced = catch_unwind(AssertUnwindSafe(|| trace(&self.sandbox, command, follow, on_stop)));
        traced.or_else(|_| broken(Promise::NextWorks, "it does not come to its end"))
    }

    fn complaints(&self) -> std::path::PathBuf {
        self.sandbox.folder().join("stderr")
    }

    pub(crate) fn assert_no_panic(&self) -> Outcome {
        let said = std::fs::read_to_string(self.complaints()).unwrap_or_default();
        if said.is_empty() { Ok(()) } else { broken(Promise::CauseNamed, format!("it panics: {said}")) }
    }

    /// Whoever else holds the service does not notice.
    pub(crate) fn others_are_unharmed(&mut self) -> Outcome {
        let Some(held) = &self.held else { return Ok(()) };
        if self.role.before == Before::Dead {
            // It can have it anew, from whoever had begun with that.
            self.held = None;
            let again = self.test.acquire();
            let again =
                again.or_else(|error| broken(Promise::OthersUnharmed, format!("cannot acquire again: {error}")))?;
            self.held = Some(again);
        } else {
            let count = self.test.service.count();
            if !matches!(count, Ok(1)) {
                return broken(Promise::OthersUnharmed, format!("the count is {count:?}"));
            }
            if !held.is_alive() {
                return broken(Promise::OthersUnharmed, "the service has gone");
            }
        }
        Ok(())
    }

    /// The test leaves as well; then there is nobody.
    pub(crate) fn leave(&mut self) -> Outcome {
        match self.held.take().map(ServiceHandle::release) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => broken(Promise::OthersUnharmed, format!("cannot release: {error}")),
        }
    }

    /// The same where the test may be counted no longer.
    pub(crate) fn leave_what_may_be_gone(&mut self) {
        let _ = self.held.take().map(ServiceHandle::release);
    }

    /// Nobody is there any more, so no process is left. What stays at the most is a set that records nothing, in which the
    /// next one begins, and the hint of who was starting.
    pub(crate) fn nothing_is_left(&self) -> Outcome {
        let left = self.sandbox.left_after(GOING);
        if left.is_empty() {
            return Ok(());
        }
        let status = self.test.service.status();
        let nobody = !left.iter().any(|left| left.starts_with("process") || left.starts_with("whoever"));
        if nobody && status.as_ref().is_ok_and(|status| status.state == ServiceState::Stopped) {
            return Ok(());
        }
        broken(Promise::NothingLeft, format!("{left:?}, {status:?}"))
    }

    /// No process is left, however much a set says of it.
    pub(crate) fn no_process_is_left(&self) -> Outcome {
        let left = self.sandbox.left_after(GOING);
        if !left.iter().any(|left| left.starts_with("process") || left.starts_with("whoever")) {
            return Ok(());
        }
        broken(Promise::NothingLeft, format!("{left:?}, {:?}", self.test.service.status()))
    }

    /// The next one gets it, and leaves nothing at all.
    pub(crate) fn the_next_one_gets_it(&self) -> Outcome {
        let next = |what: &str| broken(Promise::NextWorks, what);
        let handle = match self.test.acquire() {
            Ok(handle) => handle,
            Err(error) => return next(&format!("cannot acquire: {error}")),
        };
        if !handle.is_alive() {
            return next("what it gets is dead");
        }
        if let Err(error) = handle.release() {
            return next(&format!("cannot release: {error}"));
        }
        let left = self.sandbox.left_after(GOING);
        if !left.is_empty() {
            return broken(Promise::NothingLeft, format!("after the next one: {left:?}"));
        }
        if Events::new(&self.part.log).count("overlap") > 0 {
            return broken(Promise::OneInstance, "two instances at once");
        }
        Ok(())
    }

    /// All of it, in the order that shows most.
    pub(crate) fn aftermath(&mut self) -> Outcome {
        self.others_are_unharmed()?;
        self.leave()?;
        match (self.role.whom, self.role.kind) {
            (Whom::Program, _) => self.nothing_is_left()?,
            // The kernel itself stops a service that is a command.
            (Whom::Guardian, Kind::Declared) => self.no_process_is_left()?,
            // A guardian that is killed when the last client has gone leaves an orphan for the next one.
            (Whom::Guardian, _) => {}
        }
        self.the_next_one_gets_it()
    }
}

/// What came of all cases of a role.
pub(crate) struct Report(Tally);

impl Report {
    pub(crate) const fn new(attack: &'static str, role: &Role) -> Self {
        Self(Tally::new(attack, role.name))
    }

    /// Takes note of a case.
    pub(crate) fn note(&mut self, case: &str, outcome: Outcome) {
        self.0.note(case, outcome.map_err(|Broken(promise, how)| format!("{promise:?} broken: {how}")));
    }

    /// Says it, and fails if anything was broken.
    pub(crate) fn end(self) {
        self.0.end();
    }
}
