//! What is said of a service by who takes no part in it.

use crate::kit::{Bed, receive};
use procref::{ServiceState, Status};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

#[test]
fn looking_makes_nothing() {
    let bed = Bed::new();
    let (place, service) = (bed.place(), bed.blocking_service());
    assert_eq!(service.count().expect("nothing is there"), 0);
    let Status { state, clients, waiting, guardian, info, generation, .. } =
        service.status().expect("nothing is there");
    assert_eq!((state, clients, waiting, guardian, generation), (ServiceState::Stopped, 0, 0, None, 0));
    assert_eq!(info, None);
    assert!(place.is_empty());
    assert!(!bed.sandbox.runtime_dir().exists());
    assert_eq!(bed.sandbox.guardians(), [0_u32; 0]);
}

#[test]
fn through_a_life() {
    let bed = Bed::new();
    let (goes, gate) = mpsc::channel();
    let (says, begun) = mpsc::channel();
    let (gate, says, calls) = (Mutex::new(gate), says, Arc::clone(&bed.calls));
    let (stop_goes, stop_gate) = mpsc::channel();
    let (stop_says, stopping) = mpsc::channel();
    let stop_gate = Mutex::new(stop_gate);
    let service = bed
        .bare_blocking()
        .on_first_acquire(move || {
            says.send(()).expect("the test listens");
            receive(&gate.lock().expect("nobody panicked"), "leave to go on");
            calls.start()
        })
        .on_last_release(move |info| {
            stop_says.send(()).expect("the test listens");
            receive(&stop_gate.lock().expect("nobody panicked"), "leave to go on");
            procref::process::terminate(info.pid());
            Ok(())
        })
        .build()
        .expect("it can be described");
    let state = || service.status().expect("it is counted");
    let handle = std::thread::scope(|scope| {
        let starter = scope.spawn(|| service.acquire());
        receive(&begun, "the start");
        let status = state();
        assert_eq!((status.state, status.clients, status.waiting), (ServiceState::Changing, 1, 0));
        assert_eq!((status.info, status.generation), (None, 0));
        assert_eq!(Vec::from_iter(status.guardian), bed.sandbox.guardians(), "made before the service");
        goes.send(()).expect("the callback waits");
        starter.join().expect("no panic").expect("it starts")
    });
    let status = state();
    assert_eq!((status.state, status.clients, status.waiting), (ServiceState::Up, 1, 0));
    assert_eq!((status.info.as_ref(), status.generation), (Some(handle.info()), handle.generation()));
    assert_eq!(Vec::from_iter(status.guardian), bed.sandbox.guardians());
    assert_eq!(status, state(), "looking changes nothing");
    std::thread::scope(|scope| {
        let releaser = scope.spawn(|| handle.release());
        receive(&stopping, "the stop");
        let status = state();
        assert_eq!((status.state, status.clients), (ServiceState::Changing, 0));
        stop_goes.send(()).expect("the callback waits");
        releaser.join().expect("no panic").expect("it stops");
    });
    assert_eq!(state().state, ServiceState::Stopped);
}

#[test]
fn a_service_that_lingers() {
    let bed = Bed::new();
    let service = bed.blocking_builder().linger(Duration::from_secs(1000)).build().expect("it can be described");
    let first = service.acquire().expect("it starts");
    let info = first.info().clone();
    first.release().expect("it is left to its guardian");
    let status = service.status().expect("it is counted");
    assert_eq!((status.state, status.clients), (ServiceState::Lingering, 0));
    assert_eq!(status.info.as_ref(), Some(&info));
    assert_eq!(service.count().expect("it is counted"), 0);
    let second = service.acquire().expect("it is joined");
    assert_eq!(second.info(), &info);
    assert_eq!(service.status().expect("it is counted").state, ServiceState::Up);
    // Its guardian lingers for longer than this test: end it as the ladder would, and let the next acquire clean up.
    drop(second);
    assert_eq!(bed.calls.starts(), 1);
    let (guardian, pid) = (bed.sandbox.guardians(), info.pid().expect("it is a process"));
    for pid in guardian.into_iter().chain([pid]) {
        let held = procref_tests::sandbox::hold(pid);
        procref::process::kill(pid);
        let deadline = std::time::Instant::now() + procref_tests::sandbox::PATIENCE;
        assert!(procref_tests::sandbox::wait_for_end(&held, deadline));
    }
    assert_eq!(service.status().expect("it is counted").state, ServiceState::Dead);
    let plain = bed.blocking_service();
    plain.acquire().expect("it is started anew").release().expect("it stops");
    assert_eq!((bed.calls.starts(), bed.calls.stops()), (2, 1));
}

/// When the time is up, the process that let go last calls on_last_release.
#[test]
fn a_linger_that_ends() {
    let bed = Bed::new();
    let service = bed.blocking_builder().linger(Duration::from_millis(1)).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    drop(handle);
    bed.assert_balanced(1);
    assert_eq!(service.status().expect("nothing is there").state, ServiceState::Stopped);
}

#[test]
fn states_have_names() {
    let states = [
        ServiceState::Stopped,
        ServiceState::Changing,
        ServiceState::Up,
        ServiceState::Lingering,
        ServiceState::Dead,
        ServiceState::Orphaned,
    ];
    let names: Vec<_> = states.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["stopped", "changing", "up", "lingering", "dead", "orphaned"]);
    assert_eq!(format!("{:>8}", ServiceState::Up), "      up");
}
