//! Real processes, really killed. Every test has a world of its own, and ends with nothing left of it.

mod churn;
mod failing;
mod killed;
mod last;
mod linger;
mod lost;
mod recovery;
mod starter;
mod storm;

procref_tests::linux_only! { "a guardian for each service, a process of its own; signals, terminals, what /proc says of it":
    mod guardian;
    mod orphans;
}
procref_tests::linux_only! { "fork(2) and execve(2)":
    mod forked;
}
procref_tests::linux_only! { "semaphore sets removed under clients, IPC namespaces, other users":
    mod surroundings;
}
procref_tests::linux_only! { "Redis has no program for Windows":
    mod redis;
}

use procref::blocking::SharedService;
use procref::{ServiceState, Status};
use procref_tests::actor::until;
use procref_tests::sandbox::{PATIENCE, hold, wait_for_end};
use procref_tests::sys::{self, Held};
use procref_tests::{Actor, Config, Events, Sandbox};
use std::time::Instant;

const ACTOR: &str = env!("CARGO_BIN_EXE_actor");
const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// Each test twice: with guardians that are started, and with guardians that are forked.
macro_rules! both {
    ($(fn $name:ident($($world:tt)+) $body:block)+) => { $(
        mod $name {
            use super::*;
            fn run($($world)+: World) $body
            #[test]
            fn with_a_started_guardian() {
                run(World::new(true));
            }
            #[test]
            fn with_a_forked_guardian() {
                run(World::new(false));
            }
        }
    )+ };
}
use both;

/// One service, and whoever shares it.
#[derive(Debug)]
struct World {
    config: Config,
    events: Events,
    /// Dropped last: it looks for what is left.
    sandbox: Sandbox,
}

impl World {
    fn new(started_guardian: bool) -> Self {
        let sandbox = Sandbox::new();
        let config = Config { started_guardian, ..Config::new(&sandbox, SERVICE) };
        Self { events: config.events(), config, sandbox }
    }

    fn actor(&self) -> Actor {
        Actor::new(&self.sandbox, ACTOR, &self.config)
    }

    fn actors<const COUNT: usize>(&self) -> [Actor; COUNT] {
        std::array::from_fn(|_| self.actor())
    }

    /// Actors in one process group, for [`kill_all`].
    fn group(&self, count: usize) -> Vec<Actor> {
        Actor::several(&self.sandbox, ACTOR, &self.config, count)
    }

    /// The service as this process sees it, which takes no part in it.
    fn observer(&self) -> SharedService {
        let service = SharedService::builder(&self.config.name).runtime_dir(&self.config.runtime_dir);
        service.on_first_acquire(|| Err("an observer starts nothing".into())).build().expect("a good service")
    }

    fn status(&self) -> Status {
        self.observer().status().expect("it can be seen")
    }

    fn state(&self) -> ServiceState {
        self.status().state
    }

    /// The service was asked to end so many times.
    fn assert_asked(&self, count: usize) {
        assert_eq!(self.events.count("signal"), count, "{:?}", self.events.all());
    }

    /// So many instances have been stopped whose last clients were killed: each was asked once, where the system asks.
    fn assert_stopped_by_the_system(&self, count: usize) {
        if sys::ASKS {
            assert_eq!(self.events.count("signal"), count);
            assert_eq!(self.events.count("death"), count);
        }
        assert_eq!(self.events.count("birth"), count);
    }

    /// Waits until so many wait for the end of a transition.
    fn await_waiting(&self, count: u32) {
        until("so many wait", || (self.status().waiting == count).then_some(()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.events.count("overlap"), 0, "two instances at once: {:?}", self.events.all());
        }
    }
}

/// Kills those that were started together by one call.
fn kill_all(mut actors: Vec<Actor>) {
    actors.first().expect("a group").group().kill();
    assert!(actors.iter_mut().all(Actor::was_killed));
}

fn kill(pid: u32) {
    let held = hold(pid);
    sys::kill(&held);
    await_end(&held);
}

fn await_end(held: &Held) {
    assert!(wait_for_end(held, Instant::now() + PATIENCE), "a process does not end");
}
