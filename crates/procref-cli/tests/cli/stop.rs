//! `procref stop`.

use crate::kit::{Project, Running, SIMPLE};
use crate::sys::holder_name;
use std::process::Stdio;

#[test]
fn what_nobody_holds_is_stopped() {
    let project = Project::new(&SIMPLE.replace("ready =", "linger = \"1h\"\nready ="));
    project.output(["with", "@db", "--", "true"]).assert_ok();
    assert_eq!(project.output(["stop", "@db"]).transcript(), "exit 0\n! procref: @db has stopped\n");
    project.sandbox.assert_nothing_left();
    assert_eq!(project.output(["stop", "@db"]).transcript(), "exit 0\n! procref: @db does not run\n");
    // It can be started again.
    project.output(["with", "@db", "--", "true"]).assert_ok();
    let full = project.full_name("@db");
    let elsewhere = project.procref(["stop", &full]).current_dir("/").output().expect("it runs");
    assert!(elsewhere.status.success(), "by its full name, from anywhere");
    project.sandbox.assert_nothing_left();
}

#[test]
fn what_is_held_is_not_stopped_unless_by_force() {
    let project = Project::new(SIMPLE);
    let mut client = project.procref(["with", "@db", "--", "cat"]);
    let mut client = Running::start(client.stdin(Stdio::piped()));
    client.echo("it is cat by now");
    let said = project.output(["stop", "@db"]);
    said.assert_failed(125, "procref: @db is in use by N (HOLDER); --force stops it all the same");
    assert!(said.err.contains(&format!("by {} ({})", client.0.id(), holder_name())), "{said:?}");
    assert_eq!(project.wait_for("@db", |_| true).clients, 1);
    assert_eq!(project.output(["stop", "--force", "@db"]).transcript(), "exit 0\n! procref: @db has stopped\n");
    drop(client.0.stdin.take());
    client.end(&project).assert_ok();
    project.sandbox.assert_nothing_left();
}

procref_tests::linux_only! { "/dev/full":
    #[test]
    fn nobody_need_listen() {
        let project = Project::new(SIMPLE);
        let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        let status = project.procref(["stop", "@db"]).stderr(full).status().expect("it runs");
        assert!(status.success(), "{status}");
        let full = std::fs::File::options().write(true).open("/dev/full").expect("it is there");
        let output = project.procref(["status", "@db"]).stdout(full).output().expect("it runs");
        assert_eq!(output.status.code(), Some(125));
        assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
    }
}

procref_tests::linux_only! { "one signal among several":
    #[test]
    fn it_is_stopped_as_it_is_declared() {
        let text = r#"
            [services.@db]
            command = ["sh", "-c", "trap 'echo asked by USR1; exit' USR1; echo up $$; while :; do sleep 1000 & wait; done"]
            ready = { log = "up" }
            linger = "1h"
            stop = { command = ["sh", "-c", "echo stop command of {name}; kill -USR1 $(sed -n 's/^up //p' $LOG)"], grace = "1m" }
            log = "own.log"
            service_env = { LOG = "own.log" }
        "#;
        let project = Project::new(text);
        project.output(["with", "@db", "--", "true"]).assert_ok();
        project.output(["stop", "@db"]).assert_ok();
        let log = std::fs::read_to_string(project.folder.join("own.log")).expect("it is there");
        assert!(log.ends_with("asked by USR1\n"), "{log}");
        project.sandbox.assert_nothing_left();
        // A signal.
        let text = text.replace("command = [\"sh\", \"-c\", \"echo stop", "signal = \"USR1\", grace = \"1m\" } #");
        project.declare(&project.folder, &text);
        project.output(["with", "@db", "--", "true"]).assert_ok();
        project.output(["stop", "@db"]).assert_ok();
        let log = std::fs::read_to_string(project.folder.join("own.log")).expect("it is there");
        assert_eq!(log.matches("asked by USR1\n").count(), 2, "{log}");
        project.sandbox.assert_nothing_left();
    }
}

procref_tests::linux_only! { "one signal among several":
    #[test]
    fn one_of_another_folder_is_stopped_as_it_is_declared_there() {
        let text = r#"
            [services.@db]
            command = ["sh", "-c", "trap 'echo asked by USR1; exit' USR1; echo up; while :; do sleep 1000 & wait; done"]
            ready = { log = "up" }
            linger = "1h"
            stop = { signal = "USR1", grace = "1m" }
            log = "own.log"
        "#;
        let project = Project::new(text);
        project.output(["with", "@db", "--", "true"]).assert_ok();
        let full = project.full_name("@db");
        let output = project.procref(["stop", &full]).current_dir("/").output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let log = std::fs::read_to_string(project.folder.join("own.log")).expect("it is there");
        assert_eq!(log, "up\nasked by USR1\n");
        project.sandbox.assert_nothing_left();
    }
}
