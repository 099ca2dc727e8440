//! Looking on without taking part, and references that are kept.

mod clients;
mod leftovers;
mod stop;
mod wait;

procref_tests::linux_only! { "fork(2) and execve(2)":
    mod kept;
}
procref_tests::linux_only! { "a guardian for each service, a process of its own: it can be killed, and leave an orphan":
    mod orphans;
}
procref_tests::linux_only! { "semaphore sets that are removed":
    mod removed;
}

use procref::observe::{self, Observed};
use procref::{ServiceState, Status};
use procref_tests::actor::until;
use procref_tests::sandbox::{PATIENCE, hold, wait_for_end};
use procref_tests::sys::{self, Held};
use procref_tests::{Actor, Config, Sandbox};
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const ACTOR: &str = env!("CARGO_BIN_EXE_actor");
const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const HOLDER: &str = env!("CARGO_BIN_EXE_holder");
const STEPS: &str = env!("CARGO_BIN_EXE_steps");

/// Longer than any test, in milliseconds.
const LONG: u64 = 3_600_000;
/// So long a wait that must not end is watched.
const MOMENT: Option<Duration> = Some(Duration::from_millis(50));

/// One service, and whoever shares it.
#[derive(Debug)]
struct World {
    config: Config,
    /// Dropped last: it looks for what is left.
    sandbox: Sandbox,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        Self { config: Config::new(&sandbox, SERVICE), sandbox }
    }

    fn actor(&self) -> Actor {
        Actor::new(&self.sandbox, ACTOR, &self.config)
    }

    fn observed(&self) -> Observed {
        observed(&self.sandbox, "service")
    }

    fn status(&self) -> Status {
        self.observed().status().expect("it can be seen")
    }

    fn state(&self) -> ServiceState {
        self.status().state
    }
}

fn observed(sandbox: &Sandbox, name: &str) -> Observed {
    Observed::new(&sandbox.name(name)).expect("a good name").runtime_dir(sandbox.runtime_dir())
}

fn await_end(held: &Held) {
    assert!(wait_for_end(held, Instant::now() + PATIENCE), "a process does not end");
}

fn is_listed(name: &str) -> bool {
    observe::all().expect("they can be listed").iter().any(|service| service.name() == name)
}

/// A process that holds the service that `holder` declares.
#[derive(Debug)]
struct Declared {
    child: Child,
    process: Held,
}

impl Declared {
    fn new(sandbox: &Sandbox, name: &str, way: &[&str]) -> Self {
        let mut command = sandbox.command(HOLDER);
        command.arg(sandbox.name(name)).arg(sandbox.runtime_dir()).arg(STEPS).args(way);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut said = [0; 5];
        child.stdout.as_mut().expect("it is a pipe").read_exact(&mut said).expect("it holds the service");
        assert_eq!(&said, b"holds");
        let process = hold(child.id());
        Self { child, process }
    }

    fn kill(&self) {
        sys::kill(&self.process);
        await_end(&self.process);
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_list_shows_what_there_is() {
    let world = World::new();
    assert!(!is_listed(&world.config.name));
    let mut actor = world.actor();
    let pid = actor.acquire().pid;
    assert!(is_listed(&world.config.name));
    let names: Vec<_> = observe::all().expect("they can be listed").iter().map(|one| one.name().to_owned()).collect();
    assert!(names.is_sorted(), "{names:?}");
    let status = world.status();
    assert_eq!((status.state, status.clients), (ServiceState::Up, 1));
    assert_eq!(status.info.and_then(|info| info.pid()), Some(pid));
    let age = status.started.expect("it runs").elapsed().expect("not in the future");
    assert!(age < PATIENCE, "it started {age:?} ago");
    assert_eq!(actor.ask("release").as_deref(), Ok(""));
    assert!(!is_listed(&world.config.name));
}

#[test]
fn what_is_left_of_a_linger() {
    let mut world = World::new();
    world.config.linger = LONG;
    let [mut first, mut second] = [world.actor(), world.actor()];
    first.acquire();
    assert_eq!(world.status().linger_left, None, "it is held");
    assert_eq!(first.ask("release").as_deref(), Ok(""));
    let left = || until("it lingers", || world.status().linger_left);
    let whole = Duration::from_millis(LONG);
    let began = Instant::now();
    let before = left();
    assert!(before <= whole && before > whole - PATIENCE, "{before:?}");
    std::thread::sleep(Duration::from_millis(20));
    let after = left();
    assert!(after < before && before - after <= began.elapsed() + Duration::from_millis(2), "{before:?}, {after:?}");
    // Each linger is whole again.
    second.acquire();
    assert_eq!(world.status().linger_left, None, "it is held again");
    let came = Instant::now();
    second.kill();
    let again = until("it lingers again", || world.status().linger_left.filter(|left| *left > after));
    assert!(again > whole - came.elapsed() - Duration::from_millis(2), "{again:?}");
    let stopped = world.observed().stop(&procref::StopLadder::kill(), false);
    assert_eq!(stopped.expect("nobody holds it"), observe::Stopped::Stopped);
}

#[test]
fn names_and_folders_that_cannot_be() {
    assert_eq!(Observed::new("a/b").expect_err("no name").kind(), procref::ErrorKind::InvalidName);
    let relative = Observed::new("a").expect("a good name").runtime_dir("relative");
    assert_eq!(relative.status().expect_err("no folder").kind(), procref::ErrorKind::InvalidInput);
}
