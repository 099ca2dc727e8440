//! References that are kept.

use crate::clients::clients;
use crate::{Declared, World, await_end, observed};
use procref::ServiceState;
use procref_tests::Sandbox;
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::sys;

#[test]
fn it_is_not_released_any_more() {
    for tokio in [false, true] {
        let mut world = World::new();
        world.config.tokio = tokio;
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        assert_eq!(actor.ask("fork-keep").as_deref(), Ok("0"), "a child has nothing to keep");
        assert_eq!(actor.ask("keep").as_deref(), Ok(""));
        // Neither by itself, nor by others of the process.
        actor.acquire();
        assert_eq!(actor.ask("release").as_deref(), Ok(""));
        actor.acquire();
        assert_eq!(actor.ask("drop").as_deref(), Ok(""));
        assert_eq!(world.status().clients, 1);
        // It goes on watching over the guardian.
        let guardian = world.status().guardian.expect("a guardian");
        procref::process::kill(guardian);
        until("another guardian", || world.status().guardian.filter(|other| *other != guardian));
        assert!(!has_ended(&service));
        assert!(actor.end().success());
        await_end(&service);
    }
}

#[test]
fn by_another_program() {
    let world = World::new();
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    assert_eq!(actor.ask("keep").as_deref(), Ok(""));
    actor.tell("exec cat");
    await_program(actor.pid(), "cat");
    assert_eq!((world.state(), world.status().clients), (ServiceState::Up, 1));
    // Another one comes and goes, and changes nothing.
    let mut other = world.actor();
    other.acquire();
    assert_eq!(other.ask("release").as_deref(), Ok(""));
    assert_eq!(world.status().clients, 1);
    assert!(!has_ended(&service));
    actor.kill();
    await_end(&service);
}

#[test]
fn a_declared_service_by_another_program() {
    let sandbox = Sandbox::new();
    let service_of = |name: &str| {
        let status = observed(&sandbox, name).status().expect("it is known");
        assert_eq!((status.state, status.clients), (ServiceState::Up, 1));
        (hold(status.info.and_then(|info| info.pid()).expect("it runs")), hold(status.guardian.expect("a guardian")))
    };
    for way in ["forked", "started"] {
        // The guardian stops it when the program has gone.
        let kept = Declared::new(&sandbox, way, &[way, "sleep", "1000"]);
        await_program(kept.child.id(), "sleep");
        let (service, _) = service_of(way);
        kept.kill();
        await_end(&service);

        // The kernel does when the guardian has gone before.
        let name = format!("{way}-floor");
        let kept = Declared::new(&sandbox, &name, &[way, "sleep", "1000"]);
        await_program(kept.child.id(), "sleep");
        let (service, guardian) = service_of(&name);
        sys::kill(&guardian);
        await_end(&guardian);
        // Nobody replaces it: the program that did is gone.
        assert_eq!(observed(&sandbox, &name).status().expect("it is known").guardian, None);
        assert!(!has_ended(&service), "its end of the pipe was kept");
        kept.kill();
        await_end(&service);
        let finished = observed(&sandbox, &name).finish_leftovers(&procref::StopLadder::kill()).expect("it can be");
        assert_eq!(finished, procref::observe::Leftovers::Finished);
    }
}

/// Its children inherit what it keeps, and are no clients.
#[test]
fn one_that_became_another_program() {
    let world = World::new();
    let mut actor = world.actor();
    actor.acquire();
    assert_eq!(actor.ask("keep").as_deref(), Ok(""));
    actor.tell("exec sh -c read${IFS}line;sleep${IFS}1000&echo${IFS}$!;wait");
    await_program(actor.pid(), "sh");
    actor.tell("on");
    let child = hold(actor.line().and_then(|pid| pid.parse().ok()).expect("its child"));
    assert_eq!(clients(&world.observed()), (1, vec![(actor.pid(), "sh".to_owned())]));
    sys::kill(&child);
}

/// A child has the memory and the descriptors, and no reference.
#[test]
fn a_forked_child_is_no_client() {
    let world = World::new();
    let [mut first, mut second] = [world.actor(), world.actor()];
    first.acquire();
    second.acquire();
    let mut both = [first.pid(), second.pid()].map(|pid| (pid, "actor".to_owned()));
    both.sort();
    let children = [&mut first, &mut second].map(|actor| {
        let pid = actor.ask("fork-stay").expect("it forks").parse().expect("a number");
        hold(pid)
    });
    assert_eq!(clients(&world.observed()), (2, both.to_vec()));
    for child in children {
        sys::kill(&child);
        await_end(&child);
    }
    assert_eq!(clients(&world.observed()), (2, both.to_vec()));
}

/// Waits until that process has become that program.
pub(crate) fn await_program(pid: u32, program: &str) {
    let comm = format!("/proc/{pid}/comm");
    until("the other program", || (std::fs::read_to_string(&comm).ok()?.trim_end() == program).then_some(()));
}
