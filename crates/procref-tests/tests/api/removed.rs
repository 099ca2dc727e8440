//! A set that is removed under a live client: counted no longer, and never "the count is 0".

use crate::counter::counter;
use crate::kit::Bed;
use crate::sets::{key_of, set_under};
use procref::{Acquired, ErrorKind, RefCounter, Released, ServiceState};
use procref_tests::sandbox::{PATIENCE, hold, remove_set, wait_for_end};
use std::time::Instant;

#[tokio::test]
async fn what_holds_holds_and_the_second_witness_stops_it() {
    let bed = Bed::new();
    let service = bed.service();
    let first = service.acquire().await.expect("it starts");
    let process = hold(first.info().pid().expect("it is a process"));
    let set = bed.set();
    let key = key_of(set);
    remove_set(set);

    let second = service.acquire().await.expect("it is held: no semaphore is asked");
    assert_eq!(second.info(), first.info());
    assert!(second.is_alive());
    for error in [service.count().expect_err("nobody knows"), service.status().map(drop).expect_err("nobody knows")] {
        assert_eq!(error.kind(), ErrorKind::SetRemoved);
        assert!(error.to_string().contains("ipcrm"), "{error}");
    }
    assert_eq!(set_under(key), None, "looking makes no set");
    second.release().await.expect("one of two handles");
    assert!(first.is_alive());
    let error = first.release().await.expect_err("it is counted no longer");
    assert_eq!(error.kind(), ErrorKind::SetRemoved);
    assert_eq!(error.service_name(), Some(bed.name.as_str()));
    assert!(wait_for_end(&process, Instant::now() + PATIENCE), "the guardian stops it by its pipe");
    bed.sandbox.assert_nothing_left();
    assert_eq!(bed.calls.stops(), 0);

    let third = service.acquire().await.expect("it is started anew");
    assert_eq!(service.status().expect("it is counted").state, ServiceState::Up);
    drop(third);
    assert_eq!((bed.calls.starts(), bed.calls.stops()), (2, 1));
}

#[tokio::test]
async fn a_dropped_handle_is_enough() {
    let bed = Bed::new();
    let handle = bed.service().acquire().await.expect("it starts");
    remove_set(bed.set());
    drop(handle);
    bed.sandbox.assert_nothing_left();
}

/// Who comes new does not start a second one beside a live one.
#[tokio::test]
async fn an_unhealthy_one_cannot_be_recovered_without_its_count() {
    let bed = Bed::new();
    let service = bed.builder().on_health_check(|_| async { false }).build().expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    remove_set(bed.set());
    let error = service.acquire().await.expect_err("it is counted no longer");
    assert_eq!(error.kind(), ErrorKind::SetRemoved);
    assert!(handle.is_alive());
    assert_eq!(bed.calls.starts(), 1, "no second instance");
    assert_eq!(handle.release().await.expect_err("it is counted no longer").kind(), ErrorKind::SetRemoved);
    bed.sandbox.assert_nothing_left();
}

/// Removed while a start is under way: what was started is known to nobody, so it is stopped.
#[test]
fn during_a_start() {
    let bed = Bed::new();
    let calls = std::sync::Arc::clone(&bed.calls);
    let (says, said) = std::sync::mpsc::channel();
    let (goes, gate) = std::sync::mpsc::channel();
    let gate = std::sync::Mutex::new(gate);
    let service = bed
        .blocking_builder()
        .on_first_acquire(move || {
            let info = calls.start();
            says.send(()).expect("the test listens");
            crate::kit::receive(&gate.lock().expect("nobody panicked"), "leave to go on");
            info
        })
        .build()
        .expect("it can be described");
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| service.acquire());
        crate::kit::receive(&said, "the start");
        remove_set(bed.set());
        goes.send(()).expect("the callback waits");
        let error = starter.join().expect("no panic").expect_err("it is not counted");
        assert_eq!(error.kind(), ErrorKind::SetRemoved);
    });
    bed.assert_balanced(1);
    goes.send(()).expect("the callback will not wait");
    drop(service.acquire().expect("it starts anew"));
    bed.assert_balanced(2);
}

/// A live service whose count has gone, seen by who does not hold it.
#[tokio::test]
async fn no_second_instance_starts_beside_one_that_is_counted_no_longer() {
    let bed = Bed::new();
    let service = bed.service();
    let phantom = bed.run_for_phantom();
    // Without a guardian nobody stops it; the phantom holds no pipe.
    for guardian in bed.sandbox.guardians() {
        let held = hold(guardian);
        procref::process::kill(guardian);
        assert!(wait_for_end(&held, Instant::now() + PATIENCE));
    }
    let key = key_of(phantom.set);
    remove_set(phantom.set);
    let errors = [
        service.count().expect_err("nobody knows"),
        service.status().map(drop).expect_err("nobody knows"),
        service.acquire().await.expect_err("no second one"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::SetRemoved, "{error}");
        assert!(error.to_string().contains(&format!("kill {}", phantom.pid)), "{error}");
    }
    assert_eq!((set_under(key), bed.calls.starts()), (None, 1));
    assert!(procref::process::is_alive(phantom.pid));

    let held = hold(phantom.pid);
    procref::process::kill(phantom.pid);
    assert!(wait_for_end(&held, Instant::now() + PATIENCE));
    assert_eq!(service.count().expect("nothing runs"), 0);
    service.acquire().await.expect("it is started anew").release().await.expect("it stops");
    assert_eq!((bed.calls.starts(), bed.calls.stops()), (2, 1));
}

#[test]
fn a_counters_set_is_no_count_of_zero() {
    let bed = Bed::new();
    let counter = counter(&bed);
    counter.acquire().expect("it counts");
    let set = bed.set();
    let key = key_of(set);
    remove_set(set);
    assert_eq!(counter.count().expect_err("nobody knows").kind(), ErrorKind::SetRemoved);
    assert_eq!(counter.acquire().expect_err("nobody knows").kind(), ErrorKind::SetRemoved);
    assert_eq!(counter.release().expect_err("it is counted no longer").kind(), ErrorKind::SetRemoved);
    assert_eq!(counter.acquire().expect("it counts anew"), Acquired::First);
    assert_eq!(counter.release().expect("it counts"), Released::Last);
    assert_eq!(set_under(key), None);
}
