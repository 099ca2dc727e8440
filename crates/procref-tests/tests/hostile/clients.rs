//! Clients that stand still, die slowly, or change what they are.

use crate::world::{ACTOR, assert_error, await_end, kill};
use crate::{Kind, Promise, Report, World, alone};
use procref_tests::Actor;
use procref_tests::actor::{Gate, until};
use procref_tests::sandbox::{has_ended, hold, snapshot};
use rustix::process::Signal;
use std::fs;

/// A stopped client is a client, and whoever waits for nobody waits for it no longer than it lives.
#[test]
fn stopped() {
    let mut report = Report::new(
        "clients stopped by SIGSTOP",
        &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks],
    );
    report.each(Kind::ALL, "it holds", |kind| {
        let world = World::new(kind);
        let [mut stopped, mut other] = std::array::from_fn(|_| world.actor());
        let pid = stopped.acquire().pid;
        let service = hold(pid);
        stopped.signal(Signal::STOP);
        for _ in 0..3 {
            assert_eq!(other.acquire().pid, pid);
            assert_eq!(other.ask("release").as_deref(), Ok(""));
        }
        kill(world.guardian());
        assert_eq!(other.acquire().pid, pid);
        other.kill();
        assert_eq!(world.status().clients, 1);
        assert!(!has_ended(&service));
        stopped.signal(Signal::CONT);
        assert_eq!(stopped.ask("alive").as_deref(), Ok("true"));
        stopped.signal(Signal::STOP);
        stopped.kill();
        await_end(&service);
    });
    report.each(Kind::BOTH, "in the middle of a start", |kind| {
        let (mut world, gate) = gated(kind);
        let [mut starter, mut waiter] = std::array::from_fn(|_| world.actor());
        starter.tell("acquire");
        until("it starts", || is_locked(&world).then_some(()));
        starter.signal(Signal::STOP);
        waiter.tell("acquire");
        until("it waits", || (world.status().waiting == 1).then_some(()));
        gate.open();
        // It waits for who stands still, and takes over when that is killed.
        assert_eq!(world.status().waiting, 1);
        starter.kill();
        waiter.acquired().expect("it takes over");
        world.config.start_gate = None;
    });
    report.each(Kind::BOTH, "it waits, and the start goes on without it", |kind| {
        let (world, gate) = gated(kind);
        let [mut starter, mut waiter] = std::array::from_fn(|_| world.actor());
        starter.tell("acquire");
        until("it starts", || is_locked(&world).then_some(()));
        waiter.tell("acquire");
        until("it waits", || (world.status().waiting == 1).then_some(()));
        waiter.signal(Signal::STOP);
        gate.open();
        let pid = starter.acquired().expect("it starts").pid;
        let service = hold(pid);
        assert_eq!(starter.ask("release").as_deref(), Ok(""), "another one is counted");
        assert!(!has_ended(&service), "somebody awaits it");
        waiter.signal(Signal::CONT);
        assert_eq!(waiter.acquired().expect("it runs").pid, pid);
    });
}

/// Somebody is in the middle of a transition, and not only about to begin one.
fn is_locked(world: &World) -> bool {
    let sets = world.sandbox.sets();
    sets.first().and_then(|(id, _)| snapshot(*id)).is_some_and(|snapshot| snapshot.view().locked)
}

/// A start that ends when the gate is opened.
fn gated(kind: Kind) -> (World, Gate) {
    let mut world = World::new(kind);
    let gate = Gate::closed(&world.sandbox, "start");
    if kind.declared {
        let own = world.config.service.join(" ");
        let script = format!("flock --shared {} true; exec {own}", gate.path().display());
        world.config.service = ["sh", "-c", &script].map(str::to_owned).to_vec();
    } else {
        world.config.start_gate = Some(gate.path().into());
    }
    (world, gate)
}

/// The kernel takes back what a client did only when its core is written.
#[test]
fn dumping_core() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let mut report = Report::new(
        "clients that dump core for seconds",
        &[Promise::InUse, Promise::NothingLeft, Promise::NeverBlocks],
    );
    report.each(Kind::BOTH, "the last one", |kind| {
        let world = World::new(kind);
        let mut command = world.sandbox.command("prlimit");
        command.args(["--core=unlimited", ACTOR]).current_dir(world.sandbox.folder());
        let mut client = Actor::of(command, &world.config);
        assert_eq!(client.ask("grow 524288").as_deref(), Ok(""));
        let pid = client.acquire().pid;
        let service = hold(pid);
        client.tell("abort");
        let path = format!("/proc/{}/status", client.pid());
        let dumps = || fs::read_to_string(&path).is_ok_and(|status| status.contains("CoreDumping:\t1"));
        until("it dumps, or has", || (dumps() || client.has_ended()).then_some(()));
        if dumps() {
            // It is a client while it does.
            let mut other = world.actor();
            assert_eq!(other.acquire().pid, pid);
            assert_eq!(other.ask("release").as_deref(), Ok(""));
            assert!(!dumps() || !has_ended(&service), "somebody holds it");
        } else {
            println!(
                "not tested: hostile clients that dump core for seconds: core_pattern {:?} dumps none",
                pattern.trim()
            );
        }
        client.wait();
        await_end(&service);
    });
}

