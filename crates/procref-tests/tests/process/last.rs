//! Who lets go last, and what counts as letting go.

use crate::{World, await_end, both};
use procref_tests::actor::Stop;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::sys::{self, End};

fn worlds() -> impl Iterator<Item = World> {
    [false, true].into_iter().map(|tokio| {
        let mut world = World::new(true);
        world.config.tokio = tokio;
        world
    })
}

#[test]
fn on_last_release_is_called_once_where_the_service_is_let_go_last() {
    for world in worlds() {
        let [mut first, mut second, mut last] = world.actors();
        let service = hold(first.acquire().pid);
        second.acquire();
        last.acquire();
        last.acquire();
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert_eq!(second.ask("drop").as_deref(), Ok(""));
        assert_eq!(last.ask("drop").as_deref(), Ok(""), "one of two handles");
        assert_eq!(last.ask("alive").as_deref(), Ok("true"));
        assert_eq!(world.events.count("stop"), 0);
        assert_eq!(last.ask("release").as_deref(), Ok(""));
        assert!(has_ended(&service), "it has ended when the release returns");
        let stops = world.events.of("stop");
        assert_eq!(stops.iter().map(|stop| stop.by).collect::<Vec<_>>(), [last.pid()]);
        world.assert_asked(1);
        world.sandbox.assert_no_service();
        for actor in [first, second, last] {
            assert!(actor.end().success());
        }
        assert_eq!(world.events.count("stop"), 1);
    }
}

#[test]
fn no_second_instance_starts_before_the_first_has_gone() {
    for mut world in worlds() {
        world.config = world.config.clone().service_argument("dies-after=1000");
        let [mut last, mut next] = world.actors();
        let old = last.acquire().pid;
        last.tell("release");
        // The callback has sent SIGTERM and returned; the service takes its time.
        world.events.wait_for("signal", 1);
        assert_eq!(world.events.count("death"), 0);
        let new = next.acquire().pid;
        assert_ne!(old, new);
        assert_eq!(last.answer().as_deref(), Ok(""));
        let events = world.events.all();
        let at = |what: &str, by| events.iter().position(|event| event.what == what && event.by == by);
        assert!(at("death", old).expect("it died") < at("birth", new).expect("it was born"), "{events:?}");
        assert_eq!(world.events.count("overlap"), 0);
        assert_eq!(next.ask("release").as_deref(), Ok(""));
    }
}

#[test]
fn a_client_killed_while_it_stops_the_service_leaves_the_rest_to_the_guardian() {
    let mut world = World::new(true);
    world.config = world.config.clone().service_argument("dies-after=300");
    let mut actor = world.actor();
    let service = hold(actor.acquire().pid);
    actor.tell("release");
    world.events.wait_for("signal", 1);
    actor.kill();
    await_end(&service);
    world.sandbox.assert_nothing_left();
}

#[test]
fn a_failing_on_last_release_is_reported_and_the_service_stops_all_the_same() {
    for mut world in worlds() {
        world.config.stop = Stop::Fail;
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        let error = actor.ask("release").expect_err("it fails");
        assert!(error.starts_with("StopFailed: ") && error.contains("as it was told"), "{error}");
        assert!(has_ended(&service));
    }
}

#[test]
fn without_on_last_release_the_ladder_stops_the_service() {
    for mut world in worlds() {
        world.config.stop = Stop::None;
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        assert_eq!(actor.ask("release").as_deref(), Ok(""));
        assert!(has_ended(&service));
    }
}

both! {
    fn an_exit_without_drop_counts_as_gone(world) {
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        actor.tell("exit");
        assert_eq!(actor.wait().code(), Some(3));
        await_end(&service);
        assert_eq!(world.events.count("stop"), 0);
    }

    fn an_abort_counts_as_gone(world) {
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        actor.tell("abort");
        assert_eq!(sys::end_of(actor.wait()), End::Aborted);
        await_end(&service);
        assert_eq!(world.events.count("stop"), 0);
    }
}

#[test]
fn a_panic_and_the_end_of_main_let_go() {
    for world in worlds() {
        for (round, word) in [(1, "panic"), (2, "")] {
            let mut actor = world.actor();
            let (pid, service) = (actor.pid(), hold(actor.acquire().pid));
            if word.is_empty() {
                assert!(actor.end().success());
            } else {
                actor.tell(word);
                assert!(!actor.wait().success());
            }
            assert!(has_ended(&service), "it has ended when the client ends");
            assert_eq!(world.events.wait_for("stop", round).by, pid, "by drop");
        }
    }
}
