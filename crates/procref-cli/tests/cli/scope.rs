//! Who shares a service.

use crate::kit::{Project, Running, SIMPLE};
use std::process::{Command, Stdio};

/// Holds the service, and says which process it is.
fn holder(command: &mut Command) -> Running {
    Running::start(command.stdin(Stdio::piped()))
}

const HOLD: [&str; 3] = ["PART", "say=up", "cat"];

fn pids(project: &Project, command: &mut Command) -> Vec<u64> {
    let said = crate::kit::Said::new(&command.output().expect("it runs"), project);
    let all = said.json()["services"].as_array().expect("it is a list").clone();
    all.iter().filter_map(|service| service["pid"].as_u64()).collect()
}

fn let_go(project: &Project, running: Vec<Running>) {
    for mut running in running {
        drop(running.0.stdin.take());
        running.end(project).assert_ok();
    }
    project.sandbox.assert_nothing_left();
}

#[test]
fn two_checkouts_do_not_meet() {
    let project = Project::new(SIMPLE);
    let other = project.sandbox.folder().join("other");
    project.declare(&other, SIMPLE);
    let below = project.folder.join("a/b");
    std::fs::create_dir_all(&below).expect("it can be made");
    let with = ["with", "@db", "--"].into_iter().chain(HOLD);
    let mut first = holder(&mut project.procref(with.clone()));
    let mut second = holder(project.procref(with.clone()).current_dir(&other));
    let mut third = holder(project.procref(with).current_dir(&below));
    for running in [&mut first, &mut second, &mut third] {
        running.line();
    }
    let status = ["status", "--json", "@db"];
    let here = pids(&project, &mut project.procref(status));
    assert_eq!(here.len(), 1);
    assert_ne!(here, pids(&project, project.procref(status).current_dir(&other)));
    assert_eq!(here, pids(&project, project.procref(status).current_dir(&below)), "a folder of the same project");
    let_go(&project, vec![first, second, third]);
}

#[test]
fn two_runs_do_not_meet() {
    let project = Project::new(&SIMPLE.replace("ready =", "scope = \"run\"\nready ="));
    let with: Vec<_> = ["with", "@db", "--"].into_iter().chain(HOLD).collect();
    let mut running = Vec::new();
    let status = ["status", "--json", "@db"];
    let mut seen = Vec::new();
    for (variable, run) in
        [("PROCREF_RUN_ID", "1"), ("NEXTEST_RUN_ID", "1"), ("PYTEST_XDIST_TESTRUNUID", "2"), ("PROCREF_RUN_ID", "3")]
    {
        let mut one = holder(project.procref(&with).env(variable, run));
        one.line();
        running.push(one);
        seen.extend(pids(&project, project.procref(status).env(variable, run)));
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0], seen[1], "it is the same run, whatever named it");
    assert!(seen[1] != seen[2] && seen[2] != seen[3] && seen[1] != seen[3], "{seen:?}");
    // Who knows of no run cannot look.
    project.output(["status", "@db"]).assert_failed(
        125,
        "procref: `@db` belongs to one test run, and no run is known here: set PROCREF_RUN_ID, which `procref with` and `procref \
         run` do for their command, or NEXTEST_RUN_ID or PYTEST_XDIST_TESTRUNUID",
    );
    let_go(&project, running);
}

procref_tests::linux_only! { "a shell script runs procref in procref":
    #[test]
    fn with_begins_a_run_where_there_is_none() {
        let project = Project::new(&SIMPLE.replace("ready =", "scope = \"run\"\nready ="));
        let procref = env!("CARGO_BIN_EXE_procref");
        // What is inside is in the same run.
        let inner =
            project.text(&format!("{procref} status --json @db; exec {procref} with @db -- sh -c 'echo $PROCREF_RUN_ID'"));
        let script = format!("echo $PROCREF_RUN_ID; {inner}");
        let run = || {
            let said = project.output(["with", "@db", "--", "sh", "-c", &script]).assert_ok();
            let lines: Vec<_> = said.out.lines().map(str::to_owned).collect();
            let status: serde_json::Value = serde_json::from_str(&lines[1]).expect("it is JSON");
            assert_eq!((lines.len(), &status["services"][0]["state"]), (3, &"up".into()), "{said:?}");
            assert_eq!(status["services"][0]["scope"], "run");
            assert_eq!(lines[0], lines[2], "the run is the same one");
            lines[0].clone()
        };
        assert_ne!(run(), run(), "and each time another one");
        let said =
            project.procref(["with", "@db", "--", "sh", "-c", "echo $PROCREF_RUN_ID"]).env("NEXTEST_RUN_ID", "7").output();
        assert_eq!(said.expect("it runs").stdout, b"\n", "there is a run already");
        project.sandbox.assert_nothing_left();
    }
}

#[test]
fn the_scope_can_be_another_one() {
    let project = Project::new(SIMPLE);
    let full = |arguments: &[&str]| {
        let said = project.procref(arguments).env("PROCREF_RUN_ID", "1").output().expect("it runs");
        let said = crate::kit::Said::new(&said, &project);
        said.json()["services"][0]["full_name"].as_str().expect("it has a name").to_owned()
    };
    let user = full(&["status", "--json", "--scope", "user", "@db"]);
    assert_eq!(user, project.text("@db"));
    let project_wide = full(&["status", "--json", "@db"]);
    assert_eq!(project_wide, full(&["status", "--json", "--scope", "project", "@db"]));
    let run = full(&["status", "--json", "--scope", "run", "@db"]);
    assert!(run != project_wide && run.starts_with(&user) && project_wide.starts_with(&user));
    let said = project.output(["with", "--scope", "user", "@db", "--", env!("CARGO_BIN_EXE_procref"), "status"]);
    assert!(said.out.contains(&project.text("@db")), "{said:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_users_own_services_belong_to_no_project() {
    let project = Project::new("");
    project.declare(&project.sandbox.folder().join("config/procref"), SIMPLE);
    let said = project.output(["status", "--json", "@db"]).json();
    assert_eq!(
        (said["services"][0]["scope"].as_str(), &said["services"][0]["folder"]),
        (Some("user"), &serde_json::Value::Null)
    );
    let elsewhere = project.sandbox.folder().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("it can be made");
    let output =
        project.procref(["status", "--scope", "project", "@db"]).current_dir(elsewhere).output().expect("it runs");
    crate::kit::Said::new(&output, &project).assert_failed(
        125,
        "procref: `@db` cannot have the scope \"project\" here: it is the user's own, and there is no procref.toml in this folder \
         or above",
    );
}

#[test]
fn a_long_name_has_room() {
    let long = format!("@{}", "x".repeat(64));
    let project = Project::new("");
    let name: String = project.text(&long).chars().take(64).collect();
    project.declare(&project.folder, &SIMPLE.replace("@db", &name));
    let said = project.output(["with", &name, "--", "PART", "say=$WHO"]);
    assert_eq!(said.out.trim_end(), name, "{said:?}");
    project.sandbox.assert_nothing_left();
}
