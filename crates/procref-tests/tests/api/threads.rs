//! Threads that have not all of what the other threads of their program have.

use crate::kit::Bed;
use procref::protocol::set::CLIENTS;
use procref::{Acquired, ErrorKind, PlatformRefCounter, RefCounter, Released, ServiceState};
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold};
use std::path::Path;

/// Runs `work` in a thread that has called unshare(2), and returns when the kernel has done all that it does at its end.
/// `None`: that may not be done here.
#[expect(unsafe_code, reason = "there is no safe wrapper for unshare of semaphore undo lists")]
fn in_thread_of_its_own<T: Send + 'static>(flags: i32, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let thread = std::thread::spawn(move || {
        let number = rustix::thread::gettid().as_raw_nonzero();
        // SAFETY: takes a number, and changes this thread alone.
        let result = unsafe { libc::unshare(flags) };
        (number, (result == 0).then(work))
    });
    let (number, done) = thread.join().expect("no panic");
    let task = format!("/proc/self/task/{number}");
    until("the thread has ended", || (!Path::new(&task).exists()).then_some(()));
    if done.is_none() {
        println!("not tested: it takes a privilege");
    }
    done
}

/// So that the program has taken a reference before, and still has it.
fn first(bed: &Bed) -> impl Sized + use<> {
    bed.blocking_service().acquire().expect("it starts")
}

#[test]
fn a_release_in_a_thread_with_an_undo_list_of_its_own_counts_once() {
    let bed = Bed::new();
    let phantom = bed.run_for_phantom();
    let service = bed.blocking_service();
    let handle = service.acquire().expect("it runs");
    assert_eq!(service.count().expect("it is counted"), 2);
    let released = in_thread_of_its_own(libc::CLONE_SYSVSEM, move || handle.release());
    released.expect("this needs no privilege").expect("it is released");
    assert_eq!(service.count().expect("it is counted"), 1, "the phantom alone");
    phantom.add(CLIENTS, -1);
}

#[test]
fn an_acquire_in_a_thread_with_an_undo_list_of_its_own_outlives_the_thread() {
    let (bed, other) = (Bed::new(), Bed::new());
    let held = first(&other);
    for starts in [true, false] {
        let phantom = (!starts).then(|| bed.run_for_phantom());
        let service = bed.blocking_service();
        let acquired = in_thread_of_its_own(libc::CLONE_SYSVSEM, move || service.acquire());
        let handle = acquired.expect("this needs no privilege").expect("it can be had");
        let process = hold(handle.info().pid().expect("it is a process"));
        let expected = if starts { 1 } else { 2 };
        assert_eq!(bed.blocking_service().count().expect("it is counted"), expected, "starts: {starts}");
        if let Some(phantom) = phantom {
            phantom.add(CLIENTS, -1);
        }
        assert_eq!(bed.blocking_service().count().expect("it is counted"), 1);
        assert!(!has_ended(&process));
        handle.release().expect("it stops");
        assert!(has_ended(&process));
    }
    drop(held);
}

#[test]
fn a_handle_is_not_kept_by_a_thread_that_would_lose_it() {
    let bed = Bed::new();
    let handle = bed.blocking_service().acquire().expect("it starts");
    let kept = in_thread_of_its_own(libc::CLONE_SYSVSEM, move || handle.keep());
    let error = kept.expect("this needs no privilege").expect_err("its own list has nothing in it");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    until("it is released", || (bed.blocking_service().status().ok()?.state == ServiceState::Stopped).then_some(()));
}

#[test]
fn a_thread_in_another_ipc_namespace_releases_what_the_program_holds_and_acquires_nothing() {
    let (bed, other) = (Bed::new(), Bed::new());
    let held = first(&other);
    let handle = bed.blocking_service().acquire().expect("it starts");
    let process = hold(handle.info().pid().expect("it is a process"));
    let service = bed.blocking_service();
    let done = in_thread_of_its_own(libc::CLONE_NEWIPC, move || (handle.release(), service.acquire()));
    let Some((released, acquired)) = done else { return };
    released.expect("it is released where it was taken");
    assert!(has_ended(&process));
    let error = acquired.expect_err("it would be another service");
    assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
    drop(held);
}

#[test]
fn who_can_make_no_thread_is_told_why() {
    let bed = Bed::new();
    let service = bed.blocking_service();
    let acquired = in_thread_of_its_own(libc::CLONE_NEWPID, move || service.acquire());
    let Some(acquired) = acquired else { return };
    let error = acquired.expect_err("it takes a thread");
    assert_eq!(error.kind(), ErrorKind::System, "{error}");
    assert!(error.to_string().contains("CLONE_NEWPID"), "{error}");
}

#[test]
fn a_bare_counter_is_not_changed_in_a_thread_with_an_undo_list_of_its_own() {
    let sandbox = procref_tests::Sandbox::new();
    let counter = std::sync::Arc::new(PlatformRefCounter::new(&sandbox.name("count")).expect("a good name"));
    assert_eq!(counter.acquire().expect("it counts"), Acquired::First);
    let other = std::sync::Arc::clone(&counter);
    let said = in_thread_of_its_own(libc::CLONE_SYSVSEM, move || (other.acquire().map(drop), other.release().map(drop)));
    let (acquired, released) = said.expect("this needs no privilege");
    for error in [acquired, released].map(|result| result.expect_err("it would not be undone with the others")) {
        assert_eq!(error.kind(), ErrorKind::Incompatible, "{error}");
    }
    assert_eq!(counter.count().expect("it counts"), 1);
    assert_eq!(counter.release().expect("it is here that it was taken"), Released::Last);
    assert_eq!(counter.count().expect("it counts"), 0);
}
