//! Health checks and recovery: one acts, however many notice.

use crate::kit::{Bed, Polled, cause};
use procref::{Error, ErrorKind, ServiceInfo, ServiceState};
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_notice_one_recovers() {
    let bed = Bed::new();
    let (again, checks) = (Arc::clone(&bed.calls), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&checks);
    let service = bed
        .builder()
        .on_health_check(move |info| {
            asked.fetch_add(1, Ordering::SeqCst);
            async move { info.port() == 4712 }
        })
        .on_recover(move |_| {
            let calls = Arc::clone(&again);
            async move { calls.recover() }
        })
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { service.acquire().await })
        })
        .collect();
    let mut handles = Vec::new();
    for task in tasks {
        handles.push(task.await.expect("no panic").expect("it is recovered"));
    }
    assert!(handles.iter().all(|handle| handle.info().port() == 4712 && handle.is_alive()));
    assert!(checks.load(Ordering::SeqCst) > 1);
    assert_eq!(bed.calls.recoveries(), 1);
    assert!(!first.is_alive());
    drop((first, handles));
    bed.assert_balanced(1);
}

fn finish_in<T>(runtime: &tokio::runtime::Runtime, acquire: Polled<impl Future<Output = procref::Result<T>>>) -> T {
    let _entered = runtime.enter();
    acquire.finish().expect("it is started anew")
}

/// Seen by many who ask at once whether it is well, before any of them acts.
#[test]
fn of_many_who_notice_in_the_same_instant_one_starts_it_anew() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _entered = runtime.enter();
    let bed = Bed::new();
    let (gate, well) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (wait, good) = (Arc::clone(&gate), Arc::clone(&well));
    let service = bed
        .builder()
        .on_health_check(move |info| {
            let (gate, good) = (Arc::clone(&wait), good.load(Ordering::SeqCst));
            async move {
                let _permit = gate.acquire().await;
                info.pid() != Some(good as u32)
            }
        })
        .build()
        .expect("it can be described");
    let first = runtime.block_on(service.acquire()).expect("it starts");
    well.store(first.info().pid().expect("it is a process") as usize, Ordering::SeqCst);
    let mut waiting: Vec<_> = (0..10).map(|_| Polled::new(service.acquire())).collect();
    waiting.iter_mut().for_each(Polled::assert_pending);
    gate.add_permits(100);
    let handles: Vec<_> = std::thread::scope(|scope| {
        let finish = |acquire| scope.spawn(|| finish_in(&runtime, acquire));
        let threads: Vec<_> = waiting.into_iter().map(finish).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(handles.iter().all(|handle| handle.info() == handles[0].info() && handle.is_alive()));
    assert_eq!(bed.calls.starts(), 2);
    assert!(!first.is_alive());
    drop((first, handles));
    assert_eq!(bed.calls.stops(), 1);
}

#[tokio::test]
async fn without_a_recovery_it_is_started_anew_when_the_old_one_has_gone() {
    let bed = Bed::new();
    let (old, calls) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&bed.calls));
    let (before, unwell) = (Arc::clone(&old), Arc::clone(&old));
    let service = bed
        .builder()
        .on_first_acquire(move || {
            let (before, calls) = (before.load(Ordering::SeqCst) as u32, Arc::clone(&calls));
            async move {
                assert!(!procref::process::is_alive(before), "two instances at once");
                calls.start()
            }
        })
        .on_health_check(move |info| {
            let well = info.pid() != Some(unwell.load(Ordering::SeqCst) as u32);
            async move { well }
        })
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    old.store(first.info().pid().expect("it is a process") as usize, Ordering::SeqCst);
    let second = service.acquire().await.expect("it is started anew");
    assert!(!first.is_alive() && second.is_alive());
    assert_eq!((bed.calls.starts(), bed.calls.stops()), (2, 0), "the ladder has stopped the old one");
    assert!(second.generation() > first.generation());
    drop(second);
    assert_eq!(bed.calls.stops(), 0, "the first handle still holds it");
    drop(first);
    assert_eq!(bed.calls.stops(), 1);
}

