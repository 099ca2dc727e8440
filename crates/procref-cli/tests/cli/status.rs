//! `procref status`.

use crate::kit::{Project, Running, SIMPLE};
use crate::sys::holder_name;
use serde_json::{Value, json};
use std::process::Stdio;

const FIELDS: [&str; 20] = [
    "name",
    "full_name",
    "scope",
    "folder",
    "state",
    "clients",
    "waiting",
    "known_clients",
    "guardian",
    "pid",
    "port",
    "ports",
    "generation",
    "started_ms",
    "uptime_ms",
    "linger_ms",
    "linger_left_ms",
    "log",
    "error",
    "",
];

const SERVER: &str = r#"
[services.@cache]
command = [PART, "port={port}", "stay"]
ports = ["port", { peer = FIXED }]
linger = "90s"
"#;

fn holder(project: &Project, name: &str) -> Running {
    let mut running = Running::start(project.procref(["with", name, "--", "cat"]).stdin(Stdio::piped()));
    running.echo("it is cat by now");
    running
}

#[test]
fn a_table_for_people() {
    let project = Project::new(SERVER);
    assert_eq!(
        project.output(["status", "@cache"]).transcript(),
        "exit 0\nNAME STATE CLIENTS WAITING PID GUARDIAN PORTS UPTIME LINGER\n@cache stopped 0 0 - - - - 1 m N s\n"
    );
    let mut running = holder(&project, "@cache");
    // The time that it has been up is another one each time.
    let plain = |said: &crate::kit::Said| {
        let transcript = said.transcript();
        let (before, rest) = transcript.split_once("port=N ").expect("there are ports");
        let (uptime, after) = rest.split_once(" 1 m N s").expect("there is a linger time");
        assert!(uptime.ends_with(" ms") || uptime.ends_with(" s"), "{transcript}");
        format!("{before}port=N UPTIME 1 m N s{after}")
    };
    let here = project.output(["status", "@cache"]);
    let expected = |name: &str| {
        format!(
            "exit 0\nNAME STATE CLIENTS WAITING PID GUARDIAN PORTS UPTIME LINGER\n{name} up 1 0 N N peer=N port=N UPTIME 1 m N s\n\
             held by N (HOLDER)\n"
        )
    };
    assert_eq!(plain(&here), expected("@cache"));
    assert!(here.out.contains(&format!("held by {} ({})", running.0.id(), holder_name())), "{here:?}");
    // From elsewhere, by its full name, it is told where it belongs.
    let output = project.procref(["status", &project.full_name("@cache")]).current_dir("/").output().expect("it runs");
    assert_eq!(plain(&crate::kit::Said::new(&output, &project)), expected("@cache (SANDBOX/project)"));
    // It is among all.
    assert!(project.output(["status"]).assert_ok().out.contains(&project.text("@cache")));
    drop(running.0.stdin.take());
    running.end(&project).assert_ok();
    project.wait_for("@cache", |status| status.linger_left.is_some());
    let said = project.output(["status", "@cache"]).transcript();
    assert!(said.contains("@cache lingering 0 0 N N peer=N port=N ") && said.ends_with(" left\n"), "{said}");
    project.output(["stop", "@cache"]).assert_ok();
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_document_for_programs() {
    let project = Project::new(SERVER);
    let mut running = holder(&project, "@cache");
    let document = project.output(["status", "--json", "@cache"]).assert_ok().json();
    let service = &document["services"][0];
    let fields: Vec<_> = service.as_object().expect("it is an object").keys().map(String::as_str).collect();
    assert!(fields.iter().all(|field| FIELDS.contains(field)) && fields.len() == FIELDS.len() - 1, "{fields:?}");
    let log = project.kept("@cache").join("log");
    let expected = json!({
        "name": project.text("@cache"),
        "full_name": project.full_name("@cache"),
        "scope": "project",
        "folder": project.folder,
        "state": "up",
        "clients": 1,
        "waiting": 0,
        "known_clients": [{ "pid": running.0.id(), "name": holder_name() }],
        "generation": 1,
        "linger_ms": 90_000,
        "linger_left_ms": null,
        "log": log,
        "error": null,
    });
    for (field, value) in expected.as_object().expect("it is an object") {
        assert_eq!(&service[field], value, "{field}");
    }
    for field in ["guardian", "pid", "port", "started_ms", "uptime_ms"] {
        assert!(service[field].as_u64().is_some_and(|number| number > 0), "{field}: {service}");
    }
    assert_eq!(service["ports"], json!({ "port": service["port"], "peer": project.port }));
    // Among all, it is the same one.
    let all = project.output(["status", "--json"]).assert_ok().json();
    let all = all["services"].as_array().expect("it is a list");
    assert!(all.iter().any(|other| other["pid"] == service["pid"] && other["name"] == service["name"]), "{all:?}");
    drop(running.0.stdin.take());
    running.end(&project).assert_ok();
    let lingers = project.wait_for("@cache", |status| status.linger_left.is_some());
    assert!(lingers.linger_left.is_some());
    let document = project.output(["status", "--json", "@cache"]).json();
    let left = document["services"][0]["linger_left_ms"].as_u64().expect("it lingers");
    assert!((1..=90_000).contains(&left), "{left}");
    project.output(["stop", "@cache"]).assert_ok();
    // What is stopped has all fields, too.
    let document = project.output(["status", "--json", "@cache"]).json();
    let service = document["services"][0].as_object().expect("it is an object");
    assert_eq!(service.len(), FIELDS.len() - 1);
    assert_eq!(
        (&service["state"], &service["pid"], &service["generation"]),
        (&"stopped".into(), &Value::Null, &Value::Null)
    );
    project.sandbox.assert_nothing_left();
}

#[test]
fn what_changes_is_told() {
    let project = Project::new(SIMPLE);
    let mut watch = Running::start(&mut project.procref(["status", "--watch", "--json", "@db"]));
    let mut table = Running::start(&mut project.procref(["status", "--watch", "@db"]));
    let mut next = |wanted: &str| {
        loop {
            let line = watch.line();
            let document: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let state = document["services"][0]["state"].as_str().expect("it has a state").to_owned();
            if state == wanted {
                break;
            }
            // On its way, or something else has changed.
            assert!(["stopped", "changing", "up"].contains(&state.as_str()), "{line}");
        }
    };
    next("stopped");
    assert!(table.line().starts_with("NAME "));
    assert!(table.line().contains("stopped"));
    let mut running = holder(&project, "@db");
    next("up");
    // It looks every now and then: nobody lets go before this one has seen it, too.
    while !table.line().contains(" up ") {}
    drop(running.0.stdin.take());
    running.end(&project).assert_ok();
    next("stopped");
    watch.kill();
    while !table.line().contains(" stopped ") {}
    table.kill();
    project.sandbox.assert_nothing_left();
}

#[test]
fn who_stops_reading_ends_it() {
    let project = Project::new(SIMPLE);
    let mut watch = Running::start(&mut project.procref(["status", "--watch", "--json", "@db"]));
    watch.line();
    drop(watch.0.stdout.take());
    // Though nothing changes any more.
    assert_eq!(watch.0.wait().expect("it ends").code(), Some(125));
}
