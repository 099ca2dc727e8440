//! An `acquire` that is dropped: wherever it stands, nothing of it stays.

use crate::kit::{Bed, Polled, receive, until};
use procref::{Builder, ErrorKind, ServiceState, SharedService};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

/// How often a callback waits on its way.
const STAGES: usize = 3;

/// A callback's way: it says where it is, and waits for leave to go on.
#[derive(Clone)]
struct Stages {
    reached: Arc<Mutex<mpsc::Sender<usize>>>,
    leave: Arc<Semaphore>,
}

impl Stages {
    fn new() -> (Self, mpsc::Receiver<usize>) {
        let (reached, reaches) = mpsc::channel();
        (Self { reached: Arc::new(Mutex::new(reached)), leave: Arc::new(Semaphore::new(0)) }, reaches)
    }

    async fn go_through(&self) {
        for stage in 0..STAGES {
            let _ = self.reached.lock().expect("nobody panicked").send(stage);
            self.leave.acquire().await.expect("it is never closed").forget();
        }
    }

    /// Lets the callback come to that stage.
    fn advance_to(&self, stage: usize, reaches: &mpsc::Receiver<usize>) {
        for expected in 0..=stage {
            assert_eq!(receive(reaches, "a stage"), expected);
            if expected < stage {
                self.leave.add_permits(1);
            }
        }
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A service whose start waits on its way, and a channel that says when it has been stopped.
fn slow(bed: &Bed, stages: &Stages) -> (Builder, mpsc::Receiver<()>) {
    let (stages, calls, stop) = (stages.clone(), Arc::clone(&bed.calls), Arc::clone(&bed.calls));
    let (says, stopped) = mpsc::channel();
    let builder = bed
        .bare()
        .on_first_acquire(move || {
            let (stages, calls) = (stages.clone(), Arc::clone(&calls));
            async move {
                stages.go_through().await;
                calls.start()
            }
        })
        .on_last_release(move |info| {
            stop.stop(&info);
            let _ = says.send(());
            async { Ok(()) }
        });
    (builder, stopped)
}

pub(crate) fn assert_stopped(bed: &Bed, service: &SharedService) {
    bed.sandbox.assert_nothing_left();
    // The last thread of it may still be on its way out.
    until("the end of it", || service.status().is_ok_and(|status| status.state == ServiceState::Stopped));
    assert_eq!(service.count().expect("nothing is there"), 0);
}

#[test]
fn at_any_point_of_a_fresh_start() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for drop_at in 0..STAGES + 3 {
        let bed = Bed::new();
        let (stages, reaches) = Stages::new();
        let (builder, stopped) = slow(&bed, &stages);
        let service = builder.build().expect("it can be described");
        let mut acquire = Polled::new(service.acquire());
        match drop_at {
            // Never polled: nothing has happened.
            0 => {
                drop(acquire);
                assert_stopped(&bed, &service);
                bed.assert_balanced(0);
                continue;
            }
            // In the middle of the callback.
            1..=STAGES => {
                acquire.assert_pending();
                stages.advance_to(drop_at - 1, &reaches);
                drop(acquire);
                stages.leave.add_permits(STAGES);
            }
            // The reference is there, but nobody has taken it.
            _ if drop_at == STAGES + 1 => {
                acquire.assert_pending();
                stages.leave.add_permits(STAGES);
                acquire.woken();
                drop(acquire);
            }
            _ => {
                acquire.assert_pending();
                stages.leave.add_permits(STAGES);
                acquire.woken();
                let Poll::Ready(Ok(handle)) = acquire.poll() else { panic!("it is there") };
                assert!(handle.is_alive());
                drop(handle);
            }
        }
        receive(&stopped, "the stop of what nobody wants");
        assert_stopped(&bed, &service);
        bed.assert_balanced(1);
    }
}

/// Who is left waiting gets the service that the one who has gone had started.
#[test]
fn the_one_who_started_while_another_one_waits() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for drop_at in 0..STAGES {
        let bed = Bed::new();
        let (stages, reaches) = Stages::new();
        let (builder, stopped) = slow(&bed, &stages);
        let service = builder.build().expect("it can be described");
        let (mut first, mut second) = (Polled::new(service.acquire()), Polled::new(service.acquire()));
        first.assert_pending();
        second.assert_pending();
        stages.advance_to(drop_at, &reaches);
        drop(first);
        stages.leave.add_permits(STAGES);
        let handle = second.finish().expect("it is started");
        assert_eq!(service.count().expect("it is counted"), 1);
        drop(handle);
        receive(&stopped, "the stop");
        assert_stopped(&bed, &service);
        bed.assert_balanced(1);
    }
}

