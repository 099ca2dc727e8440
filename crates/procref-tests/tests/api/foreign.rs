//! What lies under our key but is not ours: a clear error, never joined, never removed.

use crate::kit::{Bed, until};
use crate::sets::{apply, control, is_root, make_set, set_under};
use procref::protocol::set::{CLIENTS, LAYOUT, LAYOUT_VERSION, Op, PROBE, SEMAPHORES, Snapshot};
use procref::{Error, ErrorKind, SharedService};
use procref_tests::sandbox::remove_set;
use std::process::Command;

/// A set that some test has put under a service's key; removed in the end.
struct Foreign(i32);

impl Drop for Foreign {
    fn drop(&mut self) {
        remove_set(self.0);
    }
}

fn name(set: i32, name: &[u8], namespace: u32) {
    apply(set, &Snapshot::new([0; SEMAPHORES]).naming(name, namespace));
}

/// The number of this process's namespaces, as a service of ours has it in its set.
fn namespace(bed: &Bed) -> u32 {
    let handle = bed.blocking_service().acquire().expect("it starts");
    let set = bed.set();
    let piece = |sem| control(set, procref::protocol::set::NAMESPACE + sem, libc::GETVAL) as u32;
    let namespace = piece(0) | piece(1) << 15;
    handle.release().expect("it stops");
    namespace
}

async fn assert_refused(bed: &Bed, service: &SharedService, foreign: &Foreign, kind: ErrorKind, texts: &[&str]) {
    let starts = bed.calls.starts();
    let errors: [Error; 4] = [
        service.acquire().await.expect_err("never joined"),
        bed.blocking_service().acquire().expect_err("never joined"),
        service.count().expect_err("nobody knows"),
        service.status().expect_err("nobody knows"),
    ];
    for error in errors {
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.service_name(), Some(bed.name.as_str()));
        for text in texts {
            assert!(error.to_string().contains(text), "{text:?} in {error}");
        }
    }
    let is_ours = |service: &procref::observe::Observed| service.name() == bed.name;
    let listed = procref::observe::all().expect("they can be listed").iter().any(is_ours);
    assert_eq!(listed, texts == ["namespace"], "it is listed only if it is this user's, and has this name");
    assert_eq!(control(foreign.0, CLIENTS, libc::GETVAL), 0, "never joined");
    assert_eq!(bed.calls.starts(), starts, "never started");
    assert!(!bed.sandbox.runtime_dir().exists());
}

#[tokio::test]
async fn a_set_of_another_size() {
    let bed = Bed::new();
    let (key, service) = (bed.key(), bed.service());
    for size in [2, SEMAPHORES - 1, SEMAPHORES + 1] {
        let foreign = Foreign(make_set(key, size, 0o600));
        let (count, command) = (format!("has {size} semaphores"), format!("ipcrm -S {key:#010x}"));
        assert_refused(&bed, &service, &foreign, ErrorKind::Incompatible, &[&count, &command]).await;
        assert_eq!(set_under(key), Some(foreign.0), "never removed");
    }
}

#[tokio::test]
async fn a_set_that_others_could_have_changed() {
    let bed = Bed::new();
    let (namespace, key, service) = (namespace(&bed), bed.key(), bed.service());
    for mode in [0o666, 0o660, 0o606, 0o602, 0o640] {
        let foreign = Foreign(make_set(key, SEMAPHORES, mode));
        name(foreign.0, bed.name.as_bytes(), namespace);
        let text = format!("has mode {mode:04o}");
        assert_refused(&bed, &service, &foreign, ErrorKind::PermissionDenied, &[&text]).await;
        assert_eq!(set_under(key), Some(foreign.0), "never removed");
    }
}

#[tokio::test]
async fn a_set_of_another_layout() {
    let bed = Bed::new();
    let (namespace, key, service) = (namespace(&bed), bed.key(), bed.service());
    let foreign = Foreign(make_set(key, SEMAPHORES, 0o600));
    name(foreign.0, bed.name.as_bytes(), namespace);
    apply(foreign.0, &[Op { sem: LAYOUT, delta: 1, undo: false, wait: false }]);
    let text = format!("layout {:#06x}", LAYOUT_VERSION + 1);
    assert_refused(&bed, &service, &foreign, ErrorKind::Incompatible, &[&text]).await;
    assert_eq!(set_under(key), Some(foreign.0), "never removed");
}

#[tokio::test]
async fn a_set_of_another_name() {
    let bed = Bed::new();
    let (namespace, key, service) = (namespace(&bed), bed.key(), bed.service());
    for other in [b"another-name".as_slice(), &bed.name.as_bytes()[..bed.name.len() - 1]] {
        let foreign = Foreign(make_set(key, SEMAPHORES, 0o600));
        name(foreign.0, other, namespace);
        let text = format!("taken by the service \"{}\"", String::from_utf8_lossy(other));
        assert_refused(&bed, &service, &foreign, ErrorKind::Incompatible, &[&text]).await;
        assert_eq!(set_under(key), Some(foreign.0), "never removed");
    }
}

