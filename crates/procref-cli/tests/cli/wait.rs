//! `procref wait`.

use crate::kit::{Project, Running, SIMPLE, SLOW};
use std::process::Stdio;

#[test]
fn until_it_is_ready_and_until_it_is_gone() {
    let project = Project::new(SLOW);
    let mut early = Running::start(&mut project.procref(["wait", "@db"]));
    let mut client = project.procref(["with", "@db", "--", "PART", "say=up", "cat"]);
    let mut client = Running::start(client.stdin(Stdio::piped()));
    let starts = project.gate.meet();
    let late = Running::start(&mut project.procref(["wait", "@db", "--timeout", "1m"]));
    assert!(early.0.try_wait().expect("it can be asked").is_none(), "it is not ready yet");
    starts.let_go();
    for waits in [early, late] {
        assert_eq!(waits.end(&project).transcript(), "exit 0\n");
    }
    client.line();
    assert_eq!(project.output(["wait", "@db"]).transcript(), "exit 0\n", "at once");
    let mut gone = Running::start(&mut project.procref(["wait", "--gone", "@db"]));
    assert!(gone.0.try_wait().expect("it can be asked").is_none(), "it is not gone yet");
    drop(client.0.stdin.take());
    client.end(&project).assert_ok();
    assert_eq!(gone.end(&project).transcript(), "exit 0\n");
    assert_eq!(project.output(["wait", "--gone", "@db"]).transcript(), "exit 0\n", "at once");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_time_is_up() {
    let project = Project::new(SIMPLE);
    let said = project.output(["wait", "@db", "--timeout", "20ms"]);
    said.assert_failed(124, "procref: @db is not ready after 20ms".replace("20", "N").as_str());
    // Also of one that nobody has declared: it may come.
    project.output(["wait", "@other", "--timeout", "0s"]).assert_failed(124, "procref: @other is not ready after 0ns");
    let mut client = project.procref(["with", "@db", "--", "PART", "say=up", "cat"]);
    let mut client = Running::start(client.stdin(Stdio::piped()));
    client.line();
    let said = project.output(["wait", "@db", "--gone", "--timeout", "20ms"]);
    said.assert_failed(124, "procref: @db is not gone after Nms");
    drop(client.0.stdin.take());
    client.end(&project).assert_ok();
    project.sandbox.assert_nothing_left();
}
