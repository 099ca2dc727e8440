//! Services that are declared by a command.

mod beside;

procref_tests::linux_only! { "a guardian for each service, a process of its own, and the kernel's floor under it":
    mod guardians;
}
procref_tests::linux_only! { "descriptors, signal masks, sessions; a socket by which a service says that it is ready":
    mod surroundings;
}
procref_tests::linux_only! { "a guardian that stands still, or is killed, while others wait for it; ptrace(2)":
    mod last;
}
procref_tests::linux_only! { "a semaphore set can be removed by who is no client":
    mod removed;
}
procref_tests::linux_only! { "a file system of its own for one thread":
    mod room;
}
procref_tests::linux_only! { "Redis has no program for Windows":
    mod redis;
}

use procref::blocking::{Builder, SharedService};
use procref::ready::Ready;
use procref::{ErrorKind, ServiceCommand, StopLadder, StopSignal};
use procref_tests::sandbox::{self, Found, Sandbox};
use procref_tests::sys::{self, Held};
use std::io::Read as _;
use std::time::{Duration, Instant};

fn builder(sandbox: &Sandbox, name: &str) -> Builder {
    sys::needs_way_in(env!("CARGO_BIN_EXE_actor"));
    SharedService::builder(sandbox.name(name)).runtime_dir(sandbox.runtime_dir())
}

const STEPS: &str = env!("CARGO_BIN_EXE_steps");

/// A program of steps as a service: marked, so that the sandbox finds what stays of it.
fn script(sandbox: &Sandbox, steps: &[&str]) -> ServiceCommand {
    ServiceCommand::new(STEPS).args(steps).env(sandbox::MARK, sandbox.mark())
}

/// Whether a process is made of just these steps, and no guardian.
fn does(process: &Found, steps: &str) -> bool {
    !process.guardian && process.title.trim_end().trim_end_matches('"').ends_with(steps)
}

fn log_of(handle: &procref::blocking::ServiceHandle) -> String {
    std::fs::read_to_string(handle.info().get("log").expect("it has a log")).expect("it can be read")
}

#[test]
fn one_that_ends_before_it_is_ready_says_how_and_why() {
    let sandbox = Sandbox::new();
    let began = Instant::now();
    let cases =
        [(["warn=no licence", "exit=3"], "exited with status 3"), (["say=no licence", "killed"], sys::KILLED_IN_WORDS)];
    for (index, (steps, how)) in cases.into_iter().enumerate() {
        let command = script(&sandbox, &steps).ready(Ready::log("never"));
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
    let text = sandbox.folder().join("text");
    std::fs::write(&text, "no program").expect("it can be written");
    let missing = sandbox.folder().join("missing");
    for program in ["procref-no-such-program", &missing.display().to_string(), &text.display().to_string()] {
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
    // One of them has lost its parent.
    let steps = ["child=stay", "child=child=stay;say=done", "stay"];
    let command = script(&sandbox, &steps).ready(Ready::log("done"));
    let service = builder(&sandbox, "tree").command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let family: Vec<_> = sandbox.processes().into_iter().filter(|process| does(process, "stay")).collect();
    assert_eq!(family.len(), 3, "{family:?}");
    handle.release().expect("it stops");
    for process in family {
        assert!(sandbox::has_ended(&process.pidfd), "{process:?}");
    }
}

#[test]
fn a_killed_service_is_started_anew_and_its_children_go() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, &["child=stay", "say=done", "stay"]).ready(Ready::log("done"));
    let service = builder(&sandbox, "killed").command(command).build().expect("it can be described");
    let first = service.acquire().expect("it starts");
    let pid = first.info().pid().expect("it is a process");
    let is_child = |process: &Found| process.pid != pid && does(process, "stay");
    let children: Vec<_> = sandbox.processes().into_iter().filter(is_child).collect();
    assert_eq!(children.len(), 1);
    let process = sandbox::hold(pid);
    procref::process::kill(pid);
    assert!(sandbox::wait_for_end(&process, Instant::now() + sandbox::PATIENCE));
    let second = service.acquire().expect("it is started anew");
    assert_ne!(second.info().pid(), Some(pid));
    for child in children {
        assert!(sandbox::has_ended(&child.pidfd), "{child:?}");
    }
    drop((first, second));
}

#[test]
fn the_ladder_reaches_one_that_ignores_the_signal() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, &["deaf", "say=done", "stay"]).ready(Ready::log("done"));
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_millis(50));
    let service = builder(&sandbox, "deaf").stop_ladder(ladder).command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    handle.release().expect("it is stopped");
}

#[test]
fn it_lingers() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, &["say=done", "stay"]).ready(Ready::log("done"));
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
    process: Held,
}

impl Client {
    fn new(sandbox: &Sandbox, name: &str, way: &str) -> Self {
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
        command.args([sandbox.name(name)]).arg(sandbox.runtime_dir()).args([STEPS, way]);
        command.stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut said = [0; 5];
        child.stdout.as_mut().expect("it is a pipe").read_exact(&mut said).expect("it holds the service");
        assert_eq!(&said, b"holds");
        let process = sandbox::hold(child.id());
        Self { child, process }
    }

    fn kill(&self) {
        sys::kill(&self.process);
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
    let command = script(sandbox, &HELD).ready(Ready::log("done"));
    builder(sandbox, name).command(command).build().expect("it can be described")
}

const HELD: [&str; 3] = ["child=stay", "say=done", "stay"];

fn service_of(sandbox: &Sandbox, name: &str) -> (Held, Option<u32>) {
    let status = held(sandbox, name).status().expect("it is known");
    let pid = status.info.and_then(|info| info.pid()).expect("it runs");
    (sandbox::hold(pid), status.guardian)
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
fn a_starter_killed_while_the_service_becomes_ready() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([sandbox.name("slow")]).arg(sandbox.runtime_dir()).args([STEPS, "never-ready"]);
    let mut starter = command.spawn().expect("it starts");
    let service = loop {
        let begun = sandbox.processes().into_iter().find(|process| does(process, "say=done stay"));
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
                    let command = script(sandbox, &["stay"]).port("a").port("b");
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

#[tokio::test]
async fn in_tasks() {
    let sandbox = Sandbox::new();
    let command = script(&sandbox, &["say=done", "stay"]).ready(Ready::log("done"));
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
        .command(ServiceCommand::new(STEPS))
        .on_first_acquire(|| Err("never".into()))
        .build()
        .expect_err("both");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
