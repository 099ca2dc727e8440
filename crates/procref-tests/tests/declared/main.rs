//! Services that are declared by a command.

mod beside;
mod last;
mod removed;
mod room;

use procref::blocking::{Builder, SharedService};
use procref::ready::Ready;
use procref::{ErrorKind, ServiceCommand, ServiceState, StopLadder, StopSignal};
use procref_tests::sandbox::{self, Sandbox};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn builder(sandbox: &Sandbox, name: &str) -> Builder {
    SharedService::builder(sandbox.name(name)).runtime_dir(sandbox.runtime_dir())
}

/// A shell script as a service: marked, so that the sandbox finds what stays of it.
fn script(sandbox: &Sandbox, text: &str) -> ServiceCommand {
    ServiceCommand::new("sh").args(["-c", text]).env(sandbox::MARK, sandbox.mark())
}

fn log_of(handle: &procref::blocking::ServiceHandle) -> String {
    std::fs::read_to_string(handle.info().get("log").expect("it has a log")).expect("it can be read")
}

#[test]
fn a_redis_is_started_shared_and_stopped() {
    let sandbox = Sandbox::new();
    let redis = ServiceCommand::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--appendonly", "no"])
        .env(sandbox::MARK, sandbox.mark())
        .port("port")
        .ready(Ready::tcp("{port}"));
    let service = builder(&sandbox, "redis").command(redis).build().expect("it can be described");
    let handle = service.acquire().expect("redis starts (Debian: apt-get install redis-server)");
    let mut connection = TcpStream::connect(("127.0.0.1", handle.info().port())).expect("it listens");
    connection.write_all(b"PING\r\n").expect("it reads");
    let mut answer = [0; 7];
    connection.read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b"+PONG\r\n");
    assert_eq!(handle.info().get("port"), Some(handle.info().port().to_string().as_str()));
    let process = sandbox::hold(handle.info().pid().expect("it is a process"));
    let again = service.acquire().expect("it runs");
    assert_eq!(again.info(), handle.info());
    handle.release().expect("others hold it");
    assert!(!sandbox::has_ended(&process));
    again.release().expect("it is stopped");
    assert!(sandbox::has_ended(&process), "the release of the last one waits for its end");
    assert_eq!(service.status().expect("it is known").state, ServiceState::Stopped);
}

#[test]
fn it_has_nothing_of_the_client() {
    let sandbox = Sandbox::new();
    let told =
        "ls -l /proc/self/fd; cat /proc/self/status; cut -d' ' -f4-7 /proc/$$/stat; pwd; echo done; exec sleep 1000";
    let command = script(&sandbox, told).ready(Ready::log("done"));
    let service = builder(&sandbox, "bare").command(command).build().expect("it can be described");
    let (_reads, _writes) = rustix::pipe::pipe().expect("a pipe that is not closed on exec");
    let handle = service.acquire().expect("it starts");
    let log = log_of(&handle);
    let descriptors: Vec<_> = log.lines().filter_map(|line| line.split(" -> ").nth(1)).collect();
    let strange = descriptors.iter().filter(|target| {
        **target != "/dev/null"
            && !target.ends_with(".log")
            && !target.starts_with("pipe:")
            && !target.starts_with("/proc/")
    });
    assert_eq!(strange.count(), 0, "{log}");
    assert_eq!(descriptors.iter().filter(|target| target.starts_with("pipe:")).count(), 1, "the floor: {log}");
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(log.contains(line), "{log}");
    }
    let pid = handle.info().pid().expect("it is a process");
    let family: Vec<u32> = log
        .lines()
        .find_map(|line| {
            line.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<u32>>>().filter(|n| n.len() == 4)
        })
        .expect("parent, group, session and terminal");
    let guardian = service.status().expect("it is known").guardian.expect("it is guarded");
    assert_eq!(family, [guardian, pid, pid, 0], "{log}");
    assert!(log.lines().any(|line| line == "/"), "{log}");
    handle.release().expect("it stops");
}

