//! `procref with` where a process can become another one: what it is by then, and what it has inherited.

use crate::kit::{Project, Running, SIMPLE, Said};
use procref::ServiceState;
use procref_tests::sandbox;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

#[test]
fn the_command_has_the_service_and_its_variables() {
    let project = Project::new(
        r#"
        [services.@cache]
        command = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--dir", "{run}", "--save", ""]
        ports = ["port"]
        env = { REDIS_URL = "redis://127.0.0.1:{port}/0", WHERE = "{run}|{state}|{name}|{{}}" }
        "#,
    );
    let script = "redis-cli -u \"$REDIS_URL\" ping && test -d \"${WHERE%%|*}\" && echo \"$WHERE\" && exit 7";
    let said = project.output(["with", "@cache", "--", "sh", "-c", script]);
    let expected = "exit 7\nPONG\nSANDBOX/run/@cache.HASH@N.run|SANDBOX/state/procref/@cache.HASH/state|@cache|{}\n";
    assert_eq!(said.transcript(), expected, "{said:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn it_becomes_the_command() {
    let project = Project::new(SIMPLE);
    let script = "echo $$; cat /proc/self/stat; echo \"$WHO\"; cat";
    let mut child = project.procref(["with", "@db", "--", "sh", "-c", script]);
    let mut child = Running::start(child.stdin(Stdio::piped()));
    assert_eq!(child.line(), child.0.id().to_string(), "no process of ours stays between");
    let stat = child.line();
    let parent = stat.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(1)).expect("there is a parent");
    assert_eq!(parent, child.0.id().to_string());
    assert_eq!(child.line(), project.text("@db"));
    let status = project.wait_for("@db", |status| status.state == ServiceState::Up);
    assert_eq!((status.clients, status.waiting), (1, 0));
    // Standard input is the command's.
    child.0.stdin.take().expect("it is piped").write_all(b"to cat\n").expect("it reads");
    assert_eq!(child.line(), "to cat");
    let said = child.end(&project);
    assert_eq!(said.transcript(), "exit 0\n", "{said:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_command_inherits_what_there_is() {
    let project = Project::new(SIMPLE);
    // Ignored and pending signals, descriptors, arguments that are no text, the working directory.
    let procref = env!("CARGO_BIN_EXE_procref");
    let name = project.text("@db");
    let inner = "cat /proc/self/status; ls /proc/self/fd; pwd; printf '%s' \"$1\" | od -An -tx1; kill -PIPE $$";
    let outer = format!(
        "trap '' USR1 INT; exec 9</dev/null; cd /; exec {procref} with --scope user {name} -- sh -c \"$0\" x \"$1\""
    );
    let bytes = std::ffi::OsStr::new("\u{fffd}");
    let mut command = project.sandbox.command("sh");
    for (variable, value) in project.procref([""; 0]).get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    // Declared for the user, to be found from anywhere.
    let config = project.sandbox.folder().join("config/procref");
    project.declare(&config, SIMPLE);
    let output = command.args(["-c", &outer, inner]).arg(bytes).stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(output.status.signal(), Some(13), "SIGPIPE is not ignored");
    let said = Said::new(&output, &project);
    let ignored = said.out.lines().find_map(|line| line.strip_prefix("SigIgn:\t")).expect("it is there");
    let ignored = u64::from_str_radix(ignored, 16).expect("it is a number");
    let is_ignored = |signal: u32| ignored & 1 << (signal - 1) != 0;
    // SIGINT, SIGUSR1, SIGPIPE.
    assert_eq!([2, 10, 13].map(is_ignored), [true, true, false], "{said:?}");
    for line in ["SigBlk:\t0000000000000000", "9", "/", " ef bf bd"] {
        assert!(said.out.lines().any(|found| found == line), "{line}: {said:?}");
    }
    project.sandbox.assert_nothing_left();
}

#[test]
fn its_exit_code_and_signals_are_the_commands_own() {
    let project = Project::new(SIMPLE);
    for code in [0, 1, 3, 124, 125, 255] {
        let said = project.output(["with", "@db", "--", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(said.transcript(), format!("exit {code}\n"));
    }
    for signal in [15, 9, 6] {
        let mut command =
            project.procref(["with", "@db", "--", "sh", "-c", &format!("ulimit -c 0; kill -{signal} $$")]);
        assert_eq!(command.status().expect("it runs").signal(), Some(signal));
    }
    // Its SIGKILL releases.
    let mut child = project.procref(["with", "@db", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    let mut child = Running::start(&mut child);
    assert_eq!(child.line(), "ready");
    assert_eq!(project.wait_for("@db", |status| status.state == ServiceState::Up).clients, 1);
    child.kill();
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_command_that_cannot_be_run_starts_nothing() {
    let project = Project::new(SIMPLE);
    let folder = project.folder.join("folder");
    fs::create_dir(&folder).expect("it can be made");
    project
        .output(["with", "@db", "--", "procref-no-such-program"])
        .assert_failed(127, "procref: cannot run `procref-no-such-program`: No such file or directory (os error 2)");
    project
        .output(["with", "@db", "--", "./no\x1bne"])
        .assert_failed(127, "procref: cannot run `./no\u{fffd}ne`: No such file or directory (os error 2)");
    for bad in ["./procref.toml", "./folder"] {
        let expected = format!("procref: cannot run `{bad}`: Permission denied (os error N)");
        project.output(["with", "@db", "--", bad]).assert_failed(126, &expected);
    }
    assert!(!project.kept("@db").exists(), "nothing was started");
    // What only exec finds out.
    let program = project.folder.join("script");
    sandbox::write_program(&program, "#!/nonexistent/interpreter\n");
    let said = project.output(["with", "@db", "--", "./script"]);
    said.assert_failed(127, "procref: cannot run `./script`: No such file or directory (os error 2)");
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_preset_is_three_lines() {
    let project = Project::new("[services.@cache]\npreset = \"redis\"\nlinger = \"0s\"\n");
    let said = project.output(["with", "@cache", "--", "sh", "-c", "redis-cli -u \"$REDIS_URL\" ping"]);
    assert_eq!(said.transcript(), "exit 0\nPONG\n");
    project.sandbox.assert_nothing_left();
}

/// As logind does it when a session ends.
#[test]
fn the_command_is_a_client_also_when_the_count_is_taken_away() {
    let project = Project::new(SIMPLE);
    let mut running = Running::start(project.procref(["with", "@db", "--", "cat"]).stdin(Stdio::piped()));
    running.echo("it is cat by now");
    let status = project.wait_for("@db", |status| status.state == ServiceState::Up);
    let pid = status.info.and_then(|info| info.pid()).expect("it is a process");
    let service = sandbox::hold(pid);
    let [(set, _)] = project.sandbox.sets()[..] else { panic!("there is one set") };
    sandbox::remove_set(set);
    // Whoever asks now is told so.
    let said = project.output(["status", "--json", "@db"]).assert_ok().json();
    assert_eq!(said["services"][0]["state"], "unknown", "{said}");
    assert!(said["services"][0]["error"].as_str().is_some_and(|error| error.contains("removed")), "{said}");
    let said = project.output(["with", "@db", "--", "true"]);
    assert!(said.code == Some(125) && said.err.contains("removed"), "{said:?}");
    running.echo("it goes on");
    assert!(!sandbox::has_ended(&service));
    drop(running.0.stdin.take());
    running.end(&project).assert_ok();
    assert!(sandbox::wait_for_end(&service, std::time::Instant::now() + sandbox::PATIENCE));
    project.sandbox.assert_nothing_left();
}
