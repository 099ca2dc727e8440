//! Clients that are killed, and that crash.

use crate::{World, await_end, both};
use procref::ServiceState;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::sys::{self, End};

both! {
    fn sigkill_of_the_last_client_stops_the_service(world) {
        let [mut first, mut last] = world.actors();
        let service = hold(first.acquire().pid);
        last.acquire();
        let guardian = world.status().guardian;

        first.kill();
        assert_eq!(last.ask("count").as_deref(), Ok("1"));
        assert_eq!(last.ask("alive").as_deref(), Ok("true"));
        assert_eq!(world.status().guardian, guardian, "another client's death changes nothing else");
        assert_eq!(world.state(), ServiceState::Up);
        assert_eq!(world.events.count("signal"), 0);

        last.kill();
        await_end(&service);
        world.sandbox.assert_nothing_left();
        assert_eq!(world.events.count("start"), 1);
        world.assert_stopped_by_the_system(1);
    }

    fn every_kind_of_crash_of_the_last_client_stops_the_service(world) {
        for (round, (word, end)) in [("exit", End::Exit(3)), ("abort", End::Aborted), ("crash", End::Crashed)].into_iter().enumerate() {
            let mut client = world.actor();
            let service = hold(client.acquire().pid);
            assert!(!has_ended(&service));
            client.tell(word);
            assert_eq!(sys::end_of(client.wait()), end, "{word}");
            await_end(&service);
            world.sandbox.assert_nothing_left();
            assert_eq!(world.events.count("birth"), round + 1);
            world.assert_stopped_by_the_system(round + 1);
        }
        assert_eq!(world.events.count("stop"), 0, "nobody was left to call it");
    }

    fn the_starter_is_killed_and_the_service_stays(world) {
        let [mut starter, mut other] = world.actors();
        let service = starter.acquire().pid;
        assert_eq!(other.acquire().pid, service);
        starter.kill();
        assert_eq!(world.actor().acquire().pid, service);
        assert_eq!(other.ask("release").as_deref(), Ok(""));
        assert_eq!(world.events.count("stop"), 1);
        world.assert_asked(1);
    }
}
