//! Services that stay for a while.

use crate::{ACTOR, World, await_end, both, kill};
use procref::ServiceState;
use procref_tests::actor::{Acquired, Actor, Config, until};
use procref_tests::sandbox::{has_ended, hold};
use rustix::process::Signal;

/// Longer than any test.
const LONG: u64 = 3_600_000;

both! {
    fn a_lingering_service_waits_for_the_next_client(mut world) {
        world.config.linger = LONG;
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
        let [mut first, mut last] = world.actors();
        let service = hold(first.acquire().pid);
        last.acquire();
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert_eq!(last.ask("drop").as_deref(), Ok(""));
        await_end(&service);
        world.sandbox.assert_no_service();
        let stops = world.events.of("stop");
        assert_eq!(stops.iter().map(|stop| stop.by).collect::<Vec<_>>(), [last.pid()]);
        assert_eq!(world.events.count("signal"), 1);
    }

    fn the_guardian_stops_it_when_whoever_let_go_last_is_gone(mut world) {
        world.config.linger = 200;
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        actor.kill();
        await_end(&service);
        assert_eq!(world.events.count("stop"), 0);
        assert_eq!(world.events.count("signal"), 1);

        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        assert_eq!(actor.ask("release").as_deref(), Ok(""));
        // The guardian's time is up, too, but the one who let go may still call `on_last_release`.
        actor.signal(Signal::STOP);
        actor.kill();
        await_end(&service);
        assert_eq!(world.events.count("signal"), 2, "once, whoever was quicker");
    }
}

#[test]
fn a_guardian_that_lingers_is_replaced_for_whoever_leaves() {
    let mut world = World::new(true);
    world.config.linger = LONG;
    let mut actor = world.actor();
    let service = actor.acquire();
    // It leaves as it notices: either of the two makes the new one.
    actor.signal(Signal::STOP);
    kill(world.guardian());
    actor.tell("release");
    actor.signal(Signal::CONT);
    assert_eq!(actor.answer().as_deref(), Ok(""));
    until("it lingers", || (world.state() == ServiceState::Lingering).then_some(()));
    end_lingering(&world, &service);
}

/// The guardian alone keeps the service. Without it, the next client adopts the service, and has it stopped at once.
fn end_lingering(world: &World, service: &Acquired) {
    kill(world.guardian());
    assert_eq!(world.state(), ServiceState::Orphaned);
    let config = Config { linger: 0, ..world.config.clone() };
    let mut last = Actor::new(&world.sandbox, ACTOR, &config);
    assert_eq!(&last.acquire(), service);
    let held = hold(service.pid);
    assert_eq!(last.ask("release").as_deref(), Ok(""));
    assert!(has_ended(&held));
}
