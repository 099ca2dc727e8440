//! Starts that fail: the cause arrives, nothing stays, and the next one tries anew.

use crate::kit::{Bed, Polled, cause, receive};
use procref::{Error, ErrorKind, ServiceInfo, ServiceState};
use std::error::Error as _;
use std::fmt;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug)]
struct NoLicence(io::Error);

impl fmt::Display for NoLicence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no licence")
    }
}

impl std::error::Error for NoLicence {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn the_cause_is_in_the_text_and_in_the_sources() {
    let bed = Bed::new();
    let mode = Arc::new(AtomicUsize::new(0));
    let (how, calls) = (Arc::clone(&mode), Arc::clone(&bed.calls));
    let service = bed
        .builder()
        .on_first_acquire(move || {
            let (how, calls) = (how.load(Ordering::SeqCst), Arc::clone(&calls));
            async move {
                match how {
                    0 => Err(Error::other(NoLicence(io::Error::other("the file is empty")))),
                    1 => Err(io::Error::new(io::ErrorKind::NotFound, "no such database"))?,
                    2 => Err("a text alone".into()),
                    3 => Err(Box::<dyn std::error::Error + Send + Sync>::from(NoLicence(io::Error::other("x"))).into()),
                    _ => calls.start(),
                }
            }
        })
        .build()
        .expect("it can be described");

    let error = service.acquire().await.expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert_eq!(error.service_name(), Some(bed.name.as_str()));
    let text = error.to_string();
    for part in [bed.name.as_str(), "on_first_acquire failed", "no licence", "the file is empty"] {
        assert_eq!(text.matches(part).count(), 1, "{part:?} in {text}");
    }
    assert!(cause::<NoLicence>(&error).is_some());
    let callback = error.source().and_then(|source| source.downcast_ref::<Error>()).expect("the callback's error");
    assert_eq!(callback.kind(), ErrorKind::Callback);
    bed.sandbox.assert_nothing_left();
    assert_eq!(service.status().expect("nothing is there").state, ServiceState::Stopped);

    mode.store(1, Ordering::SeqCst);
    let error = service.acquire().await.expect_err("it fails");
    assert_eq!(cause::<io::Error>(&error).map(io::Error::kind), Some(io::ErrorKind::NotFound));
    assert!(error.to_string().contains("no such database"), "{error}");
    mode.store(2, Ordering::SeqCst);
    let error = service.acquire().await.expect_err("it fails");
    assert!(error.to_string().ends_with("a text alone"), "{error}");
    mode.store(3, Ordering::SeqCst);
    assert!(cause::<NoLicence>(&service.acquire().await.expect_err("it fails")).is_some());

    mode.store(4, Ordering::SeqCst);
    drop(service.acquire().await.expect("it starts"));
    bed.assert_balanced(1);
}

#[tokio::test]
async fn a_panic_is_a_failed_start() {
    let bed = Bed::new();
    let mode = Arc::new(AtomicUsize::new(0));
    let (how, calls) = (Arc::clone(&mode), Arc::clone(&bed.calls));
    let service = bed
        .builder()
        .on_first_acquire(move || {
            let (how, calls) = (how.load(Ordering::SeqCst), Arc::clone(&calls));
            assert_ne!(how, 0, "before its future");
            async move {
                assert_ne!(how, 1, "in its future");
                calls.start()
            }
        })
        .build()
        .expect("it can be described");
    for (number, text) in ["before its future", "in its future"].into_iter().enumerate() {
        mode.store(number, Ordering::SeqCst);
        let error = service.acquire().await.expect_err("it panics");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(error.to_string().contains("panicked") && error.to_string().contains(text), "{error}");
        bed.sandbox.assert_nothing_left();
    }
    mode.store(2, Ordering::SeqCst);
    drop(service.acquire().await.expect("it starts"));
    bed.assert_balanced(1);
}

/// The time is up: the task is aborted, and what it held is dropped before `acquire` returns.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_start_that_hangs_is_aborted() {
    struct Dropped(mpsc::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let bed = Bed::new();
    let (says, dropped) = mpsc::channel();
    let service = bed
        .builder()
        .start_timeout(Duration::from_millis(20))
        .on_first_acquire(move || {
            let held = Dropped(says.clone());
            async move {
                let _held = held;
                pending().await
            }
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().await.expect_err("it hangs");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("on_first_acquire took longer than 20ms"), "{error}");
    dropped.try_recv().expect("the task has been dropped");
    bed.sandbox.assert_nothing_left();
}

#[tokio::test]
async fn a_process_that_does_not_run_is_no_service() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let service = bed
        .builder()
        .on_first_acquire(move || {
            let calls = Arc::clone(&calls);
            async move {
                let pid = calls.spawn()?;
                // A zombie: its number is still taken.
                assert!(procref::process::stop(pid, Duration::from_secs(60))?);
                Ok(ServiceInfo::from_pid(pid))
            }
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().await.expect_err("it has ended");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("is not running"), "{error}");
    bed.sandbox.assert_nothing_left();
}

#[tokio::test]
async fn numbers_that_no_process_has_are_no_service() {
    for pid in [u32::MAX, i32::MAX as u32] {
        let bed = Bed::new();
        let service = bed
            .builder()
            .on_first_acquire(move || async move { Ok(ServiceInfo::from_pid(pid)) })
            .build()
            .expect("it can be described");
        let error = service.acquire().await.expect_err("there is no such process");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
    }
}

/// All who wait for a start in this process fail with it, with its cause, and none of them starts again.
#[test]
fn all_who_wait_fail_with_the_same_cause() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let _entered = runtime.enter();
    let bed = Bed::new();
    let (gate, starts) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (says, begun) = mpsc::channel();
    let (wait, count) = (Arc::clone(&gate), Arc::clone(&starts));
    let service = bed
        .builder()
        .on_first_acquire(move || {
            let gate = Arc::clone(&wait);
            count.fetch_add(1, Ordering::SeqCst);
            says.send(()).expect("the test listens");
            async move {
                gate.notified().await;
                Err(Error::other(NoLicence(io::Error::other("x"))))
            }
        })
        .build()
        .expect("it can be described");
    let mut waiting: Vec<_> = (0..10).map(|_| Polled::new(service.acquire())).collect();
    waiting.iter_mut().for_each(Polled::assert_pending);
    receive(&begun, "the start");
    let status = service.status().expect("it is counted");
    assert_eq!((status.state, status.clients), (ServiceState::Changing, 1));
    gate.notify_one();
    for acquire in waiting {
        let error = acquire.finish().expect_err("the start fails");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        assert!(cause::<NoLicence>(&error).is_some(), "{error}");
    }
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

/// A callback that acquires its own service would wait for itself: it is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_acquires_its_own_service_is_told() {
    let bed = Bed::new();
    let cell: Arc<std::sync::OnceLock<procref::SharedService>> = Arc::default();
    let own = Arc::clone(&cell);
    let service = bed
        .builder()
        .start_timeout(Duration::MAX)
        .on_first_acquire(move || {
            let own = Arc::clone(&own);
            async move {
                tokio::task::yield_now().await;
                let own = own.get().expect("it is set").clone();
                let _own = own.acquire().await?;
                Ok(ServiceInfo::without_pid())
            }
        })
        .build()
        .expect("it can be described");
    cell.set(service.clone()).expect("it is set once");
    let error = service.acquire().await.expect_err("it would wait for itself");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("wait for itself"), "{error}");
    bed.sandbox.assert_nothing_left();
}
