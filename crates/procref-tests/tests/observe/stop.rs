//! Stopping by hand.

use crate::{Declared, LONG, World, await_end, observed};
use procref::observe::Stopped;
use procref::{ErrorKind, ServiceState, StopLadder};
use procref_tests::Sandbox;
use procref_tests::actor::{Gate, until};
use procref_tests::sandbox::{Found, has_ended, hold};

#[test]
fn nothing_to_stop() {
    let world = World::new();
    for force in [false, true] {
        let stopped = world.observed().stop(&StopLadder::default(), force).expect("there is nothing");
        assert_eq!(stopped, Stopped::NotRunning);
    }
}

#[test]
fn what_is_held_is_not_stopped_but_by_force() {
    let world = World::new();
    let [mut first, mut second] = [world.actor(), world.actor()];
    let service = hold(first.acquire().pid);
    second.acquire();
    let error = world.observed().stop(&StopLadder::default(), false).expect_err("it is held");
    assert_eq!((error.kind(), error.service_name()), (ErrorKind::InUse, Some(world.config.name.as_str())));
    let text = error.to_string();
    let suffix = std::env::consts::EXE_SUFFIX;
    for said in
        ["2 processes", &format!("{} (actor{suffix})", first.pid()), &format!("{} (actor{suffix})", second.pid())]
    {
        assert!(text.contains(said), "{said:?} in {text}");
    }
    assert!(!has_ended(&service));

    let stopped = world.observed().stop(&StopLadder::default(), true).expect("it can be");
    assert_eq!(stopped, Stopped::Stopped);
    assert!(has_ended(&service));
    assert_eq!((world.state(), world.status().clients), (ServiceState::Dead, 2));
    assert_eq!(first.ask("alive").as_deref(), Ok("false"));
    assert!(world.observed().wait_until_gone(None).expect("it can look"), "nothing of it runs");
    let again = world.observed().stop(&StopLadder::default(), true).expect("there is nothing");
    assert_eq!(again, Stopped::NotRunning);
    // Whoever wants it starts it anew, and the other one joins.
    let anew = second.acquire();
    assert_eq!((anew.generation, world.state()), (2, ServiceState::Up));
    assert_eq!(first.acquire().pid, anew.pid);
    let service = hold(anew.pid);
    first.kill();
    second.kill();
    await_end(&service);
}

/// It is waited for, and there is nothing yet that could be stopped.
#[test]
fn what_is_being_started_is_held() {
    let mut world = World::new();
    let gate = Gate::closed(&world.sandbox, "gate");
    world.config.start_gate = Some(gate.path().to_owned());
    let mut actor = world.actor();
    actor.tell("acquire");
    world.config.events().wait_for("start", 1);
    let error = world.observed().stop(&StopLadder::default(), false).expect_err("somebody waits");
    assert_eq!(error.kind(), ErrorKind::InUse);
    gate.open();
    actor.acquired().expect("it starts");
}

/// The service that `holder` declares, and its child.
pub(crate) fn family(sandbox: &Sandbox) -> Vec<Found> {
    let stays = |process: &Found| !process.guardian && process.title.trim_end().trim_end_matches('"').ends_with("stay");
    until("it is itself and its child", || {
        let family: Vec<_> = sandbox.processes().into_iter().filter(stays).collect();
        (family.len() == 2).then_some(family)
    })
}

#[test]
fn no_descendant_of_a_declared_service_stays() {
    let sandbox = Sandbox::new();
    let client = Declared::new(&sandbox, "declared", &["forked"]);
    let family = family(&sandbox);
    let observed = observed(&sandbox, "declared");
    assert_eq!(observed.stop(&StopLadder::default(), true).expect("it can be"), Stopped::Stopped);
    for process in &family {
        assert!(has_ended(&process.pidfd), "{process:?}");
    }
    client.kill();
}

#[test]
fn what_lingers_is_stopped() {
    let mut world = World::new();
    world.config.linger = LONG;
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    assert_eq!(actor.ask("release").as_deref(), Ok(""));
    assert!(!has_ended(&service));
    assert_eq!(world.observed().stop(&StopLadder::default(), false).expect("nobody holds it"), Stopped::Stopped);
    assert!(has_ended(&service));
    // Nor is the guardian left, nor does anybody call on_last_release.
    world.sandbox.assert_no_service();
    assert_eq!(world.config.events().count("stop"), 0);
}
