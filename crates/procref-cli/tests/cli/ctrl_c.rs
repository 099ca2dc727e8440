//! Ctrl-C while `procref with` waits, starts, or has become its command. There is no handler: whoever is interrupted dies,
//! and the kernel takes back what there is.

use crate::kit::{Project, Running, SIMPLE, SLOW};
use procref::ServiceState;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};

/// In a job of its own, as a shell starts it: Ctrl-C reaches all that is in it.
fn start(project: &Project, command: &str) -> Running {
    Running::start(project.procref(["with", "@db", "--", "sh", "-c", command]).process_group(0))
}

fn ctrl_c(running: &mut Running) {
    kill_process_group(Pid::from_child(&running.0), Signal::INT).expect("it is there");
    assert_eq!(running.0.wait().expect("it ends").signal(), Some(2));
}

#[test]
fn while_it_starts_the_service() {
    let project = Project::new(SLOW);
    let mut first = start(&project, "true");
    let _starts = project.gate.meet();
    ctrl_c(&mut first);
    project.sandbox.assert_nothing_left();
}

#[test]
fn while_it_waits_for_anothers_start() {
    let project = Project::new(SLOW);
    let first = start(&project, "echo has it");
    let starts = project.gate.meet();
    let mut second = start(&project, "true");
    project.wait_for("@db", |status| status.clients == 2);
    ctrl_c(&mut second);
    project.wait_for("@db", |status| status.clients == 1);
    // Whoever starts it does not notice.
    starts.let_go();
    assert_eq!(first.end(&project).transcript(), "exit 0\nhas it\n");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_starter_goes_and_who_waits_takes_over() {
    let project = Project::new(SLOW);
    let mut first = start(&project, "true");
    let _starts = project.gate.meet();
    let second = start(&project, "echo has it");
    project.wait_for("@db", |status| status.clients == 2);
    ctrl_c(&mut first);
    let starts = project.gate.meet();
    starts.let_go();
    assert_eq!(second.end(&project).transcript(), "exit 0\nhas it\n");
    project.sandbox.assert_nothing_left();
}

#[test]
fn while_the_command_runs() {
    let project = Project::new(SIMPLE);
    let mut running = start(&project, "echo runs; exec sleep 1000");
    assert_eq!(running.line(), "runs");
    assert_eq!(project.wait_for("@db", |status| status.state == ServiceState::Up).clients, 1);
    ctrl_c(&mut running);
    project.sandbox.assert_nothing_left();
    // The service was not in the job, so it was asked to stop by its guardian.
    assert_eq!(fs::read_to_string(project.kept("@db").join("log")).expect("it has a log"), "up\nstops\n");
}

#[test]
fn while_the_service_is_prepared() {
    let prepared = SLOW.replace("ready =", "prepare = [[PART, \"meet=GATE\"]]\nready =");
    let project = Project::new(&prepared);
    let mut first = start(&project, "true");
    let _starts = project.gate.meet();
    ctrl_c(&mut first);
    project.sandbox.assert_nothing_left();
}
