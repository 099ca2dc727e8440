//! SIGKILL at every system call: before it is made, and before its maker sees what came of it.

use crate::roles::{Role, Whom, each_role};
use crate::stage::{Filter, Outcome, Promise, Report, Stage, broken, chosen};
use procref_tests::trace::{Stop, Then};

/// How many cases of each role run by themselves.
const SHARE: usize = 24;

fn kill(role: &Role) {
    let mut report = Report::new("kill", role);
    let stops = record(role);
    for case in chosen(stops, SHARE) {
        let mut at = String::new();
        let outcome = one(role, case, &mut at);
        report.note(&format!("case {case} of {stops}: {at}"), outcome);
    }
    report.end();
}

/// How many stops there are when nobody is killed.
fn record(role: &Role) -> usize {
    let mut stage = Stage::new(role);
    let (mut filter, mut seen) = (Filter::new(role), 0);
    let traced = stage.run(role.mode, |stop| {
        seen += usize::from(filter.takes(stop));
        Then::Go
    });
    let traced = traced.expect("it comes to its end");
    assert!(traced.status.success() && !traced.output.contains("error"), "{traced:?}");
    stage.aftermath().expect("nobody was killed");
    seen
}

fn one(role: &Role, case: usize, at: &mut String) -> Outcome {
    let mut stage = Stage::new(role);
    let (mut filter, mut seen) = (Filter::new(role), 0);
    let traced = stage.run(role.mode, |stop| {
        if !filter.takes(stop) {
            return Then::Go;
        }
        seen += 1;
        if seen == case + 1 {
            *at = place(stop);
            Then::KillAndLetGo
        } else {
            Then::Go
        }
    });
    let outcome = traced.and_then(|traced| {
        if role.whom == Whom::Guardian && role.mode == "hold" {
            held_all_the_same(&traced.output)?;
        }
        stage.assert_no_panic()?;
        stage.aftermath()
    });
    if outcome.is_err() {
        stage.sandbox.clean_up();
    }
    outcome
}

fn place(stop: &Stop) -> String {
    format!("{:?} of {} in process {} of the run", stop.side, stop.name(), stop.index)
}

/// The program has it and keeps it, or is told why not.
fn held_all_the_same(output: &str) -> Outcome {
    let mut lines = output.lines();
    match (lines.next(), lines.next(), lines.next()) {
        (Some("holds"), Some("alive true"), Some("released")) => Ok(()),
        (Some(error), None, None) if error.starts_with("error ") => Ok(()),
        _ => broken(Promise::OthersUnharmed, format!("it says {output:?}")),
    }
}

each_role! { kill }
