//! Stopping by hand.

use crate::{Declared, LONG, World, await_end, observed};
use procref::blocking::SharedService;
use procref::observe::Stopped;
use procref::{ErrorKind, ServiceInfo, ServiceState, StopLadder};
use procref_tests::Sandbox;
use procref_tests::actor::{Gate, until};
use procref_tests::sandbox::{Found, has_ended, hold, remove_set};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    for said in ["2 processes", &format!("{} (actor)", first.pid()), &format!("{} (actor)", second.pid())] {
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

#[test]
fn what_lingers_is_stopped_by_the_ladder() {
    let mut world = World::new();
    world.config.linger = LONG;
    world.config = world.config.service_argument("ignore=INT");
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    assert_eq!(actor.ask("release").as_deref(), Ok(""));
    let ladder = StopLadder::new(procref::StopSignal::Interrupt, Duration::from_millis(100))
        .then(procref::StopSignal::Quit, Duration::from_secs(60));
    assert_eq!(world.observed().stop(&ladder, false).expect("nobody holds it"), Stopped::Stopped);
    assert!(has_ended(&service));
    let signals: Vec<_> = world.config.events().of("signal").into_iter().map(|signal| signal.detail).collect();
    assert_eq!(signals, ["INT", "QUIT"]);
    // Nor is the guardian left, nor does anybody call on_last_release.
    world.sandbox.assert_no_service();
    assert_eq!(world.config.events().count("stop"), 0);
}

#[test]
fn no_descendant_of_a_declared_service_stays() {
    let sandbox = Sandbox::new();
    for kills_the_guardian in [false, true] {
        let name = format!("declared-{kills_the_guardian}");
        let client = Declared::new(&sandbox, &name, &["forked"]);
        let observed = observed(&sandbox, &name);
        let sleeps = |process: &Found| process.title.starts_with("sleep");
        let family = until("it is itself and its child", || {
            let family: Vec<_> = sandbox.processes().into_iter().filter(sleeps).collect();
            (family.len() == 2).then_some(family)
        });
        if kills_the_guardian {
            // The next one is not its parent.
            let before = observed.status().expect("it is known").guardian.expect("a guardian");
            procref::process::kill(before);
            until("another guardian", || observed.status().ok()?.guardian.filter(|guardian| *guardian != before));
        }
        assert_eq!(observed.stop(&StopLadder::default(), true).expect("it can be"), Stopped::Stopped);
        for process in &family {
            assert!(has_ended(&process.pidfd), "{process:?}");
        }
        client.kill();
    }
}

/// A service that callbacks started may have children that are not its own affair.
#[test]
fn the_session_of_a_service_with_callbacks_is_left_alone() {
    let world = World::new();
    let mut command = world.sandbox.command("setsid");
    command.args(["sh", "-c", "sleep 1000 & echo $!; exec sleep 1001"]).stdout(Stdio::piped());
    let (command, said) = (Mutex::new(command), Arc::new(Mutex::new(String::new())));
    let says = Arc::clone(&said);
    let description = SharedService::builder(&world.config.name)
        .runtime_dir(world.sandbox.runtime_dir())
        .linger(Duration::from_millis(LONG))
        .on_first_acquire(move || {
            let mut child = command.lock().expect("no panic").spawn()?;
            let output = child.stdout.take().ok_or("no pipe")?;
            BufReader::new(output).read_line(&mut says.lock().expect("no panic"))?;
            Ok(ServiceInfo::from_pid(child.id()))
        })
        .build()
        .expect("a good service");
    let handle = description.acquire().expect("it starts");
    let service = hold(handle.info().pid().expect("it is a process"));
    let sibling = hold(said.lock().expect("no panic").trim().parse().expect("a number"));
    handle.release().expect("it lingers");
    assert_eq!(world.observed().stop(&StopLadder::default(), false).expect("nobody holds it"), Stopped::Stopped);
    assert!(has_ended(&service));
    assert!(!has_ended(&sibling));
    rustix::process::pidfd_send_signal(&sibling, rustix::process::Signal::KILL).expect("it lives");
}

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
