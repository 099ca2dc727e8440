//! What the other tests need of a system is as they need it: the same on each.

use procref::ServiceInfo;
use procref::blocking::SharedService;
use procref_tests::actor::until;
use procref_tests::sandbox::{PATIENCE, has_ended, hold};
use procref_tests::sys::{self, End, Group};
use procref_tests::{Events, Sandbox};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

const STEPS: &str = env!("CARGO_BIN_EXE_steps");

/// A program of steps in the group. It has said `ready`.
fn ready(sandbox: &Sandbox, steps: &[&str], group: &mut Group) -> Child {
    let mut command = sandbox.command(STEPS);
    group.prepare(&mut command);
    let mut child = command.args(steps).stdout(Stdio::piped()).spawn().expect("it starts");
    group.add(&child);
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it says so");
    assert_eq!(line.trim_end(), "ready");
    child
}

/// Those that stay.
fn staying(sandbox: &Sandbox) -> Vec<procref_tests::sandbox::Found> {
    let mut found = sandbox.processes();
    found.retain(|process| process.title.trim_end().trim_end_matches('"').ends_with("stay"));
    found
}

#[test]
fn a_sandbox_finds_its_own_processes_and_their_children() {
    let [sandbox, other] = [Sandbox::new(), Sandbox::new()];
    let steps = ["child=stay", "say=ready", "stay"];
    let mut child = ready(&sandbox, &steps, &mut Group::default());
    until("both", || (staying(&sandbox).len() == 2).then_some(()));
    assert!(other.processes().is_empty());
    for process in staying(&sandbox) {
        assert!(!has_ended(&process.pidfd) && process.title.contains("steps") && !process.guardian, "{process:?}");
        sys::kill(&process.pidfd);
        assert!(sys::wait(&process.pidfd, PATIENCE));
    }
    assert_eq!(sys::end_of(child.wait().expect("it ended")), End::Killed);
    assert!(sandbox.processes().is_empty(), "also if nobody has reaped it");
}

#[test]
fn it_is_known_how_a_process_ended() {
    let sandbox = Sandbox::new();
    for (step, end) in [
        ("exit=0", End::Exit(0)),
        ("exit=3", End::Exit(3)),
        ("killed", End::Killed),
        ("abort", End::Aborted),
        ("crash", End::Crashed),
    ] {
        let mut command = sandbox.command(STEPS);
        let status = command.arg(step).stderr(Stdio::null()).status().expect("it runs");
        assert_eq!(sys::end_of(status), end, "{step}");
    }
}

#[test]
fn a_group_is_killed_by_one_call_and_its_children_are_not() {
    let sandbox = Sandbox::new();
    let (mut group, mut others) = (Group::default(), Group::default());
    let mut members: Vec<_> = (0..5).map(|_| ready(&sandbox, &["say=ready", "stay"], &mut group)).collect();
    let mut other = ready(&sandbox, &["say=ready", "stay"], &mut others);
    group.kill();
    for member in &mut members {
        assert_eq!(sys::end_of(member.wait().expect("it ended")), End::Killed);
    }
    assert!(!has_ended(&hold(other.id())));
    others.kill();
    other.wait().expect("it ended");
}

#[test]
fn who_stands_still_does_nothing_until_it_goes_on() {
    let sandbox = Sandbox::new();
    let [gate, done] = ["gate", "done"].map(|name| sandbox.folder().join(name));
    let steps = [
        "say=ready".to_owned(),
        format!("await={}", gate.display()),
        format!("add={}=x", done.display()),
        "stay".to_owned(),
    ];
    let mut child = ready(&sandbox, &steps.each_ref().map(String::as_str), &mut Group::default());
    let held = hold(child.id());
    sys::freeze(&held);
    // It may be in the middle of a look at the gate, which is then its last.
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&gate, "").expect("it can be written");
    std::thread::sleep(Duration::from_millis(50));
    assert!(!done.exists());
    sys::thaw(&held);
    until("it goes on", || done.exists().then_some(()));
    sys::kill(&held);
    child.wait().expect("it ended");
}

#[test]
fn a_file_is_one_process_s_own_until_that_has_ended() {
    let sandbox = Sandbox::new();
    let path = sandbox.folder().join("own");
    for _ in 0..20 {
        let own = format!("own={}", path.display());
        let mut owner = ready(&sandbox, &[&own, "say=ready", "stay"], &mut Group::default());
        let held = hold(owner.id());
        assert!(sys::own(&path).is_none());
        sys::kill(&held);
        assert!(sys::wait(&held, PATIENCE));
        assert!(sys::own(&path).is_some(), "at the moment at which its end is seen");
        owner.wait().expect("it ended");
    }
}

#[test]
fn many_write_to_one_log_and_no_line_is_lost() {
    let sandbox = Sandbox::new();
    let log = Events::new(sandbox.folder().join("log"));
    let step = format!("log={}=1 line x", log.path().display());
    let mut children: Vec<_> =
        (0..8).map(|_| sandbox.command(STEPS).args(vec![&step; 50]).spawn().expect("it starts")).collect();
    let last = log.wait_for("line", 8 * 50);
    assert_eq!((last.by, last.detail.as_str()), (1, "x"));
    for child in &mut children {
        assert!(child.wait().expect("it ended").success());
    }
    assert_eq!(log.all().len(), 8 * 50);
}

/// Its children neither, wherever they are.
#[test]
fn a_command_that_is_alone_can_be_started_by_a_member_of_a_group() {
    let sandbox = Sandbox::new();
    let mut group = Group::default();
    let steps = ["await=gate", "alone=say=ready;stay", "stay"];
    let gate = sandbox.folder().join("gate");
    let mut command = sandbox.command(STEPS);
    group.prepare(&mut command);
    let mut member =
        command.args(steps).current_dir(sandbox.folder()).stdout(Stdio::piped()).spawn().expect("it starts");
    group.add(&member);
    std::fs::write(gate, "").expect("it can be written");
    let mut line = String::new();
    BufReader::new(member.stdout.take().expect("a pipe")).read_line(&mut line).expect("its child says so");
    assert_eq!(line.trim_end(), "ready");
    group.kill();
    assert_eq!(sys::end_of(member.wait().expect("it ended")), End::Killed);
    let left = staying(&sandbox);
    let [child] = left.as_slice() else { panic!("the child is left, and nobody else: {left:?}") };
    sys::kill(&child.pidfd);
}

/// Or else nothing would be said to be left, whatever is.
#[test]
fn the_objects_of_a_service_are_seen_while_somebody_uses_it() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("s");
    let service = SharedService::builder(&name).runtime_dir(sandbox.runtime_dir());
    let service = service.on_first_acquire(|| Ok(ServiceInfo::without_pid())).build().expect("a good description");
    let handle = service.acquire().expect("it starts");
    assert_eq!(sandbox.objects().as_slice(), std::slice::from_ref(&name));
    assert!(!sys::objects_that_stay(&sandbox.name(""), Duration::ZERO).is_empty());
    let place = sys::Place::of(&name);
    assert!(!place.is_empty());
    handle.release().expect("it stops");
    assert!(place.is_empty() && sandbox.objects().is_empty());
}
