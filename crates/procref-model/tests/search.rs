//! The searches, and the mistakes that they must find.
//!
//! `PROCREF_PROOF=full` goes further: three clients wherever there are two, and more that goes wrong.

use procref::protocol::release::Door;
use procref_model::search::{Counterexample, search};
use procref_model::world::{Config, Descendants, Mistake};
use std::time::Instant;

/// What fits into a few GB.
const MOST: usize = 60_000_000;

fn is_full() -> bool {
    std::env::var_os("PROCREF_PROOF").is_some_and(|value| value == "full")
}

fn holds(name: &str, config: Config) {
    let began = Instant::now();
    let report = match search(&config, MOST) {
        Ok(report) => report,
        Err(found) => panic!("{name}: {found}"),
    };
    let (states, steps, ends, seconds) = (report.states, report.steps, report.ends, began.elapsed().as_secs_f64());
    println!("model: {name}: {states} states, {steps} steps, {ends} ends, {seconds:.1} s");
    assert_eq!(report.need_fairness, 0, "{name}: not every run ends by itself");
}

/// Further than the ordinary tests go.
fn holds_in_full(name: &str, config: Config) {
    if is_full() {
        holds(name, config);
    }
}

/// What is known not to hold, and documented.
fn does_not_hold(name: &str, config: Config) -> Counterexample {
    let found = search(&config, MOST).expect_err(name);
    println!("{name}: {found}");
    found
}

fn finds(mistake: Mistake, config: Config) {
    let config = Config { mistake: Some(mistake), ..config };
    match search(&config, MOST) {
        Ok(report) => panic!("{mistake:?} was not found in {report:?}"),
        Err(found) => println!("mistake: {mistake:?}: {found}"),
    }
}

const TWO: Config = Config::TWO;
const THREE: Config = Config { clients: 3, ..TWO };
const DECLARED: Config = Config { declared: true, ..TWO };

#[test]
fn clients_come_and_go() {
    holds("three clients", THREE);
    holds("three clients and a kill", Config { kills: 1, ..THREE });
    holds("two clients, two rounds", Config { rounds: 2, ..TWO });
    holds("two clients, two rounds, and a kill", Config { rounds: 2, kills: 1, ..TWO });
    holds("two clients, two kills", Config { kills: 2, ..TWO });
    holds_in_full("three clients, two kills", Config { kills: 2, ..THREE });
    holds_in_full("two clients, three rounds", Config { rounds: 3, ..TWO });
    holds_in_full("two clients, three kills", Config { kills: 3, ..TWO });
}

#[test]
fn deaths_and_recoveries() {
    let dies = Config { deaths: 1, rechecks: 1, ..TWO };
    holds("a death, and a kill", Config { kills: 1, ..dies });
    holds("a death, recovered, and a kill", Config { kills: 1, recovers: true, ..dies });
    let ill = Config { illnesses: 1, rechecks: 2, ..TWO };
    holds("an illness, and a kill", Config { kills: 1, ..ill });
    holds("an illness, recovered, and a kill", Config { kills: 1, recovers: true, ..ill });
    holds("an illness, recovered, three clients", Config { clients: 3, recovers: true, ..ill });
    holds_in_full(
        "a death and an illness, three clients, and a kill",
        Config { clients: 3, deaths: 1, kills: 1, ..ill },
    );
    let recovers = Config { clients: 3, kills: 1, recovers: true, ..ill };
    holds_in_full("a death and an illness, recovered, three clients, and a kill", Config { deaths: 1, ..recovers });
    holds_in_full("an illness, recovered at last, three clients, and a kill", Config { failures: 1, ..recovers });
}

#[test]
fn failing_starts() {
    holds("failing starts", Config { failures: 2, ..THREE });
    holds("failing starts and a kill", Config { kills: 1, failures: 1, ..TWO });
    holds_in_full("failing starts and a kill, three clients", Config { kills: 1, failures: 2, ..THREE });
}

#[test]
fn cancelled_waits() {
    holds("cancelled waits and a kill", Config { cancels: 2, kills: 1, ..TWO });
    holds_in_full("cancelled waits and a kill, three clients", Config { cancels: 2, kills: 1, ..THREE });
}

