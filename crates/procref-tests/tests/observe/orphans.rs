//! Guardians that are killed, and what they leave; ladders that they go down; sessions.

use crate::clients::clients;
use crate::leftovers::finish;
use crate::stop::family;
use crate::wait::{assert_woken, gone};
use crate::{Declared, LONG, World, await_end, is_listed, observed};
use procref::blocking::SharedService;
use procref::observe::{Leftovers, Stopped};
use procref::{ServiceInfo, ServiceState, StopLadder};
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold, snapshot};
use procref_tests::{Actor, Sandbox, sys};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl World {
    /// Kills the guardian and these clients, none of which can do anything any more when the first one goes.
    pub(crate) fn kill_all(&self, clients: Vec<Actor>) {
        let guardian = hold(self.status().guardian.expect("a guardian"));
        for client in &clients {
            sys::freeze(client.held());
            let stat = format!("/proc/{}/stat", client.pid());
            until("it is stopped", || std::fs::read_to_string(&stat).ok()?.contains(") T ").then_some(()));
        }
        // First, for in its sleep it would see the last of them go.
        sys::kill(&guardian);
        await_end(&guardian);
        clients.into_iter().for_each(Actor::kill);
    }
}

#[test]
fn an_orphan() {
    let world = World::new();
    assert_eq!(finish(&world), Leftovers::Nothing);
    let actors: [_; 2] = std::array::from_fn(|_| {
        let mut actor = world.actor();
        actor.acquire();
        actor
    });
    assert_eq!(finish(&world), Leftovers::Nothing, "it is held");
    let service = hold(world.status().info.and_then(|info| info.pid()).expect("it runs"));
    world.kill_all(actors.into());
    assert_eq!(world.state(), ServiceState::Orphaned);
    assert!(!has_ended(&service));
    assert_eq!(finish(&world), Leftovers::Finished);
    assert!(has_ended(&service));
    assert!(!is_listed(&world.config.name));
    assert_eq!(world.config.events().count("signal"), 1);
    assert_eq!(finish(&world), Leftovers::Nothing);
    world.sandbox.assert_nothing_left();
}

#[test]
fn an_orphan_can_be_stopped_as_well() {
    let world = World::new();
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    world.kill_all(vec![actor]);
    assert_eq!(world.observed().stop(&StopLadder::default(), false).expect("nobody holds it"), Stopped::Stopped);
    assert!(has_ended(&service));
}

/// One that lingers is its guardian's, or, when that was killed, its heir's.
#[test]
fn what_lingers_is_none() {
    let mut world = World::new();
    world.config.linger = LONG;
    let mut heir = world.actor();
    let service = hold(heir.acquire().pid);
    assert_eq!(heir.ask("release").as_deref(), Ok(""));
    assert_eq!(finish(&world), Leftovers::Nothing);
    world.kill_all(Vec::new());
    assert_eq!(finish(&world), Leftovers::Nothing);
    assert!(!has_ended(&service));
    heir.kill();
    assert_eq!(finish(&world), Leftovers::Finished);
    assert!(has_ended(&service));
}

#[test]
fn a_dead_instance() {
    let world = World::new();
    let mut actor = world.actor();
    let pid = actor.acquire().pid;
    let service = hold(pid);
    procref::process::kill(pid);
    await_end(&service);
    assert_eq!(finish(&world), Leftovers::Nothing, "it is held");
    world.kill_all(vec![actor]);
    assert_eq!(world.state(), ServiceState::Dead);
    assert_eq!(finish(&world), Leftovers::Finished);
    world.sandbox.assert_nothing_left();
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

/// What a guardian that was killed has left does not count, nor what it had said before somebody came.
#[test]
fn what_is_left_of_a_linger_goes_with_its_guardian() {
    let mut world = World::new();
    world.config.linger = LONG;
    let [mut first, mut second] = [world.actor(), world.actor()];
    first.acquire();
    assert_eq!(first.ask("release").as_deref(), Ok(""));
    until("it lingers", || world.status().linger_left);
    second.acquire();
    // In the very instant in which somebody came.
    let told = world.sandbox.sets().into_iter().filter_map(|(set, _)| snapshot(set)?.linger_until());
    assert_eq!(told.count(), 0);
    second.kill();
    until("it lingers again", || world.status().linger_left);
    world.kill_all(Vec::new());
    assert_eq!((world.state(), world.status().linger_left), (ServiceState::Orphaned, None));
    assert_eq!(world.observed().stop(&StopLadder::kill(), false).expect("nobody holds it"), Stopped::Stopped);
}

/// The guardian that takes the place of another one watches over the same pipe.
#[test]
fn clients_are_known_to_the_next_guardian() {
    for started_guardian in [true, false] {
        let mut world = World::new();
        world.config.started_guardian = started_guardian;
        let mut client = world.actor();
        client.acquire();
        let guardian = world.status().guardian.expect("a guardian");
        procref::process::kill(guardian);
        until("another guardian", || world.status().guardian.filter(|other| *other != guardian));
        assert_eq!(clients(&world.observed()), (1, vec![(client.pid(), "actor".to_owned())]));
        assert_eq!(client.ask("release").as_deref(), Ok(""));
    }
}

#[test]
fn no_descendant_of_a_declared_service_stays_behind_another_guardian() {
    let sandbox = Sandbox::new();
    let client = Declared::new(&sandbox, "declared", &["forked"]);
    let observed = observed(&sandbox, "declared");
    let family = family(&sandbox);
    // The next one is not its parent.
    let before = observed.status().expect("it is known").guardian.expect("a guardian");
    procref::process::kill(before);
    until("another guardian", || observed.status().ok()?.guardian.filter(|guardian| *guardian != before));
    assert_eq!(observed.stop(&StopLadder::default(), true).expect("it can be"), Stopped::Stopped);
    for process in &family {
        assert!(has_ended(&process.pidfd), "{process:?}");
    }
    client.kill();
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
    sys::kill(&sibling);
}
