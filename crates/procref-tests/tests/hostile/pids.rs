//! Process numbers that are given to somebody else, by force: `ns_last_pid` in a PID namespace of the test's own.

use crate::world::{await_end, kill};
use crate::{Kind, Report, World, alone};
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold, started};
use rustix::process::Signal;
use std::process::{Child, Command, Stdio};

/// A process with this number, which somebody else had. It starts in another tick of the clock, as
/// numbers that have gone round do.
fn stranger(pid: u32, before: u64) -> Child {
    until("another tick", || {
        let mut other = Command::new("true").spawn().expect("it starts");
        let now = started(other.id());
        other.wait().expect("it ends");
        (now > before + 1).then_some(())
    });
    until("the number can be had", || {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("this namespace is ours");
        let mut child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("it starts");
        if child.id() == pid {
            return Some(child);
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        None
    })
}

fn end(mut stranger: Child) {
    assert!(stranger.try_wait().expect("it is ours").is_none(), "nobody has touched it");
    stranger.kill().expect("it is ours");
    stranger.wait().expect("it is ours");
}

#[test]
fn given_to_somebody_else() {
    alone("pids::given_to_somebody_else", &["--ipc", "--pid", "--mount", "--mount-proc"], || {
        let mut report = Report::new("pid reuse forced");
        report.each(Kind::ALL, "the service's, which nobody holds", |kind| {
            let world = World::new(kind);
            let mut actor = world.actor();
            let pid = actor.acquire().pid;
            let began = started(pid);
            actor.signal(Signal::STOP);
            // The guardian would notice, and the kernel would stop a declared service.
            kill(world.guardian());
            kill(pid);
            actor.kill();
            let stranger = stranger(pid, began);
            let mut next = world.actor();
            assert_ne!(next.acquire().pid, pid, "it is started anew");
            assert_eq!(next.ask("release").as_deref(), Ok(""));
            end(stranger);
        });
        // A zombie keeps its number: a callback's service is a child of its client, which reaps it in its own time.
        report.each([Kind::DECLARED, Kind { declared: true, started: true }], "the service's, which is held", |kind| {
            let world = World::new(kind);
            let mut actor = world.actor();
            let pid = actor.acquire().pid;
            let began = started(pid);
            kill(pid);
            let stranger = stranger(pid, began);
            assert_eq!(actor.ask("alive").as_deref(), Ok("false"));
            let anew = actor.acquire();
            assert_ne!(anew.pid, pid, "it is started anew");
            actor.kill();
            end(stranger);
        });
        report.each(
            [Kind::DECLARED, Kind { declared: true, started: true }],
            "the service's, and its last client is killed",
            |kind| {
                let world = World::new(kind);
                let mut actor = world.actor();
                let pid = actor.acquire().pid;
                let (began, guardian) = (started(pid), hold(world.guardian()));
                kill(pid);
                let stranger = stranger(pid, began);
                actor.kill();
                await_end(&guardian);
                end(stranger);
            },
        );
        report.each(Kind::ALL, "the guardian's", |kind| {
            let world = World::new(kind);
            let mut actor = world.actor();
            let service = hold(actor.acquire().pid);
            let guardian = world.guardian();
            let began = started(guardian);
            // It does not make a new one until the number is another's.
            actor.signal(Signal::STOP);
            kill(guardian);
            let stranger = stranger(guardian, began);
            let mut other = world.actor();
            other.acquire();
            assert_ne!(world.guardian(), guardian);
            actor.signal(Signal::CONT);
            assert!(!has_ended(&service));
            actor.kill();
            assert_eq!(other.ask("alive").as_deref(), Ok("true"));
            assert_eq!(other.ask("release").as_deref(), Ok(""));
            await_end(&service);
            end(stranger);
        });
        report.each(Kind::ALL, "the last client's", |kind| {
            let world = World::new(kind);
            let mut actor = world.actor();
            let service = hold(actor.acquire().pid);
            let (pid, began) = (actor.pid(), started(actor.pid()));
            actor.kill();
            let stranger = stranger(pid, began);
            await_end(&service);
            world.sandbox.assert_no_process();
            end(stranger);
        });
    });
}
