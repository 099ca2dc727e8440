//! `procref logs`.

use crate::kit::{Project, Running, SIMPLE, UP_AND_DOWN};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

/// The service's log, with this text.
fn log(project: &Project, text: &str) -> PathBuf {
    let kept = project.kept("@db");
    fs::create_dir_all(&kept).expect("it can be made");
    fs::write(kept.join("log"), text).expect("it can be written");
    kept.join("log")
}

#[test]
fn all_of_it_or_its_last_lines() {
    let project = Project::new(SIMPLE);
    project
        .output(["logs", "@db"])
        .assert_failed(125, "procref: @db has no log: there is no SANDBOX/state/procref/@db.HASH/log");
    let text: String = (0..30_000).map(|n| format!("line {n}\n")).collect();
    log(&project, &text);
    assert_eq!(project.output(["logs", "@db"]).assert_ok().out, text);
    let cases = [
        ("a\nb\nc\n", "1", "c\n"),
        ("a\nb\nc\n", "2", "b\nc\n"),
        ("a\nb\nc\n", "3", "a\nb\nc\n"),
        ("a\nb\nc\n", "9", "a\nb\nc\n"),
        ("a\nb\nc\n", "0", ""),
        ("a\nb\nc", "1", "c"),
        ("\n\n\n", "2", "\n\n"),
        ("", "2", ""),
    ];
    for (text, lines, shown) in cases {
        log(&project, text);
        assert_eq!(project.output(["logs", "@db", "-n", lines]).assert_ok().out, shown, "{text:?} {lines}");
    }
    // Over the edges of what is read at once.
    log(&project, &text);
    let said = project.output(["logs", "-n", "20000", "@db"]).assert_ok();
    assert!(said.out.starts_with("line 10000\n") && said.out.ends_with("line 29999\n"));
    let full = project.full_name("@db");
    let output = project.procref(["logs", "-n1", &full]).current_dir("/").output().expect("it runs");
    assert_eq!(output.stdout, b"line 29999\n", "by its full name, from anywhere");
}

#[test]
fn the_log_of_what_runs_is_where_that_says() {
    let project = Project::new(&SIMPLE.replace("ready =", "log = \"first.log\"\nready ="));
    let mut client = project.procref(["with", "@db", "--", "PART", "say=up", "stay"]);
    let mut client = Running::start(&mut client);
    client.line();
    // By now it is declared otherwise.
    project.declare(&project.folder, SIMPLE);
    assert_eq!(project.output(["logs", "@db"]).assert_ok().out, "up\n");
    client.kill();
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn it_is_followed_wherever_it_goes() {
    let project = Project::new(SIMPLE);
    let path = log(&project, "one\ntwo\n");
    let append = |text: &str| {
        let mut file = File::options().append(true).create(true).open(&path).expect("it can be opened");
        file.write_all(text.as_bytes()).expect("it can be written");
    };
    let mut follower = Running::start(&mut project.procref(["logs", "-f", "-n", "1", "@db"]));
    assert_eq!(follower.line(), "two");
    append("three\nfo");
    assert_eq!(follower.line(), "three");
    append("ur\n");
    assert_eq!(follower.line(), "four");
    // Cut off.
    File::options()
        .write(true)
        .truncate(true)
        .open(&path)
        .expect("it is there")
        .write_all(b"five\n")
        .expect("it is written");
    assert_eq!(follower.line(), "five");
    // Moved away, with a last word, and begun anew.
    let old = path.with_extension("old");
    fs::rename(&path, &old).expect("it is there");
    File::options().append(true).open(&old).expect("it is there").write_all(b"six\n").expect("it is written");
    assert_eq!(follower.line(), "six");
    append("seven\n");
    assert_eq!(follower.line(), "seven");
    // Removed.
    fs::remove_file(&path).expect("it is there");
    append("eight\n");
    assert_eq!(follower.line(), "eight");
    assert!(follower.0.try_wait().expect("it can be asked").is_none(), "until Ctrl-C");
    follower.kill();
}

#[test]
fn a_log_that_is_not_there_yet_is_followed_when_it_comes() {
    let project = Project::new(SIMPLE);
    let kept = project.kept("@db");
    project
        .output(["logs", "-f", "@db"])
        .assert_failed(125, "procref: @db has no log: there is no SANDBOX/state/procref/@db.HASH/log");
    fs::create_dir_all(kept).expect("it can be made");
    let mut follower = Running::start(&mut project.procref(["logs", "-f", "@db"]));
    let client = Running::start(&mut project.procref(["with", "@db", "--", "true"]));
    UP_AND_DOWN.lines().for_each(|line| assert_eq!(follower.line(), line));
    client.end(&project).assert_ok();
    follower.kill();
    project.sandbox.assert_nothing_left();
}

#[test]
fn who_stops_reading_ends_it() {
    let project = Project::new(SIMPLE);
    log(&project, "one\n");
    let mut follower = Running::start(&mut project.procref(["logs", "-f", "@db"]));
    follower.line();
    drop(follower.0.stdout.take());
    // Though nothing is written any more.
    assert_eq!(follower.0.wait().expect("it ends").code(), Some(125));
}
