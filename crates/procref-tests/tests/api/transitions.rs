//! A transition that belongs to no process, so that it can be held at any point.

use crate::cancel::{assert_stopped, runtime};
use crate::kit::{Bed, Polled, until};
use procref::ServiceState;
use procref::protocol::set::{CLIENTS, LOCK};

/// Waiting in the kernel for the transition of another process.
#[test]
fn waiting_for_another_process() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let bed = Bed::new();
    let service = bed.service();
    let phantom = bed.run_for_phantom();
    phantom.add(LOCK, 1);
    for polls in 1..=2 {
        let mut acquire = Polled::new(service.acquire());
        for _ in 0..polls {
            acquire.assert_pending();
        }
        until("its thread's sleep", || phantom.waiting(LOCK) == 1);
        assert_eq!(service.count().expect("it is counted"), 2);
        let status = service.status().expect("it is counted");
        assert_eq!((status.state, status.clients, status.waiting), (ServiceState::Changing, 2, 1));
        drop(acquire);
        until("its withdrawal", || phantom.value(CLIENTS) == 1 && phantom.waiting(LOCK) == 0);
    }
    // One that is dropped just when it is given up, and one who comes then.
    let mut given_up = Polled::new(service.acquire());
    given_up.assert_pending();
    drop(given_up);
    let mut acquire = Polled::new(service.acquire());
    acquire.assert_pending();
    phantom.add(LOCK, -1);
    let handle = acquire.finish().expect("it is joined");
    assert_eq!(handle.info().pid(), Some(phantom.pid));
    drop(handle);
    assert_eq!(phantom.value(CLIENTS), 1);
    phantom.add(CLIENTS, -1);
    assert_stopped(&bed, &service);
    assert_eq!(bed.calls.starts(), 1, "it was only joined");
}

#[test]
fn those_who_wait_are_counted() {
    let bed = Bed::new();
    let service = bed.blocking_service();
    let phantom = bed.run_for_phantom();
    phantom.add(LOCK, 1);
    std::thread::scope(|scope| {
        let acquires = scope.spawn(|| service.acquire());
        until("its sleep", || phantom.waiting(LOCK) == 1);
        let status = service.status().expect("it is counted");
        assert_eq!((status.state, status.clients, status.waiting), (ServiceState::Changing, 2, 1));
        phantom.add(LOCK, -1);
        let handle = acquires.join().expect("no panic").expect("it is joined");
        assert_eq!(service.status().expect("it is counted").waiting, 0);
        phantom.add(CLIENTS, -1);
        drop(handle);
    });
    bed.assert_balanced(1);
}
