//! The blocking API, without tokio.

use crate::kit::{Bed, cause, receive};
use procref::{ErrorKind, ServiceInfo};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

#[test]
fn all_callbacks() {
    let bed = Bed::new();
    let (well, again) = (Arc::new(AtomicBool::new(false)), Arc::clone(&bed.calls));
    let (asked, recovered) = (Arc::clone(&well), Arc::clone(&well));
    let service = bed
        .blocking_builder()
        .on_health_check(move |info| info.port() == 4712 && asked.load(Ordering::SeqCst))
        .on_recover(move |old| {
            assert_eq!(old.port(), 4711);
            recovered.store(true, Ordering::SeqCst);
            again.recover()
        })
        .build()
        .expect("it can be described");
    let first = service.acquire().expect("it starts");
    let second = service.acquire().expect("it recovers");
    assert!(!first.is_alive() && second.is_alive());
    assert_eq!((first.info().port(), second.info().port()), (4711, 4712));
    assert_eq!((first.name(), second.name()), (service.name(), bed.name.as_str()));
    assert!(second.generation() > first.generation());
    first.release().expect("one of two");
    second.release().expect("it stops");
    assert_eq!(bed.calls.recoveries(), 1);
    bed.assert_balanced(1);
}

#[test]
fn dropped_while_a_panic_unwinds() {
    let bed = Bed::new();
    let handle = bed.blocking_service().acquire().expect("it starts");
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _held = handle;
        std::panic::resume_unwind(Box::new("unwinds"));
    }));
    assert!(panic.is_err());
    bed.assert_balanced(1);
}

#[test]
fn a_stop_that_fails_panics_or_hangs() {
    let bed = Bed::new();
    // Dropped at the end: until then the callback hangs.
    let (hangs, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let fails = bed.blocking_builder().on_last_release(|_| Err(io::Error::other("no answer").into()));
    let panics = bed.blocking_builder().on_last_release(|_| panic!("not now"));
    let waits = bed.blocking_builder().stop_timeout(Duration::from_millis(20)).on_last_release(move |_| {
        let _ = released.lock().expect("nobody panicked").recv();
        Ok(())
    });
    let expected = [
        (fails, ErrorKind::StopFailed, "no answer"),
        (panics, ErrorKind::StopFailed, "not now"),
        (waits, ErrorKind::TimedOut, "on_last_release took longer than 20ms"),
    ];
    for (builder, kind, text) in expected {
        let handle = builder.build().expect("it can be described").acquire().expect("it starts");
        let pid = handle.info().pid();
        let error = handle.release().expect_err("it cannot be stopped so");
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains(text), "{error}");
        assert!(!procref::process::is_alive(pid), "the ladder has stopped it");
        bed.sandbox.assert_nothing_left();
    }
    drop(hangs);
}

#[test]
fn a_start_that_fails_or_panics_and_then_works() {
    let bed = Bed::new();
    let (mode, calls) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&bed.calls));
    let how = Arc::clone(&mode);
    let service = bed
        .blocking_builder()
        .on_first_acquire(move || match how.load(Ordering::SeqCst) {
            0 => Err(io::Error::new(io::ErrorKind::AddrInUse, "the port is taken"))?,
            1 => panic!("no disk"),
            _ => calls.start(),
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert_eq!(cause::<io::Error>(&error).map(io::Error::kind), Some(io::ErrorKind::AddrInUse));
    bed.sandbox.assert_nothing_left();
    mode.store(1, Ordering::SeqCst);
    let error = service.acquire().expect_err("it panics");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("no disk"), "{error}");
    bed.sandbox.assert_nothing_left();
    mode.store(2, Ordering::SeqCst);
    drop(service.acquire().expect("it starts"));
    bed.assert_balanced(1);
}

