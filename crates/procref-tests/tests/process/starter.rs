//! SIGKILL in the middle of a start.

use crate::{World, both};
use procref_tests::actor::Gate;
use procref_tests::sys;

both! {
    fn a_waiter_takes_over_from_a_killed_starter(mut world) {
        let gate = Gate::closed(&world.sandbox, "start");
        world.config.start_gate = Some(gate.path().into());
        let mut actors: Vec<_> = world.actors::<3>().into();
        for actor in &mut actors {
            actor.tell("acquire");
        }
        let starter = world.events.wait_for("start", 1).by;
        world.await_waiting(2);
        let at = actors.iter().position(|actor| actor.pid() == starter).expect("one of them starts");
        actors.swap_remove(at).kill();

        let second = world.events.wait_for("start", 2).by;
        assert!(actors.iter().any(|actor| actor.pid() == second), "a waiter takes over");
        gate.open();
        let pids: Vec<_> = actors.iter_mut().map(|actor| actor.acquired().expect("it can acquire").pid).collect();
        assert_eq!(pids[0], pids[1]);
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(world.events.count("birth"), 1);
    }

    // It has not come to see what was started when whoever has started it goes, in whatever way: the service is its own by then.
    fn a_waiter_that_is_late_finds_the_service_that_it_has_waited_for(mut world) {
        for killed in [false, true] {
            let gate = Gate::closed(&world.sandbox, "start");
            world.config.start_gate = Some(gate.path().into());
            let started = world.events.count("start");
            let [mut starter, mut waiter] = world.actors();
            starter.tell("acquire");
            world.events.wait_for("start", started + 1);
            waiter.tell("acquire");
            world.await_waiting(1);
            sys::freeze(waiter.held());
            gate.open();
            let service = starter.acquired().expect("it starts").pid;
            if killed {
                starter.kill();
            } else {
                assert_eq!(starter.ask("release").as_deref(), Ok(""));
            }
            sys::thaw(waiter.held());
            assert_eq!(waiter.acquired().expect("it joins").pid, service, "killed: {killed}");
            assert_eq!(waiter.ask("release").as_deref(), Ok(""));
        }
        assert_eq!(world.events.count("birth"), 2);
        world.assert_asked(2);
    }

    fn a_killed_starter_whom_nobody_waits_for_leaves_nothing(mut world) {
        let gate = Gate::closed(&world.sandbox, "start");
        world.config.start_gate = Some(gate.path().into());
        let mut actor = world.actor();
        actor.tell("acquire");
        world.events.wait_for("start", 1);
        actor.kill();
        world.sandbox.assert_nothing_left();
    }
}
