//! Ctrl-C while `procref with` waits, starts, or has its command run. Before that nothing handles it: whoever is interrupted
//! ends, and the kernel takes back what there is.

use crate::kit::{GATED, Project, Running, SIMPLE, SLOW, UP_AND_DOWN};
use crate::sys::{Console, ended_by_ctrl_c};
use procref::ServiceState;
use std::fs;
use std::process::Stdio;

/// With the service, in a part.
fn start(project: &Project, steps: &[&str]) -> (Running, Console) {
    let console = Console::new();
    let command = project.procref([&["with", "@db", "--", "PART"], steps].concat());
    let running = Running::start(console.command(command).stdin(Stdio::piped()));
    (running, console)
}

fn end_by_ctrl_c((mut running, console): (Running, Console)) {
    console.ctrl_c(&running);
    let status = running.status();
    assert!(ended_by_ctrl_c(status), "{status}");
}

fn log(project: &Project) -> String {
    fs::read_to_string(project.kept("@db").join("log")).expect("it has a log")
}

#[test]
fn while_it_starts_the_service() {
    let project = Project::new(SLOW);
    let first = start(&project, &["say=has it"]);
    let _starts = project.gate.meet();
    end_by_ctrl_c(first);
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn while_it_waits_for_anothers_start() {
    let project = Project::new(SLOW);
    let (first, _console) = start(&project, &["say=has it"]);
    let starts = project.gate.meet();
    let second = start(&project, &["say=has it"]);
    project.wait_for("@db", |status| status.clients == 2);
    end_by_ctrl_c(second);
    project.wait_for("@db", |status| status.clients == 1);
    // Whoever starts it does not notice.
    starts.let_go();
    assert_eq!(first.end(&project).transcript(), "exit 0\nhas it\n");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_starter_goes_and_who_waits_takes_over() {
    let project = Project::new(SLOW);
    let first = start(&project, &["say=has it"]);
    let _starts = project.gate.meet();
    let (second, _console) = start(&project, &["say=has it"]);
    project.wait_for("@db", |status| status.clients == 2);
    end_by_ctrl_c(first);
    let starts = project.gate.meet();
    starts.let_go();
    assert_eq!(second.end(&project).transcript(), "exit 0\nhas it\n");
    project.sandbox.assert_nothing_left();
}

#[test]
fn while_the_service_is_prepared() {
    let prepared = SLOW.replace("ready =", "prepare = [[PART, \"meet=GATE\"]]\nready =");
    let project = Project::new(&prepared);
    let first = start(&project, &["say=has it"]);
    let _starts = project.gate.meet();
    end_by_ctrl_c(first);
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn while_the_command_runs() {
    let project = Project::new(SIMPLE);
    let (mut running, console) = start(&project, &["say=runs", "stay"]);
    assert_eq!(running.line(), "runs");
    assert_eq!(project.wait_for("@db", |status| status.state == ServiceState::Up).clients, 1);
    end_by_ctrl_c((running, console));
    project.sandbox.assert_nothing_left();
    // The service did not hear of it, so it was asked to stop when its last client had gone.
    assert_eq!(log(&project), UP_AND_DOWN);
}

#[test]
fn a_command_that_ends_in_its_own_way() {
    let project = Project::new(GATED);
    let (mut running, console) = start(&project, &["listen", "say=runs", "asked", "say=tidies up", "exit=7"]);
    let service = project.gate.meet();
    assert_eq!(running.line(), "runs");
    console.ctrl_c(&running);
    assert_eq!(running.line(), "tidies up");
    // It is stopped as it is declared, by whomever.
    let stop = project.gate.meet();
    service.let_go();
    stop.let_go();
    assert_eq!(running.end(&project).transcript(), "exit 7\n");
    project.sandbox.assert_nothing_left();
    assert_eq!(log(&project), "up\nstops\n");
}

#[test]
fn a_command_that_goes_on() {
    let project = Project::new(SIMPLE);
    let steps = ["listen", "say=runs", "asked", "say=goes on", "asked", "say=and on", "cat"];
    let (mut running, console) = start(&project, &steps);
    for said in ["runs", "goes on"] {
        assert_eq!(running.line(), said);
        console.ctrl_c(&running);
    }
    assert_eq!(running.line(), "and on");
    running.echo("and on");
    let status = project.wait_for("@db", |_| true);
    assert_eq!((status.state, status.clients), (ServiceState::Up, 1));
    drop(running.0.stdin.take());
    assert_eq!(running.end(&project).transcript(), "exit 0\n");
    project.sandbox.assert_nothing_left();
    assert_eq!(log(&project), UP_AND_DOWN);
}
