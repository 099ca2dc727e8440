//! Services that stay for a while.

use crate::{World, await_end, both};
use procref::observe::{Observed, Stopped};
use procref::{ServiceState, StopLadder};
use procref_tests::actor::Acquired;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::sys;

/// Longer than any test.
const LONG: u64 = 3_600_000;

both! {
    fn a_lingering_service_waits_for_the_next_client(mut world) {
        world.config.linger = LONG;
        if !can_linger(&world) {
            return;
        }
        let [mut first, mut second, mut third] = world.actors();
        let service = first.acquire();
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert_eq!(world.state(), ServiceState::Lingering);
        assert_eq!(second.acquire(), service);
        second.kill();
        assert_eq!(world.state(), ServiceState::Lingering);
        assert_eq!(third.acquire(), service);
        assert_eq!(third.ask("drop").as_deref(), Ok(""));
        assert_eq!(world.events.count("stop"), 0);

        end_lingering(&world, &service);
    }

    fn whoever_let_go_last_stops_it_when_its_time_is_up(mut world) {
        world.config.linger = 20;
        if !can_linger(&world) {
            return;
        }
        let [mut first, mut last] = world.actors();
        let service = hold(first.acquire().pid);
        last.acquire();
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert_eq!(last.ask("drop").as_deref(), Ok(""));
        await_end(&service);
        world.sandbox.assert_no_service();
        let stops = world.events.of("stop");
        assert_eq!(stops.iter().map(|stop| stop.by).collect::<Vec<_>>(), [last.pid()]);
        world.assert_asked(1);
    }

    fn the_guardian_stops_it_when_whoever_let_go_last_is_gone(mut world) {
        world.config.linger = 200;
        if !can_linger(&world) {
            return;
        }
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        actor.kill();
        await_end(&service);
        assert_eq!(world.events.count("stop"), 0);
        world.assert_stopped_by_the_system(1);

        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        assert_eq!(actor.ask("release").as_deref(), Ok(""));
        // The guardian's time is up, too, but the one who let go may still call `on_last_release`.
        sys::freeze(actor.held());
        actor.kill();
        await_end(&service);
        // Once, whoever was quicker.
        world.assert_stopped_by_the_system(2);
    }
}

/// Where a guardian can only be started, a program that gives no way in is told.
fn can_linger(world: &World) -> bool {
    if sys::FORKS || world.config.started_guardian {
        return true;
    }
    let mut actor = world.actor();
    actor.tell("acquire");
    let error = actor.acquired().expect_err("nobody could stop it later");
    assert!(error.starts_with("GuardianFailed: ") && error.contains("procref::guardian::init()"), "{error}");
    false
}

/// Nobody holds it: it can be stopped by hand.
fn end_lingering(world: &World, service: &Acquired) {
    let held = hold(service.pid);
    let observed = Observed::new(&world.config.name).expect("a good name").runtime_dir(&world.config.runtime_dir);
    assert_eq!(observed.stop(&StopLadder::default(), false).expect("nobody holds it"), Stopped::Stopped);
    assert!(has_ended(&held));
}
