//! Handles of one process: they count one by one here, and as one in the kernel.

use crate::kit::Bed;
use procref::ServiceState;
use std::sync::{Arc, Barrier};

#[tokio::test]
async fn dropping_one_of_two_leaves_the_service_up() {
    let bed = Bed::new();
    let service = bed.service();
    let first = service.acquire().await.expect("it starts");
    let second = service.acquire().await.expect("it is held");
    assert_eq!(first.info(), second.info());
    assert_eq!(first.generation(), second.generation());
    assert_eq!(service.count().expect("it is counted"), 1, "processes count, not handles");
    drop(first);
    assert!(second.is_alive());
    assert_eq!(service.count().expect("it is counted"), 1);
    let third = service.acquire().await.expect("it is held");
    assert_eq!(second.info(), third.info());
    second.release().await.expect("one of two");
    assert!(third.is_alive());
    assert_eq!((bed.calls.starts(), bed.calls.stops()), (1, 0));
    third.release().await.expect("it stops");
    assert_eq!(service.count().expect("nothing is there"), 0);
    bed.assert_balanced(1);
}

#[tokio::test]
async fn a_new_acquire_starts_a_new_instance() {
    let bed = Bed::new();
    let service = bed.service();
    let first = service.acquire().await.expect("it starts");
    let old = first.info().clone();
    drop(first);
    let second = service.acquire().await.expect("it starts anew");
    assert_ne!(second.info().pid(), old.pid());
    assert!(!procref::process::is_alive(old.pid()));
    drop(second);
    bed.assert_balanced(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_tasks_at_once_make_one_start() {
    let bed = Bed::new();
    let service = bed.service();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            tokio::spawn({
                let service = service.clone();
                async move { service.acquire().await }
            })
        })
        .collect();
    let mut handles = Vec::new();
    for task in tasks {
        handles.push(task.await.expect("no panic").expect("it starts"));
    }
    assert!(handles.windows(2).all(|pair| pair[0].info() == pair[1].info()));
    assert_eq!(service.count().expect("it is counted"), 1);
    assert_eq!(bed.calls.starts(), 1);
    let releases: Vec<_> = handles.into_iter().map(|handle| tokio::spawn(handle.release())).collect();
    for release in releases {
        release.await.expect("no panic").expect("it is released");
    }
    bed.assert_balanced(1);
}

#[test]
fn fifty_threads_at_once_make_one_start() {
    let bed = Bed::new();
    let (service, together) = (bed.blocking_service(), Barrier::new(50));
    let handles: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    together.wait();
                    service.acquire()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic").expect("it starts")).collect()
    });
    assert!(handles.windows(2).all(|pair| pair[0].info() == pair[1].info()));
    assert_eq!((service.count().expect("it is counted"), bed.calls.starts()), (1, 1));
    std::thread::scope(|scope| {
        for handle in handles {
            scope.spawn(|| drop(handle));
        }
    });
    bed.assert_balanced(1);
}

/// Releases and acquires of one process meet in every order; whatever runs is the one that the handles name.
#[test]
fn threads_that_come_and_go_never_hold_a_dead_service() {
    let bed = Bed::new();
    let service = bed.blocking_service();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..15 {
                    let handle = service.acquire().expect("it is held or starts");
                    assert!(handle.is_alive());
                    drop(handle);
                }
            });
        }
    });
    assert_eq!(bed.calls.starts(), bed.calls.stops());
    bed.sandbox.assert_nothing_left();
}

/// Both APIs, and two descriptions of one name, mean one service.
#[tokio::test]
async fn both_apis_share_one_reference() {
    let bed = Bed::new();
    let (service, blocking, other) = (bed.service(), bed.blocking_service(), bed.service());
    let first = service.acquire().await.expect("it starts");
    let second = blocking.acquire().expect("it is held");
    let third = other.acquire().await.expect("it is held");
    assert_eq!((first.info(), first.info()), (second.info(), third.info()));
    assert_eq!((service.count().expect("it is counted"), service.name()), (1, blocking.name()));
    drop((first, third));
    assert!(second.is_alive());
    second.release().expect("it stops");
    bed.assert_balanced(1);
}

#[test]
fn different_names_share_nothing() {
    let bed = Bed::new();
    let service = bed.blocking_service();
    let other = procref::blocking::SharedService::builder(bed.sandbox.name("t"))
        .runtime_dir(bed.sandbox.runtime_dir())
        .on_first_acquire({
            let calls = Arc::clone(&bed.calls);
            move || calls.start()
        })
        .build()
        .expect("it can be described");
    let (first, second) = (service.acquire().expect("it starts"), other.acquire().expect("it starts"));
    assert_ne!(first.info().pid(), second.info().pid());
    drop(first);
    assert!(second.is_alive());
    assert_eq!(service.status().expect("nothing is there").state, ServiceState::Stopped);
    assert_eq!(other.status().expect("it is counted").state, ServiceState::Up);
}

/// While this process releases, the set goes before the process knows: that is no removed set.
#[test]
fn the_count_of_a_service_that_is_being_released_is_no_error() {
    let bed = Bed::new();
    let (service, over) = (bed.blocking_service(), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                service.count()?;
                service.status()?;
            }
            Ok::<_, procref::Error>(())
        });
        for _ in 0..40 {
            drop(service.acquire().expect("it starts"));
        }
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        looks.join().expect("no panic").expect("nobody removed the set but us");
    });
    bed.assert_balanced(40);
}
