//! What lies under the key of a declared service and is not ours (callbacks: `api`).

use crate::world::assert_error;
use crate::{Kind, Promise, Report, World};
use procref::protocol::set::{LAYOUT, SEMAPHORES};
use procref_tests::sandbox::remove_set;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

#[expect(unsafe_code, reason = "there is no safe wrapper for semget")]
fn make_set(key: i32, semaphores: usize, mode: i32) -> i32 {
    // SAFETY: it takes numbers.
    let id = unsafe { libc::semget(key, semaphores as i32, libc::IPC_CREAT | libc::IPC_EXCL | mode) };
    assert!(id >= 0, "the set can be made: {}", std::io::Error::last_os_error());
    id
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semop")]
fn set_layout(id: i32) {
    let mut op = libc::sembuf { sem_num: LAYOUT, sem_op: 0x5201, sem_flg: 0 };
    // SAFETY: the kernel reads one operation.
    let result = unsafe { libc::semop(id, &raw mut op, 1) };
    assert_eq!(result, 0);
}

/// A set that somebody else has made.
#[expect(unsafe_code, reason = "it is made between fork and exec")]
fn by_another_user(key: i32, mode: i32) {
    let mut child = Command::new("true");
    child.uid(65534).gid(65534);
    let make = move || {
        // SAFETY: it takes numbers.
        let id = unsafe { libc::semget(key, SEMAPHORES as i32, libc::IPC_CREAT | libc::IPC_EXCL | mode) };
        if id < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes one system call.
    unsafe { child.pre_exec(make) };
    assert!(child.status().expect("it runs").success());
}

/// The sets that there are: keys and identifiers.
fn listed() -> Vec<(i32, i32)> {
    let list = std::fs::read_to_string("/proc/sysvipc/sem").expect("the kernel lists the sets");
    let row = |row: &str| {
        let mut words = row.split_whitespace().map(str::parse);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    };
    list.lines().filter_map(row).collect()
}

fn id_of(key: i32) -> Option<i32> {
    listed().into_iter().find(|(other, _)| *other == key).map(|(_, id)| id)
}

/// The key of the service's set, which is there for a moment.
fn key(world: &World) -> i32 {
    let mut actor = world.actor();
    actor.acquire();
    let set = world.set();
    let (key, _) = listed().into_iter().find(|(_, id)| *id == set).expect("it is there");
    assert_eq!(actor.ask("release").as_deref(), Ok(""));
    key
}

#[test]
fn keys() {
    let mut report = Report::new(
        "key squatted",
        &[Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks, Promise::Cause],
    );
    for (what, size, mode, layout, kind, word) in [
        ("by a set for everybody", SEMAPHORES, 0o666, false, "PermissionDenied", "mode 0666"),
        ("by a set of another size", 3, 0o600, false, "Incompatible", "3 semaphores"),
        ("by a larger set for everybody", 250, 0o666, false, "PermissionDenied", "mode 0666"),
        ("by an older layout", SEMAPHORES, 0o600, true, "Incompatible", "layout 0x5201"),
    ] {
        report.case(what, || {
            let world = World::new(Kind::DECLARED);
            let foreign = make_set(key(&world), size, mode);
            if layout {
                set_layout(foreign);
            }
            let mut actor = world.actor();
            for _ in 0..2 {
                actor.tell("acquire");
                assert_error(actor.acquired(), kind, &[word, "ipcrm"]);
            }
            assert_eq!(world.events.count("birth"), 1, "nothing was started");
            remove_set(foreign);
            actor.acquire();
        });
    }
    if rustix::process::geteuid().is_root() {
        for mode in [0o600, 0o666] {
            report.case(format_args!("by another user's set, mode {mode:04o}"), || {
                let world = World::new(Kind::DECLARED);
                let key = key(&world);
                by_another_user(key, mode);
                let foreign = id_of(key).expect("it has been made");
                let mut actor = world.actor();
                for _ in 0..2 {
                    actor.tell("acquire");
                    assert_error(actor.acquired(), "PermissionDenied", &["belongs to user 65534", &world.config.name]);
                }
                assert_eq!(world.events.count("birth"), 1, "nothing was started");
                assert_eq!(id_of(key), Some(foreign), "it is not ours to remove");
                remove_set(foreign);
                actor.acquire();
            });
        }
    } else {
        report.not_tested("by another user's set", "only root can be another user");
    }
}
