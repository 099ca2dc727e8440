//! The set is removed under a declared service (callbacks: `process`), and under processes that are just ending.

use crate::world::assert_error;
use crate::world::{await_end, kill, send};
use crate::{Kind, Report, World};
use procref::ServiceState;
use procref_tests::Actor;
use procref_tests::actor::{Gate, until};
use procref_tests::sandbox::{has_ended, hold, remove_set};
use rustix::process::Signal;
use std::process::Command;

const DECLARED: [Kind; 2] = [Kind::DECLARED, Kind { declared: true, started: true }];

/// As an administrator does it, and as logind does it, by the same system call.
fn ipcrm(world: &World) {
    let removed = Command::new("ipcrm").args(["-s", &world.set().to_string()]).status().expect("ipcrm (util-linux)");
    assert!(removed.success());
}

#[test]
fn under_clients() {
    let mut report = Report::new("set removed under clients");
    report.each(DECLARED, "held", |kind| {
        let world = World::new(kind);
        let [mut first, mut second, mut stranger] = std::array::from_fn(|_| world.actor());
        let pid = first.acquire().pid;
        assert_eq!(second.acquire().pid, pid);
        let (service, guardian) = (hold(pid), hold(world.guardian()));
        ipcrm(&world);
        for client in [&mut first, &mut second] {
            assert_eq!(client.ask("alive").as_deref(), Ok("true"));
            assert_eq!(client.acquire().pid, pid, "it is held");
            assert_error(client.ask("count"), "SetRemoved", &[&world.config.name]);
        }
        for _ in 0..2 {
            stranger.tell("acquire");
            assert_error(stranger.acquired(), "SetRemoved", &[&world.config.name]);
        }
        assert_eq!(first.ask("release").as_deref(), Ok(""), "one of two handles");
        assert_error(first.ask("release"), "SetRemoved", &[]);
        assert!(!has_ended(&service), "somebody holds it");
        second.kill();
        await_end(&service);
        await_end(&guardian);
        assert_ne!(stranger.acquire().pid, pid);
        assert_eq!(world.events.count("birth"), 2);
    });
    report.each(DECLARED, "while it lingers", |kind| {
        let mut world = World::new(kind);
        world.config.linger = 3_600_000;
        let mut client = world.actor();
        let service = hold(client.acquire().pid);
        assert_eq!(client.ask("release").as_deref(), Ok(""));
        assert_eq!(world.state(), ServiceState::Lingering);
        ipcrm(&world);
        await_end(&service);
        world.sandbox.assert_no_service();
        client.acquire();
        client.kill();
        ipcrm(&world);
    });
    report.each(DECLARED, "after its guardian was killed", |kind| {
        let world = World::new(kind);
        let mut client = world.actor();
        let service = hold(client.acquire().pid);
        client.signal(Signal::STOP);
        kill(world.guardian());
        ipcrm(&world);
        assert!(!has_ended(&service), "somebody holds it");
        client.kill();
        // Nobody of ours is left, and nothing is written in any set: the kernel tells it.
        await_end(&service);
        world.assert_works();
    });
    report.each(DECLARED, "with no folder either", |kind| {
        let world = World::new(kind);
        let [mut first, mut second] = std::array::from_fn(|_| world.actor());
        let service = hold(first.acquire().pid);
        second.acquire();
        ipcrm(&world);
        std::fs::remove_dir_all(&world.config.runtime_dir).expect("it is there");
        first.kill();
        assert_eq!(second.ask("alive").as_deref(), Ok("true"));
        assert!(!has_ended(&service), "somebody holds it");
        second.kill();
        await_end(&service);
    });
}

/// A start is under way, and others wait for its end.
#[test]
fn in_the_middle_of_a_start() {
    let mut report = Report::new("set removed in the middle of a start");
    report.each(DECLARED, "three wait", |kind| {
        let mut world = World::new(kind);
        let gate = Gate::closed(&world.sandbox, "ready");
        let own = world.config.service.join(" ");
        let script = format!("flock --shared {} true; exec {own}", gate.path().display());
        world.config.service = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let mut actors: [Actor; 4] = std::array::from_fn(|_| world.actor());
        for actor in &mut actors {
            actor.tell("acquire");
        }
        until("three wait", || (world.status().waiting == 3).then_some(()));
        until("it has begun", || {
            world.sandbox.processes().iter().any(|found| found.title.starts_with("flock")).then_some(())
        });
        ipcrm(&world);
        gate.open();
        // Who waited may start another one, when the first has gone.
        let mut held = 0;
        for actor in &mut actors {
            match actor.acquired() {
                Ok(_) => held += 1,
                Err(error) => assert!(error.starts_with("SetRemoved: "), "{error}"),
            }
        }
        assert!(held < 4, "the starter is counted no longer");
        let [mut next, rest @ ..] = actors;
        rest.into_iter().for_each(Actor::kill);
        next.acquire();
    });
}

/// Kernels have had bugs where the one takes a set away while the other gives back what it did to it.
#[test]
fn under_processes_that_end() {
    const ROUNDS: usize = 20;
    let mut report = Report::new("set removed in the instant in which all are killed");
    report.each(Kind::BOTH, "twenty rounds", |kind| {
        let world = World::new(kind);
        for round in 0..ROUNDS {
            let mut group = Actor::several(&world.sandbox, crate::world::ACTOR, &world.config, 4);
            let service = hold(group[0].acquire().pid);
            for actor in &mut group[1..] {
                actor.acquire();
            }
            let set = world.set();
            let killer = std::thread::spawn(move || drop(group));
            for _ in 0..round * 10 {
                std::hint::spin_loop();
            }
            remove_set(set);
            killer.join().expect("no panic");
            await_end(&service);
        }
        world.assert_works();
    });
    let world = World::new(Kind::DECLARED);
    report.case("and its guardian", || {
        let mut client = world.actor();
        let service = hold(client.acquire().pid);
        let (guardian, set) = (hold(world.guardian()), world.set());
        send(&guardian, Signal::KILL);
        remove_set(set);
        client.kill();
        await_end(&service);
        world.assert_works();
    });
}
