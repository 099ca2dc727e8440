//! The promises, checked against what was written down.

use procref_tests::Events;
use std::collections::{BTreeMap, BTreeSet};

/// What the log says, line by line, in the order in which it was written.
///
/// A line that says that a client holds an instance is written when it does, and one that it gives it back, or is killed,
/// before that happens. A service that is ours writes that it was asked to stop when it has been, and the observer that an instance is
/// gone when it has gone. So whoever is asked to stop, or ends, between a client's two lines was stopped while it was in use. What is
/// slain by the test may end whenever it does.
pub(crate) fn judge(log: &Events) -> String {
    let (mut holders, mut dead) = (BTreeMap::<u32, BTreeSet<u32>>::new(), BTreeSet::new());
    let (mut lives, mut slain) = (BTreeMap::new(), BTreeSet::new());
    let mut births = BTreeMap::<String, usize>::new();
    let (mut clients, mut holds, mut kills, mut alone, mut failed) = (0, 0, 0, 0, 0);
    let mut errors = Vec::new();
    for event in log.all() {
        let about = event.detail.trim().parse::<u32>().unwrap_or(0);
        let in_use = |instance: u32, holders: &BTreeMap<u32, BTreeSet<u32>>, slain: &BTreeSet<u32>| {
            let by = holders.get(&instance).filter(|by| !by.is_empty() && !slain.contains(&instance));
            assert!(by.is_none(), "{event:?}: service {instance} was stopped while {by:?} held it");
        };
        match event.what.as_str() {
            "enters" => {
                clients += 1;
                // The number may have been another's.
                dead.remove(&about);
            }
            "birth" => {
                *births.entry(event.detail.clone()).or_default() += 1;
                lives.insert(event.by, event.detail);
                holders.remove(&event.by);
                slain.remove(&event.by);
            }
            "holds" if !dead.contains(&event.by) => {
                holds += 1;
                holders.entry(about).or_default().insert(event.by);
            }
            "releases" => {
                holders.entry(about).or_default().remove(&event.by);
            }
            "kills" => {
                kills += 1;
                dead.insert(about);
                holders.values_mut().for_each(|holders| {
                    holders.remove(&about);
                });
            }
            "signal" => in_use(event.by, &holders, &slain),
            "gone" => {
                in_use(about, &holders, &slain);
                lives.remove(&about);
                holders.remove(&about);
            }
            "slays" => {
                kills += 1;
                slain.insert(about);
                holders.remove(&about);
            }
            "refused" => assert!(slain.contains(&about), "service {about} does not serve who holds it: {event:?}"),
            "ends-alone" => alone += 1,
            "overlap" => panic!("two instances at once: {event:?}"),
            "error" if is_of_a_killed_start(&event.detail) => failed += 1,
            "error"
                if is_postgres_beside_the_dead(&event.detail, |pid| {
                    lives.contains_key(&pid) && !slain.contains(&pid)
                }) =>
            {
                failed += 1;
            }
            "error" => errors.push(event.detail),
            _ => {}
        }
    }
    assert!(errors.is_empty(), "{errors:?}");
    assert!(lives.is_empty(), "nobody has seen them go: {lives:?}");
    format!(
        "{clients} clients came, services born {births:?}, {holds} times held, {kills} kills, {failed} starts killed, {alone} times all of \
         a service's killed at once, 0 broken"
    )
}

/// A service that dies as it starts is an error to whoever wanted it; the test kills some in that moment, and guardians, which alone know how
/// it ended.
fn is_of_a_killed_start(error: &str) -> bool {
    let causes = [
        "was killed by signal 9 before it was ready",
        "ended before it was ready",
        "is not running",
        "the guardian ended while it started the service",
    ];
    let cause = error.split("; the last lines of its log").next().unwrap_or(error);
    error.starts_with("acquire StartFailed ") && causes.iter().any(|words| cause.contains(words))
}

/// A killed PostgreSQL leaves its number, by which the next one takes a zombie for a server, where nobody reaps that: its guardian was killed, too.
fn is_postgres_beside_the_dead(error: &str, lives: impl Fn(u32) -> bool) -> bool {
    let Some((_, log)) = error.split_once("; the last lines of its log") else { return false };
    let named =
        log.split_once("Is another postmaster (PID ").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    let refuses = log.contains("lock file \"postmaster.pid\" already exists") && named.is_some_and(|pid| !lives(pid));
    error.starts_with("acquire StartFailed ") && refuses
}

#[test]
fn it_finds_what_is_broken() {
    let sandbox = procref_tests::Sandbox::new();
    let number = std::cell::Cell::new(0);
    let verdict = |lines: &[&str]| {
        number.set(number.get() + 1);
        let path = sandbox.folder().join(format!("log{}", number.get()));
        std::fs::write(&path, lines.join("\n") + "\n").expect("it can be written");
        std::panic::catch_unwind(|| judge(&Events::new(&path))).is_ok()
    };
    let held = ["9 birth a", "1 holds 9", "2 holds 9"];
    let then = |more: &[&str]| verdict(&[&held[..], more].concat());
    assert!(then(&["1 releases 9", "5 kills 2", "9 signal TERM", "5 gone 9"]));
    assert!(then(&["5 slays 9", "9 signal TERM", "5 gone 9"]));
    assert!(
        then(&["5 slays 9", "3 holds 9", "3 refused 9", "5 gone 9"]),
        "it was about to acquire when that was killed"
    );
    assert!(then(&[
        "5 slays 9",
        "5 gone 9",
        "3 error acquire StartFailed it was killed by signal 9 before it was ready"
    ]));
    assert!(!then(&["1 releases 9", "9 signal TERM", "5 gone 9"]), "asked to stop while it is held");
    assert!(!then(&["1 releases 9", "5 gone 9"]), "gone while it is held");
    assert!(!then(&["9 signal TERM", "1 releases 9", "5 kills 2", "5 gone 9"]), "stopped before it is given back");
    assert!(!then(&["1 releases 9", "2 releases 9"]), "it goes on");
    assert!(!then(&["1 refused 9", "5 slays 9", "5 gone 9"]), "held, and of no use");
    assert!(!then(&["8 overlap ", "5 slays 9", "5 gone 9"]), "two at once");
    assert!(!then(&["5 slays 9", "5 gone 9", "1 error release SetRemoved it has gone"]), "an error nobody provoked");
    assert!(
        then(&[
            "5 slays 9",
            "5 gone 9",
            "3 error acquire StartFailed it exited; the last lines of its log: lock file \"postmaster.pid\" already exists Is another postmaster (PID 9) running"
        ]),
        "a zombie"
    );
    assert!(
        !then(&[
            "3 error acquire StartFailed it exited; the last lines of its log: lock file \"postmaster.pid\" already exists Is another postmaster (PID 9) running",
            "5 slays 9",
            "5 gone 9"
        ]),
        "it lives"
    );
    assert!(
        !then(&["5 slays 9", "5 gone 9", "3 error acquire StartFailed no such file"]),
        "a start that nobody killed"
    );
}
