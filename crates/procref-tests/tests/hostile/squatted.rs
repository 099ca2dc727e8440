//! What lies under the key of a declared service and is not ours (callbacks: `api`).

use crate::world::assert_error;
use crate::{Kind, Report, World};
use procref::protocol::set::{LAYOUT, SEMAPHORES};
use procref_tests::sandbox::remove_set;

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

/// The key of the service's set, which is there for a moment.
fn key(world: &World) -> i32 {
    let mut actor = world.actor();
    actor.acquire();
    let set = world.set().to_string();
    let list = std::fs::read_to_string("/proc/sysvipc/sem").expect("the kernel lists the sets");
    let mut rows = list.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row.get(1) == Some(&set.as_str())).expect("it is there");
    let key = row[0].parse().expect("a number");
    assert_eq!(actor.ask("release").as_deref(), Ok(""));
    key
}

#[test]
fn keys() {
    let mut report = Report::new("key squatted");
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
}