#[test]
fn one_that_ends_before_it_is_ready_says_how_and_why() {
    let sandbox = Sandbox::new();
    let began = Instant::now();
    let cases = [
        ("echo no licence >&2; exit 3", "exited with status 3"),
        ("echo no licence; kill -9 $$", "was killed by signal 9"),
    ];
    for (index, (text, how)) in cases.into_iter().enumerate() {
        let command = script(&sandbox, text).ready(Ready::log("never"));
        let service = builder(&sandbox, &format!("ends{index}")).command(command).build().expect("it can be described");
        let error = service.acquire().expect_err("it ends");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(error.to_string().contains(how) && error.to_string().contains("no licence"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(50), "at once, not after the timeout");
}

#[test]
fn a_program_that_cannot_be_started() {
    let sandbox = Sandbox::new();
    for program in ["procref-no-such-program", "/nonexistent/program", "/etc/passwd"] {
        let command = ServiceCommand::new(program);
        let service = builder(&sandbox, "none").command(command).build().expect("it can be described");
        let error = service.acquire().expect_err("it cannot be started");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(error.to_string().contains(program), "{error}");
    }
}

#[test]
fn no_descendant_stays() {
    let sandbox = Sandbox::new();
    // One in another group, one in another session, and one that has lost its parent.
    let text =
        "sleep 1004 & setsid sleep 1001 & (setsid sh -c 'sleep 1002 & echo done; exec sleep 1003' &); exec sleep 1000";
    let command = script(&sandbox, text).ready(Ready::log("done"));
    let service = builder(&sandbox, "tree").command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let family: Vec<_> = sandbox.processes().into_iter().filter(|process| !process.guardian).collect();
    assert!(family.len() >= 4, "{family:?}");
    handle.release().expect("it stops");
    for process in family {
        assert!(sandbox::has_ended(&process.pidfd), "{process:?}");
    }
}

#[test]
fn a_killed_service_is_started_anew_and_its_children_go() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, "sleep 1001 & echo done; wait").ready(Ready::log("done"));
    let service = builder(&sandbox, "killed").command(command).build().expect("it can be described");
    let first = service.acquire().expect("it starts");
    let children: Vec<_> =
        sandbox.processes().into_iter().filter(|process| process.title.contains("sleep 1001")).collect();
    assert!(!children.is_empty());
    let pid = first.info().pid().expect("it is a process");
    let process = sandbox::hold(pid);
    procref::process::kill(pid);
    assert!(sandbox::wait_for_end(&process, Instant::now() + sandbox::PATIENCE));
    let second = service.acquire().expect("it is started anew");
    assert_ne!(second.info().pid(), Some(pid));
    for child in children.iter().filter(|child| child.title.starts_with("sleep")) {
        assert!(sandbox::has_ended(&child.pidfd), "{child:?}");
    }
    drop((first, second));
}

#[test]
fn the_ladder_reaches_one_that_ignores_the_signal() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, "trap '' TERM; echo done; while :; do sleep 1000; done").ready(Ready::log("done"));
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_millis(50));
    let service = builder(&sandbox, "deaf").stop_ladder(ladder).command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    handle.release().expect("it is stopped");
}

#[test]
fn it_lingers() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done"));
    let service = builder(&sandbox, "lingers")
        .linger(Duration::from_millis(500))
        .command(command)
        .build()
        .expect("it can be described");
    let first = service.acquire().expect("it starts");
    let pid = first.info().pid();
    first.release().expect("it lingers");
    let second = service.acquire().expect("it is still there");
    assert_eq!(second.info().pid(), pid);
    second.release().expect("it lingers");
}

/// Another process that holds the service until it is killed.
struct Client {
    child: std::process::Child,
    process: rustix::fd::OwnedFd,
}

impl Client {
    fn new(sandbox: &Sandbox, name: &str, way: &str) -> Self {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
        command.args([sandbox.name(name)]).arg(sandbox.runtime_dir()).arg(way).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut said = [0; 5];
        child.stdout.as_mut().expect("it is a pipe").read_exact(&mut said).expect("it holds the service");
        assert_eq!(&said, b"holds");
        let process = sandbox::hold(child.id());
        Self { child, process }
    }