#[test]
fn lingering() {
    let lingers = Config { lingers: true, ..TWO };
    holds("lingering and a kill", Config { kills: 1, ..lingers });
    holds("lingering, three clients", Config { clients: 3, ..lingers });
    holds_in_full("lingering, two rounds", Config { rounds: 2, ..lingers });
    holds_in_full("lingering, three clients, and a kill", Config { clients: 3, kills: 1, ..lingers });
}

#[test]
fn declared() {
    holds("declared, two rounds", Config { rounds: 2, ..DECLARED });
    holds("declared, and two kills", Config { kills: 2, ..DECLARED });
    holds("declared, a kill and a death", Config { kills: 1, deaths: 1, rechecks: 1, ..DECLARED });
    holds("declared, failing starts and a kill", Config { failures: 1, kills: 1, ..DECLARED });
    holds("declared, lingering, and a kill", Config { lingers: true, kills: 1, ..DECLARED });
    holds("declared, three clients and a kill", Config { clients: 3, kills: 1, ..DECLARED });
    holds("declared, a removed set", Config { removals: 1, ..DECLARED });
    holds(
        "declared, one client, a removed set and two kills",
        Config { clients: 1, removals: 1, kills: 2, ..DECLARED },
    );
    holds("declared, a removed set and a kill", Config { removals: 1, kills: 1, ..DECLARED });
    let three = Config { clients: 3, kills: 1, ..DECLARED };
    holds_in_full("declared, three clients and two kills", Config { kills: 2, ..three });
    holds_in_full("declared, three clients, a kill and a death", Config { deaths: 1, rechecks: 1, ..three });
    holds_in_full("declared, three clients, a failing start and a kill", Config { failures: 1, ..three });
    holds_in_full("declared, lingering, three clients and a kill", Config { lingers: true, ..three });
}

#[test]
fn descendants() {
    let marked = Config { descendants: Descendants::Marked, rechecks: 1, ..DECLARED };
    holds("what a declared service has forked, and two kills", Config { kills: 2, ..marked });
    // It makes itself a daemon: the process that was started ends, before it is ready or later, and another goes on.
    holds("a daemon, declared, and a kill", Config { deaths: 1, kills: 1, ..marked });
    holds("a daemon, declared, three clients", Config { deaths: 1, clients: 3, ..marked });
    holds("a daemon, declared, and a removed set", Config { deaths: 1, removals: 1, ..marked });
    holds_in_full("a daemon, declared, three clients and a kill", Config { deaths: 1, clients: 3, kills: 1, ..marked });
    let shed = Config { descendants: Descendants::Shed, ..marked };
    holds("descendants that only their parent tells", Config { deaths: 1, ..shed });
    holds("descendants that only their parent tells, three clients", Config { deaths: 1, clients: 3, ..shed });
    // GOTCHAS.md: what loses its parent while no guardian is its foster parent stays.
    does_not_hold("descendants that only their parent told, which was killed", Config { kills: 1, ..shed });
}

#[test]
fn a_daemon_that_a_callback_starts() {
    // The number is the daemon's: a service like any other. Or that of the process that has ended by then:
    let misnamed = Config { descendants: Descendants::Misnamed, ..TWO };
    holds("a daemon, misnamed, and a kill", Config { kills: 1, ..misnamed });
    holds("a daemon, misnamed, three clients", Config { clients: 3, ..misnamed });
    holds("a daemon, misnamed, lingering", Config { lingers: true, ..misnamed });
    // Or it ends only after that was looked at.
    let later = Config { descendants: Descendants::Marked, deaths: 1, rechecks: 1, ..TWO };
    holds("a daemon, misnamed later, and a kill", Config { kills: 1, ..later });
}