/// A closure cannot be interrupted: it is judged when it returns, and what it started is stopped.
#[test]
fn a_start_that_takes_too_long() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let service = bed
        .blocking_builder()
        .start_timeout(Duration::from_millis(5))
        .on_first_acquire(move || {
            let begun = Instant::now();
            let info = calls.start();
            while begun.elapsed() <= Duration::from_millis(5) {
                std::thread::yield_now();
            }
            info
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().expect_err("it takes too long");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("on_first_acquire took longer than 5ms"), "{error}");
    bed.assert_balanced(1);
}

#[test]
fn an_acquire_that_takes_too_long_leaves_its_start_to_itself() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let (goes, gate) = mpsc::channel::<()>();
    let (gate, stop) = (Mutex::new(gate), Arc::clone(&bed.calls));
    let (says, stopped) = mpsc::channel();
    let service = bed
        .bare_blocking()
        .acquire_timeout(Duration::from_millis(20))
        .on_first_acquire(move || {
            receive(&gate.lock().expect("nobody panicked"), "leave to go on");
            calls.start()
        })
        .on_last_release(move |info| {
            stop.stop(&info);
            says.send(()).expect("the test listens");
            Ok(())
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().expect_err("it takes too long");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("20ms"), "{error}");
    assert_eq!(bed.calls.starts(), 0);
    goes.send(()).expect("the callback waits");
    receive(&stopped, "the end of what nobody waited for");
    bed.assert_balanced(1);
}

/// `acquire_timeout` holds "whatever it waits for".
#[test]
fn an_acquire_does_not_wait_longer_for_a_health_check_than_for_anything_else() {
    let bed = Bed::new();
    let (hangs, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let service = bed
        .blocking_builder()
        .acquire_timeout(Duration::from_millis(20))
        .health_timeout(Duration::from_secs(30))
        .on_health_check(move |_| {
            let _ = released.lock().expect("nobody panicked").recv();
            true
        })
        .build()
        .expect("it can be described");
    let handle = bed.blocking_service().acquire().expect("it starts");
    let begun = Instant::now();
    let error = service.acquire().expect_err("the check takes too long");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(handle.is_alive());
    drop(hangs);
}

#[test]
fn a_health_check_that_hangs_or_panics_is_unhealthy() {
    let bed = Bed::new();
    let (hangs, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let hanging = bed
        .blocking_builder()
        .health_timeout(Duration::from_millis(20))
        .on_health_check(move |_| {
            let _ = released.lock().expect("nobody panicked").recv();
            true
        })
        .build()
        .expect("it can be described");
    let panics = Arc::new(AtomicBool::new(true));
    let how = Arc::clone(&panics);
    let service = bed
        .blocking_builder()
        .on_health_check(move |_| {
            assert!(!how.load(Ordering::SeqCst), "cannot say");
            true
        })
        .build()
        .expect("it can be described");
    let first = hanging.acquire().expect("it starts");
    let second = hanging.acquire().expect("it is started anew");
    assert_ne!(first.info().pid(), second.info().pid());
    let third = service.acquire().expect("it is started anew");
    assert_ne!(second.info().pid(), third.info().pid());
    panics.store(false, Ordering::SeqCst);
    let fourth = service.acquire().expect("it is well");
    assert_eq!(third.info().pid(), fourth.info().pid());
    assert_eq!(bed.calls.starts(), 3);
    drop((first, second, third, fourth, hangs));
    assert_eq!(bed.calls.stops(), 1);
}

#[test]
fn without_a_process_and_without_a_stop() {
    let bed = Bed::new();
    let service = bed
        .bare_blocking()
        .on_first_acquire(|| Ok(ServiceInfo::without_pid().with_port(1)))
        .build()
        .expect("it can be described");
    let handle = service.acquire().expect("it starts");
    assert_eq!(service.count().expect("it is counted"), 1);
    assert_eq!(handle.info().port(), 1);
    handle.release().expect("there is nothing to stop");
    assert_eq!(service.count().expect("nothing is there"), 0);
}