/// Waiting for a start that another thread of this process has asked for.
#[test]
fn waiting_for_a_start_in_this_process() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for answered in [false, true] {
        let bed = Bed::new();
        let (stages, reaches) = Stages::new();
        let (builder, stopped) = slow(&bed, &stages);
        let service = builder.build().expect("it can be described");
        let other = service.clone();
        let first = runtime.spawn(async move { other.acquire().await });
        stages.advance_to(0, &reaches);
        let mut second = Polled::new(service.acquire());
        second.assert_pending();
        let second = if answered {
            stages.leave.add_permits(STAGES);
            second.woken();
            Some(second)
        } else {
            drop(second);
            stages.leave.add_permits(STAGES);
            None
        };
        let handle = runtime.block_on(first).expect("no panic").expect("it starts");
        drop(second);
        assert!(handle.is_alive(), "the other one still holds it");
        assert_eq!(bed.calls.stops(), 0);
        drop(handle);
        receive(&stopped, "the stop");
        assert_stopped(&bed, &service);
        bed.assert_balanced(1);
    }
}

fn await_clients(what: &str, service: &SharedService, count: u32) {
    until(what, || service.status().is_ok_and(|status| status.clients == count));
}

/// Joined, and the health check awaits.
#[test]
fn in_the_health_check_of_a_service_that_others_hold() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let bed = Bed::new();
    let (stages, reaches) = Stages::new();
    let way = stages.clone();
    let service = bed
        .builder()
        .health_timeout(Duration::from_secs(1000))
        .on_health_check(move |_| {
            let stages = way.clone();
            async move {
                stages.go_through().await;
                true
            }
        })
        .build()
        .expect("it can be described");
    let (other, pid) = bed.run_for_other();
    for stage in 0..STAGES {
        let mut acquire = Polled::new(service.acquire());
        for at in 0..=stage {
            acquire.assert_pending();
            assert_eq!(receive(&reaches, "a stage"), at);
            if at < stage {
                stages.leave.add_permits(1);
                acquire.woken();
            }
        }
        assert_eq!(service.count().expect("it is counted"), 2);
        drop(acquire);
        await_clients("its release", &service, 1);
    }
    stages.leave.add_permits(STAGES);
    let handle = Polled::new(service.acquire()).finish().expect("it is well");
    assert_eq!(handle.info().pid(), Some(pid));
    drop(handle);
    other.kill();
    assert_stopped(&bed, &service);
    assert_eq!(bed.calls.stops(), 0, "the guardian has stopped it");
}

/// The same when all others have gone meanwhile: then it is the last one.
#[test]
fn in_the_health_check_as_the_last_client() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let bed = Bed::new();
    let service = bed
        .builder()
        .health_timeout(Duration::from_secs(1000))
        .on_health_check(|_| std::future::pending())
        .build()
        .expect("it can be described");
    let (other, pid) = bed.run_for_other();
    let mut acquire = Polled::new(service.acquire());
    acquire.assert_pending();
    other.kill();
    assert!(procref::process::is_alive(pid), "it is held");
    drop(acquire);
    assert_stopped(&bed, &service);
    bed.assert_balanced(1);
}

