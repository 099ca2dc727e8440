//! Starts that fail.

use crate::{World, both};
use procref_tests::actor::Gate;

both! {
    fn a_failed_start_is_told_to_all_who_wait_for_it(mut world) {
        let gate = Gate::closed(&world.sandbox, "start");
        let cause = world.sandbox.folder().join("cause");
        std::fs::write(&cause, "no licence for 7 days").expect("a file");
        world.config.start_gate = Some(gate.path().into());
        world.config.start_fails = Some(cause.clone());

        let mut first = world.actor();
        first.tell("acquire");
        world.events.wait_for("start", 1);
        let mut waiters: [_; 20] = world.actors();
        for waiter in &mut waiters {
            waiter.tell("acquire");
        }
        world.await_waiting(20);
        gate.open();
        for actor in std::iter::once(&mut first).chain(&mut waiters) {
            let error = actor.acquired().expect_err("it fails");
            assert!(error.starts_with("StartFailed: "), "{error}");
            assert!(error.contains("no licence for 7 days") && error.contains(&world.config.name), "{error}");
        }
        assert_eq!(world.events.count("start"), 1, "one attempt for all");
        assert_eq!(world.status().clients, 0, "who failed holds nothing");

        // All who failed live on: the next one tries again, whoever it is.
        waiters[7].tell("acquire");
        let error = waiters[7].acquired().expect_err("it fails again");
        assert!(error.contains("no licence for 7 days"), "{error}");
        assert_eq!(world.events.count("start"), 2);
        std::fs::remove_file(cause).expect("it is there");
        let service = first.acquire().pid;
        assert_eq!(waiters[3].acquire().pid, service);
        assert_eq!(world.events.count("start"), 3);
    }
}

#[test]
fn a_failed_start_leaves_nothing_while_the_client_lives_on() {
    for tokio in [false, true] {
        let mut world = World::new(true);
        let cause = world.sandbox.folder().join("cause");
        std::fs::write(&cause, "no").expect("a file");
        (world.config.start_fails, world.config.tokio) = (Some(cause), tokio);
        let mut actor = world.actor();
        actor.tell("acquire");
        actor.acquired().expect_err("it fails");
        assert!(world.sandbox.objects().is_empty());
        assert_eq!(actor.ask("count").as_deref(), Ok("0"));
    }
}
