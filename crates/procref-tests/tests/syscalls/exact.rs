//! Every call of the common operations. A call more or less is a change of the product that somebody has to want.

use crate::listing::Listing;
use procref::ServiceInfo;
use procref::blocking::{ServiceHandle, SharedService};
use procref_tests::Sandbox;
use procref_tests::trace::{Follow, Then, trace};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

/// Runs `traced` in `mode` and lists the calls between its marks.
fn calls_of(sandbox: &Sandbox, service: &SharedService, mode: &str, says: &str) -> String {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_traced"));
    command.args([mode, service.name()]).arg(sandbox.runtime_dir());
    let mut listing = Listing::new(service, &sandbox.runtime_dir());
    let traced = trace(sandbox, command, Follow::Threads, |stop| {
        listing.note(stop);
        Then::Go
    });
    assert_eq!(traced.output.trim(), says, "{:?}", traced.status);
    assert!(traced.status.success(), "{:?}", traced.status);
    listing.finish()
}

#[track_caller]
fn assert_calls(calls: &str, expected: &str) {
    let expected: Vec<_> = expected.trim().lines().map(str::trim).collect();
    let expected = expected.join("\n");
    assert!(calls == expected, "it makes other calls:\n{calls}\n\ninstead of:\n{expected}");
}

fn service(sandbox: &Sandbox) -> SharedService {
    let builder = SharedService::builder(sandbox.name("s")).runtime_dir(sandbox.runtime_dir());
    builder.on_first_acquire(|| Err("somebody else starts it".into())).build().expect("a good description")
}

/// A service that runs, held by this process.
struct Running {
    service: SharedService,
    handle: ServiceHandle,
    child: Arc<Mutex<Option<Child>>>,
}

impl Running {
    fn new(sandbox: &Sandbox, metadata: &[(&str, &str)]) -> Self {
        let child = Arc::new(Mutex::new(None));
        let mut sleep = sandbox.command("sleep");
        sleep.arg("1000").stdin(Stdio::null()).stdout(Stdio::null());
        let (start, started) = (Mutex::new(sleep), Arc::clone(&child));
        let metadata: Vec<_> = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let builder = SharedService::builder(sandbox.name("s")).runtime_dir(sandbox.runtime_dir());
        let service = builder.on_first_acquire(move || {
            let child = start.lock().expect("no panic").spawn()?;
            let info = ServiceInfo::new(child.id(), 4711);
            *started.lock().expect("no panic") = Some(child);
            Ok(metadata.iter().fold(info, |info, (key, value)| info.with_metadata(key, value)))
        });
        let service = service.build().expect("a good description");
        let handle = service.acquire().expect("it starts");
        Self { service, handle, child }
    }

    fn stop(self) {
        assert_eq!(self.service.count().expect("it is counted"), 1, "nobody else holds it any more");
        self.handle.release().expect("it stops");
        let child = self.child.lock().expect("no panic").take();
        child.expect("it was started").wait().expect("it can be awaited");
    }
}

/// The thread is one that may: it shares the undo list of the program. The set is found and verified, joined, and read again: what it recorded before may have changed. Then the service and
/// the guardian are held, and looked at while they are.
#[test]
fn a_join() {
    let sandbox = Sandbox::new();
    let running = Running::new(&sandbox, &[]);
    let calls = calls_of(&sandbox, &service(&sandbox), "acquire-later", "holds");
    assert_calls(
        &calls,
        "
        kcmp(undo lists)
        geteuid()
        semget(create)
        semctl(stat)
        semctl(all values)
        geteuid()
        semtimedop(UP-1, UP+1, GUARDIAN-1, GUARDIAN+1, LOCK=0, CLIENTS+1 undo)
        semctl(all values)
        pidfd_open(service)
        open(/proc/service/stat)
        read(/proc/service/stat)
        close(/proc/service/stat)
        ppoll(pidfd of service, now)
        pidfd_open(guardian)
        semctl(all values)
        open(/proc/guardian/fd/4)
        fstat(/proc/guardian/fd/4)
        ppoll(pidfd of guardian, now)
        epoll_ctl(add pidfd of guardian)
        ",
    );
    running.stop();
}

