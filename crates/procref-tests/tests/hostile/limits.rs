//! The kernel's limits on semaphores, really lowered: in an IPC namespace of the test's own.

use crate::world::{Crowd, assert_error, await_end};
use crate::{Kind, Report, World, alone};
use procref::protocol::set::{CLIENTS, Op};
use procref_tests::actor::until;
use procref_tests::sandbox::{hold, remove_set};

const SEM: &str = "/proc/sys/kernel/sem";
const USUAL: &str = "32000 1024000000 500 32000";
/// What README.md promises to get along with.
const OLD: &str = "250 32000 100 128";

fn limit(values: &str) {
    std::fs::write(SEM, values).expect("this IPC namespace is ours");
}

/// A set of one semaphore, as others have them.
#[expect(unsafe_code, reason = "there is no safe wrapper for semget")]
fn another_set() -> Option<i32> {
    // SAFETY: it takes numbers.
    let id = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
    (id >= 0).then_some(id)
}

fn refused(world: &World, words: &[&str]) {
    let mut actor = world.actor();
    actor.tell("acquire");
    assert_error(actor.acquired(), "LimitReached", words);
    assert_eq!(world.events.count("birth"), 0, "nothing was started");
    // Its client lives on, and nothing else.
    world.sandbox.assert_no_service();
}

#[test]
fn on_sets() {
    alone("limits::on_sets", &["--ipc", "--pid", "--mount", "--mount-proc"], || {
        let mut report = Report::new("limits on semaphore sets");
        report.each(Kind::ALL, "the limits of old systems suffice", |kind| {
            limit(OLD);
            let world = World::new(kind);
            world.assert_works();
            world.assert_works();
        });
        report.each(Kind::BOTH, "no room for another set (SEMMNI), until one is removed", |kind| {
            let world = World::new(kind);
            limit("250 32000 100 10");
            let others: Vec<_> = std::iter::from_fn(another_set).collect();
            assert_eq!(others.len(), 10);
            refused(&world, &["/proc/sys/kernel/sem"]);
            remove_set(others[0]);
            world.assert_works();
            others.into_iter().skip(1).for_each(remove_set);
        });
        for (what, values) in [
            ("no room for so many semaphores in all (SEMMNS)", "250 40 100 128"),
            ("no room for so many semaphores in a set (SEMMSL)", "61 32000 100 128"),
        ] {
            report.each(Kind::BOTH, what, |kind| {
                let world = World::new(kind);
                limit(values);
                refused(&world, &["/proc/sys/kernel/sem"]);
                limit(USUAL);
                world.assert_works();
            });
        }
    });
}

/// Arrays can be too long for SEMOPM, each at another step of the way.
#[test]
fn on_operations() {
    alone("limits::on_operations", &["--ipc", "--pid", "--mount", "--mount-proc"], || {
        let mut report = Report::new("limits on operations (SEMOPM)");
        for operations in 1..=48 {
            report.each(Kind::BOTH, &format!("an acquire with {operations}"), |kind| {
                let world = World::new(kind);
                limit(&format!("250 32000 {operations} 128"));
                let mut actor = world.actor();
                actor.tell("acquire");
                if let Err(error) = actor.acquired() {
                    assert!(error.starts_with("LimitReached: ") && error.contains("/proc/sys/kernel/sem"), "{error}");
                }
                limit(USUAL);
                actor.kill();
                world.sandbox.assert_no_process();
                world.sandbox.sets().into_iter().for_each(|(id, name)| {
                    // See GOTCHAS.md: an empty set can stay.
                    assert_eq!(world.state(), procref::ServiceState::Stopped, "{id} {name}");
                });
                world.assert_works();
            });
        }
        for operations in [3, 6, 12, 20, 32] {
            report.each(Kind::BOTH, &format!("lowered to {operations} while it is held"), |kind| {
                limit(USUAL);
                let world = World::new(kind);
                let [mut first, mut last] = std::array::from_fn(|_| world.actor());
                let service = hold(first.acquire().pid);
                last.acquire();
                limit(&format!("250 32000 {operations} 128"));
                first.kill();
                assert_eq!(last.ask("alive").as_deref(), Ok("true"));
                last.kill();
                // Whoever could not write down what it did tries again.
                limit(USUAL);
                await_end(&service);
                world.sandbox.assert_no_process();
                world.assert_works();
            });
        }
    });
}

const ALMOST_ALL: [Op; 1] = [Op { sem: CLIENTS, delta: 32_766, undo: true, wait: false }];

/// A semaphore goes up to 32,767 (SEMVMX). Whoever is one too many is told so, and those who are counted notice nothing.
#[test]
fn on_clients() {
    let mut report = Report::new("32,767 clients");
    report.each(Kind::ALL, "one too many", |kind| {
        let world = World::new(kind);
        let [mut first, mut other] = std::array::from_fn(|_| world.actor());
        let service = first.acquire();
        let crowd = Crowd::new(world.set(), 1, &ALMOST_ALL);
        assert_eq!(first.ask("count").as_deref(), Ok("32767"));
        other.tell("acquire");
        assert_error(other.acquired(), "LimitReached", &["32767", &world.config.name]);
        assert_eq!(first.ask("alive").as_deref(), Ok("true"));
        assert_eq!(first.ask("release").as_deref(), Ok(""));
        assert_eq!(other.acquire(), service, "there is room for one");
        first.tell("acquire");
        assert_error(first.acquired(), "LimitReached", &[]);
        crowd.end();
        until("the crowd has gone", || (world.status().clients == 1).then_some(()));
        assert_eq!(first.acquire(), service);
        let held = hold(service.pid);
        for actor in [first, other] {
            actor.kill();
        }
        await_end(&held);
    });
}
