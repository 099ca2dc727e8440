//! The searches, and the mistakes that they must find.

use procref::protocol::release::Door;
use procref_model::search::search;
use procref_model::world::{Config, Mistake};

const MOST: usize = 6_000_000;

fn holds(name: &str, config: Config) {
    match search(&config, MOST) {
        Ok(report) => println!("{name}: {report:?}"),
        Err(found) => panic!("{name}: {found}"),
    }
}

fn finds(mistake: Mistake, config: Config) {
    let config = Config { mistake: Some(mistake), ..config };
    match search(&config, MOST) {
        Ok(report) => panic!("{mistake:?} was not found in {report:?}"),
        Err(found) => println!("{mistake:?}: {found}"),
    }
}

#[test]
fn two_clients_twice() {
    holds("two clients, two rounds", Config { rounds: 2, ..Config::default() });
}

#[test]
fn two_clients_and_two_kills() {
    holds("two clients, two kills", Config { kills: 2, ..Config::default() });
}

#[test]
fn two_clients_a_kill_and_a_death() {
    holds("a kill and a death", Config { kills: 1, deaths: 1, ..Config::default() });
}

#[test]
fn recovery() {
    holds("recovery", Config { kills: 1, deaths: 1, recovers: true, ..Config::default() });
}

#[test]
fn failing_starts() {
    holds("failing starts", Config { clients: 3, failures: 2, ..Config::default() });
    holds("failing starts and a kill", Config { kills: 1, failures: 1, ..Config::default() });
}

#[test]
fn cancelled_waits() {
    holds("cancelled waits", Config { cancels: 2, kills: 1, ..Config::default() });
}

#[test]
fn lingering() {
    holds("lingering", Config { lingers: true, kills: 1, ..Config::default() });
    holds("lingering, two rounds", Config { lingers: true, rounds: 2, ..Config::default() });
}

#[test]
fn declared() {
    let declared = Config { declared: true, ..Config::default() };
    holds("declared, two rounds", Config { rounds: 2, ..declared });
    holds("declared, and two kills", Config { kills: 2, ..declared });
    holds("declared, a kill and a death", Config { kills: 1, deaths: 1, ..declared });
    holds("declared, failing starts and a kill", Config { failures: 1, kills: 1, ..declared });
    holds("declared, lingering, and a kill", Config { lingers: true, kills: 1, ..declared });
    holds("declared, a removed set", Config { removals: 1, ..declared });
    // With the set *and* the starter gone, only the kernel knows of what was just being started (docs/proof.md).
    let found = search(&Config { removals: 1, kills: 1, ..declared }, MOST)
        .expect_err("the kernel's own end of it is not modelled");
    println!("declared, a removed set and a kill: {found}");
    holds("declared, three clients and a kill", Config { clients: 3, kills: 1, ..declared });
}

#[test]
fn stopped_from_outside() {
    for door in [Door::Unheld, Door::Left] {
        let config = Config { clients: 3, outside: Some(door), ..Config::default() };
        holds("stopped from outside", config);
        holds("stopped from outside, and two kills", Config { clients: 2, kills: 2, ..config });
        holds("stopped from outside while it lingers", Config { clients: 2, kills: 1, lingers: true, ..config });
    }
    let forced = Config { outside: Some(Door::Forced), ..Config::default() };
    let found = search(&forced, MOST).expect_err("by force, what is held is stopped");
    println!("by force: {found}");
}

#[test]
fn removed_sets() {
    holds("a removed set", Config { removals: 1, ..Config::default() });
    holds("a removed set and a kill", Config { removals: 1, kills: 1, ..Config::default() });
}

#[test]
fn three_clients() {
    holds("three clients", Config { clients: 3, ..Config::default() });
    holds("three clients and a kill", Config { clients: 3, kills: 1, ..Config::default() });
}

#[test]
fn mistakes_are_found() {
    let two = Config { kills: 1, ..Config::default() };
    finds(Mistake::LeaveInTwoSteps, two);
    finds(Mistake::UnlockBySetval, two);
    finds(Mistake::StopWithoutLock, two);
    finds(Mistake::NoPredecessorRule, Config { kills: 2, ..two });
    finds(Mistake::JoinWithoutLock, two);
    finds(Mistake::GoneIsZero, Config { removals: 1, kills: 0, ..two });
    finds(Mistake::LingerWithoutLook, Config { lingers: true, ..two });
    finds(Mistake::LockWithoutUndo, two);
    finds(Mistake::RecordUnasked, Config { declared: true, kills: 2, ..two });
    finds(Mistake::NoWitness, Config { removals: 1, kills: 0, ..two });
}
