//! Services that die or fall ill.

use crate::{World, both, kill};
use procref_tests::actor::Gate;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::{Actor, actor::Acquired};

/// All acquire in the same instant.
fn acquire_at_once(world: &World, name: &str, actors: &mut [Actor]) -> Vec<Acquired> {
    let gate = Gate::closed(&world.sandbox, name);
    for actor in &mut *actors {
        actor.tell(&format!("acquire-at {}", gate.path().display()));
    }
    for actor in &mut *actors {
        actor.expect("at the gate");
    }
    gate.open();
    actors.iter_mut().map(|actor| actor.acquired().expect("it can acquire")).collect()
}

both! {
    fn a_zombie_is_noticed_by_the_next_acquire(world) {
        let [mut starter, mut other] = world.actors();
        let first = starter.acquire();
        // Its parent lives and does not reap it.
        kill(first.pid);
        assert_eq!(starter.ask("alive").as_deref(), Ok("false"));
        let second = other.acquire();
        assert_ne!(second.pid, first.pid);
        assert!(second.generation > first.generation);
        assert_eq!(starter.acquire(), second);
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(world.status().clients, 2);
    }

    fn of_twenty_who_notice_one_recovers(mut world) {
        world.config.recovers = true;
        recovered(&world, ("start", 1), ("recover", 1), kill);
    }

    fn of_twenty_who_notice_one_starts_anew_where_nothing_recovers(world) {
        recovered(&world, ("recover", 0), ("start", 2), kill);
    }

    fn of_twenty_who_find_it_ill_one_recovers(mut world) {
        let health = world.sandbox.folder().join("health");
        (world.config.recovers, world.config.health) = (true, Some(health.clone()));
        recovered(&world, ("start", 1), ("recover", 1), |pid| {
            std::fs::write(&health, format!("bad {pid}")).expect("a file");
        });
    }

    fn a_health_check_that_hangs_is_unhealthy_when_its_time_is_up(mut world) {
        let health = world.sandbox.folder().join("health");
        (world.config.health, world.config.health_timeout) = (Some(health.clone()), 1000);
        // One that hangs on a worker of the runtime is as bad.
        world.config.tokio = !world.config.started_guardian;
        let [mut first, mut second] = world.actors();
        let ill = first.acquire().pid;
        let held = hold(ill);
        std::fs::write(&health, format!("hang {ill}")).expect("a file");
        let new = second.acquire().pid;
        assert_ne!(new, ill);
        assert!(has_ended(&held));
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(first.acquire().pid, new);
    }
}

/// The service falls ill while twenty hold it and twenty more come.
fn recovered(world: &World, same: (&str, usize), changed: (&str, usize), ill: impl Fn(u32)) {
    let mut actors = world.group(20);
    let first = acquire_at_once(world, "first", &mut actors)[0].clone();
    ill(first.pid);
    actors.extend(world.group(20));
    let acquired = acquire_at_once(world, "second", &mut actors);
    assert!(acquired.windows(2).all(|pair| pair[0] == pair[1]), "{acquired:?}");
    assert_ne!(acquired[0].pid, first.pid);
    assert_eq!(acquired[0].generation, first.generation + 1);
    for (what, count) in [same, changed] {
        assert_eq!(world.events.count(what), count, "{what}");
    }
    assert_eq!(world.status().clients, 40);
}