/// What a client does to itself.
#[test]
fn that_change_what_they_are() {
    alone("clients::that_change_what_they_are", &["--ipc", "--pid", "--mount", "--mount-proc"], || {
        let mut report = Report::new(
            "clients that call unshare",
            &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks, Promise::Cause],
        );
        for what in ["files", "mount", "ipc", "undo", "time"] {
            report.each(Kind::ALL, &format!("{what}, beside another client"), |kind| unshared(kind, what));
            report.each(Kind::ALL, &format!("{what}, as the only one"), |kind| {
                let world = World::new(kind);
                let mut client = world.actor();
                let service = hold(client.acquire().pid);
                assert_eq!(client.ask(&format!("unshare {what}")).as_deref(), Ok(""));
                let _ = client.ask("alive");
                client.kill();
                await_end(&service);
            });
        }
        for what in ["time", "ipc"] {
            report.each(Kind::ALL, &format!("{what}, before it acquires"), |kind| {
                let world = World::new(kind);
                let mut client = world.actor();
                assert_eq!(client.ask(&format!("unshare {what}")).as_deref(), Ok(""));
                let service = hold(client.acquire().pid);
                client.kill();
                await_end(&service);
            });
        }
        // The kernel lets it make no thread any more, and its children would number processes in another way.
        report.each(Kind::ALL, "pid, before it acquires", |kind| {
            let world = World::new(kind);
            let mut client = world.actor();
            assert_eq!(client.ask("unshare pid").as_deref(), Ok(""));
            client.tell("acquire");
            assert_error(client.acquired(), "System", &["thread", "CLONE_NEWPID", &world.config.name]);
            assert_eq!(world.events.count("birth"), 0, "nothing was started");
            world.sandbox.assert_no_service();
            world.assert_works();
        });
        report.each(Kind::ALL, "pid, while it holds, and the guardian is killed", |kind| {
            let world = World::new(kind);
            let [mut client, mut other] = std::array::from_fn(|_| world.actor());
            let pid = client.acquire().pid;
            let service = hold(pid);
            assert_eq!(client.ask("unshare pid").as_deref(), Ok(""));
            kill(world.guardian());
            assert_eq!(other.acquire().pid, pid);
            let guardian = until("a guardian", || world.status().guardian);
            assert!(world.sandbox.guardians().contains(&guardian), "it is called by its number here");
            client.kill();
            assert_eq!(other.ask("alive").as_deref(), Ok("true"));
            assert!(!has_ended(&service), "somebody holds it");
            other.kill();
            await_end(&service);
        });
    });
}

fn unshared(kind: Kind, what: &str) {
    let world = World::new(kind);
    let [mut client, mut other] = std::array::from_fn(|_| world.actor());
    let pid = client.acquire().pid;
    assert_eq!(other.acquire().pid, pid);
    let service = hold(pid);
    assert_eq!(client.ask(&format!("unshare {what}")).as_deref(), Ok(""));
    assert_eq!(client.ask("alive").as_deref(), Ok("true"));
    // Who cannot give its reference back says so, and the kernel takes it back.
    if let Err(error) = client.ask("release") {
        assert!(error.contains(&world.config.name), "{error}");
    }
    assert!(!has_ended(&service), "somebody holds it");
    client.kill();
    assert_eq!(other.ask("alive").as_deref(), Ok("true"));
    assert_eq!(world.status().clients, 1);
    assert!(!has_ended(&service), "somebody holds it");
    other.kill();
    await_end(&service);
}

/// Who has become another user may not change the set any more; the kernel takes its reference back all the same.
#[test]
fn setuid() {
    let mut report = Report::new(
        "clients that become another user",
        &[Promise::InUse, Promise::NothingLeft, Promise::NeverBlocks, Promise::Cause],
    );
    if !rustix::process::geteuid().is_root() {
        return report.not_tested("setuid", "only root can become another user");
    }
    for last in [true, false] {
        report.each(Kind::ALL, if last { "the last one" } else { "beside another" }, |kind| {
            let world = World::new(kind);
            let [mut client, mut other] = std::array::from_fn(|_| world.actor());
            let pid = client.acquire().pid;
            let service = hold(pid);
            if !last {
                other.acquire();
            }
            assert_eq!(client.ask("setuid 65534").as_deref(), Ok(""));
            assert_eq!(client.ask("alive").as_deref(), Ok("true"));
            assert_eq!(client.acquire().pid, pid, "it is held");
            assert_eq!(client.ask("release").as_deref(), Ok(""), "one of two handles");
            assert_eq!(world.status().clients, if last { 1 } else { 2 });
            let error = client.ask("release").expect_err("it may not");
            assert!(error.contains(&world.config.name), "{error}");
            assert!(!has_ended(&service), "it is counted until it ends");
            client.kill();
            if !last {
                assert_eq!(other.ask("alive").as_deref(), Ok("true"));
                assert_eq!(other.ask("release").as_deref(), Ok(""));
            }
            await_end(&service);
        });
    }
}

/// Whatever is opened then gets the numbers 0 to 2.
#[test]
fn without_standard_descriptors() {
    let mut report = Report::new(
        "stdin, stdout and stderr closed",
        &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks],
    );
    report.each(Kind::ALL, "first, joined, guardian replaced, last", |kind| {
        let mut world = World::new(kind);
        world.config.closed_stdio = true;
        let [mut first, mut second] = std::array::from_fn(|_| world.actor());
        let acquired = first.acquire();
        assert_eq!(second.acquire(), acquired);
        let old = world.guardian();
        kill(old);
        let new = until("another guardian", || world.status().guardian.filter(|&new| new != old));
        let links: Vec<_> = (0..3).map(|fd| fs::read_link(format!("/proc/{new}/fd/{fd}")).expect("it lives")).collect();
        assert!(links.iter().all(|link| link.as_os_str() == "/dev/null"), "{links:?}");
        let service = hold(acquired.pid);
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert!(!has_ended(&service));
        assert_eq!(second.ask("release").as_deref(), Ok(""));
        await_end(&service);
        second.acquire();
        second.kill();
        world.sandbox.assert_no_service();
    });
}