#[tokio::test]
async fn a_set_of_another_namespace() {
    let bed = Bed::new();
    let (namespace, key, service) = (namespace(&bed), bed.key(), bed.service());
    let foreign = Foreign(make_set(key, SEMAPHORES, 0o600));
    name(foreign.0, bed.name.as_bytes(), namespace ^ 1);
    assert_refused(&bed, &service, &foreign, ErrorKind::Incompatible, &["namespace"]).await;
    assert_eq!(set_under(key), Some(foreign.0), "never removed");
}

/// Only root can make another user's set. To root it is open, and still another user's.
#[tokio::test]
#[expect(unsafe_code, reason = "the set is made between fork and exec, by another user")]
async fn a_set_of_another_user() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        println!("not tested: only root can be another user");
        return;
    }
    let bed = Bed::new();
    let (namespace, key, service) = (namespace(&bed), bed.key(), bed.service());
    for mode in [0o600, 0o666] {
        let mut child = Command::new("true");
        child.uid(65534).gid(65534);
        let make = move || {
            // SAFETY: semget takes three numbers.
            let id = unsafe { libc::semget(key, SEMAPHORES as i32, libc::IPC_CREAT | libc::IPC_EXCL | mode) };
            if id < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: the closure makes one system call.
        unsafe { child.pre_exec(make) };
        assert!(child.status().expect("it runs").success());
        let foreign = Foreign(set_under(key).expect("it has been made"));
        name(foreign.0, bed.name.as_bytes(), namespace);
        let kind = ErrorKind::PermissionDenied;
        assert_refused(&bed, &service, &foreign, kind, &["belongs to user 65534", "not to user 0"]).await;
        assert_eq!(set_under(key), Some(foreign.0), "never removed");
    }
}

/// Made by us and given to somebody else, or the other way round.
#[tokio::test]
#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
async fn a_set_that_was_given_away() {
    if !is_root() {
        println!("not tested: only root can be another user");
        return;
    }
    let bed = Bed::new();
    let (namespace, key, service) = (namespace(&bed), bed.key(), bed.service());
    let foreign = Foreign(make_set(key, SEMAPHORES, 0o600));
    name(foreign.0, bed.name.as_bytes(), namespace);
    // SAFETY: all zeros is a valid semid_ds.
    let mut data: libc::semid_ds = unsafe { std::mem::zeroed() };
    data.sem_perm.uid = 65534;
    data.sem_perm.gid = 65534;
    data.sem_perm.mode = 0o600;
    // SAFETY: IPC_SET reads owner and mode from what is pointed to.
    let given = unsafe { libc::semctl(foreign.0, 0, libc::IPC_SET, &raw mut data) };
    assert_eq!(given, 0);
    let texts = ["belongs to user 65534 (made by user 0)"];
    assert_refused(&bed, &service, &foreign, ErrorKind::PermissionDenied, &texts).await;
    assert_eq!(set_under(key), Some(foreign.0), "never removed");
}

/// All zeros is what a client leaves that was killed before it could write its name: anybody goes on with it.
#[tokio::test]
async fn a_fresh_set_is_ours() {
    let bed = Bed::new();
    let (key, service) = (bed.key(), bed.service());
    let set = make_set(key, SEMAPHORES, 0o600);
    assert_eq!(service.count().expect("nobody is counted"), 0);
    let handle = service.acquire().await.expect("it starts");
    assert_eq!(bed.set(), set);
    drop(handle);
    assert_eq!(set_under(key), None);
    bed.assert_balanced(2);
}

/// A counter has a key of its own and looks at it as closely.
#[test]
fn a_counter_refuses_them_too() {
    use procref::{PlatformRefCounter, RefCounter};
    let bed = Bed::new();
    let counter = PlatformRefCounter::new(&bed.name).expect("a good name");
    counter.acquire().expect("it counts");
    let is_ours = |service: &procref::observe::Observed| service.name() == bed.name;
    assert!(!procref::observe::all().expect("they can be listed").iter().any(is_ours), "a counter is no service");
    let key = crate::sets::key_of(bed.set());
    counter.release().expect("it counts");
    let foreign = Foreign(make_set(key, SEMAPHORES, 0o606));
    for error in [counter.acquire().map(drop).expect_err("not ours"), counter.count().map(drop).expect_err("not ours")]
    {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(set_under(key), Some(foreign.0));
}

/// Found by the soak.
///
/// 1. Somebody probes whether the kernel undoes, by a short-lived process that raises a semaphore.
/// 2. They are killed, and that process goes on alone.
/// 3. The next one, whose own probe is over, sees the semaphore raised.
#[test]
fn a_probe_of_somebody_who_was_killed_is_waited_for() {
    let bed = Bed::new();
    let set = make_set(bed.key(), SEMAPHORES, 0o600);
    // What that process has raised, as far as anybody can see.
    apply(set, &[Op { sem: PROBE, delta: 1, undo: false, wait: false }]);
    let service = bed.blocking_service();
    let acquiring = std::thread::spawn(move || service.acquire());
    until("it waits for the end of the probe", || control(set, PROBE, libc::GETZCNT) == 1);
    apply(set, &[Op { sem: PROBE, delta: -1, undo: false, wait: false }]);
    let handle = acquiring.join().expect("no panic").expect("this kernel undoes");
    assert_eq!(bed.set(), set, "it is used");
    handle.release().expect("it stops");
}
