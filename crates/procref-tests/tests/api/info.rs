//! The first example, and what a service says of itself.

use crate::kit::{Bed, receive, until};
use procref::{ErrorKind, ServiceInfo, ServiceState};
use procref_tests::sys;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

mod example {
    use procref::{ServiceInfo, SharedService};

    /// The example of README and of the crate's page, but for name and folder.
    pub(super) async fn example(bed: &crate::kit::Bed) -> procref::Result<()> {
        let service = SharedService::builder(&bed.name)
            .on_first_acquire(|| async {
                let port = 5432;
                let pid = start_database(port)?;
                Ok(ServiceInfo::new(pid, port))
            })
            .on_last_release(|info| async move {
                procref::process::terminate(info.pid());
                Ok(())
            })
            .runtime_dir(bed.sandbox.runtime_dir())
            .build()?;
        let handle = service.acquire().await?;
        println!("Service running on port {}", handle.info().port());
        assert_eq!((handle.info().pid(), handle.info().port(), handle.name()), (None, 5432, bed.name.as_str()));
        Ok(())
    }

    fn start_database(_: u16) -> procref::Result<u32> {
        Ok(0)
    }
}

#[tokio::test]
async fn the_first_example_runs() -> procref::Result<()> {
    let bed = Bed::new();
    example::example(&bed).await?;
    bed.sandbox.assert_nothing_left();
    Ok(())
}

#[tokio::test]
async fn all_callbacks_get_what_the_start_said() {
    let bed = Bed::new();
    let (says, said) = mpsc::channel();
    let (checks, recovers, stops) = (says.clone(), says.clone(), says);
    let (start, again) = (Arc::clone(&bed.calls), Arc::clone(&bed.calls));
    let service = bed
        .bare()
        .on_first_acquire(move || {
            let calls = Arc::clone(&start);
            async move { Ok(calls.start()?.with_metadata("url", "first").with_metadata("", "=\n ключ")) }
        })
        .on_health_check(move |info| {
            let checks = checks.clone();
            async move {
                let well = info.get("url") == Some("second");
                checks.send(("check", info)).expect("the test listens");
                well
            }
        })
        .on_recover(move |info| {
            let (recovers, calls) = (recovers.clone(), Arc::clone(&again));
            async move {
                recovers.send(("recover", info)).expect("the test listens");
                Ok(calls.recover()?.with_metadata("url", "second"))
            }
        })
        .on_last_release(move |info| {
            let stops = stops.clone();
            async move {
                procref::process::terminate(info.pid());
                stops.send(("stop", info)).expect("the test listens");
                Ok(())
            }
        })
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    let second = service.acquire().await.expect("it recovers");
    assert_eq!(first.info().get("url"), Some("first"));
    assert_eq!(first.info().get(""), Some("=\n ключ"));
    assert_eq!(second.info().metadata().len(), 1);
    assert_eq!((first.info().port(), second.info().port()), (4711, 4712));
    assert!(second.generation() > first.generation());
    assert!(!first.is_alive(), "what was replaced has gone");
    assert!(second.is_alive());
    let (old, new) = (first.info().clone(), second.info().clone());
    drop(first);
    second.release().await.expect("it stops");
    let calls: Vec<_> = said.try_iter().collect();
    let (before, end) = calls.split_at(calls.len() - 1);
    assert_eq!(end, [("stop", new)]);
    assert_eq!(before.first(), Some(&("check", old.clone())));
    assert_eq!(before.iter().filter(|call| **call == ("recover", old.clone())).count(), 1);
    assert_eq!(before.iter().filter(|call| call.0 == "recover").count(), 1);
}

#[tokio::test]
async fn a_service_that_is_only_a_process() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    // Without on_last_release: the ladder stops it.
    let service = bed
        .bare()
        .on_first_acquire(move || {
            let calls = Arc::clone(&calls);
            async move { Ok(ServiceInfo::from_pid(calls.spawn()?)) }
        })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    assert_eq!(handle.info().port(), 0);
    assert!(handle.info().metadata().is_empty() && !handle.info().metadata_lost());
    assert!(handle.is_alive());
    let pid = handle.info().pid();
    handle.release().await.expect("it stops");
    assert!(!procref::process::is_alive(pid));
}