#[test]
fn forks() {
    let forks = Config { forks: 1, ..TWO };
    holds("a fork", forks);
    holds("one client, a fork and a kill", Config { clients: 1, kills: 1, ..forks });
    holds("one client, a fork and two kills", Config { clients: 1, kills: 2, ..forks });
    holds("one client, lingering, and a fork", Config { clients: 1, lingers: true, ..forks });
    holds("a fork, declared", Config { declared: true, ..forks });
    holds("a fork and a removed set", Config { removals: 1, clients: 1, ..forks });
    holds("a fork and a failing start", Config { failures: 1, ..forks });
    holds("two forks", Config { forks: 2, clients: 1, ..forks });
    holds_in_full("a fork and a kill", Config { kills: 1, ..forks });
    holds_in_full("a fork, lingering", Config { lingers: true, ..forks });
    holds_in_full("a fork, three clients", Config { clients: 3, ..forks });
    holds_in_full("a fork and a kill, declared", Config { kills: 1, declared: true, ..forks });
    holds_in_full("a fork and a kill, lingering", Config { kills: 1, lingers: true, ..forks });
    holds_in_full("a fork and a removed set, two clients", Config { removals: 1, ..forks });
    holds_in_full("a fork and a death, recovered", Config { deaths: 1, rechecks: 1, recovers: true, ..forks });
}

#[test]
fn stopped_from_outside() {
    for door in [Door::Unheld, Door::Left] {
        let config = Config { outside: Some(door), ..THREE };
        holds(&format!("stopped from outside ({door:?})"), config);
        holds(&format!("stopped from outside ({door:?}), and two kills"), Config { clients: 2, kills: 2, ..config });
        let lingers = Config { clients: 2, kills: 1, lingers: true, ..config };
        holds(&format!("stopped from outside ({door:?}) while it lingers, and a kill"), lingers);
        holds_in_full(
            &format!("stopped from outside ({door:?}), three clients and a kill"),
            Config { kills: 1, ..config },
        );
    }
    does_not_hold("stopped by force", Config { outside: Some(Door::Forced), ..TWO });
}

#[test]
fn removed_sets() {
    holds("a removed set and a kill", Config { removals: 1, kills: 1, ..TWO });
    holds("a removed set, three clients", Config { removals: 1, ..THREE });
    holds_in_full("a removed set and a kill, three clients", Config { removals: 1, kills: 1, ..THREE });
}

#[test]
fn mistakes_are_found() {
    let two = Config { kills: 1, ..TWO };
    finds(Mistake::LeaveInTwoSteps, two);
    finds(Mistake::UnlockBySetval, two);
    finds(Mistake::StopWithoutLock, two);
    finds(Mistake::NoPredecessorRule, Config { kills: 2, ..two });
    finds(Mistake::JoinWithoutLock, two);
    finds(Mistake::GoneIsZero, Config { removals: 1, kills: 0, ..two });
    finds(Mistake::LingerWithoutLook, Config { lingers: true, ..two });
    finds(Mistake::LockWithoutUndo, two);
    finds(Mistake::RecordUnasked, Config { kills: 2, ..DECLARED });
    finds(Mistake::BeginUnnoted, Config { removals: 1, kills: 1, ..DECLARED });
    finds(Mistake::NoWitness, Config { removals: 1, kills: 0, ..two });
    finds(Mistake::StopBeforeDown, TWO);
}

#[test]
fn mistakes_with_forks_are_found() {
    let forks = Config { forks: 1, ..TWO };
    finds(Mistake::ForkedCopyReleases, forks);
    finds(Mistake::ForkedCopyReleases, Config { lingers: true, ..forks });
    finds(Mistake::ForkedCopyReleases, Config { declared: true, ..forks });
    finds(Mistake::ForkedRegistry, forks);
    finds(Mistake::ForkedTransition, forks);
    finds(Mistake::GoneIsZero, Config { clients: 1, removals: 1, ..forks });
}

#[test]
fn mistakes_with_descendants_are_found() {
    let marked = Config { descendants: Descendants::Marked, ..DECLARED };
    finds(Mistake::NoSweep, marked);
    finds(Mistake::NoSweep, Config { deaths: 1, removals: 1, ..marked });
    finds(Mistake::ForgottenChild, Config { removals: 1, kills: 1, clients: 1, ..DECLARED });
    finds(Mistake::EndedIsGone, Config { deaths: 1, ..marked });
    finds(Mistake::DescendantIsService, Config { deaths: 1, ..marked });
    finds(Mistake::PublishUnseen, Config { descendants: Descendants::Misnamed, ..TWO });
}
