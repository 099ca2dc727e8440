//! Clocks that say something else.

use crate::world::{assert_error, await_end};
use crate::{Kind, Report, World, alone};
use procref::ServiceState;
use procref_tests::sandbox::{has_ended, hold};

/// A machine that has been up for more than a hundred years, as far as its processes can see; linger and time limits included.
#[test]
fn far_ahead() {
    let namespaces = [
        "--ipc",
        "--pid",
        "--mount",
        "--mount-proc",
        "--time",
        "--boottime",
        "4000000000",
        "--monotonic",
        "4000000000",
    ];
    alone("clock::far_ahead", &namespaces, || {
        let mut report = Report::new("clocks far ahead");
        report.each(Kind::ALL, "all of a service's life", |kind| {
            let uptime = std::fs::read_to_string("/proc/uptime").expect("it is there");
            assert!(uptime.starts_with("400"), "{uptime}");
            let mut world = World::new(kind);
            world.config.linger = 300;
            let [mut first, mut second] = std::array::from_fn(|_| world.actor());
            let service = first.acquire();
            let held = hold(service.pid);
            assert_eq!(first.ask("release").as_deref(), Ok(""));
            assert_eq!(world.state(), ServiceState::Lingering);
            assert_eq!(second.acquire(), service);
            second.kill();
            await_end(&held);
        });
    });
}

/// Who lives by another clock cannot tell a process from another one by when it started. It is told so.
#[test]
fn of_two_minds() {
    let mut report = Report::new("a client by another clock");
    let mut by = vec!["unshare", "--time", "--boottime", "100000", "--monotonic", "100000", "--fork", "--kill-child"];
    if !rustix::process::geteuid().is_root() {
        by.extend(["--user", "--map-current-user"]);
    }
    let tried = std::process::Command::new(by[0]).args(&by[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        return report.not_tested("another time namespace", "this system gives none");
    }
    report.each(Kind::ALL, "it is refused", |kind| {
        let world = World::new(kind);
        let mut here = world.actor();
        let service = hold(here.acquire().pid);
        let mut there = world.actor_by(&by);
        for _ in 0..2 {
            there.tell("acquire");
            assert_error(there.acquired(), "Incompatible", &["namespace"]);
        }
        assert_eq!(here.ask("count").as_deref(), Ok("1"));
        there.kill();
        assert!(!has_ended(&service));
        here.kill();
        await_end(&service);
    });
    // The wall clock has no namespace, and is not changed for a test. procref asks it once, to say since when a service has
    // run, and decides nothing by it.
    report.not_tested("jumps of the wall clock", "it is all of this machine's; it decides nothing");
}
