//! What belongs to a service beside its own process: folders, commands that prepare and stop it, services that it needs.

use crate::{Client, builder, log_of, script};
use procref::ready::Ready;
use procref::{ErrorKind, ServiceCommand, ServiceState, StopLadder, StopSignal};
use procref_tests::sandbox::{self, PATIENCE, Sandbox};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A service that says `done` when it has done `text`.
fn ready_after(sandbox: &Sandbox, text: &str) -> ServiceCommand {
    script(sandbox, &format!("{text}\necho done; exec sleep 1000"))
        .state_dir(sandbox.folder().join("state"))
        .ready(Ready::log("done"))
}

fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn a_folder_that_lasts_and_one_for_each_run() {
    let sandbox = Sandbox::new();
    let text = "for file in {state}/* {run}/*; do test -e $file && echo $file >>{state}/seen; done
        touch {state}/seen; mkdir -p {run}/deep/er; touch {run}/deep/er/file; ln -s {state} {run}/link; echo {name} {port} >{state}/kept";
    let command = ready_after(&sandbox, text).port("port").display_name("shown").metadata("url", "x:{port}");
    let service = builder(&sandbox, "folders").command(command).build().expect("it can be described");
    let state = sandbox.folder().join("state");
    for start in 0..2 {
        let handle = service.acquire().expect("it starts");
        let info = handle.info();
        assert_eq!(info.get("state").map(Path::new), Some(state.as_path()));
        let run = PathBuf::from(info.get("run").expect("it has one"));
        assert!(run.join("deep/er/file").exists());
        assert_eq!(lines(&state.join("kept")), [format!("shown {}", info.port())]);
        assert_eq!(info.get("url"), Some(format!("x:{}", info.port()).as_str()));
        // What the first run left in the one folder is there, and nothing of the other.
        let seen = lines(&state.join("seen"));
        let kept = [state.join("kept"), state.join("seen")].map(|file| file.display().to_string());
        assert_eq!(seen, if start == 0 { Vec::new() } else { vec![kept[0].clone(), kept[1].clone()] });
        for folder in [&state, &run] {
            use std::os::unix::fs::MetadataExt as _;
            let mode = fs::metadata(folder).expect("it is there").mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        }
        handle.release().expect("it stops");
        assert!(!run.exists(), "it goes with the service");
        assert!(state.exists());
    }
}

/// Whoever is killed: the guardian removes the folder of the run, too.
#[test]
fn the_runs_folder_goes_with_the_last_client() {
    let sandbox = Sandbox::new();
    let client = Client::new(&sandbox, "run", "run-folder");
    let status = builder(&sandbox, "run").command(ServiceCommand::new("true")).build().expect("good").status();
    let run = PathBuf::from(status.expect("it is known").info.expect("it runs").get("run").expect("it has one"));
    assert!(run.exists());
    client.kill();
    sandbox.assert_nothing_left();
    assert!(!run.exists());
}

