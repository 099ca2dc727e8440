//! Ten thousand.

use crate::world::{Crowd, await_end};
use crate::{Kind, Promise, Report, World};
use procref::ServiceState;
use procref::protocol::set::JOIN;
use procref_tests::sandbox::{has_ended, hold};
use std::sync::Mutex;

const THREADS: usize = 10_000;
const PROCESSES: usize = 300;

/// A system has room for some 32,000 threads: not for two crowds at once.
static ROOM: Mutex<()> = Mutex::new(());

/// Ten thousand clients for the kernel, which join as clients do and end without a word; beside them some hundred real processes.
#[test]
fn ten_thousand_clients() {
    let _room = ROOM.lock();
    let mut report = Report::new(
        "10,000 clients and 300 processes",
        &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks],
    );
    for kind in [Kind::CALLBACKS, Kind { declared: true, started: true }] {
        report.case(format_args!("{kind:?}"), || crowded(kind));
    }
}

/// As many real processes, as far as the system has room for them. They are killed in one instant.
#[test]
fn ten_thousand_processes() {
    let _room = ROOM.lock();
    let mut report = Report::new(
        "10,000 processes",
        &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks],
    );
    let (world, mut held) = (World::new(Kind::DECLARED), 0);
    report.case("joined, and killed at once", || {
        let mut first = world.actor();
        let acquired = first.acquire();
        let service = hold(acquired.pid);
        let mut crowd = world.actor();
        let said = crowd.ask(&format!("crowd {THREADS}")).expect("it forks");
        held = said.strip_suffix(" 0").and_then(|held| held.parse().ok()).expect("all hold it for whom there is room");
        assert_eq!(world.status().clients as usize, 1 + held);
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert!(!has_ended(&service), "somebody holds it");
        crowd.kill();
        await_end(&service);
        assert_eq!(world.events.count("birth"), 1);
    });
    if held < THREADS {
        report.not_tested("all 10,000", &format!("this system has room for {held}"));
    }
}

fn crowded(kind: Kind) {
    let world = World::new(kind);
    let mut first = world.actor();
    let acquired = first.acquire();
    let service = hold(acquired.pid);
    let guardian = world.guardian();
    let (some, rest) = (Crowd::new(world.set(), 1, &JOIN), Crowd::new(world.set(), THREADS - 1, &JOIN));
    let mut actors: Vec<_> = (0..PROCESSES).map(|_| world.actor()).collect();
    for actor in &mut actors {
        actor.tell("acquire");
    }
    for actor in &mut actors {
        assert_eq!(actor.acquired().expect("it joins"), acquired);
    }
    assert_eq!(world.status().clients as usize, 1 + THREADS + PROCESSES);
    assert_eq!(first.ask("release").as_deref(), Ok(""));
    actors.into_iter().for_each(procref_tests::Actor::kill);
    rest.end();
    world.await_clients(1);
    assert_eq!((world.state(), world.guardian()), (ServiceState::Up, guardian));
    assert!(!has_ended(&service), "somebody holds it");
    some.end();
    await_end(&service);
    assert_eq!(world.events.count("birth"), 1);
    world.sandbox.assert_no_service();
}