/// Also finds out who and in which namespaces it is, and makes the thread that sleeps until a guardian dies.
#[test]
fn the_first_join_of_a_program() {
    let sandbox = Sandbox::new();
    let running = Running::new(&sandbox, &[]);
    let calls = calls_of(&sandbox, &service(&sandbox), "acquire", "holds");
    assert_calls(
        &calls,
        "
        getpid()
        epoll_create1()
        clone3(thread)
        geteuid()
        semget(create)
        semctl(stat)
        semctl(all values)
        geteuid()
        stat(/proc/self/ns/pid)
        stat(/proc/self/ns/time)
        semtimedop(UP-1, UP+1, GUARDIAN-1, GUARDIAN+1, LOCK=0, CLIENTS+1 undo)
        semctl(all values)
        pidfd_open(service)
        open(/proc/service/stat)
        read(/proc/service/stat)
        close(/proc/service/stat)
        ppoll(pidfd of service, now)
        pidfd_open(guardian)
        semctl(all values)
        open(/proc/guardian/fd/4)
        fstat(/proc/guardian/fd/4)
        ppoll(pidfd of guardian, now)
        epoll_ctl(add pidfd of guardian)
        ",
    );
    running.stop();
}

#[test]
fn a_join_of_a_service_with_metadata() {
    let sandbox = Sandbox::new();
    let running = Running::new(&sandbox, &[("key", "value")]);
    let calls = calls_of(&sandbox, &service(&sandbox), "acquire-later", "holds key=value");
    assert_calls(
        &calls,
        "
        kcmp(undo lists)
        geteuid()
        semget(create)
        semctl(stat)
        semctl(all values)
        geteuid()
        semtimedop(UP-1, UP+1, GUARDIAN-1, GUARDIAN+1, LOCK=0, CLIENTS+1 undo)
        semctl(all values)
        pidfd_open(service)
        open(/proc/service/stat)
        read(/proc/service/stat)
        close(/proc/service/stat)
        ppoll(pidfd of service, now)
        open(RUN)
        fstat(RUN)
        geteuid()
        open(NAME@IPC.info)
        fstat(NAME@IPC.info)
        geteuid()
        read(NAME@IPC.info)
        read(NAME@IPC.info)
        read(NAME@IPC.info)
        close(NAME@IPC.info)
        close(RUN)
        pidfd_open(guardian)
        semctl(all values)
        open(/proc/guardian/fd/4)
        fstat(/proc/guardian/fd/4)
        ppoll(pidfd of guardian, now)
        epoll_ctl(add pidfd of guardian)
        ",
    );
    running.stop();
}

/// No call about the set: the process counts once.
#[test]
fn acquire_again_and_release_where_the_process_holds_it() {
    let sandbox = Sandbox::new();
    let running = Running::new(&sandbox, &[]);
    let calls = calls_of(&sandbox, &service(&sandbox), "acquire-again", "holds");
    assert_calls(
        &calls,
        "
        ppoll(pidfd of service, now)
        ",
    );
    running.stop();
}

#[test]
fn a_release_that_is_not_the_last() {
    let sandbox = Sandbox::new();
    let running = Running::new(&sandbox, &[]);
    let calls = calls_of(&sandbox, &service(&sandbox), "release", "released");
    assert_calls(
        &calls,
        "
        kcmp(undo lists)
        semtimedop(CLIENTS-2 undo, CLIENTS+1 undo)
        close(pidfd of service)
        close(/proc/guardian/fd/4)
        epoll_ctl(delete pidfd of guardian)
        close(pidfd of guardian)
        ",
    );
    running.stop();
}