/// A recovery goes on without the one who asked for it; who held the service holds it then, too.
#[test]
fn at_any_point_of_a_recovery() {
    let runtime = runtime();
    let _entered = runtime.enter();
    for held in [false, true] {
        for drop_at in 0..STAGES + 2 {
            let bed = Bed::new();
            let (stages, reaches) = Stages::new();
            let well = Arc::new(AtomicBool::new(true));
            let (way, again, asked) = (stages.clone(), Arc::clone(&bed.calls), Arc::clone(&well));
            let service = bed
                .builder()
                .on_health_check(move |_| {
                    let well = asked.load(Ordering::SeqCst);
                    async move { well }
                })
                .on_recover(move |_| {
                    let (stages, calls) = (way.clone(), Arc::clone(&again));
                    async move {
                        stages.go_through().await;
                        calls.recover()
                    }
                })
                .build()
                .expect("it can be described");
            let (other, pid) = bed.run_for_other();
            let handle = held.then(|| runtime.block_on(service.acquire()).expect("it is joined"));
            well.store(false, Ordering::SeqCst);
            let mut acquire = Polled::new(service.acquire());
            acquire.assert_pending();
            if drop_at < STAGES {
                stages.advance_to(drop_at, &reaches);
                drop(acquire);
                stages.leave.add_permits(STAGES);
            } else {
                stages.leave.add_permits(STAGES);
                acquire.woken();
                if drop_at > STAGES {
                    let Poll::Ready(Ok(new)) = acquire.poll() else { panic!("it is recovered") };
                    assert_eq!(new.info().port(), 4712);
                }
                drop(acquire);
            }
            // The number of the recovered instance is that of its publication.
            until("the recovery", || service.status().is_ok_and(|status| status.generation == 2));
            await_clients("the references", &service, 1 + u32::from(held));
            assert!(!procref::process::is_alive(pid), "what was replaced has gone");
            assert_eq!(bed.calls.recoveries(), 1);
            well.store(true, Ordering::SeqCst);
            drop(handle);
            other.kill();
            assert_stopped(&bed, &service);
        }
    }
}

#[test]
fn by_a_timeout_around_it() {
    let runtime = runtime();
    let bed = Bed::new();
    let (stages, reaches) = Stages::new();
    let (builder, stopped) = slow(&bed, &stages);
    let service = builder.build().expect("it can be described");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_millis(1), service.acquire()).await.expect_err("the start waits");
    });
    stages.advance_to(0, &reaches);
    stages.leave.add_permits(STAGES);
    receive(&stopped, "the stop of what nobody wants");
    assert_stopped(&bed, &service);
    bed.assert_balanced(1);
}

#[test]
fn by_its_own_time_limit() {
    let runtime = runtime();
    let bed = Bed::new();
    let (stages, reaches) = Stages::new();
    let (builder, stopped) = slow(&bed, &stages);
    let service = builder.acquire_timeout(Duration::from_millis(5)).build().expect("it can be described");
    let error = runtime.block_on(service.acquire()).expect_err("the start waits");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("5ms"), "{error}");
    assert_eq!(error.service_name(), Some(bed.name.as_str()));
    stages.advance_to(0, &reaches);
    stages.leave.add_permits(STAGES);
    receive(&stopped, "the stop of what nobody wants");
    assert_stopped(&bed, &service);
    bed.assert_balanced(1);
}

/// A runtime that goes takes the start with it; what waits for it elsewhere is told.
#[test]
fn by_the_shutdown_of_the_runtime_that_runs_the_start() {
    let bed = Bed::new();
    let (stages, reaches) = Stages::new();
    let (builder, _stopped) = slow(&bed, &stages);
    let service = builder.build().expect("it can be described");
    let (dying, living) = (runtime(), runtime());
    let other = service.clone();
    dying.spawn(async move { other.acquire().await });
    stages.advance_to(1, &reaches);
    let mut waits = {
        let _entered = living.enter();
        Polled::new(service.acquire())
    };
    {
        let _entered = living.enter();
        waits.assert_pending();
    }
    dying.shutdown_background();
    let error = waits.finish().expect_err("its start has gone");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("shut down"), "{error}");
    assert_stopped(&bed, &service);
    stages.leave.add_permits(STAGES * 2);
    drop(living.block_on(service.acquire()).expect("the next one starts"));
    bed.assert_balanced(1);
}

/// Whatever instant a dropped acquire had come to: drops at every moment of many fast starts.
#[test]
fn at_many_moments() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let bed = Bed::new();
    let service = bed.service();
    for round in 0..60_u32 {
        let mut acquire = Polled::new(service.acquire());
        let _ = acquire.poll();
        // Not a wait for anything: it only spreads the moments.
        for _ in 0..(round % 20) * 2000 {
            std::hint::spin_loop();
        }
        drop(acquire);
    }
    let handle = runtime.block_on(service.acquire()).expect("it is held or starts");
    assert!(handle.is_alive());
    drop(handle);
    assert_stopped(&bed, &service);
    assert_eq!(bed.calls.starts(), bed.calls.stops());
}
