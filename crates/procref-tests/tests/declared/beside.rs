//! What belongs to a service beside its own process: folders, commands that prepare and stop it, services that it needs.

use crate::{STEPS, builder, does, log_of, script};
use procref::ready::Ready;
use procref::{ErrorKind, ServiceCommand, ServiceState, StopLadder, StopSignal};
use procref_tests::sandbox::{self, PATIENCE, Sandbox};
use procref_tests::sys;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A service that says `done` when it has taken these steps.
fn ready_after(sandbox: &Sandbox, steps: &[&str]) -> ServiceCommand {
    script(sandbox, &[steps, &["say=done", "stay"]].concat())
        .state_dir(sandbox.folder().join("state"))
        .ready(Ready::log("done"))
}

pub(crate) fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_folder_that_lasts_and_one_for_each_run() {
    let sandbox = Sandbox::new();
    let steps = [
        "list={state}={state}/seen",
        "list={run}={state}/seen",
        "folder={run}/deep/er",
        "add={run}/deep/er/file=x",
        "add={state}/kept={name} {port}",
    ];
    let command = ready_after(&sandbox, &steps).port("port").display_name("shown").metadata("url", "x:{port}");
    let service = builder(&sandbox, "folders").command(command).build().expect("it can be described");
    let state = sandbox.folder().join("state");
    for start in 0..2 {
        let handle = service.acquire().expect("it starts");
        let info = handle.info();
        assert_eq!(info.get("state").map(Path::new), Some(state.as_path()));
        let run = PathBuf::from(info.get("run").expect("it has one"));
        assert!(run.join("deep/er/file").exists());
        assert_eq!(lines(&state.join("kept")).last(), Some(&format!("shown {}", info.port())));
        assert_eq!(info.get("url"), Some(format!("x:{}", info.port()).as_str()));
        // What the first run left in the one folder is there, and nothing of the other.
        let seen = lines(&state.join("seen"));
        let kept = state.join("kept").display().to_string();
        assert_eq!(seen, if start == 0 { Vec::new() } else { vec![kept] });
        for folder in [&state, &run] {
            assert!(sys::is_private(folder), "{}", folder.display());
        }
        handle.release().expect("it stops");
        assert!(!run.exists(), "it goes with the service");
        assert!(state.exists());
    }
}

#[test]
fn it_is_prepared_once() {
    let sandbox = Sandbox::new();
    let command = ready_after(&sandbox, &["add={state}/story=starts"])
        .prepare(STEPS, ["add={state}/story=first", "need-variable=GREETING"])
        .prepare(STEPS, ["add={state}/story=second"])
        .env("GREETING", "hello");
    let service = builder(&sandbox, "once").command(command).build().expect("it can be described");
    for _ in 0..2 {
        service.acquire().expect("it starts").release().expect("it stops");
    }
    let state = sandbox.folder().join("state");
    assert_eq!(lines(&state.join("story")), ["first", "second", "starts", "starts"]);
    // Without the folder nothing is prepared any more.
    fs::remove_dir_all(&state).expect("it is there");
    service.acquire().expect("it starts").release().expect("it stops");
    assert_eq!(lines(&state.join("story")), ["first", "second", "starts"]);
}

#[test]
fn it_is_not_prepared_again_where_nobody_can_read_that_it_is() {
    let sandbox = Sandbox::new();
    let command = ready_after(&sandbox, &[]).prepare(STEPS, ["add={state}/story=prepared"]);
    let service = builder(&sandbox, "unread").command(command).build().expect("it can be described");
    service.acquire().expect("it starts").release().expect("it stops");
    let (note, aside) = (sandbox.folder().join("state.prepared"), sandbox.folder().join("aside"));
    fs::rename(&note, &aside).expect("it is there");
    fs::create_dir(&note).expect("it can be made");
    let error = service.acquire().expect_err("who knows what has been done");
    assert_eq!(error.kind(), ErrorKind::StartFailed);
    assert!(error.to_string().contains("cannot read what has been prepared beside"), "{error}");
    fs::remove_dir(&note).expect("it is ours");
    fs::rename(&aside, &note).expect("it is ours");
    service.acquire().expect("it starts").release().expect("it stops");
    assert_eq!(lines(&sandbox.folder().join("state/story")), ["prepared"]);
}

