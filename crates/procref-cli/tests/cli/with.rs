//! `procref with`.

use crate::kit::{Project, Running, SIMPLE, UP_AND_DOWN};
use procref::ServiceState;
use std::fs;
use std::process::Stdio;

#[test]
fn several_services_and_several_clients() {
    let text = [SIMPLE, &SIMPLE.replace("@db", "@other").replace("WHO", "OTHER")].concat();
    let project = Project::new(&text);
    let client = || {
        let mut command = project.procref(["with", "@db", "@other", "--", "PART", "say=$WHO $OTHER", "cat"]);
        Running::start(command.stdin(Stdio::piped()))
    };
    let mut first = client();
    assert_eq!(first.line(), project.text("@db @other"));
    let mut second = client();
    second.line();
    let pid = |name| project.wait_for(name, |status| status.clients == 2).info.and_then(|info| info.pid());
    let pids = [pid("@db"), pid("@other")];
    drop(first.0.stdin.take());
    assert_eq!(first.end(&project).transcript(), "exit 0\n");
    let left = project.wait_for("@db", |status| status.clients == 1);
    assert_eq!(left.info.and_then(|info| info.pid()), pids[0], "it goes on for the second one");
    drop(second.0.stdin.take());
    assert_eq!(second.end(&project).transcript(), "exit 0\n");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_full_name_is_the_same_service() {
    let project = Project::new(SIMPLE);
    let full = project.full_name("@db");
    let said = project.output(["with", &full, "--", "PART", "say=$WHO"]);
    assert_eq!(said.transcript(), "exit 0\n@db\n");
}

#[test]
fn a_start_that_fails_says_how_and_why() {
    let project = Project::new(
        r#"
        [services.@db]
        command = [PART, "say=no \u001b[31mlicence", "exit=3"]
        ready = { log = "up" }
        "#,
    );
    let said = project.output(["with", "@db", "--", "true"]);
    assert_eq!((said.code, said.out.as_str()), (Some(125), ""), "{said:?}");
    for part in ["exited with status 3 before it was ready", "licence"] {
        assert!(said.err.starts_with("procref: ") && said.err.contains(part), "{said:?}");
    }
    assert!(!said.err.contains('\x1b'), "{said:?}");
    project.sandbox.assert_nothing_left();
    // The log stays, and can be looked at.
    assert!(project.output(["logs", "@db"]).assert_ok().out.contains("licence"));
}

#[test]
fn what_runs_differs_from_what_is_declared() {
    let project = Project::new(SIMPLE);
    let mut child = project.procref(["with", "@db", "--", "PART", "say=up", "cat"]);
    let mut child = Running::start(child.stdin(Stdio::piped()));
    child.line();
    let more = r#"
        [services.@db]
        command = [PART, "stay", "{port}"]
        ports = ["port"]
        ready = { log = "up" }
        env = { PORT = "{port}" }
    "#;
    project.declare(&project.folder, more);
    let said = project.output(["with", "@db", "--", "true"]);
    said.assert_failed(
        125,
        "procref: `@db` runs, and was not started with a port `port`, which is declared by now: end its clients, or `procref \
         stop --force @db`",
    );
    drop(child.0.stdin.take());
    child.end(&project).assert_ok();
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_long_log_is_moved_away_at_a_start() {
    let project = Project::new(SIMPLE);
    let kept = project.kept("@db");
    fs::create_dir_all(&kept).expect("it can be made");
    let log = kept.join("log");
    fs::write(&log, vec![b'x'; (1 << 20) + 1]).expect("it can be written");
    project.output(["with", "@db", "--", "true"]).assert_ok();
    project.sandbox.assert_nothing_left();
    assert_eq!(fs::metadata(kept.join("log.old")).expect("it was moved").len(), (1 << 20) + 1);
    assert_eq!(fs::read_to_string(&log).expect("there is a new one"), UP_AND_DOWN);
    // A shorter one is not.
    project.output(["with", "@db", "--", "true"]).assert_ok();
    project.sandbox.assert_nothing_left();
    assert_eq!(fs::read_to_string(&log).expect("it is there"), UP_AND_DOWN.repeat(2));
}

#[test]
fn one_of_several_that_cannot_start_leaves_none() {
    let bad = r#"
        [services.@bad]
        command = [PART, "exit=5"]
        ready = { log = "up" }
    "#;
    let project = Project::new(&[SIMPLE, bad].concat());
    let said = project.output(["with", "@db", "@bad", "--", "true"]);
    assert!(said.code == Some(125) && said.err.contains("exited with status 5"), "{said:?}");
    project.sandbox.assert_nothing_left();
    assert_eq!(fs::read_to_string(project.kept("@db").join("log")).expect("it was started"), UP_AND_DOWN);
}

#[test]
fn its_exit_code_and_input_are_the_commands_own() {
    let project = Project::new(SIMPLE);
    for code in [0, 1, 3, 124, 125, 255] {
        let said = project.output(["with", "@db", "--", "PART", &format!("exit={code}")]);
        assert_eq!(said.transcript(), format!("exit {code}\n"));
    }
    let mut running = Running::start(project.procref(["with", "@db", "--", "cat"]).stdin(Stdio::piped()));
    running.echo("to cat");
    assert_eq!(project.wait_for("@db", |status| status.state == ServiceState::Up).clients, 1);
    // Killed, it releases; and what it was for does not run on without it.
    running.kill();
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn a_command_that_is_not_there_starts_nothing() {
    let project = Project::new(SIMPLE);
    for (bad, code) in [("procref-no-such-program", 127), ("./none", 127), ("./procref.toml", 126), ("./", 126)] {
        let said = project.output(["with", "@db", "--", bad]);
        assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{said:?}");
        assert!(said.err.starts_with(&format!("procref: cannot run `{bad}`: ")), "{said:?}");
    }
    assert!(!project.kept("@db").exists(), "nothing was started");
}
