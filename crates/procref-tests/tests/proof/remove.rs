//! The semaphore set is removed at every system call, as `ipcrm` and logind's RemoveIPC do it: whoever is counted no longer is told
//! so, no second instance starts beside a live one, and all has gone when everybody has.

use crate::roles::{Role, roles};
use crate::stage::{Filter, Outcome, Promise, Report, Stage, broken, chosen};
use procref_tests::sandbox::remove_set;
use procref_tests::trace::{Side, Stop, Then};

/// How many cases of each role run by themselves.
const SHARE: usize = 16;

fn remove(role: &Role) {
    let mut report = Report::new("ipcrm", role);
    let stops = run(role, usize::MAX, &mut String::new()).expect("nothing was removed");
    for case in chosen(stops, SHARE) {
        let mut at = String::new();
        let outcome = run(role, case, &mut at).map(drop);
        report.note(&format!("case {case} of {stops}: {at}"), outcome);
    }
    report.end();
}

/// How many stops there were.
fn run(role: &Role, case: usize, at: &mut String) -> Outcome<usize> {
    let mut stage = Stage::new(role);
    let (mut filter, mut seen, mut fresh) = (Filter::new(role), 0, Vec::new());
    let named = &stage.sandbox;
    let traced = stage.run(mode(role), |stop| {
        // A set that nobody has named yet does not show whose it is.
        fresh.extend(made(stop));
        if filter.takes(stop) {
            seen += 1;
            if seen == case.saturating_add(1) {
                *at = format!("{:?} of {}", stop.side, stop.name());
                let ids: Vec<_> = named.sets().into_iter().map(|(id, _)| id).chain(fresh.drain(..)).collect();
                ids.into_iter().for_each(remove_set);
            }
        }
        Then::Go
    });
    let outcome = traced.and_then(|traced| {
        stage.assert_no_panic()?;
        let mut errors = traced.output.lines().filter_map(|line| line.strip_prefix("error "));
        if let Some(error) = errors.find(|error| !error.starts_with("SetRemoved: ")) {
            return broken(Promise::CauseNamed, format!("it says {error:?}"));
        }
        if !traced.status.success() {
            return broken(Promise::CauseNamed, format!("it ends with {:?}", traced.status));
        }
        stage.leave_what_may_be_gone();
        stage.no_process_is_left()?;
        stage.the_next_one_gets_it()
    });
    if outcome.is_err() {
        stage.sandbox.clean_up();
    }
    outcome.map(|()| seen)
}

fn made(stop: &Stop) -> Option<i32> {
    match stop.side {
        Side::Exit(id) if stop.number == libc::SYS_semget && stop.index == 0 => {
            id.try_into().ok().filter(|id| *id >= 0)
        }
        _ => None,
    }
}

/// Who goes on leaves in order.
fn mode(role: &Role) -> &'static str {
    if role.mode == "acquire" { "acquire-anyway" } else { role.mode }
}

roles! {
    remove:
    starter: STARTER
    declared_starter: DECLARED_STARTER
    joiner: JOINER
    last_leaver: LAST_LEAVER
    declared_last_leaver: DECLARED_LAST_LEAVER
    recoverer: RECOVERER
}
