//! SIGKILL in the middle of a start.

use crate::{World, both};
use procref_tests::actor::Gate;

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
