//! What is wrong is said, procref fails with 125, and nothing is started.

use crate::kit::{Project, SIMPLE, Said};
use crate::sys::{CONFIG_SHOWN, HOMES};
use std::fs;

#[test]
fn a_service_that_nobody_has_declared() {
    let project = Project::new(SIMPLE);
    let unknown =
        "procref: there is no service `@bd`; did you mean `@db`?\n= there is `@db`, in SANDBOX/project/procref.toml";
    for arguments in [
        &["with", "@db", "@bd", "--", "true"][..],
        &["hold", "@bd"],
        &["status", "@bd"],
        &["stop", "@bd"],
        &["logs", "@bd"],
        &["gc", "@bd"],
    ] {
        project.output(arguments).assert_failed(125, unknown);
    }
    assert!(!project.kept("@db").exists(), "nothing was started");
    // A name that none can have.
    let said = project.output(["wait", "a/b"]);
    assert!(said.code == Some(125) && said.err.contains("'/'"), "{said:?}");
}

#[test]
fn no_procref_toml() {
    let project = Project::new("");
    fs::remove_file(project.folder.join("procref.toml")).expect("it is there");
    let expected = format!(
        "procref: there is no service `db`, because there is no procref.toml, neither here nor in a folder above nor in \
         {CONFIG_SHOWN}; `procref init` writes one"
    );
    project.output(["with", "db", "--", "true"]).assert_failed(125, &expected);
    // All that runs can be looked at without one.
    project.output(["status"]).assert_ok();
}

#[test]
fn a_procref_toml_that_is_wrong() {
    let project = Project::new("[services.@db]\npreset = \"postgrs\"\nlinger = \"30\"\n");
    for arguments in [&["with", "@db", "--", "true"][..], &["status"], &["logs", "@db"], &["gc"]] {
        let said = project.output(arguments);
        said.assert_failed(
            125,
            "procref: SANDBOX/project/procref.toml:2:N: there is no preset \"postgrs\"\n2 | preset = \"postgrs\"\n| ^^^^^^^^^\n\
             = did you mean `postgres`? there are `postgres`, `redis`, `nats`, `nginx`, `memcached`, `mariadb`, `etcd` and \
             `mosquitto`\n\nSANDBOX/project/procref.toml:3:N: \"N\" has no unit\n3 | linger = \"N\"\n| ^^^^\n\
             = write \"30s\" for seconds, \"30ms\" for milliseconds\n\n2 errors"
                .replace("\"30s\"", "\"Ns\"")
                .replace("\"30ms\"", "\"Nms\"")
                .as_str(),
        );
    }
}

#[test]
fn a_command_line_that_is_none() {
    let project = Project::new(SIMPLE);
    let cases: &[(&[&str], &str)] = &[
        (&["with", "@db"], "Usage: procref with"),
        (&["with", "@db", "--"], "Usage: procref with"),
        (&["with", "--", "true"], "Usage: procref with"),
        (&["with", "@db", "true"], "Usage: procref with"),
        (&["with", "--scope", "world", "@db", "--", "true"], "possible values: run, project, user"),
        (&["hold"], "Usage: procref hold"),
        (&["stop"], "Usage: procref stop"),
        (&["stop", "@db", "@db"], "Usage: procref stop"),
        (&["logs"], "Usage: procref logs"),
        (&["logs", "@db", "-n", "x"], "invalid value 'x'"),
        (&["wait"], "Usage: procref wait"),
        (&["wait", "@db", "--timeout", "30"], "\"30\" has no unit: write \"30s\" for seconds"),
        (&["status", "--jason"], "--json"),
        (&["completions"], "Usage: procref completions"),
        (&["doctor", "x"], "Usage: procref doctor"),
    ];
    for (arguments, part) in cases {
        let said = project.output(*arguments);
        assert!(said.code == Some(125) && said.out.is_empty() && said.err.contains(part), "{arguments:?}: {said:?}");
    }
    assert!(!project.kept("@db").exists(), "nothing was started");
}

#[test]
fn nothing_from_outside_commands_the_terminal() {
    let project = Project::new("[services.\"d\\u001bb\"]\ncommand = [\"a\"]\n\"x\\u001b[31m\" = 1\n");
    let bad = "a\x1b[2J\u{9b}b";
    for arguments in [
        &["status"][..],
        &["with", bad, "--", "true"],
        &["status", bad],
        &["wait", bad],
        &["stop", bad],
        &["run", "--service", bad, "--name", bad, "--", "true"],
        &["run", "--service", "a", "--ready", bad, "--", "true"],
        &["run", "--service", "a", "--env", bad, "--", "true"],
        &["init", bad],
        &["--scope", bad],
        &[bad],
        &["wait", "db", "--timeout", bad],
    ] {
        let said = project.output(arguments);
        assert_eq!(said.code, Some(125), "{said:?}");
        let all = format!("{}{}", said.out, said.err);
        assert!(all.chars().all(|c| c == '\n' || !c.is_control()), "{arguments:?}: {said:?}");
        assert!(!said.err.is_empty());
    }
    fs::write(project.folder.join("procref.toml"), "").expect("it can be written");
    for arguments in [&["with", bad, "--", "true"][..], &["status", bad], &["wait", bad], &["stop", bad]] {
        let said = project.output(arguments);
        assert_eq!(said.code, Some(125), "{said:?}");
        assert!(said.err.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    }
}

#[test]
fn an_environment_that_cannot_be() {
    let project = Project::new(SIMPLE);
    let output = project.procref(["status", "@db"]).env("PROCREF_RUNTIME_DIR", "relative").output().expect("it runs");
    Said::new(&output, &project)
        .assert_failed(125, "procref: PROCREF_RUNTIME_DIR is relative, and must be an absolute path");
    let mut command = project.procref(["with", "@db", "--", "true"]);
    let output =
        command.env_remove("XDG_STATE_HOME").env_remove(HOMES[0]).env_remove(HOMES[1]).output().expect("it runs");
    let why = format!("there is nowhere to keep what services leave: set {} or XDG_STATE_HOME", HOMES[0]);
    Said::new(&output, &project).assert_failed(125, &format!("procref: `@db` cannot be a service: {why}"));
}