#[test]
fn it_is_prepared_once() {
    let sandbox = Sandbox::new();
    let command = ready_after(&sandbox, "echo starts >>{state}/story")
        .prepare("sh", ["-c", "echo first >>{state}/story; test -n \"$GREETING\""])
        .prepare("sh", ["-c", "echo second >>{state}/story"])
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
fn it_is_prepared_again_if_that_failed() {
    let sandbox = Sandbox::new();
    let good = sandbox.folder().join("good");
    let second =
        format!("test -e {{state}}/half && touch {{state}}/whole && echo no licence >&2 && cat {}", good.display());
    let command = ready_after(&sandbox, "test -e {state}/whole")
        // As initdb does, it refuses a folder with something in it.
        .prepare("mkdir", ["{state}/half"])
        .prepare("sh", ["-c", &second]);
    let service = builder(&sandbox, "again").command(command).build().expect("it can be described");
    for _ in 0..2 {
        let error = service.acquire().expect_err("it cannot be prepared");
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        for part in ["\"sh\", which prepares it, exited with status 1", "no licence"] {
            assert!(error.to_string().contains(part), "{part}: {error}");
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
    let command = ready_after(&sandbox, "true").prepare("false", [] as [&str; 0]);
    let service = builder(&sandbox, "kept").command(command).build().expect("it can be described");
    for _ in 0..2 {
        service.acquire().expect_err("it cannot be prepared");
        assert!(state.join("mine").exists());
    }
}

#[test]
fn preparing_may_take_as_long_as_a_start() {
    let sandbox = Sandbox::new();
    let command = ready_after(&sandbox, "true").prepare("sleep", ["1000"]);
    let service = builder(&sandbox, "slow").start_timeout(Duration::from_millis(50)).command(command);
    let error = service.build().expect("it can be described").acquire().expect_err("it takes too long");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("\"sleep\", which prepares it, took longer than 50ms"), "{error}");
}

/// What was being prepared goes with the process that wanted it, and the next one begins anew.
#[test]
fn killed_while_it_is_prepared() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([sandbox.name("half")]).arg(sandbox.runtime_dir()).arg("prepares");
    command.env("XDG_STATE_HOME", sandbox.folder());
    let mut starter = command.spawn().expect("it starts");
    let prepares = loop {
        match sandbox.processes().into_iter().find(|process| process.title.starts_with("sleep 1000")) {
            Some(process) => break process,
            None => std::thread::yield_now(),
        }
    };
    starter.kill().expect("it lives");
    starter.wait().expect("it ends");
    assert!(sandbox::wait_for_end(&prepares.pidfd, Instant::now() + PATIENCE), "the guardian knows of it");
    sandbox.assert_nothing_left();
    let state = sandbox.folder().join("procref").join(sandbox.name("half")).join("state");
    assert!(state.join("half").exists());
    let command = ready_after(&sandbox, "true").state_dir(&state).prepare("mkdir", ["{state}/half"]);
    let service = builder(&sandbox, "half").command(command).build().expect("it can be described");
    service.acquire().expect("it is prepared").release().expect("it stops");
}

/// A service that ignores signals, and stops when a file is there.
fn stops_by_a_file(sandbox: &Sandbox) -> ServiceCommand {
    let text =
        "trap '' TERM INT; echo done; until test -e {run}/stop; do sleep 0.01; done; echo stopped by $(cat {run}/stop)";
    script(sandbox, text)
        .ready(Ready::log("done"))
        .port("port")
        .stop_command("sh", ["-c", "echo {name} {port} >{run}/new && mv {run}/new {run}/stop && sleep 1000"])
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
fn a_command_stops_it_by_a_guardian_that_did_not_start_it() {
    let sandbox = Sandbox::new();
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_secs(1000));
    let builder = builder(&sandbox, "replaced").stop_ladder(ladder);
    let service = builder.command(stops_by_a_file(&sandbox)).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let log = PathBuf::from(handle.info().get("log").expect("it has one"));
    let guardian = service.status().expect("it is known").guardian.expect("it is guarded");
    procref::process::kill(guardian);
    while service.status().expect("it is known").guardian.is_none_or(|other| other == guardian) {
        std::thread::yield_now();
    }
    handle.release().expect("it stops");
    sandbox.assert_nothing_left();
    assert!(lines(&log).last().is_some_and(|line| line.starts_with("stopped by it")), "{:?}", lines(&log));
}

#[test]
fn what_the_command_does_not_stop_the_ladder_does() {
    let sandbox = Sandbox::new();
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_millis(50));
    let command = script(&sandbox, "trap '' TERM; echo done; while :; do sleep 1000; done").ready(Ready::log("done"));
    for stop in ["true", "/nonexistent/program"] {
        let command = command.clone().stop_command(stop, [] as [&str; 0]);
        let service = builder(&sandbox, "deaf").stop_ladder(ladder.clone()).command(command);
        let handle = service.build().expect("it can be described").acquire();
        match handle {
            Ok(handle) => handle.release().expect("it is stopped"),
            // A command that cannot be is an error before anything is started.
            Err(error) => assert!(stop.starts_with('/') && error.to_string().contains(stop), "{error}"),
        }
    }
}

