//! Waiting for a service to come or go.

use crate::{MOMENT, World, await_end};
use procref::observe::Observed;
use procref::{ServiceState, StopLadder};
use procref_tests::actor::{Gate, until};
use procref_tests::sandbox::{PATIENCE, hold, remove_set};
use rustix::process::{Signal, pidfd_send_signal};
use std::sync::mpsc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// A thread that waits, from the moment on in which it sleeps.
fn waiting(wait: impl FnOnce() -> procref::Result<bool> + Send + 'static) -> JoinHandle<procref::Result<bool>> {
    let (sends, receives) = mpsc::channel();
    let thread = spawn(move || {
        sends.send(rustix::thread::gettid()).expect("somebody listens");
        wait()
    });
    let tid = receives.recv().expect("it says so").as_raw_nonzero();
    // In a call that waits for a descriptor or for a set.
    let asleep = ["do_sys_poll", "poll_schedule_timeout", "__do_semtimedop", "do_semtimedop"];
    let channel = format!("/proc/self/task/{tid}/wchan");
    let stat = format!("/proc/self/task/{tid}/stat");
    until("it sleeps", || {
        let channel = std::fs::read_to_string(&channel).unwrap_or_default();
        let sleeps = std::fs::read_to_string(&stat).unwrap_or_default().contains(") S ");
        // Where the kernel does not say in what it sleeps, that it does has to do.
        (sleeps && (channel.is_empty() || channel == "0" || asleep.iter().any(|call| channel.starts_with(call))))
            .then_some(())
    });
    thread
}

fn up(observed: Observed) -> JoinHandle<procref::Result<bool>> {
    waiting(move || observed.wait_until_up(Some(PATIENCE)))
}

fn gone(observed: Observed) -> JoinHandle<procref::Result<bool>> {
    waiting(move || observed.wait_until_gone(Some(PATIENCE)))
}

/// It has been woken, by the event and not by its limit.
fn assert_woken(thread: JoinHandle<procref::Result<bool>>) {
    assert!(thread.join().expect("no panic").expect("it can wait"), "it was not woken");
}

#[test]
fn a_start_by_another_process() {
    let world = World::new();
    let observed = world.observed();
    assert!(!observed.wait_until_up(Some(Duration::ZERO)).expect("it can look"));
    assert!(!observed.wait_until_up(MOMENT).expect("it can wait"));
    // There is no folder yet.
    assert!(!world.sandbox.runtime_dir().exists());
    let waiter = up(observed.clone());
    let mut actor = world.actor();
    actor.acquire();
    assert_woken(waiter);
    assert!(observed.wait_until_up(None).expect("it can look"), "at once");
    // It is there, because another service is.
    let mut other = world.config.clone();
    other.name = world.sandbox.name("other");
    let mut other = procref_tests::Actor::new(&world.sandbox, crate::ACTOR, &other);
    let waiter = up(crate::observed(&world.sandbox, "other"));
    other.acquire();
    assert_woken(waiter);
    // It comes, goes and comes while nobody watches the new one.
    assert_eq!(actor.ask("release").as_deref(), Ok(""));
    assert_eq!(other.ask("release").as_deref(), Ok(""));
    assert!(!world.sandbox.runtime_dir().exists());
    let waiter = up(observed);
    std::fs::create_dir(world.sandbox.runtime_dir()).expect("it can be made");
    std::fs::remove_dir(world.sandbox.runtime_dir()).expect("it is empty");
    actor.acquire();
    assert_woken(waiter);
}

#[test]
fn a_start_that_is_under_way() {
    let mut world = World::new();
    let gate = Gate::closed(&world.sandbox, "gate");
    world.config.start_gate = Some(gate.path().to_owned());
    let mut actor = world.actor();
    actor.tell("acquire");
    world.config.events().wait_for("start", 1);
    let waiter = up(world.observed());
    assert_eq!(world.state(), ServiceState::Changing);
    assert!(!world.observed().wait_until_up(MOMENT).expect("it can wait"));
    gate.open();
    assert_woken(waiter);
    actor.acquired().expect("it starts");
}

#[test]
fn one_that_is_dead_is_neither_up_nor_gone() {
    let world = World::new();
    let mut actor = world.actor();
    let first = actor.acquire().pid;
    let service = hold(first);
    procref::process::kill(first);
    await_end(&service);
    assert_eq!(world.state(), ServiceState::Dead);
    assert!(!world.observed().wait_until_up(MOMENT).expect("it can wait"));
    assert!(!world.observed().wait_until_gone(MOMENT).expect("it can wait"));
    let (comes, goes) = (up(world.observed()), gone(world.observed()));
    assert_ne!(actor.acquire().pid, first, "it is started anew");
    assert_woken(comes);
    assert!(!goes.is_finished());
    actor.kill();
    assert_woken(goes);
}

/// The kernel wakes who waits, and nobody of procref's is left to do so.
#[test]
fn a_dead_one_that_everybody_leaves_in_one_instant() {
    let world = World::new();
    let mut actor = world.actor();
    let pid = actor.acquire().pid;
    let service = hold(pid);
    procref::process::kill(pid);
    await_end(&service);
    let waiter = gone(world.observed());
    world.kill_all(vec![actor]);
    assert_woken(waiter);
    world.observed().finish_leftovers(&StopLadder::kill()).expect("it can be finished");
}

#[test]
fn an_end() {
    let world = World::new();
    assert!(world.observed().wait_until_gone(None).expect("it can look"), "it is not there");
    let mut actor = world.actor();
    actor.acquire();
    assert!(!world.observed().wait_until_gone(Some(Duration::ZERO)).expect("it can look"));
    assert!(!world.observed().wait_until_gone(MOMENT).expect("it can wait"));
    for how in ["release", "kill"] {
        let waiter = gone(world.observed());
        if how == "release" {
            assert_eq!(actor.ask("release").as_deref(), Ok(""));
        } else {
            pidfd_send_signal(hold(actor.pid()), Signal::KILL).expect("it lives");
        }
        assert_woken(waiter);
        if how == "release" {
            actor.acquire();
        }
    }
    world.sandbox.assert_nothing_left();
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
        procref::ErrorKind::SetRemoved
    );
    assert!(!world.observed().wait_until_gone(MOMENT).expect("it can wait"));
    let waiter = gone(world.observed());
    actor.kill();
    assert_woken(waiter);
    assert!(procref_tests::sandbox::has_ended(&service));
}
