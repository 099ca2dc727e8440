//! Two at once, in every order that matters: one stands still at every system call while another acquires as far as it gets;
//! then the first one is killed, or goes on.

use crate::roles::{self, Before, Role};
use crate::stage::{Filter, Outcome, Promise, Report, Stage, broken, chosen};
use procref::blocking::ServiceHandle;
use procref_tests::trace::{Stop, Then};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How many cases of each pair run by themselves.
const SHARE: usize = 16;

/// How long the second one may take, in the end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Killed,
    GoesOn,
}

fn meet(role: &Role, fate: Fate) {
    let attack = if fate == Fate::Killed { "kill beside another" } else { "stop beside another" };
    let mut report = Report::new(attack, role);
    let stops = record(role);
    for case in chosen(stops, SHARE) {
        let mut at = String::new();
        let outcome = one(role, case, fate, &mut at);
        report.note(&format!("case {case} of {stops}: {at}"), outcome);
    }
    report.end();
}

fn record(role: &Role) -> usize {
    let mut stage = Stage::new(role);
    let (mut filter, mut seen) = (Filter::new(role), 0);
    let traced = stage.run(mode(role), |stop| {
        seen += usize::from(filter.takes(stop));
        Then::Go
    });
    assert!(traced.is_ok_and(|traced| traced.status.success()), "it comes to its end");
    stage.aftermath().expect("nobody was killed");
    seen
}

/// Who goes on leaves in order.
fn mode(role: &Role) -> &'static str {
    if role.mode == "acquire" { "acquire-anyway" } else { role.mode }
}

fn one(role: &Role, case: usize, fate: Fate, at: &mut String) -> Outcome {
    let stage = Stage::new(role);
    let (mut filter, mut seen) = (Filter::new(role), 0);
    let second = stage.part.enter().expect("a good description");
    let (says, hears) = mpsc::channel();
    let traced = std::thread::scope(|scope| {
        let (second, says, stage) = (&second, &says, &stage);
        stage.run(mode(role), |stop| {
            if !filter.takes(stop) {
                return Then::Go;
            }
            seen += 1;
            if seen != case + 1 {
                return Then::Go;
            }
            *at = place(stop);
            let (is_there, done) = mpsc::channel();
            let says = says.clone();
            scope.spawn(move || {
                let acquired = second.acquire();
                // Nobody may listen any more; what it holds stays with who does.
                let _ = (says.send(acquired), is_there.send(()));
            });
            come_to_rest(stage, &done);
            match fate {
                Fate::Killed => Then::KillAndLetGo,
                Fate::GoesOn => Then::LetGo,
            }
        })
    });
    let outcome = traced.and_then(|traced| {
        stage.assert_no_panic()?;
        if fate == Fate::GoesOn && (!traced.status.success() || traced.output.contains("error")) {
            return broken(Promise::OthersUnharmed, format!("the first one: {traced:?}"));
        }
        if seen <= case {
            // It came to its end before that.
            return after(stage.test.acquire(), &stage);
        }
        match hears.recv_timeout(PATIENCE) {
            Ok(acquired) => after(acquired, &stage),
            Err(_) => broken(Promise::NextWorks, "the second one waits and waits"),
        }
    });
    if outcome.is_err() {
        stage.sandbox.clean_up();
    }
    outcome
}

/// Waits until the second one has it, or sleeps until the first one goes on.
fn come_to_rest(stage: &Stage, done: &mpsc::Receiver<()>) {
    let deadline = Instant::now() + Duration::from_millis(200);
    while Instant::now() < deadline {
        match done.recv_timeout(Duration::from_millis(1)) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        if stage
            .part
            .enter()
            .is_ok_and(|part| part.service.status().is_ok_and(|status| status.waiting > 0 && status.clients > 0))
        {
            return;
        }
    }
}

/// The second one has it, and is the only one by now.
fn after(acquired: procref::Result<ServiceHandle>, stage: &Stage) -> Outcome {
    let handle = acquired.or_else(|error| broken(Promise::OthersUnharmed, format!("the second one: {error}")))?;
    if !handle.is_alive() {
        return broken(Promise::OthersUnharmed, "the second one's service has gone");
    }
    let count = stage.test.service.count();
    if !matches!(count, Ok(1)) {
        return broken(Promise::OthersUnharmed, format!("the count is {count:?}"));
    }
    handle
        .release()
        .or_else(|error| broken(Promise::OthersUnharmed, format!("the second one cannot release: {error}")))?;
    stage.nothing_is_left()?;
    stage.the_next_one_gets_it()
}

fn place(stop: &Stop) -> String {
    format!("{:?} of {}", stop.side, stop.name())
}

macro_rules! roles {
    ($($test:ident: $role:ident)+) => { $(
        mod $test {
            use super::*;

            #[test]
            fn killed() {
                meet(&roles::$role, Fate::Killed);
            }

            #[test]
            fn goes_on() {
                meet(&roles::$role, Fate::GoesOn);
            }
        }
    )+ };
}

const _: () = assert!(matches!(roles::STARTER.before, Before::Nothing));

roles! {
    starter: STARTER
    declared_starter: DECLARED_STARTER
    last_leaver: LAST_LEAVER
    declared_last_leaver: DECLARED_LAST_LEAVER
}
