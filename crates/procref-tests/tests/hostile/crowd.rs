//! Ten thousand.

use crate::world::{Crowd, await_end};
use crate::{Kind, Report, World};
use procref::ServiceState;
use procref::protocol::set::JOIN;
use procref_tests::sandbox::{has_ended, hold};

const THREADS: usize = 10_000;
const PROCESSES: usize = 300;

/// Ten thousand clients for the kernel, which join as clients do and end without a word; beside them some hundred real processes.
#[test]
fn ten_thousand_clients() {
    let mut report = Report::new("10,000 clients and 300 processes");
    for kind in [Kind::CALLBACKS, Kind { declared: true, started: true }] {
        report.case(format_args!("{kind:?}"), || crowded(kind));
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
