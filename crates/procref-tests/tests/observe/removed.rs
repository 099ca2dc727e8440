//! Services whose set was removed.

use crate::leftovers::finish;
use crate::wait::{assert_woken, gone};
use crate::{MOMENT, World, await_end, observed};
use procref::observe::Leftovers;
use procref::{ErrorKind, StopLadder};
use procref_tests::sandbox::{has_ended, hold, remove_set};

#[test]
fn what_is_counted_no_longer_is_not_stopped() {
    let world = World::new();
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    for (set, _) in world.sandbox.sets() {
        remove_set(set);
    }
    for force in [false, true] {
        let error = world.observed().stop(&StopLadder::default(), force).expect_err("nobody knows who holds it");
        assert_eq!(error.kind(), ErrorKind::SetRemoved);
    }
    assert!(!has_ended(&service));
    actor.kill();
    await_end(&service);
}

/// The set is gone, the service is not.
#[test]
fn an_end_without_a_set() {
    let world = World::new();
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    for (set, _) in world.sandbox.sets() {
        remove_set(set);
    }
    assert_eq!(
        world.observed().wait_until_up(MOMENT).expect_err("it is counted no longer").kind(),
        ErrorKind::SetRemoved
    );
    assert!(!world.observed().wait_until_gone(MOMENT).expect("it can wait"));
    let waiter = gone(world.observed());
    actor.kill();
    assert_woken(waiter);
    assert!(has_ended(&service));
}

/// Without a set, files are about nothing, unless what they name lives.
#[test]
fn stale_files() {
    let world = World::new();
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    let copies: Vec<_> = std::fs::read_dir(world.sandbox.runtime_dir())
        .expect("there are files")
        .map(|entry| entry.expect("it can be read").path())
        .map(|path| (path.clone(), std::fs::read(path).expect("it can be read")))
        .collect();
    assert!(!copies.is_empty());
    for (set, _) in world.sandbox.sets() {
        remove_set(set);
    }
    assert_eq!(finish(&world), Leftovers::Nothing, "it lives, and so may its clients");
    assert!(!has_ended(&service));
    actor.kill();
    await_end(&service);
    assert!(world.observed().wait_until_gone(None).expect("it can look"));
    world.sandbox.assert_nothing_left();

    std::fs::create_dir(world.sandbox.runtime_dir()).expect("it can be made");
    for (path, bytes) in &copies {
        std::fs::write(path, bytes).expect("it can be written");
        std::fs::write(path.with_extension("failed"), "").expect("it can be written");
        std::fs::write(path.with_extension("new"), "").expect("it can be written");
    }
    let other = observed(&world.sandbox, "other");
    assert_eq!(other.finish_leftovers(&StopLadder::default()).expect("it can look"), Leftovers::Nothing);
    assert_eq!(finish(&world), Leftovers::Finished);
    assert!(!world.sandbox.runtime_dir().exists());
}

/// The second witness holds where nobody is counted any more.
#[test]
fn by_another_program_and_the_set_is_removed() {
    let world = World::new();
    let [mut actor, mut other] = [world.actor(), world.actor()];
    let service = hold(actor.acquire().pid);
    other.acquire();
    assert_eq!(actor.ask("keep").as_deref(), Ok(""));
    actor.tell("exec cat");
    crate::kept::await_program(actor.pid(), "cat");
    for (set, _) in world.sandbox.sets() {
        remove_set(set);
    }
    let guardian = hold(world.sandbox.guardians()[0]);
    other.kill();
    assert!(!has_ended(&guardian));
    assert!(!has_ended(&service));
    // It says something, so it runs: the guardian had the time to see that the other one has gone.
    actor.tell("still here");
    actor.expect("still here");
    assert!(!has_ended(&service));
    actor.kill();
    await_end(&service);
}
