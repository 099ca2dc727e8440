//! The last release: once, from wherever it comes, and the service really stops.

use crate::kit::{Bed, Polled, STEPS, cause, receive};
use procref::{ErrorKind, StopLadder, StopSignal};
use std::cell::RefCell;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[tokio::test]
async fn released_in_a_current_thread_runtime() {
    let bed = Bed::new();
    let handle = bed.service().acquire().await.expect("it starts");
    let pid = handle.info().pid();
    handle.release().await.expect("it stops");
    assert!(!procref::process::is_alive(pid), "release waits for the end");
    bed.assert_balanced(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn released_in_a_multi_thread_runtime() {
    let bed = Bed::new();
    bed.service().acquire().await.expect("it starts").release().await.expect("it stops");
    bed.assert_balanced(1);
}

#[tokio::test]
async fn dropped_in_a_current_thread_runtime() {
    let bed = Bed::new();
    let handle = bed.service().acquire().await.expect("it starts");
    let pid = handle.info().pid();
    drop(handle);
    assert!(!procref::process::is_alive(pid), "drop waits for the end");
    bed.assert_balanced(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn dropped_in_a_task_of_a_multi_thread_runtime() {
    let bed = Bed::new();
    let handle = bed.service().acquire().await.expect("it starts");
    tokio::spawn(async move { drop(handle) }).await.expect("no panic");
    bed.assert_balanced(1);
}

fn outside(bed: &Bed) -> procref::ServiceHandle {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(bed.service().acquire()).expect("it starts")
}

#[test]
fn dropped_outside_of_any_runtime_after_its_own_has_gone() {
    let bed = Bed::new();
    drop(outside(&bed));
    bed.assert_balanced(1);
}

#[test]
fn released_in_another_runtime_than_it_was_acquired_in() {
    let bed = Bed::new();
    let handle = outside(&bed);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(handle.release()).expect("it stops");
    bed.assert_balanced(1);
}

#[test]
fn dropped_while_a_panic_unwinds() {
    let bed = Bed::new();
    let handle = outside(&bed);
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _held = handle;
        std::panic::resume_unwind(Box::new("unwinds"));
    }));
    assert!(panic.is_err());
    bed.assert_balanced(1);
}

/// A second panic in that drop would abort the program.
#[test]
fn a_callback_that_panics_in_a_drop_while_a_panic_unwinds() {
    let bed = Bed::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let service = bed
        .builder()
        .on_last_release(|_| async { std::panic::resume_unwind(Box::new("in the callback")) })
        .build()
        .expect("it can be described");
    let handle = runtime.block_on(service.acquire()).expect("it starts");
    let pid = handle.info().pid();
    let panic = catch_unwind(AssertUnwindSafe(move || {
        let _held = handle;
        std::panic::resume_unwind(Box::new("unwinds"));
    }));
    assert!(panic.is_err());
    assert!(!procref::process::is_alive(pid), "the ladder has stopped it");
}

thread_local! {
    static KEPT: RefCell<Option<procref::ServiceHandle>> = RefCell::default();
}

#[test]
fn dropped_with_the_locals_of_a_thread() {
    let bed = Bed::new();
    let handle = outside(&bed);
    let thread = std::thread::spawn(move || KEPT.set(Some(handle)));
    thread.join().expect("no panic");
    bed.assert_balanced(1);
}

#[test]
fn dropped_by_the_shutdown_of_the_runtime_whose_task_holds_it() {
    let bed = Bed::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let service = bed.service();
    let (holds, held) = mpsc::channel();
    runtime.spawn(async move {
        let handle = service.acquire().await.expect("it starts");
        holds.send(()).expect("the test listens");
        pending::<()>().await;
        drop(handle);
    });
    receive(&held, "the handle");
    drop(runtime);
    bed.assert_balanced(1);
}

#[test]
fn dropped_after_a_background_shutdown_of_its_runtime() {
    let bed = Bed::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let handle = runtime.block_on(bed.service().acquire()).expect("it starts");
    runtime.shutdown_background();
    assert!(handle.is_alive());
    drop(handle);
    bed.assert_balanced(1);
}

/// A callback that the shutdown of its runtime cut off has not stopped anything: it is called where it can run.
#[test]
fn a_runtime_that_is_shut_down_under_the_callback_leaves_no_service() {
    let bed = Bed::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let (runs, running) = mpsc::channel();
    let (calls, begun) = (Arc::clone(&bed.calls), Arc::new(AtomicUsize::new(0)));
    let service = bed
        .builder()
        .on_last_release(move |info| {
            let (calls, first) = (Arc::clone(&calls), begun.fetch_add(1, Ordering::SeqCst) == 0);
            let runs = runs.clone();
            async move {
                if first {
                    runs.send(()).expect("the test listens");
                    pending::<()>().await;
                }
                calls.stop(&info);
                Ok(())
            }
        })
        .build()
        .expect("it can be described");
    let handle = runtime.block_on(service.acquire()).expect("it starts");
    runtime.spawn(handle.release());
    receive(&running, "the callback");
    drop(runtime);
    bed.assert_balanced(1);
}

#[test]
fn a_release_that_is_dropped_goes_on_once_it_was_polled_and_blocks_where_it_was_not() {
    let bed = Bed::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let _entered = runtime.enter();
    let service = bed.service();
    let handle = runtime.block_on(service.acquire()).expect("it starts");
    let pid = handle.info().pid();
    drop(handle.release());
    assert!(!procref::process::is_alive(pid), "it was dropped as the handle would be");
    bed.assert_balanced(1);

    let mut release = Polled::new(runtime.block_on(service.acquire()).expect("it starts").release());
    release.assert_pending();
    drop(release);
    bed.sandbox.assert_nothing_left();
    bed.assert_balanced(2);
}

#[tokio::test]
async fn a_callback_that_fails() {
    let bed = Bed::new();
    let service = bed
        .builder()
        .on_last_release(|_| async { Err(io::Error::new(io::ErrorKind::BrokenPipe, "no answer").into()) })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let pid = handle.info().pid();
    let error = handle.release().await.expect_err("the callback fails");
    assert_eq!(error.kind(), ErrorKind::StopFailed);
    assert_eq!(error.service_name(), Some(bed.name.as_str()));
    assert!(error.to_string().contains("no answer"), "{error}");
    assert_eq!(cause::<io::Error>(&error).map(io::Error::kind), Some(io::ErrorKind::BrokenPipe));
    assert!(!procref::process::is_alive(pid), "the ladder has stopped it");
    bed.sandbox.assert_nothing_left();
    service.acquire().await.expect("the next one starts").release().await.expect_err("again");
}

#[tokio::test]
async fn a_callback_that_panics() {
    let bed = Bed::new();
    for in_future in [false, true] {
        let service = bed
            .builder()
            .on_last_release(move |_| {
                assert!(in_future, "before its future");
                async move { panic!("in its future") }
            })
            .build()
            .expect("it can be described");
        let handle = service.acquire().await.expect("it starts");
        let pid = handle.info().pid();
        let error = handle.release().await.expect_err("the callback panics");
        assert_eq!(error.kind(), ErrorKind::StopFailed);
        let text = if in_future { "in its future" } else { "before its future" };
        assert!(error.to_string().contains(text), "{error}");
        assert!(!procref::process::is_alive(pid), "the ladder has stopped it");
        bed.sandbox.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_callback_that_hangs() {
    let bed = Bed::new();
    let service = bed
        .builder()
        .stop_timeout(Duration::from_millis(20))
        .on_last_release(|_| pending())
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let pid = handle.info().pid();
    let error = handle.release().await.expect_err("the callback hangs");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("on_last_release took longer than 20ms"), "{error}");
    assert!(!procref::process::is_alive(pid), "the ladder has stopped it");
    bed.sandbox.assert_nothing_left();

    drop(service.acquire().await.expect("the next one starts"));
}

/// What the callback has asked for is given the ladder's first grace, and then force.
#[tokio::test]
async fn a_service_that_ignores_its_callback_is_stopped_by_force() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let service = bed
        .builder()
        .stop_ladder(StopLadder::new(StopSignal::Terminate, Duration::from_millis(20)))
        .on_first_acquire(move || {
            let calls = Arc::clone(&calls);
            async move {
                let mut command = Command::new(STEPS);
                let pid = calls.spawn_command(command.args(["deaf", "say=deaf", "stay"]))?;
                Ok(procref::ServiceInfo::from_pid(pid))
            }
        })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let pid = handle.info().pid();
    handle.release().await.expect("force stops it");
    assert!(!procref::process::is_alive(pid));
    assert_eq!(bed.calls.stops(), 1);
}

/// Dropping the last of many services at once, each on a thread of its own.
#[test]
fn dropped_with_a_vector_of_handles() {
    let bed = Bed::new();
    let service = bed.blocking_service();
    let handles: Vec<_> = (0..5).map(|_| service.acquire().expect("it starts")).collect();
    drop(handles);
    bed.assert_balanced(1);
}