/// Whether it was killed, or has ended and is a zombie: without a health check, too.
#[tokio::test]
async fn a_dead_service_is_noticed() {
    let bed = Bed::new();
    let service = bed.service();
    let first = service.acquire().await.expect("it starts");
    let pid = first.info().pid().expect("it is a process");
    let held = procref_tests::sandbox::hold(pid);
    procref::process::kill(pid);
    assert!(procref_tests::sandbox::wait_for_end(&held, std::time::Instant::now() + procref_tests::sandbox::PATIENCE));
    assert!(!first.is_alive());
    assert_eq!(service.status().expect("it is counted").state, ServiceState::Dead);
    let second = service.acquire().await.expect("it is started anew");
    assert_ne!(second.info().pid(), Some(pid));
    assert_eq!(service.status().expect("it is counted").state, ServiceState::Up);
    drop((first, second));
    assert_eq!((bed.calls.starts(), bed.calls.stops()), (2, 1));
}

#[tokio::test]
async fn a_check_that_hangs_is_unhealthy() {
    let bed = Bed::new();
    let service = bed
        .builder()
        .health_timeout(Duration::from_millis(10))
        .on_health_check(|_| pending())
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    let second = service.acquire().await.expect("it is started anew");
    assert!(!first.is_alive() && second.is_alive());
    assert_eq!(bed.calls.starts(), 2);
}

#[tokio::test]
async fn a_check_that_panics_is_unhealthy() {
    for in_future in [true, false] {
        let bed = Bed::new();
        let service = bed
            .builder()
            .on_health_check(move |_| {
                assert!(in_future, "before its future");
                async { panic!("in its future") }
            })
            .build()
            .expect("it can be described");
        let first = service.acquire().await.expect("it starts");
        let second = service.acquire().await.expect("it is started anew");
        assert!(!first.is_alive() && second.is_alive());
        drop((first, second));
        assert_eq!((bed.calls.starts(), bed.calls.stops()), (2, 1));
    }
}

/// The new instance of a recovery is not asked again: `on_recover` vouches for it.
#[tokio::test]
async fn a_recovery_may_keep_the_process() {
    let bed = Bed::new();
    let well = Arc::new(AtomicBool::new(true));
    let (asked, mends) = (Arc::clone(&well), Arc::clone(&well));
    let service = bed
        .builder()
        .on_health_check(move |_| {
            let well = asked.load(Ordering::SeqCst);
            async move { well }
        })
        .on_recover(move |old| {
            mends.store(true, Ordering::SeqCst);
            async move { Ok(old.with_port(1)) }
        })
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    well.store(false, Ordering::SeqCst);
    let second = service.acquire().await.expect("it recovers");
    assert!(first.is_alive() && second.is_alive());
    assert_eq!(second.info(), &first.info().clone().with_port(1));
    drop((first, second));
    bed.assert_balanced(1);
}

#[tokio::test]
async fn a_recovery_that_fails_leaves_the_old_handles() {
    let bed = Bed::new();
    let (well, tries) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (asked, tried) = (Arc::clone(&well), Arc::clone(&tries));
    let service = bed
        .builder()
        .on_health_check(move |_| {
            let well = asked.load(Ordering::SeqCst);
            async move { well }
        })
        .on_recover(move |_| {
            tried.fetch_add(1, Ordering::SeqCst);
            async { Err::<ServiceInfo, Error>(io::Error::other("no spare disk").into()) }
        })
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    well.store(false, Ordering::SeqCst);
    let error = service.acquire().await.expect_err("it cannot be recovered");
    assert_eq!(error.kind(), ErrorKind::RecoverFailed);
    assert!(error.to_string().contains("no spare disk"), "{error}");
    assert!(cause::<io::Error>(&error).is_some());
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    assert!(first.is_alive(), "nobody has stopped it");
    assert_eq!(service.count().expect("it is counted"), 1);
    // What could not be recovered is finished and started, whatever it says of itself by now: others see it as down.
    well.store(true, Ordering::SeqCst);
    let second = service.acquire().await.expect("it is started anew");
    assert!(second.is_alive() && !first.is_alive());
    assert_eq!(bed.calls.starts(), 2);
    drop((first, second));
    assert_eq!(bed.calls.stops(), 1);
}

#[tokio::test]
async fn the_last_handle_after_a_failed_recovery_stops_the_service() {
    let bed = Bed::new();
    let service = bed
        .builder()
        .on_health_check(|_| async { false })
        .on_recover(|_| async { panic!("no") })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let error = service.acquire().await.expect_err("it cannot be recovered");
    assert_eq!(error.kind(), ErrorKind::RecoverFailed);
    handle.release().await.expect("it stops");
    bed.assert_balanced(1);
}
