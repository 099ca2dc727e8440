//! What cannot be is refused before anything is touched.

use crate::kit::Bed;
use procref::{Error, ErrorKind, PlatformRefCounter, ServiceInfo, SharedService, StopLadder, StopSignal, blocking};
use std::time::Duration;

fn bad_names() -> Vec<String> {
    let fixed = [
        "",
        "/",
        "..",
        ".",
        ".hidden",
        "a/b",
        "../a",
        "a\0b",
        "a b",
        "a\n",
        "ä",
        "数据库",
        "a:b",
        "a@b",
        "{x}",
        "-\u{202e}x",
    ];
    fixed.into_iter().map(str::to_owned).chain(["x".repeat(65), "é".repeat(33), "x".repeat(1 << 20)]).collect()
}

#[test]
fn bad_names_touch_nothing() {
    let bed = Bed::new();
    for name in bad_names() {
        let describe = || {
            SharedService::builder(&name)
                .runtime_dir(bed.sandbox.runtime_dir())
                .on_first_acquire(|| async { Ok(ServiceInfo::without_pid()) })
                .build()
                .map(drop)
        };
        let blocking = || {
            blocking::SharedService::builder(&name)
                .runtime_dir(bed.sandbox.runtime_dir())
                .on_first_acquire(|| Ok(ServiceInfo::without_pid()))
                .build()
                .map(drop)
        };
        let counter = || PlatformRefCounter::new(&name).map(drop);
        let all: [&dyn Fn() -> Result<(), Error>; 3] = [&describe, &blocking, &counter];
        for refused in all {
            let error = refused().expect_err(&name);
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}");
            let text = error.to_string();
            assert!(text.contains("1 to 64") && text.len() < 500, "{text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
    assert!(!bed.sandbox.runtime_dir().exists());
}

#[test]
fn names_of_all_characters_and_of_full_length() {
    let bed = Bed::new();
    let mark = bed.sandbox.name("");
    let full = format!("{mark}{}", "x".repeat(64 - mark.len()));
    for name in [format!("{mark}a..b_C-9."), full] {
        let calls = std::sync::Arc::clone(&bed.calls);
        let service = blocking::SharedService::builder(&name)
            .runtime_dir(bed.sandbox.runtime_dir())
            .on_first_acquire(move || calls.start())
            .build()
            .expect("a good name");
        let handle = service.acquire().expect("it starts");
        assert_eq!(handle.name(), name);
        assert!(bed.sandbox.objects().contains(&name), "all of it is the kernel's name");
    }
}

#[test]
fn settings_that_cannot_be() {
    let bed = Bed::new();
    let asked = |builder: procref::Builder, text: &str| {
        let error = builder.build().expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert_eq!(error.service_name(), Some(bed.name.as_str()));
        assert!(error.to_string().contains(text), "{error}");
    };
    asked(bed.bare(), "on_first_acquire");
    asked(bed.builder().runtime_dir("relative/folder"), "relative/folder");
    asked(bed.builder().runtime_dir(""), "not an absolute path");
    let long = bed.sandbox.folder().join("x".repeat(2000));
    asked(bed.builder().runtime_dir(&long), &long.as_os_str().len().to_string());
    asked(bed.builder().runtime_dir(bed.sandbox.folder().join("a\0b")), "NUL");
    let ladder = |steps| {
        (1..steps).fold(StopLadder::new(StopSignal::Interrupt, Duration::ZERO), |ladder, _| {
            ladder.then(StopSignal::Quit, Duration::ZERO)
        })
    };
    asked(bed.builder().stop_ladder(ladder(8)), "8 signals");
    assert!(bed.builder().stop_ladder(ladder(7)).build().is_ok());
    assert!(bed.builder().stop_ladder(StopLadder::kill()).build().is_ok());
    let error = bed.bare_blocking().build().expect_err("nobody could start it");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!bed.sandbox.runtime_dir().exists());
}

/// Limits that no clock can hold are no limits, and no panic.
#[tokio::test]
async fn endless_limits() {
    let bed = Bed::new();
    let service = bed
        .builder()
        .acquire_timeout(Duration::MAX)
        .start_timeout(Duration::MAX)
        .health_timeout(Duration::MAX)
        .stop_timeout(Duration::MAX)
        .stop_ladder(StopLadder::new(StopSignal::Terminate, Duration::MAX))
        .on_health_check(|_| async { true })
        .build()
        .expect("it can be described");
    let first = service.acquire().await.expect("it starts");
    let second = service.acquire().await.expect("it is well");
    drop(first);
    second.release().await.expect("it stops");
    let blocking = bed
        .blocking_builder()
        .acquire_timeout(Duration::MAX)
        .health_timeout(Duration::MAX)
        .stop_timeout(Duration::MAX)
        .on_health_check(|_| true)
        .build()
        .expect("it can be described");
    drop((blocking.acquire().expect("it starts"), blocking.acquire().expect("it is well")));
    bed.assert_balanced(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn limits_of_no_time() {
    let bed = Bed::new();
    let service = bed.builder().acquire_timeout(Duration::ZERO).build().expect("it can be described");
    match service.acquire().await {
        Ok(handle) => drop(handle),
        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
    }
    crate::kit::until("the end of the start", || bed.calls.starts() == 1 && bed.calls.stops() == 1);
}
