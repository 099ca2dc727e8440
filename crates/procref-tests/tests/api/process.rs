//! Processes: alive, asked, forced, and never a stranger.

use crate::kit::{Bed, STEPS};
use procref::process::{self, Process, SignalOutcome};
use procref_tests::sys::{self, End};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Duration;

/// One that ends when it is asked to.
pub(crate) fn sleep(bed: &Bed) -> Child {
    helper(bed, &["say=ready", "stay"])
}

/// One that does not, and does so already.
fn stubborn(bed: &Bed) -> Child {
    helper(bed, &["deaf", "say=ready", "stay"])
}

fn helper(bed: &Bed, steps: &[&str]) -> Child {
    let mut command = bed.sandbox.command(STEPS);
    let mut child = sys::alone(&mut command).args(steps).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut ready = [0; 6];
    child.stdout.as_mut().expect("it is piped").read_exact(&mut ready).expect("it says so");
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
    assert_eq!(sys::end_of(child.wait().expect("it ended")), End::Asked);
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
        assert_eq!(sys::end_of(child.wait().expect("it ended")), End::Killed);
    }
}
