//! fork(2): the child's copies are nothing.

use crate::counter::counter;
use crate::kit::Bed;
use procref::{Acquired, ErrorKind, RefCounter, Released, ServiceState};
use std::sync::Arc;

/// The child's copies are nothing: its drop, its release and its count of itself.
#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_forked_child_has_no_reference() {
    let bed = Bed::new();
    let counter = counter(&bed);
    counter.acquire().expect("it counts");
    // SAFETY: the child makes a few calls of ours and exits without running anything else of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let right = counter.release().is_err_and(|error| error.kind() == ErrorKind::InvalidInput)
            && counter.count().is_ok_and(|count| count == 1)
            && counter.acquire().is_ok_and(|acquired| acquired == Acquired::Another);
        drop(counter);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = -1;
    // SAFETY: this is our child, and the kernel fills the number.
    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((reaped, status), (child, 0));
    assert_eq!(counter.count().expect("it counts"), 1);
    assert_eq!(counter.release().expect("it counts"), Released::Last);
}

/// The child's copy of the handle is nothing: also its drop gives nothing away.
#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_forked_child_gives_nothing_away() {
    let bed = Bed::new();
    let service = bed.blocking_service();
    let handle = service.acquire().expect("it starts");
    // SAFETY: the child drops one value and exits without running anything of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(handle);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    let mut status = -1;
    // SAFETY: this is our child, and the kernel fills the number.
    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((reaped, status), (child, 0));
    assert!(handle.is_alive());
    assert_eq!(service.count().expect("it is counted"), 1);
    handle.release().expect("it stops");
    bed.assert_balanced(1);
}

/// A callback that forks comes back twice. The child has the memory of its parent's start, but not its lock.
#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_child_that_comes_back_from_a_callback_gives_nothing_away() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let (says, said) = std::sync::mpsc::channel();
    let (goes, gate) = std::sync::mpsc::channel();
    let gate = std::sync::Mutex::new(gate);
    let service = bed
        .blocking_builder()
        .on_first_acquire(move || {
            // SAFETY: the child comes back at once, with the only thread that it has, and ends with that.
            match unsafe { libc::fork() } {
                0 => Err("a child that could not become another program".into()),
                child => {
                    let mut status = -1;
                    // SAFETY: this is our child, and the kernel fills the number.
                    let reaped = unsafe { libc::waitpid(child, &raw mut status, 0) };
                    says.send((reaped, status) == (child, 0)).expect("the test listens");
                    crate::kit::receive(&gate.lock().expect("nobody panicked"), "leave to go on");
                    calls.start()
                }
            }
        })
        .build()
        .expect("it can be described");
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| service.acquire());
        assert!(crate::kit::receive(&said, "the child's end"), "it ends well");
        let status = service.status().expect("the set is there");
        assert_eq!((status.state, status.clients), (ServiceState::Changing, 1), "lock and reference are the parent's");
        goes.send(()).expect("the callback waits");
        let handle = starter.join().expect("no panic").expect("it starts");
        assert_eq!(service.count().expect("it is counted"), 1);
        handle.release().expect("it stops");
    });
    bed.assert_balanced(1);
}
