//! Waiting for a service to come or go.

use crate::{MOMENT, World, await_end};
use procref::ServiceState;
use procref::observe::Observed;
use procref_tests::actor::{Gate, until};
use procref_tests::sandbox::{PATIENCE, hold};
use procref_tests::sys;
use std::sync::mpsc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

/// A thread that waits, from the moment on in which it sleeps.
fn waiting(wait: impl FnOnce() -> procref::Result<bool> + Send + 'static) -> JoinHandle<procref::Result<bool>> {
    let (sends, receives) = mpsc::channel();
    let thread = spawn(move || {
        sends.send(sys::thread()).expect("somebody listens");
        wait()
    });
    let number = receives.recv().expect("it says so");
    until("it sleeps", || sys::sleeps(number).then_some(()));
    thread
}

fn up(observed: Observed) -> JoinHandle<procref::Result<bool>> {
    waiting(move || observed.wait_until_up(Some(PATIENCE)))
}

pub(crate) fn gone(observed: Observed) -> JoinHandle<procref::Result<bool>> {
    waiting(move || observed.wait_until_gone(Some(PATIENCE)))
}

/// It has been woken, by the event and not by its limit.
pub(crate) fn assert_woken(thread: JoinHandle<procref::Result<bool>>) {
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
            sys::kill(actor.held());
        }
        assert_woken(waiter);
        if how == "release" {
            actor.acquire();
        }
    }
    world.sandbox.assert_nothing_left();
}
