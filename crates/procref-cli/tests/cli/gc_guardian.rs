//! `procref gc`, where a guardian can be killed.

use crate::kit::{Project, Running, SIMPLE, Said};
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// Guardian and client are killed, the guardian first: the client is no procref any more, and nobody else looks.
fn leave_something(project: &Project) {
    let mut client = Running::start(project.procref(["with", "@db", "--", "cat"]).stdin(Stdio::piped()));
    client.echo("it is cat by now");
    let status = project.wait_for("@db", |status| status.guardian.is_some());
    let guardian = procref_tests::sandbox::hold(status.guardian.expect("it has one"));
    rustix::process::pidfd_send_signal(&guardian, rustix::process::Signal::KILL).expect("it lives");
    assert!(procref_tests::sandbox::wait_for_end(
        &guardian,
        std::time::Instant::now() + procref_tests::sandbox::PATIENCE
    ));
    client.kill();
}

#[test]
fn what_was_left_is_finished() {
    let project = Project::new(SIMPLE);
    assert_eq!(project.output(["gc", "@db"]).transcript(), "exit 0\nnothing is left over\n");
    leave_something(&project);
    assert_eq!(project.sandbox.sets().len(), 1, "it is left");
    assert_eq!(project.output(["gc", "@db"]).transcript(), "exit 0\nfinished what was left of @db.HASH\n");
    project.sandbox.assert_nothing_left();
    assert_eq!(project.output(["gc", "@db"]).transcript(), "exit 0\nnothing is left over\n");
}

#[test]
fn files_alone_are_removed() {
    let project = Project::new(SIMPLE);
    leave_something(&project);
    let [(set, _)] = project.sandbox.sets()[..] else { panic!("one set is left") };
    // As logind does it.
    procref_tests::sandbox::remove_set(set);
    project.sandbox.assert_no_process();
    let said = project.output(["gc", "@db"]);
    assert_eq!(said.transcript(), "exit 0\nfinished what was left of @db.HASH\n");
    project.sandbox.assert_nothing_left();
}

/// Without names it sees to all of the user's services, so this one is in a world of its own.
#[test]
fn all_that_is_left_anywhere() {
    let project = Project::new(SIMPLE);
    let options = if rustix::process::geteuid().is_root() { vec!["--ipc"] } else { vec!["--ipc", "--map-root-user"] };
    let possible = Command::new("unshare").args(&options).arg("true").status().is_ok_and(|status| status.success());
    if !possible {
        println!("this system makes no IPC namespaces for this user");
        return;
    }
    let old = project.sandbox.folder().join("state/procref/old.12345678");
    let new = project.sandbox.folder().join("state/procref/new.12345678");
    for folder in [&old, &new] {
        fs::create_dir_all(folder.join("state")).expect("it can be made");
        File::create(folder.join("run")).expect("it can be made");
    }
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 86400);
    File::open(old.join("run")).and_then(|note| note.set_modified(long_ago)).expect("it is ours");
    let script = project.text(
        r#"
        "$P" with @db -- sh -c 'echo up > begun; exec sleep 1000' & client=$!
        read up < begun
        guardian=$("$P" status --json | sed 's/.*"guardian":\([0-9]*\).*/\1/')
        kill -9 $guardian
        until "$P" status --json | grep -q '"guardian":null'; do :; done
        kill -9 $client; wait
        "$P" doctor | grep leftovers
        "$P" gc; "$P" gc; "$P" status
        "$P" doctor | grep leftovers
        "#,
    );
    let made = Command::new("mkfifo").arg(project.folder.join("begun")).status().expect("there is mkfifo");
    assert!(made.success());
    let mut command = project.sandbox.command("unshare");
    for (variable, value) in project.procref([""; 0]).get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    command
        .args(&options)
        .args(["sh", "-c", &script])
        .env("P", env!("CARGO_BIN_EXE_procref"))
        .current_dir(&project.folder);
    let said = Said::new(&command.stdin(Stdio::null()).output().expect("it runs"), &project);
    let expected = "exit 0\n\
        warning leftovers killed processes have left something of @db.HASH\n\
        finished what was left of @db.HASH\n\
        removed SANDBOX/state/procref/old.HASH, of an old run\n\
        nothing is left over\n\
        no service runs\n\
        ok leftovers none; 0 services are in order\n";
    assert_eq!(said.transcript(), expected, "{said:?}");
    assert!(!old.exists() && new.exists());
    project.sandbox.assert_nothing_left();
}
