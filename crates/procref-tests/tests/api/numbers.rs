//! Processes that stand still, that are another user's, and that are threads.

use crate::kit::{Bed, until};
use crate::process::sleep;
use crate::sets::is_root;
use procref::process::{self, SignalOutcome};
use std::time::Duration;

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