#[test]
fn it_is_prepared_again_if_that_failed() {
    let sandbox = Sandbox::new();
    let good = sandbox.folder().join("good");
    let licence = format!("need={}", good.display());
    let command = ready_after(&sandbox, &["need={state}/whole"])
        // As initdb does, it refuses a folder with something in it.
        .prepare(STEPS, ["new-folder={state}/half"])
        .prepare(STEPS, ["need={state}/half", "add={state}/whole=x", "warn=no licence", &licence]);
    let service = builder(&sandbox, "again").command(command).build().expect("it can be described");
    for _ in 0..2 {
        let error = service.acquire().expect_err("it cannot be prepared");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        for part in [format!("{STEPS:?}, which prepares it, exited with status 1"), "no licence".into()] {
            assert!(error.to_string().contains(&part), "{part}: {error}");
        }
        assert_eq!(service.status().expect("it is known").state, ServiceState::Stopped);
    }
    fs::write(&good, "").expect("it can be written");
    service.acquire().expect("it starts").release().expect("it stops");
}

#[test]
fn what_somebody_put_there_before_stays() {
    let sandbox = Sandbox::new();
    let state = sandbox.folder().join("state");
    fs::create_dir(&state).expect("it can be made");
    fs::write(state.join("mine"), "").expect("it can be written");
    let command = ready_after(&sandbox, &[]).prepare(STEPS, ["exit=1"]);
    let service = builder(&sandbox, "kept").command(command).build().expect("it can be described");
    for _ in 0..2 {
        service.acquire().expect_err("it cannot be prepared");
        assert!(state.join("mine").exists());
    }
}

#[test]
fn preparing_may_take_as_long_as_a_start() {
    let sandbox = Sandbox::new();
    let command = ready_after(&sandbox, &[]).prepare(STEPS, ["stay"]);
    let service = builder(&sandbox, "slow").start_timeout(Duration::from_millis(50)).command(command);
    let error = service.build().expect("it can be described").acquire().expect_err("it takes too long");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains(&format!("{STEPS:?}, which prepares it, took longer than 50ms")), "{error}");
}

/// What was being prepared goes with the process that wanted it, and the next one begins anew.
#[test]
fn killed_while_it_is_prepared() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([sandbox.name("half")]).arg(sandbox.runtime_dir()).args([STEPS, "prepares"]);
    let state = sandbox.folder().join("state");
    command.env("STATE", &state);
    let mut starter = command.spawn().expect("it starts");
    let prepares = loop {
        match sandbox.processes().into_iter().find(|process| does(process, "half stay")) {
            // It has the title before it has done anything.
            Some(process) if state.join("half").exists() => break process,
            _ => std::thread::yield_now(),
        }
    };
    starter.kill().expect("it lives");
    starter.wait().expect("it ends");
    assert!(sandbox::wait_for_end(&prepares.pidfd, Instant::now() + PATIENCE), "the guardian knows of it");
    sandbox.assert_nothing_left();
    assert!(state.join("half").exists());
    let command = ready_after(&sandbox, &[]).state_dir(&state).prepare(STEPS, ["new-folder={state}/half"]);
    let service = builder(&sandbox, "half").command(command).build().expect("it can be described");
    service.acquire().expect("it is prepared").release().expect("it stops");
}

/// A service that ignores signals, and stops when a file is there.
pub(crate) fn stops_by_a_file(sandbox: &Sandbox) -> ServiceCommand {
    let steps = ["deaf", "say=done", "await={run}/stop", "say-file=stopped by ={run}/stop"];
    script(sandbox, &steps)
        .ready(Ready::log("done"))
        .port("port")
        .stop_command(STEPS, ["add={run}/new={name} {port}", "rename={run}/new={run}/stop", "stay"])
        .display_name("it")
}