    fn kill(&self) {
        rustix::process::pidfd_send_signal(&self.process, rustix::process::Signal::KILL).expect("it lives");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same service as `holder` declares.
fn held(sandbox: &Sandbox, name: &str) -> SharedService {
    let command = script(sandbox, "sleep 1001 & echo done; exec sleep 1000").ready(Ready::log("done"));
    builder(sandbox, name).command(command).build().expect("it can be described")
}

fn service_of(sandbox: &Sandbox, name: &str) -> (rustix::fd::OwnedFd, u32) {
    let status = held(sandbox, name).status().expect("it is known");
    let pid = status.info.and_then(|info| info.pid()).expect("it runs");
    (sandbox::hold(pid), status.guardian.expect("it is guarded"))
}

#[test]
fn the_last_client_is_killed() {
    let sandbox = Sandbox::new();
    for way in ["forked", "started"] {
        let [first, second] = [Client::new(&sandbox, way, way), Client::new(&sandbox, way, way)];
        let (service, _) = service_of(&sandbox, way);
        first.kill();
        assert!(sandbox::wait_for_end(&first.process, Instant::now() + sandbox::PATIENCE));
        assert!(!sandbox::has_ended(&service), "{way}");
        second.kill();
        assert!(sandbox::wait_for_end(&service, Instant::now() + sandbox::PATIENCE), "{way}");
    }
}

#[test]
fn a_killed_guardian_stops_nothing_and_is_replaced() {
    let sandbox = Sandbox::new();
    let client = Client::new(&sandbox, "guarded", "forked");
    let (service, guardian) = service_of(&sandbox, "guarded");
    let mut before = guardian;
    for _ in 0..3 {
        procref::process::kill(before);
        let next = loop {
            match held(&sandbox, "guarded").status().expect("it is known").guardian {
                Some(other) if other != before => break other,
                _ => std::thread::yield_now(),
            }
        };
        before = next;
        assert!(!sandbox::has_ended(&service));
    }
    // The one that is not its parent leaves nothing behind, either.
    client.kill();
    assert!(sandbox::wait_for_end(&service, Instant::now() + sandbox::PATIENCE));
}

/// The kernel's own count: nobody of ours is left to do anything.
#[test]
fn guardian_and_clients_killed_in_the_same_instant() {
    let sandbox = Sandbox::new();
    for round in 0..20 {
        let name = format!("floor{round}");
        let clients = [Client::new(&sandbox, &name, "forked"), Client::new(&sandbox, &name, "started")];
        let (service, guardian) = service_of(&sandbox, &name);
        let guardian = sandbox::hold(guardian);
        let everybody = [&guardian, &clients[0].process, &clients[1].process];
        for process in everybody {
            rustix::process::pidfd_send_signal(process, rustix::process::Signal::STOP).expect("it lives");
        }
        for turn in 0..3 {
            let process = everybody[(turn + round) % 3];
            rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL).expect("it lives");
        }
        assert!(sandbox::wait_for_end(&service, Instant::now() + sandbox::PATIENCE), "round {round}");
        // What is recorded of it is finished by whoever comes next.
        let handle = held(&sandbox, &name).acquire().expect("it is started anew");
        handle.release().expect("it stops");
    }
}

/// Found by the soak: one who comes while there is no guardian was counted, but held another pipe than the service's or none.
///
/// 1. The guardian is killed, and nobody can make a new one at once.
/// 2. A client comes, and makes one.
/// 3. All who were there before are killed, and that guardian: the kernel sees that nobody holds the service's pipe, and
///    tells it to stop.
#[test]
fn who_comes_while_there_is_no_guardian_keeps_the_service() {
    let sandbox = Sandbox::new();
    let first = Client::new(&sandbox, "between", "started");
    let (service, guardian) = service_of(&sandbox, "between");
    // It cannot notice.
    rustix::process::pidfd_send_signal(&first.process, rustix::process::Signal::STOP).expect("it lives");
    let held_guardian = sandbox::hold(guardian);
    procref::process::kill(guardian);
    assert!(sandbox::wait_for_end(&held_guardian, Instant::now() + sandbox::PATIENCE));
    let second = Client::new(&sandbox, "between", "forked");
    let (same, guardian) = service_of(&sandbox, "between");
    assert!(!sandbox::has_ended(&same));
    rustix::process::pidfd_send_signal(&second.process, rustix::process::Signal::STOP).expect("it lives");
    let guardian = sandbox::hold(guardian);
    rustix::process::pidfd_send_signal(&guardian, rustix::process::Signal::KILL).expect("it lives");
    assert!(sandbox::wait_for_end(&guardian, Instant::now() + sandbox::PATIENCE));
    first.kill();
    assert!(sandbox::wait_for_end(&first.process, Instant::now() + sandbox::PATIENCE));
    // What the kernel does when the last end is closed it has done by the time that its process has ended: the service
    // would be on its way out, as its next answer shows.
    let pid = held(&sandbox, "between").status().expect("it is known").info.and_then(|info| info.pid());
    let pending = std::fs::read_to_string(format!("/proc/{}/status", pid.expect("it runs"))).expect("it lives");
    assert!(pending.contains("ShdPnd:\t0000000000000000"), "it was told to stop: {pending}");
    rustix::process::pidfd_send_signal(&second.process, rustix::process::Signal::CONT).expect("it lives");
    assert!(!sandbox::has_ended(&service) && held(&sandbox, "between").acquire().is_ok());
    assert!(!sandbox::has_ended(&service), "it is in use");
    second.kill();
    assert!(sandbox::wait_for_end(&service, Instant::now() + sandbox::PATIENCE));
}

/// One that takes its time to stop is not joined when nobody has held it for a moment: it is on its way out.
#[test]
fn what_the_kernel_has_told_to_stop_is_not_joined() {
    let sandbox = Sandbox::new();
    let client = Client::new(&sandbox, "leaving", "ignores-signals");
    let (service, guardian) = service_of(&sandbox, "leaving");
    let guardian = sandbox::hold(guardian);
    for process in [&guardian, &client.process] {
        rustix::process::pidfd_send_signal(process, rustix::process::Signal::STOP).expect("it lives");
    }
    for process in [&guardian, &client.process] {
        rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL).expect("it lives");
        assert!(sandbox::wait_for_end(process, Instant::now() + sandbox::PATIENCE));
    }
    assert!(!sandbox::has_ended(&service));
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_millis(50));
    let command = script(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done"));
    let next = builder(&sandbox, "leaving").stop_ladder(ladder).command(command).build().expect("it can be described");
    let handle = next.acquire().expect("another one is started");
    assert!(sandbox::has_ended(&service), "the first one was finished before");
    handle.release().expect("it stops");
}

