//! What killed processes leave.

use crate::{World, await_end, is_listed, observed};
use procref::observe::{Leftovers, Stopped};
use procref::{ErrorKind, ServiceState, StopLadder};
use procref_tests::sandbox::{has_ended, hold, remove_set};

fn finish(world: &World) -> Leftovers {
    world.observed().finish_leftovers(&StopLadder::default()).expect("it can be finished")
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
    world.config.linger = crate::LONG;
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

/// Only a callback could stop it.
#[test]
fn what_is_not_a_process_stays_recorded() {
    use procref::ServiceInfo;
    use procref::blocking::SharedService;
    let world = World::new();
    let service = SharedService::builder(&world.config.name)
        .runtime_dir(world.sandbox.runtime_dir())
        .on_first_acquire(|| Ok(ServiceInfo::without_pid()))
        .build()
        .expect("a good service");
    let handle = service.acquire().expect("it starts");
    let error = world.observed().stop(&StopLadder::default(), true).expect_err("nobody knows how");
    assert_eq!(error.kind(), ErrorKind::StopFailed);
    assert_eq!(world.state(), ServiceState::Up, "nothing has changed");
    handle.release().expect("its own way");
}