#[tokio::test]
async fn a_service_without_a_process_is_stopped_by_its_callback_alone() {
    let bed = Bed::new();
    let socket = bed.sandbox.folder().join("socket");
    let (made, removed) = (socket.clone(), socket.clone());
    let service = bed
        .bare()
        .on_first_acquire(move || {
            let socket = made.clone();
            async move {
                std::fs::write(&socket, "")?;
                Ok(ServiceInfo::without_pid().with_metadata("socket", socket.to_string_lossy()))
            }
        })
        .on_last_release(move |info| {
            let socket = removed.clone();
            async move {
                assert_eq!(info.get("socket"), socket.to_str());
                Ok(std::fs::remove_file(socket)?)
            }
        })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    assert!(handle.is_alive() && handle.info().pid().is_none() && socket.exists());
    assert_eq!(service.status().expect("it is counted").state, ServiceState::Up);
    handle.release().await.expect("it stops");
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_service_without_a_process_cannot_linger() {
    let bed = Bed::new();
    let stops = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&stops);
    let service = bed
        .bare()
        .linger(Duration::from_secs(1000))
        .on_first_acquire(|| async { Ok(ServiceInfo::without_pid().with_port(80)) })
        .on_last_release(move |info| {
            assert_eq!(info.port(), 80);
            count.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().await.expect_err("nobody could stop it later");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("linger"), "{error}");
    assert_eq!(stops.load(Ordering::SeqCst), 1, "what was started was stopped");
}

#[tokio::test]
async fn metadata_up_to_its_limit() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let size = Arc::new(AtomicUsize::new((64 << 10) + 1));
    let bytes = Arc::clone(&size);
    let stop = Arc::clone(&bed.calls);
    let service = bed
        .bare()
        .on_first_acquire(move || {
            let (calls, size) = (Arc::clone(&calls), bytes.load(Ordering::SeqCst));
            async move { Ok(calls.start()?.with_metadata("k", "v".repeat(size - 1))) }
        })
        .on_last_release(move |info| {
            stop.stop(&info);
            async { Ok(()) }
        })
        .build()
        .expect("it can be described");
    let error = service.acquire().await.expect_err("too much metadata");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("65537") && error.to_string().contains("65536"), "{error}");
    bed.assert_balanced(1);

    size.store(64 << 10, Ordering::SeqCst);
    let handle = service.acquire().await.expect("just enough");
    let read = service.status().expect("it is counted").info.expect("it runs");
    assert_eq!(&read, handle.info(), "what another process would read");
    handle.release().await.expect("it stops");
    bed.assert_balanced(2);
}

/// The file has more bytes than the metadata, and most where the entries are small.
#[tokio::test]
async fn many_small_entries_can_be_read_again() {
    let bed = Bed::new();
    let calls = Arc::clone(&bed.calls);
    let service = bed
        .bare()
        .on_first_acquire(move || {
            let calls = Arc::clone(&calls);
            async move {
                let info = ServiceInfo::from_pid(calls.spawn()?);
                Ok((0..15_000).fold(info, |info, number| info.with_metadata(format!("{number:x}"), "")))
            }
        })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("less than 64 KiB");
    let read = service.status().expect("it is counted").info.expect("it runs");
    assert!(!read.metadata_lost());
    assert_eq!(&read, handle.info());
}

#[test]
fn what_an_info_says() {
    let info = ServiceInfo::new(0, 0);
    assert_eq!((info.pid(), info.port()), (None, 0));
    assert_eq!(info, ServiceInfo::without_pid());
    let other = info.clone().with_port(1).with_metadata("a", "1").with_metadata("a", "2");
    assert_eq!((other.port(), other.get("a"), other.get("b")), (1, Some("2"), None));
    assert_eq!(info.port(), 0, "a clone is a value of its own");
}

/// A service that a killed process left behind has no other stop than the callback of who comes next.
#[tokio::test]
async fn a_predecessor_without_a_process_is_stopped_by_who_comes_next() {
    let bed = Bed::new();
    let (says, said) = mpsc::channel();
    let starts = says.clone();
    let service = bed
        .bare()
        .on_first_acquire(move || {
            starts.send("start").expect("the test listens");
            async { Ok(ServiceInfo::without_pid()) }
        })
        .on_last_release(move |_| {
            says.send("stop").expect("the test listens");
            async { Ok(()) }
        })
        .build()
        .expect("it can be described");
    let handle = service.acquire().await.expect("it starts");
    let other = bed.other();
    drop(handle);
    // The last client is killed: a guardian finds something that it cannot stop, and goes; a kernel that is the guardian forgets
    // what nobody has open.
    other.kill();
    until("the guardian's end", || bed.sandbox.guardians().is_empty());
    let (state, order) = if sys::ASKS {
        (ServiceState::Orphaned, &["start", "stop", "start", "stop"][..])
    } else {
        (ServiceState::Stopped, &["start", "start", "stop"][..])
    };
    until("the end of what the other one held", || service.status().expect("it is counted").state == state);
    let handle = service.acquire().await.expect("it starts anew");
    drop(handle);
    let said: Vec<_> = order.iter().map(|_| receive(&said, "a call")).collect();
    assert_eq!(said, order);
}
