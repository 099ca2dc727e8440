//! fork(2): the child's copies are nothing.

use crate::counter::counter;
use crate::kit::Bed;
use procref::{Acquired, ErrorKind, RefCounter, Released};

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