#[test]
fn what_it_needs_runs_before_and_tells_it_where() {
    let sandbox = Sandbox::new();
    let need =
        script(&sandbox, "echo done; exec sleep 1000").port("port").ready(Ready::log("done")).metadata("word", "hello");
    let need = builder(&sandbox, "need").command(need).build().expect("it can be described");
    let command = script(&sandbox, "echo {db.word} {db.port}; echo done; exec sleep 1000").ready(Ready::log("done"));
    let service = builder(&sandbox, "needs").command(command.needs("db", &need)).build().expect("it can be described");
    assert_eq!(need.status().expect("it is known").state, ServiceState::Stopped);
    let handle = service.acquire().expect("both start");
    let status = need.status().expect("it is known");
    assert_eq!((status.state, status.clients), (ServiceState::Up, 1), "the service holds it, and nobody else");
    let port = status.info.expect("it runs").port();
    assert!(log_of(&handle).contains(&format!("hello {port}\n")), "{}", log_of(&handle));
    let service_pid = handle.info().pid().expect("it is a process");
    let needed = sandbox::hold(need.status().expect("it is known").info.and_then(|info| info.pid()).expect("it runs"));

    // The guardian of what is needed may go: the service is among those who keep it.
    handle.release().expect("it stops");
    assert!(!procref::process::is_alive(service_pid));
    assert!(sandbox::wait_for_end(&needed, Instant::now() + PATIENCE), "nobody needs it any more");
}

/// Its reference is its process's own, so it goes when that is killed, and not before.
#[test]
fn what_it_needs_stays_while_it_lingers() {
    let sandbox = Sandbox::new();
    let need = script(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done"));
    let need = builder(&sandbox, "need").command(need).build().expect("it can be described");
    let command = script(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done")).needs("db", &need);
    let service =
        builder(&sandbox, "lingers").linger(Duration::from_secs(1000)).command(command).build().expect("good");
    let handle = service.acquire().expect("both start");
    let pid = handle.info().pid().expect("it is a process");
    handle.release().expect("it lingers");
    let status = need.status().expect("it is known");
    assert_eq!((status.state, status.clients), (ServiceState::Up, 1));
    let needed = sandbox::hold(status.info.and_then(|info| info.pid()).expect("it runs"));
    // With its guardian gone it is the kernel's floor that could fail: the service holds an end of that, too.
    let guardian = sandbox::hold(status.guardian.expect("it is guarded"));
    procref::process::kill(status.guardian);
    assert!(sandbox::wait_for_end(&guardian, Instant::now() + PATIENCE));
    assert!(!sandbox::has_ended(&needed), "it is in use");
    procref::process::kill(pid);
    assert!(sandbox::wait_for_end(&needed, Instant::now() + PATIENCE), "the kernel stops it");
    // The lingering guardian of the one that was killed is waked by somebody who comes and goes; so are the leavings finished.
    need.acquire().expect("it is started anew").release().expect("it stops");
    service.acquire().expect("it is started anew").release().expect("it lingers");
    let killed = service.status().expect("it is known").guardian.expect("it is guarded");
    procref::process::kill(service.status().expect("it is known").info.and_then(|info| info.pid()));
    procref::process::kill(killed);
    let without = builder(&sandbox, "lingers").command(script(&sandbox, "exec sleep 1000")).build().expect("good");
    without.acquire().expect("it is started anew").release().expect("it stops");
}

#[test]
fn a_need_that_cannot_start_is_the_cause() {
    let sandbox = Sandbox::new();
    let need = builder(&sandbox, "need").command(script(&sandbox, "exit 7").ready(Ready::log("never")));
    let need = need.build().expect("it can be described");
    let command = script(&sandbox, "exec sleep 1000").needs("db", &need);
    let service = builder(&sandbox, "needs").command(command).build().expect("it can be described");
    let error = service.acquire().expect_err("it cannot start");
    assert!(error.to_string().contains(&sandbox.name("need")) && error.to_string().contains("status 7"), "{error}");
    assert_eq!(service.status().expect("it is known").state, ServiceState::Stopped);
}