#[test]
fn a_starter_killed_while_the_service_becomes_ready() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([sandbox.name("slow")]).arg(sandbox.runtime_dir()).arg("never-ready");
    let mut starter = command.spawn().expect("it starts");
    let service = loop {
        let begun = sandbox.processes().into_iter().find(|process| process.title.starts_with("sleep 1000"));
        match begun {
            Some(process) => break process,
            None => std::thread::yield_now(),
        }
    };
    starter.kill().expect("it lives");
    starter.wait().expect("it ends");
    assert!(sandbox::wait_for_end(&service.pidfd, Instant::now() + sandbox::PATIENCE), "the guardian knows of it");
}

#[test]
fn two_services_never_get_the_same_port() {
    let sandbox = Sandbox::new();
    let ports: std::collections::HashSet<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let sandbox = &sandbox;
                scope.spawn(move || {
                    let command = script(sandbox, "exec sleep 1000").port("a").port("b");
                    let service = builder(sandbox, &format!("port{number}")).command(command).build();
                    let handle = service.expect("it can be described").acquire().expect("it starts");
                    let number =
                        |name| handle.info().get(name).and_then(|port| port.parse::<u16>().ok()).expect("a port");
                    let ports = [number("a"), number("b")];
                    assert_eq!(handle.info().port(), ports[0]);
                    (handle, ports)
                })
            })
            .collect();
        let held: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        held.iter().flat_map(|(_, ports)| *ports).collect()
    });
    assert_eq!(ports.len(), 16);
}

#[test]
fn its_own_word() {
    let sandbox = Sandbox::new();
    // A path that a socket can have, and one that is too long for that.
    for folder in [sandbox.runtime_dir(), sandbox.runtime_dir().join("x".repeat(100))] {
        std::fs::create_dir_all(folder.parent().expect("it has one")).expect("it can be made");
        // Who says it must still be there when it is read.
        let command =
            ServiceCommand::new(env!("CARGO_BIN_EXE_holder")).arg("notify").env(sandbox::MARK, sandbox.mark());
        let service = builder(&sandbox, "notify").runtime_dir(&folder).command(command.ready(Ready::notify()));
        let handle = service.build().expect("it can be described").acquire().expect("it says that it is ready");
        handle.release().expect("it stops");
    }
    std::fs::remove_dir_all(sandbox.runtime_dir()).expect("there is a log");
}

#[tokio::test]
async fn in_tasks() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done"));
    let service = procref::SharedService::builder(sandbox.name("tasks")).runtime_dir(sandbox.runtime_dir());
    let service = service.command(command).build().expect("it can be described");
    let (first, second) = tokio::join!(service.acquire(), service.acquire());
    let (first, second) = (first.expect("it starts"), second.expect("it runs"));
    assert_eq!(first.info().pid(), second.info().pid());
    first.release().await.expect("another one holds it");
    let process = sandbox::hold(second.info().pid().expect("it is a process"));
    second.release().await.expect("it stops");
    assert!(sandbox::has_ended(&process));
}

#[test]
fn commands_and_callbacks_exclude_each_other() {
    let sandbox = Sandbox::new();
    let error = builder(&sandbox, "both")
        .command(ServiceCommand::new("true"))
        .on_first_acquire(|| Err("never".into()))
        .build()
        .expect_err("both");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
