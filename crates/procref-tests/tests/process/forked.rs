//! fork(2) and execve(2).

use crate::{World, await_end, both};
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold};

both! {
    fn a_forked_child_gives_nothing_away(mut world) {
        world.config.tokio = world.config.started_guardian;
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        for how in ["fork", "fork-exit"] {
            for _ in 0..5 {
                assert_eq!(actor.ask(how).as_deref(), Ok("0"), "{how}: the child ends well");
                assert_eq!(actor.ask("count").as_deref(), Ok("1"), "{how}");
                assert!(!has_ended(&service), "{how}");
            }
        }
        assert_eq!(world.events.count("stop") + world.events.count("signal"), 0);
        assert_eq!(actor.ask("release").as_deref(), Ok(""));
        assert_eq!(world.events.of("stop")[0].by, actor.pid());
        assert!(has_ended(&service));
    }

    fn the_reference_survives_exec(world) {
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        actor.tell("exec sleep 1000");
        let comm = format!("/proc/{}/comm", actor.pid());
        until("the other program", || (std::fs::read_to_string(&comm).ok()? == "sleep\n").then_some(()));
        assert_eq!(world.status().clients, 1);
        assert_eq!(world.actor().acquire().pid, world.status().info.and_then(|info| info.pid()).expect("a pid"));
        assert_eq!(world.status().clients, 1, "the other one has gone");
        assert!(!has_ended(&service));
        actor.kill();
        await_end(&service);
    }
}
