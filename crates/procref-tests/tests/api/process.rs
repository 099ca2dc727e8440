//! Processes: alive, asked, forced, and never a stranger.

use crate::kit::{Bed, is_root, until};
use procref::process::{self, Process, SignalOutcome};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

fn sleep(bed: &Bed) -> Child {
    bed.sandbox.command("sleep").arg("1000").spawn().expect("sleep starts")
}

/// One that ignores SIGTERM, and does so already.
fn stubborn(bed: &Bed) -> Child {
    let script = "trap '' TERM; echo ready; exec sleep 1000";
    let mut child =
        bed.sandbox.command("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell starts");
    let mut ready = [0; 6];
    child.stdout.take().expect("it is piped").read_exact(&mut ready).expect("it says so");
    child
}

#[test]
fn no_process() {
    for pid in [None, Some(0), Some(u32::MAX), Some(i32::MAX as u32), Some(1 << 31)] {
        assert!(!process::is_alive(pid), "{pid:?}");
        assert_eq!(process::terminate(pid), SignalOutcome::NotRunning, "{pid:?}");
        assert_eq!(process::kill(pid), SignalOutcome::NotRunning, "{pid:?}");
        assert!(process::stop(pid, Duration::ZERO).expect("there is nothing to stop"), "{pid:?}");
        assert!(Process::from_pid(pid.unwrap_or(0)).expect("no error").is_none(), "{pid:?}");
    }
    assert!(process::is_alive(std::process::id()));
}

#[test]
fn terminated_and_a_zombie() {
    let bed = Bed::new();
    let mut child = sleep(&bed);
    let held = Process::from_pid(child.id()).expect("no error").expect("it lives");
    assert_eq!(held.pid(), child.id());
    assert!(process::is_alive(child.id()) && held.is_alive());
    assert!(!held.wait(Duration::ZERO).expect("no error"));
    assert_eq!(process::terminate(child.id()), SignalOutcome::Sent);
    assert!(held.wait(None).expect("no error"));
    assert!(!process::is_alive(child.id()) && !held.is_alive(), "a zombie is dead");
    assert_eq!(process::terminate(child.id()), SignalOutcome::NotRunning);
    assert_eq!(process::kill(child.id()), SignalOutcome::NotRunning);
    assert_eq!(held.terminate(), SignalOutcome::NotRunning);
    assert!(process::stop(child.id(), Duration::from_secs(60)).expect("it has ended"));
    child.wait().expect("it can be reaped");
    assert_eq!((process::kill(child.id()), held.kill()), (SignalOutcome::NotRunning, SignalOutcome::NotRunning));
    assert!(held.stop(Duration::from_secs(60)).expect("it has ended"));
}

#[test]
fn killed() {
    let bed = Bed::new();
    let mut child = stubborn(&bed);
    let held = Process::from_pid(child.id()).expect("no error").expect("it lives");
    assert_eq!(held.terminate(), SignalOutcome::Sent);
    assert!(held.is_alive(), "it ignores that");
    assert_eq!(process::kill(child.id()), SignalOutcome::Sent);
    assert!(held.wait(Duration::from_secs(60)).expect("no error"));
    child.wait().expect("it can be reaped");
}

#[test]
fn stopped_with_grace() {
    let bed = Bed::new();
    let mut child = sleep(&bed);
    assert!(process::stop(child.id(), Duration::from_secs(1000)).expect("it is ours"));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().expect("it ended")), Some(libc::SIGTERM));
}

#[test]
fn stopped_by_force() {
    let bed = Bed::new();
    for held in [false, true] {
        let mut child = stubborn(&bed);
        let stopped = if held {
            let held = Process::from_pid(child.id()).expect("no error").expect("it lives");
            held.stop(Duration::from_millis(10))
        } else {
            process::stop(child.id(), Duration::from_millis(10))
        };
        assert!(stopped.expect("it is ours"));
        let status = child.wait().expect("it ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    }
}

/// A process that stands still takes SIGTERM only when it goes on: force does not wait for that.
#[test]
fn a_stopped_process_is_stopped_by_force() {
    let bed = Bed::new();
    let mut child = sleep(&bed);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is ours");
    until("its standstill", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it is there");
        stat.contains(") T ")
    });
    assert!(process::is_alive(child.id()));
    assert!(process::stop(child.id(), Duration::from_millis(10)).expect("it is ours"));
    child.wait().expect("it can be reaped");
}

#[test]
fn another_users_process() {
    // This is process 1.
    if is_root() {
        println!("not tested: root may signal everybody");
        return;
    }
    assert!(process::is_alive(1));
    assert_eq!(process::terminate(1), SignalOutcome::NotPermitted);
    assert_eq!(process::kill(1), SignalOutcome::NotPermitted);
    let error = process::stop(1, Duration::ZERO).expect_err("it is somebody else's");
    assert!(error.to_string().contains("cannot signal the process 1"), "{error}");
}

/// The number of a thread that is not its process's first is no process's.
#[test]
fn the_number_of_a_thread() {
    std::thread::spawn(|| {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        assert_ne!(thread, std::process::id());
        assert!(!process::is_alive(thread));
        assert_eq!(process::terminate(thread), SignalOutcome::NotRunning);
    })
    .join()
    .expect("no panic");
}
