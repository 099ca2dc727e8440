//! Many at once.

use crate::{World, await_end, both, kill_all};
use procref_tests::actor::Gate;
use procref_tests::sandbox::hold;
use procref_tests::sys;

const MANY: usize = sys::MANY;

both! {
    fn many_acquire_at_once_and_are_killed_at_once(world) {
        let gate = Gate::closed(&world.sandbox, "gate");
        let mut actors = world.group(MANY);
        for actor in &mut actors {
            actor.tell(&format!("acquire-at {}", gate.path().display()));
        }
        for actor in &mut actors {
            actor.expect("at the gate");
        }
        gate.open();
        let acquired: Vec<_> = actors.iter_mut().map(|actor| actor.acquired().expect("it can acquire")).collect();
        assert!(acquired.windows(2).all(|pair| pair[0] == pair[1]), "all share one: {acquired:?}");
        assert_eq!(world.events.count("start"), 1);
        assert_eq!(world.events.count("birth"), 1);
        assert_eq!(world.status().clients, MANY as u32);
        assert_eq!(world.sandbox.guardians(), world.status().guardian.into_iter().collect::<Vec<_>>());

        let service = hold(acquired[0].pid);
        kill_all(actors);
        await_end(&service);
        world.sandbox.assert_nothing_left();
        world.assert_stopped_by_the_system(1);
        assert_eq!(world.events.count("stop"), 0, "nobody was left to call it");
    }

    fn everybody_waits_for_the_finished_start(mut world) {
        let gate = Gate::closed(&world.sandbox, "start");
        world.config.start_gate = Some(gate.path().into());
        let mut actors = world.group(50);
        for actor in &mut actors {
            actor.tell("acquire");
        }
        world.await_waiting(49);
        gate.open();
        let acquired: Vec<_> = actors.iter_mut().map(|actor| actor.acquired().expect("it can acquire")).collect();
        assert!(acquired.windows(2).all(|pair| pair[0] == pair[1]), "all share one: {acquired:?}");
        assert_eq!(world.events.count("start"), 1);
        kill_all(actors);
    }

    fn all_are_killed_at_once_while_they_wait_for_the_start(mut world) {
        let gate = Gate::closed(&world.sandbox, "start");
        world.config.start_gate = Some(gate.path().into());
        let mut actors = world.group(20);
        for actor in &mut actors {
            actor.tell("acquire");
        }
        world.events.wait_for("start", 1);
        world.await_waiting(19);
        kill_all(actors);
        world.sandbox.assert_nothing_left();
        assert_eq!(world.events.count("start"), 1);
        assert_eq!(world.events.count("birth"), 0);
    }
}
