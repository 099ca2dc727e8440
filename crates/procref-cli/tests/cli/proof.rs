//! `procref with` is killed at every system call that it makes before it is the command.

use crate::kit::{Project, SIMPLE};
use procref_tests::proof::{Tally, chosen};
use procref_tests::trace::{Follow, Side, Stop, Then, trace};
use std::time::Duration;

/// How many cases run by themselves.
const SHARE: usize = 24;

/// How long whatever has to go may take.
const GOING: Duration = Duration::from_secs(20);

#[test]
fn killed_at_every_call() {
    let mut tally = Tally::new("kill", "procref with");
    let stops = run(&Project::new(SIMPLE), usize::MAX, &mut String::new());
    for case in chosen(stops, SHARE) {
        let project = Project::new(SIMPLE);
        let mut at = String::new();
        run(&project, case, &mut at);
        let outcome = aftermath(&project);
        if outcome.is_err() {
            project.sandbox.clean_up();
        }
        tally.note(&format!("case {case} of {stops}: {at}"), outcome);
    }
    tally.end();
}

/// Kills it at that stop, and says how many there were.
fn run(project: &Project, case: usize, at: &mut String) -> usize {
    let (mut becomes, mut seen) = (0, 0);
    trace(&project.sandbox, project.procref(["with", "@db", "--", "true"]), Follow::Threads, |stop| {
        // The first time it becomes procref, the second time the command.
        becomes += usize::from(stop.side == Side::Exit(0) && stop.name() == "execve");
        if becomes != 1 {
            return Then::Go;
        }
        seen += 1;
        if seen == case.saturating_add(1) {
            *at = place(stop);
            return Then::KillAndLetGo;
        }
        Then::Go
    });
    seen
}

fn place(stop: &Stop) -> String {
    format!("{:?} of {}", stop.side, stop.name())
}

/// Nothing runs any more, and the next one gets it and leaves nothing.
fn aftermath(project: &Project) -> Result<(), String> {
    let left = project.sandbox.left_after(GOING);
    if left.iter().any(|left| left.starts_with("process") || left.starts_with("whoever")) {
        return Err(format!("left: {left:?}"));
    }
    let said = project.output(["with", "@db", "--", "true"]);
    let left = project.sandbox.left_after(GOING);
    if said.code != Some(0) || !left.is_empty() {
        return Err(format!("the next one: {said:?}, left: {left:?}"));
    }
    Ok(())
}