/// What may block is a thread's work.
#[test]
fn the_last_release() {
    let sandbox = Sandbox::new();
    let calls = calls_of(&sandbox, &service(&sandbox), "release", "starts\nreleased");
    assert_calls(
        &calls,
        "
        kcmp(undo lists)
        semtimedop(CLIENTS-2 undo, CLIENTS+1 undo) = EAGAIN
        kcmp(undo lists)
        clone3(thread)

        semtimedop(CLIENTS-1 undo, CLIENTS=0, LOCK=0 wait, LOCK+1 undo)
        semctl(all values)
        semtimedop(UP-1)
        semctl(all values)
        pidfd_open(service)
        open(/proc/service/stat)
        read(/proc/service/stat)
        close(/proc/service/stat)
        pidfd_send_signal(pidfd of service, 15)
        clock_gettime()
        clock_gettime()
        ppoll(pidfd of service, wait)
        close(pidfd of service)
        semtimedop(INSTANCE-1, PID*, START*, PORT*)
        semctl(value of CLIENTS)
        epoll_ctl(delete pidfd of guardian)
        close(pidfd of guardian)
        open(RUN)
        fstat(RUN)
        geteuid()
        unlink(NAME@IPC.info)
        unlink(NAME@IPC.failed) = ENOENT
        unlink(NAME@IPC.new) = ENOENT
        unlink(NAME@IPC.run) = ENOENT
        unlink(RUN)
        close(RUN)
        semctl(remove)
        ",
    );
}

/// The callback has a thread of its own, for it may take too long.
#[test]
fn the_last_release_with_a_callback() {
    let sandbox = Sandbox::new();
    let calls = calls_of(&sandbox, &service(&sandbox), "release-with-callback", "starts\nreleased");
    assert_calls(
        &calls,
        "
        kcmp(undo lists)
        semtimedop(CLIENTS-2 undo, CLIENTS+1 undo) = EAGAIN
        kcmp(undo lists)
        clone3(thread)

        semtimedop(CLIENTS-1 undo, CLIENTS=0, LOCK=0 wait, LOCK+1 undo)
        semctl(all values)
        semtimedop(UP-1)
        clone3(thread)
        semctl(all values)
        pidfd_open(service)
        open(/proc/service/stat)
        read(/proc/service/stat)
        close(/proc/service/stat)
        clock_gettime()
        clock_gettime()
        ppoll(pidfd of service, wait)
        close(pidfd of service)
        semtimedop(INSTANCE-1, PID*, START*, PORT*)
        semctl(value of CLIENTS)
        epoll_ctl(delete pidfd of guardian)
        close(pidfd of guardian)
        open(RUN)
        fstat(RUN)
        geteuid()
        unlink(NAME@IPC.info)
        unlink(NAME@IPC.failed) = ENOENT
        unlink(NAME@IPC.new) = ENOENT
        unlink(NAME@IPC.run) = ENOENT
        unlink(RUN)
        close(RUN)
        semctl(remove)

        pidfd_open(service)
        open(/proc/service/stat)
        read(/proc/service/stat)
        close(/proc/service/stat)
        ppoll(pidfd of service, now)
        pidfd_send_signal(pidfd of service, 15)
        close(pidfd of service)
        ",
    );
}

/// Wherever it is killed, before a call or after it, its reference is taken back and nothing else changes.
#[test]
fn killed_at_every_call_of_a_join() {
    let sandbox = Sandbox::new();
    let running = Running::new(&sandbox, &[]);
    let service = service(&sandbox);
    for stops in 1.. {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_traced"));
        command.args(["acquire", service.name()]).arg(sandbox.runtime_dir());
        let (mut listens, mut seen) = (false, 0);
        let traced = trace(&sandbox, command, Follow::Threads, |stop| {
            listens = stop.mark().map_or(listens, |mark| mark == 1);
            seen += usize::from(listens);
            if listens && seen == stops { Then::KillAndLetGo } else { Then::Go }
        });
        assert_eq!(traced.status.code().is_none(), seen >= stops, "at {stops}: {}", traced.output);
        assert_eq!(service.count().expect("it is counted"), 1, "killed at {stops}");
        assert!(running.handle.is_alive(), "killed at {stops}");
        if seen < stops {
            assert!(stops > 50, "there are {stops} stops only");
            break;
        }
    }
    running.stop();
}
