//! A program that has used up its descriptors, or all but a few: no call fails by itself, all do together.

use crate::roles::{Role, roles};
use crate::stage::{Outcome, Promise, Report, Stage, broken};
use procref_tests::trace::Then;

/// More than anybody needs.
const MOST: usize = 24;

fn full(role: &Role) {
    let mut report = Report::new("no descriptors", role);
    for free in 0..MOST {
        report.note(&format!("{free} are free"), one(role, free));
    }
    report.end();
}

fn one(role: &Role, free: usize) -> Outcome {
    let mut stage = Stage::new(role);
    stage.free_descriptors = Some(free);
    let traced = stage.run(if role.mode == "acquire" { "acquire-anyway" } else { role.mode }, |_| Then::Go);
    let outcome = traced.and_then(|traced| {
        stage.assert_no_panic()?;
        let errors: Vec<_> = traced.output.lines().filter_map(|line| line.strip_prefix("error ")).collect();
        match errors[..] {
            [] => {}
            [error] if error.contains("os error 24)") => {}
            _ => return broken(Promise::CauseNamed, format!("it says {errors:?}")),
        }
        if free + 1 == MOST && !errors.is_empty() {
            return broken(Promise::NextWorks, format!("so many are not enough: {errors:?}"));
        }
        stage.aftermath()
    });
    if outcome.is_err() {
        stage.sandbox.clean_up();
    }
    outcome
}

roles! {
    full:
    starter: STARTER
    starter_with_way_in: STARTER_WITH_WAY_IN
    declared_starter: DECLARED_STARTER
    joiner: JOINER
    last_leaver: LAST_LEAVER
    declared_last_leaver: DECLARED_LAST_LEAVER
    recoverer: RECOVERER
    restarter: RESTARTER
    declared_restarter: DECLARED_RESTARTER
}
