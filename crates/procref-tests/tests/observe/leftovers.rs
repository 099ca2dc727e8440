//! What killed processes leave.

use crate::{World, await_end};
use procref::observe::Leftovers;
use procref::{ErrorKind, ServiceState, StopLadder};
use procref_tests::sandbox::{PATIENCE, has_ended, hold};
use procref_tests::sys;

pub(crate) fn finish(world: &World) -> Leftovers {
    world.observed().finish_leftovers(&StopLadder::default()).expect("it can be finished")
}

#[test]
fn what_is_held_or_stopped_leaves_nothing() {
    let world = World::new();
    assert_eq!(finish(&world), Leftovers::Nothing);
    let mut actor = world.actor();
    let pid = actor.acquire().pid;
    let service = hold(pid);
    assert_eq!(finish(&world), Leftovers::Nothing, "it is held");
    assert!(!has_ended(&service));
    procref::process::kill(pid);
    await_end(&service);
    assert_eq!(finish(&world), Leftovers::Nothing, "it is dead, and held");
    assert_eq!(world.state(), ServiceState::Dead);
    actor.kill();
    assert!(world.observed().wait_until_gone(Some(PATIENCE)).expect("it can look"));
    world.sandbox.assert_nothing_left();
    // Where the kernel has ended it, its files have stayed.
    let left = finish(&world);
    assert!(left == Leftovers::Nothing || !sys::ASKS, "{left:?}");
    assert_eq!(finish(&world), Leftovers::Nothing);
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
