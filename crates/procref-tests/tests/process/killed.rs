//! SIGKILL, of whomever.

use crate::{World, await_end, both, kill, kill_all};
use procref::ServiceState;
use procref_tests::Actor;
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold};
use rustix::process::{Signal, pidfd_send_signal};

both! {
    fn sigkill_of_the_last_client_stops_the_service(world) {
        let [mut first, mut last] = world.actors();
        let service = hold(first.acquire().pid);
        last.acquire();
        let guardian = world.guardian();

        first.kill();
        assert_eq!(last.ask("count").as_deref(), Ok("1"));
        assert_eq!(last.ask("alive").as_deref(), Ok("true"));
        assert_eq!(world.guardian(), guardian, "another client's death changes nothing else");
        assert_eq!(world.state(), ServiceState::Up);
        assert_eq!(world.events.count("signal"), 0);

        last.kill();
        await_end(&service);
        world.sandbox.assert_nothing_left();
        assert_eq!(world.events.count("start"), 1);
        assert_eq!(world.events.count("signal"), 1);
        assert_eq!(world.events.count("death"), 1);
    }

    fn the_starter_is_killed_and_the_service_stays(world) {
        let [mut starter, mut other] = world.actors();
        let service = starter.acquire().pid;
        assert_eq!(other.acquire().pid, service);
        starter.kill();
        assert_eq!(world.actor().acquire().pid, service);
        assert_eq!(other.ask("release").as_deref(), Ok(""));
        assert_eq!(world.events.of("stop").len() + world.events.of("signal").len(), 2, "{:?}", world.events.all());
    }

    fn a_killed_guardian_is_replaced_by_a_live_client(world) {
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        for _ in 0..3 {
            let old = world.guardian();
            kill(old);
            replaced(&world, old);
        }
        assert!(!has_ended(&service));
        actor.kill();
        await_end(&service);
    }

    fn of_many_who_notice_that_the_guardian_is_dead_one_replaces_it(world) {
        let mut actors = world.group(10);
        for actor in &mut actors {
            actor.acquire();
        }
        for _ in 0..5 {
            let old = world.guardian();
            kill(old);
            let new = replaced(&world, old);
            assert_eq!(world.sandbox.guardians(), [new]);
            // Whoever noticed has had its turn when nobody waits for the lock.
            world.await_waiting(0);
            assert_eq!(world.guardian(), new);
            assert_eq!(world.sandbox.guardians(), [new]);
        }
        kill_all(actors);
    }

    fn an_orphan_is_adopted(world) {
        let (service, generation) = orphan(&world);
        let held = hold(service);
        let mut next = world.actor();
        let acquired = next.acquire();
        assert_eq!((acquired.pid, acquired.generation), (service, generation), "it is adopted");
        assert_eq!(world.state(), ServiceState::Up);
        next.kill();
        await_end(&held);
        assert_eq!(world.events.count("start"), 1);
        assert_eq!(world.events.count("signal"), 1);
    }

    fn an_orphan_that_has_died_is_started_anew(world) {
        let (service, _) = orphan(&world);
        kill(service);
        let mut next = world.actor();
        assert_ne!(next.acquire().pid, service);
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(next.ask("release").as_deref(), Ok(""));
    }

    fn an_orphan_that_is_unhealthy_is_stopped_and_started_anew(mut world) {
        let health = world.sandbox.folder().join("health");
        world.config.health = Some(health.clone());
        let (service, _) = orphan(&world);
        std::fs::write(health, format!("bad {service}")).expect("a file");
        let held = hold(service);
        let mut next = world.actor();
        assert_ne!(next.acquire().pid, service);
        assert!(has_ended(&held), "the old one has gone before the new one is there");
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(world.events.count("death"), 1, "it was asked to end, and did");
    }

    fn a_guardian_and_the_last_but_one_client_die_together(world) {
        let mut actors: [Actor; 2] = world.actors();
        let service = hold(actors[0].acquire().pid);
        actors[1].acquire();
        let [first, last] = actors;
        let old = hold(world.guardian());
        let number = world.guardian();
        pidfd_send_signal(&old, Signal::KILL).expect("it lives");
        first.kill();
        replaced(&world, number);
        assert!(!has_ended(&service));
        last.kill();
        await_end(&service);
    }
}

/// Waits until another guardian watches.
fn replaced(world: &World, old: u32) -> u32 {
    until("another guardian", || world.status().guardian.filter(|&new| new != old))
}

/// A service whose guardian and only client were killed in the same instant, and its generation.
fn orphan(world: &World) -> (u32, u32) {
    let mut actor = world.actor();
    let acquired = actor.acquire();
    let guardian = hold(world.guardian());
    // A stopped client cannot notice its guardian's death.
    actor.signal(Signal::STOP);
    pidfd_send_signal(&guardian, Signal::KILL).expect("it lives");
    await_end(&guardian);
    actor.kill();
    let status = world.status();
    assert_eq!((status.state, status.clients, status.guardian), (ServiceState::Orphaned, 0, None));
    assert_eq!(status.info.and_then(|info| info.pid()), Some(acquired.pid));
    (acquired.pid, acquired.generation)
}
