//! `procref gc`.

use crate::kit::{Project, Running, SIMPLE};
use std::process::Stdio;

#[test]
fn what_is_in_use_stays() {
    let project = Project::new(SIMPLE);
    let mut client = Running::start(project.procref(["with", "@db", "--", "cat"]).stdin(Stdio::piped()));
    client.echo("it is cat by now");
    assert_eq!(project.output(["gc", "@db"]).transcript(), "exit 0\nnothing is left over\n");
    assert_eq!(project.wait_for("@db", |_| true).clients, 1);
    drop(client.0.stdin.take());
    client.end(&project).assert_ok();
    project.sandbox.assert_nothing_left();
}