#[test]
fn a_command_stops_it_by_the_guardian() {
    let sandbox = Sandbox::new();
    // The kernel's default for the first signal would be of no use here, and the grace is longer than any test.
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_secs(1000));
    for linger in [0, 10] {
        let builder = builder(&sandbox, "asked").stop_ladder(ladder.clone()).linger(Duration::from_millis(linger));
        let service = builder.command(stops_by_a_file(&sandbox)).build().expect("it can be described");
        let handle = service.acquire().expect("it starts");
        let (log, port) = (PathBuf::from(handle.info().get("log").expect("it has one")), handle.info().port());
        let process = sandbox::hold(handle.info().pid().expect("it is a process"));
        handle.release().expect("it stops");
        assert!(sandbox::wait_for_end(&process, Instant::now() + PATIENCE));
        // The command itself would go on for a long time.
        sandbox.assert_nothing_left();
        assert_eq!(lines(&log).last().map(String::as_str), Some(format!("stopped by it {port}").as_str()));
    }
}

#[test]
fn what_the_command_does_not_stop_the_ladder_does() {
    let sandbox = Sandbox::new();
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_millis(50));
    let command = script(&sandbox, &["deaf", "say=done", "stay"]).ready(Ready::log("done"));
    let missing = sandbox.folder().join("missing").display().to_string();
    for stop in [STEPS, &missing] {
        let command = command.clone().stop_command(stop, [] as [&str; 0]);
        let service = builder(&sandbox, "deaf").stop_ladder(ladder.clone()).command(command);
        let handle = service.build().expect("it can be described").acquire();
        match handle {
            Ok(handle) => handle.release().expect("it is stopped"),
            // A command that cannot be is an error before anything is started.
            Err(error) => assert!(stop == missing && error.to_string().contains(stop), "{error}"),
        }
    }
}

#[test]
fn what_it_needs_runs_before_and_tells_it_where() {
    let sandbox = Sandbox::new();
    let need = script(&sandbox, &["say=done", "stay"]).port("port").ready(Ready::log("done")).metadata("word", "hello");
    let need = builder(&sandbox, "need").command(need).build().expect("it can be described");
    let command = script(&sandbox, &["say={db.word} {db.port}", "say=done", "stay"]).ready(Ready::log("done"));
    let service = builder(&sandbox, "needs").command(command.needs("db", &need)).build().expect("it can be described");
    assert_eq!(need.status().expect("it is known").state, ServiceState::Stopped);
    let handle = service.acquire().expect("both start");
    let status = need.status().expect("it is known");
    assert_eq!((status.state, status.clients), (ServiceState::Up, 1), "the service holds it, and nobody else");
    let port = status.info.expect("it runs").port();
    assert!(log_of(&handle).contains(&format!("hello {port}")), "{}", log_of(&handle));
    let service_pid = handle.info().pid().expect("it is a process");
    let needed = sandbox::hold(need.status().expect("it is known").info.and_then(|info| info.pid()).expect("it runs"));

    // The guardian of what is needed may go: the service is among those who keep it.
    handle.release().expect("it stops");
    assert!(!procref::process::is_alive(service_pid));
    assert!(sandbox::wait_for_end(&needed, Instant::now() + PATIENCE), "nobody needs it any more");
}

#[test]
fn a_need_that_cannot_start_is_the_cause() {
    let sandbox = Sandbox::new();
    let need = builder(&sandbox, "need").command(script(&sandbox, &["exit=7"]).ready(Ready::log("never")));
    let need = need.build().expect("it can be described");
    let command = script(&sandbox, &["stay"]).needs("db", &need);
    let service = builder(&sandbox, "needs").command(command).build().expect("it can be described");
    let error = service.acquire().expect_err("it cannot start");
    assert!(error.to_string().contains(&sandbox.name("need")) && error.to_string().contains("status 7"), "{error}");
    assert_eq!(service.status().expect("it is known").state, ServiceState::Stopped);
}
