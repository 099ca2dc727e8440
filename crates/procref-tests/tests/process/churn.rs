//! Processes that come and go as fast as they can.
//!
//! `PROCREF_SOAK_SECONDS` makes these go on for so long; `PROCREF_SEED` repeats the choices of a run.

use crate::World;
use procref::ServiceState;
use procref_tests::sys;
use std::time::{Duration, Instant};

const ROUNDS: u64 = sys::ROUNDS;
const PROCESSES: u64 = 3;

#[test]
fn clients_come_and_go() {
    churn(World::new(true), NOBODY);
}

#[test]
fn clients_come_and_go_with_forked_guardians() {
    churn(World::new(false), NOBODY);
}

#[test]
fn clients_come_and_go_asynchronously() {
    let mut world = World::new(true);
    world.config.tokio = true;
    churn(world, NOBODY);
}

#[test]
fn clients_come_and_go_while_the_service_lingers() {
    let mut world = World::new(true);
    world.config.linger = 3;
    churn(world, NOBODY);
}

#[test]
fn clients_come_and_are_killed() {
    churn(World::new(true), CLIENTS);
}

#[test]
fn clients_come_and_are_killed_with_forked_guardians() {
    churn(World::new(false), CLIENTS);
}

#[test]
fn clients_come_and_are_killed_while_the_service_lingers() {
    let mut world = World::new(true);
    world.config.linger = 3;
    churn(world, CLIENTS);
}

#[test]
fn clients_and_guardians_are_killed() {
    churn(World::new(true), EVERYBODY);
}

#[test]
fn clients_and_forked_guardians_are_killed() {
    churn(World::new(false), EVERYBODY);
}

/// Who is killed.
#[derive(Clone, Copy)]
struct Kills {
    clients: bool,
    guardians: bool,
}

const NOBODY: Kills = Kills { clients: false, guardians: false };
const CLIENTS: Kills = Kills { clients: true, guardians: false };
const EVERYBODY: Kills = Kills { clients: true, guardians: true };

/// Each of a few slots has one client after another, until it has seen its rounds.
fn churn(mut world: World, kills: Kills) {
    let soak = std::env::var("PROCREF_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(soak);
    let seed = std::env::var("PROCREF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("PROCREF_SEED={seed}");
    // A service whose starter is killed before it could publish it is known to nobody and has to end by itself.
    world.config.hands_over = kills.clients;
    std::thread::scope(|scope| {
        for slot in 1..=PROCESSES {
            let (world, mut random) = (&world, Random(seed * PROCESSES + slot));
            scope.spawn(move || {
                let mut rounds = 0;
                while rounds < ROUNDS || Instant::now() < end {
                    let wanted = if kills.clients { 1 + random.next() % 20 } else { ROUNDS };
                    one_client(world, wanted, kills);
                    rounds += wanted;
                }
            });
        }
    });
    // Where a guardian was killed with the last client, the next one has to finish what is left.
    if !kills.guardians {
        world.sandbox.assert_no_process();
        // A client that is killed before it has made a guardian leaves a set that says nothing. The next one finds it.
        for name in world.sandbox.objects() {
            let status = world.status();
            assert!(
                kills.clients && status.state == ServiceState::Stopped && status.info.is_none(),
                "{name}: {status:?}"
            );
        }
    }
    let mut last = world.actor();
    last.acquire();
    last.kill();
    world.sandbox.assert_nothing_left();
    assert_eq!(world.events.count("overlap"), 0);
    if !kills.clients {
        // But not the one whose last client has just been killed, where the kernel ends it.
        world.assert_asked(world.events.count("birth") - usize::from(!sys::ASKS && world.config.linger == 0));
        let events = world.events.all();
        let alive = events.iter().scan(0, |alive, event| {
            *alive += i32::from(event.what == "birth") - i32::from(event.what == "death");
            Some(*alive)
        });
        assert!(alive.max() == Some(1), "{events:?}");
    }
}

fn one_client(world: &World, rounds: u64, kills: Kills) {
    let mut actor = world.actor();
    actor.tell(&format!("rounds {ROUNDS}"));
    for round in 0..rounds {
        let said = actor.line();
        assert_eq!(said, Some(format!("round {round}")), "an acquire or a release has failed");
    }
    if !kills.clients {
        assert_eq!(actor.answer().as_deref(), Ok(""));
        assert!(actor.end().success());
        return;
    }
    if kills.guardians {
        for found in world.sandbox.processes().iter().filter(|found| found.guardian) {
            sys::kill(&found.pidfd);
        }
    }
    // Wherever it is.
    actor.kill();
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }
}
