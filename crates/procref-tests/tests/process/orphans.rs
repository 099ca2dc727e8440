//! SIGKILL of guardians: they are replaced, and a service without guardian and clients is an orphan.

use crate::{ACTOR, World, await_end, both, kill, kill_all};
use procref::ServiceState;
use procref_tests::actor::Acquired;
use procref_tests::{Actor, Config};
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::sys;
use rustix::process::Signal;

both! {
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
        sys::kill(&old);
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
    sys::kill(&guardian);
    await_end(&guardian);
    actor.kill();
    let status = world.status();
    assert_eq!((status.state, status.clients, status.guardian), (ServiceState::Orphaned, 0, None));
    assert_eq!(status.info.and_then(|info| info.pid()), Some(acquired.pid));
    (acquired.pid, acquired.generation)
}

/// Longer than any test.
const LONG: u64 = 3_600_000;

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
