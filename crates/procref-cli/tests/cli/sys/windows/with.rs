//! `procref with` where no process can become another one.

use super::Console;
use crate::kit::{GATED, Project, Running, SIMPLE};
use std::fs;

#[test]
fn killed_it_takes_along_the_command_and_what_that_has_started() {
    let project = Project::new(SIMPLE);
    let mut running = Running::start(&mut project.procref(["with", "@db", "--", "PART", "child=meet=GATE", "stay"]));
    let _child = project.gate.meet();
    running.kill();
    project.assert_nothing_left_of(&["@db"]);
}

/// As if procref had heard of what ended the command when that was over.
#[test]
fn a_late_ctrl_c_changes_nothing() {
    let project = Project::new(GATED);
    let console = Console::new();
    let command = project.procref(["with", "@db", "--", "PART", "exit=7"]);
    let mut running = Running::start(&mut console.command(command));
    let service = project.gate.meet();
    let stop = project.gate.meet();
    console.ctrl_c(&running);
    service.let_go();
    stop.let_go();
    assert_eq!(running.status().code(), Some(7));
    project.sandbox.assert_nothing_left();
}

#[test]
fn what_the_command_leaves_behind_goes_on() {
    let project = Project::new(SIMPLE);
    let mut running =
        Running::start(&mut project.procref(["with", "@db", "--", "PART", "child=meet=GATE;meet=GATE", "exit=3"]));
    let child = project.gate.meet();
    assert_eq!(running.status().code(), Some(3));
    assert!(project.sandbox.objects().is_empty(), "it holds nothing");
    child.let_go();
    project.gate.meet().let_go();
    project.sandbox.assert_nothing_left();
}

#[test]
fn what_only_the_system_finds_out_is_said() {
    let project = Project::new(SIMPLE);
    fs::write(project.folder.join("text.exe"), "this is no program").expect("it can be written");
    let said = project.output(["with", "@db", "--", "./text.exe"]);
    assert_eq!((said.code, said.out.as_str()), (Some(126), ""), "{said:?}");
    assert!(said.err.starts_with("procref: cannot run `./text.exe`: "), "{said:?}");
    project.sandbox.assert_nothing_left();
}
