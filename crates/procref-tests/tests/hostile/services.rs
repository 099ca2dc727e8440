//! Services that behave badly.

use crate::world::{assert_error, await_end, kill, send};
use crate::{Kind, Report, World};
use procref_tests::actor::until;
use procref_tests::sandbox::{Found, has_ended, hold};
use rustix::process::Signal;

const DECLARED: [Kind; 2] = [Kind::DECLARED, Kind { declared: true, started: true }];

/// Its processes whose command line begins so.
fn processes(world: &World, title: &str) -> Vec<Found> {
    let mut found = world.sandbox.processes();
    found.retain(|process| process.title.starts_with(title));
    found
}

#[test]
fn that_become_daemons() {
    let mut report = Report::new("services that double-fork");
    report.each(DECLARED, "before they are ready", |kind| {
        let world = World::of_script(kind, "(setsid sleep 1001 &); exit 0");
        let mut actor = world.actor();
        actor.tell("acquire");
        assert_error(actor.acquired(), "StartFailed", &["exited with status 0"]);
        world.sandbox.assert_no_service();
        assert_eq!(processes(&world, "sleep").len(), 0, "nothing of it stays");
        drop(std::fs::remove_dir_all(&world.config.runtime_dir));
    });
    report.each(DECLARED, "when they are ready", |kind| {
        let world =
            World::of_script(kind, "(setsid sleep 1001 &); echo ready; read -r _ < /dev/null; sleep 1002; exit 0");
        let mut actor = world.actor();
        let first = actor.acquire();
        until("its daemon runs", || (!processes(&world, "sleep 1001").is_empty()).then_some(()));
        let daemon = hold(processes(&world, "sleep 1001")[0].pid);
        kill(first.pid);
        assert_eq!(actor.ask("alive").as_deref(), Ok("false"));
        assert_ne!(actor.acquire().pid, first.pid);
        await_end(&daemon);
        actor.kill();
    });
}

/// The kernel has nobody to tell, so the guardian does it alone.
#[test]
fn that_close_all_descriptors() {
    let script = "exec 3<&-; echo ready; exec 0<&- 1>&- 2>&-; exec sleep 1000";
    let mut report = Report::new("services that close all descriptors");
    report.each(Kind::ALL, "the last client is killed", |kind| {
        let world = World::of_script(kind, script);
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        actor.kill();
        await_end(&service);
    });
    report.each(Kind::ALL, "after its guardian", |kind| {
        let world = World::of_script(kind, script);
        let mut actor = world.actor();
        let service = hold(actor.acquire().pid);
        let old = world.guardian();
        kill(old);
        until("another guardian", || world.status().guardian.filter(|&new| new != old));
        let mut other = world.actor();
        other.acquire();
        actor.kill();
        assert!(!has_ended(&service));
        other.kill();
        await_end(&service);
    });
    report.each(Kind::ALL, "in the same instant as its guardian", |kind| {
        let world = World::of_script(kind, script);
        let pid = world.orphan();
        let service = hold(pid);
        let mut next = world.actor();
        next.acquire();
        // It is adopted, or has been finished before another one is started.
        next.kill();
        await_end(&service);
    });
}

/// A shell that puts another one in its place, and so on: there is always one, and it is never the same.
const RUNS_AWAY: &str = "(setsid sh -c \"$RUN\" > /dev/null 2>&1 < /dev/null &); exit";

#[test]
fn that_fork_for_ever() {
    let mut report = Report::new("services that fork for ever");
    let cases = [
        // Children without end, a hundred a second; they ignore what they are asked.
        (
            "children",
            "trap '' TERM; echo ready; while :; do sh -c 'trap \"\" TERM; sleep 1001' & sleep 0.01; done".to_owned(),
        ),
        // Grandchildren in sessions of their own, who have lost their parent.
        ("orphans", "echo ready; while :; do (setsid sleep 1001 &); sleep 0.01; done".to_owned()),
        ("one that runs away", format!("export RUN='{RUNS_AWAY}'; (sh -c \"$RUN\" &); echo ready; exec sleep 1000")),
    ];
    for (what, script) in cases {
        report.each(DECLARED, what, |kind| {
            let mut world = World::of_script(kind, &script);
            world.config.ladder = "TERM:100".into();
            let mut actor = world.actor();
            let service = hold(actor.acquire().pid);
            until("it has forked", || (world.sandbox.processes().len() > 3).then_some(()));
            actor.kill();
            await_end(&service);
            world.sandbox.assert_nothing_left();
        });
    }
}

/// A process whose first thread has ended looks like a zombie, and one that nobody reaps is one.
#[test]
fn that_look_dead_or_are() {
    let mut report = Report::new("zombies");
    report.each(Kind::ALL, "its first thread has ended", |kind| {
        let mut world = World::new(kind);
        world.config = world.config.clone().service_argument("first-thread-ends");
        let [mut first, mut second] = std::array::from_fn(|_| world.actor());
        let acquired = first.acquire();
        let stat = format!("/proc/{}/stat", acquired.pid);
        until("it shows Z", || std::fs::read_to_string(&stat).ok()?.contains(") Z ").then_some(()));
        assert_eq!(first.ask("alive").as_deref(), Ok("true"));
        assert_eq!(second.acquire(), acquired);
        assert_eq!(world.events.count("birth"), 1);
        let service = hold(acquired.pid);
        first.kill();
        assert_eq!(second.ask("release").as_deref(), Ok(""));
        await_end(&service);
        assert_eq!(world.events.count("death"), 1, "it was asked, and went");
    });
    report.each(Kind::ALL, "dead, and nobody reaps it", |kind| {
        let world = World::new(kind);
        let [mut first, mut second] = std::array::from_fn(|_| world.actor());
        let pid = first.acquire().pid;
        let (service, guardian) = (hold(pid), hold(world.guardian()));
        // Its parent cannot: the guardian of a declared one, and the client of another.
        if kind.declared {
            send(&guardian, Signal::STOP);
        }
        send(&service, Signal::KILL);
        await_end(&service);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there still");
        assert!(stat.contains(") Z "), "{stat}");
        assert_eq!(first.ask("alive").as_deref(), Ok("false"));
        let anew = second.acquire().pid;
        assert_ne!(anew, pid);
        assert_eq!(first.acquire().pid, anew);
        let service = hold(anew);
        first.kill();
        second.kill();
        await_end(&service);
    });
    report.each(Kind::ALL, "a client that nobody reaps", |kind| {
        let world = World::new(kind);
        let mut client = world.actor();
        let service = hold(client.acquire().pid);
        client.signal(Signal::KILL);
        // It is a zombie until `client` is dropped.
        await_end(&service);
        world.sandbox.assert_no_service();
        client.kill();
    });
    report.each(Kind::ALL, "the service is stopped by SIGSTOP when it shall go", |kind| {
        let mut world = World::new(kind);
        world.config.ladder = "TERM:100".into();
        let mut client = world.actor();
        let service = hold(client.acquire().pid);
        send(&service, Signal::STOP);
        client.kill();
        await_end(&service);
    });
}
