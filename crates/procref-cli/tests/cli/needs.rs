//! Services that need services.

use crate::kit::{Project, Running};
use procref::ServiceState;
use std::fs;
use std::process::Stdio;

/// `web` needs `api`, which needs `db`; each says in `order` when it starts and when it stops.
const CHAIN: &str = r#"
[services.@db]
command = [PART, "add=order=+db", "listen", "say=up", "asked", "add=order=-db", "exit=0", "{port}", "{state}", "{run}"]
ports = ["port", { peer = FIXED }]
ready = { log = "up" }
env = { DB = "{port}|{peer}|{name}|{{}}", DB_STATE = "{state}", DB_RUN = "{run}", BOTH = "from db" }

[services.@api]
command = [PART, "add=order=+api", "listen", "say=$DB $BOTH $DB_RUN $DB_STATE", "say=up", "asked", "add=order=-api"]
ready = { log = "up" }
needs = ["@db"]
service_env = { BOTH = "its own" }
env = { API = "{name}" }

[services.@web]
command = [PART, "add=order=+web", "listen", "say=$API<$DB>", "say=up", "asked", "add=order=-web"]
ready = { log = "up" }
needs = ["@api"]
"#;

fn order(project: &Project) -> String {
    fs::read_to_string(project.folder.join("order")).unwrap_or_default().replace('\n', " ").trim_end().to_owned()
}

#[test]
fn what_is_needed_is_there_before_and_gone_after() {
    let project = Project::new(CHAIN);
    project.output(["with", "@web", "--", "true"]).assert_ok();
    project.assert_nothing_left_of(&["@api", "@db"]);
    assert_eq!(order(&project), "+db +api +web -web -api -db");
}

#[test]
fn a_service_has_the_variables_of_what_it_needs() {
    let project = Project::new(CHAIN);
    let said = project.output(["with", "@web", "@db", "--", "PART", "say=$DB_RUN $DB_STATE", "say=<$API>"]).assert_ok();
    project.assert_nothing_left_of(&["@api", "@db"]);
    let lines: Vec<_> = said.out.lines().collect();
    let log = fs::read_to_string(project.kept("@api").join("log")).expect("it has a log");
    let (first, _) = log.split_once('\n').expect("it has lines");
    let (port, rest) = first.split_once('|').expect("it was told of ports");
    assert!(port.parse::<u16>().is_ok_and(|port| port > 1), "{log}");
    assert_eq!(rest, format!("{}|{}|{{}} its own {}", project.port, project.text("@db"), lines[0]), "{log}");
    // Only of what it needs itself; and clients have those of what they name.
    let log = fs::read_to_string(project.kept("@web").join("log")).expect("it has a log");
    assert_eq!(log.lines().next(), Some(project.text("@api<>").as_str()));
    assert_eq!(lines[1], "<>");
}

#[test]
fn a_service_holds_by_itself_what_it_needs() {
    let project = Project::new(CHAIN);
    let mut client = Running::start(&mut project.procref(["with", "@api", "@db", "--", "PART", "say=up", "stay"]));
    client.line();
    // The client and the service.
    assert_eq!(project.wait_for("@db", |status| status.state == ServiceState::Up).clients, 2);
    let mut other = Running::start(project.procref(["with", "@api", "--", "cat"]).stdin(Stdio::piped()));
    project.wait_for("@api", |status| status.clients == 2);
    client.kill();
    assert_eq!(project.wait_for("@db", |status| status.clients == 1).state, ServiceState::Up);
    // The last client is killed: both stop, in their order.
    other.kill();
    project.assert_nothing_left_of(&["@api", "@db"]);
    let stopped = if procref_tests::sys::ASKS { "+db +api -api -db" } else { "+db +api" };
    assert_eq!(order(&project), stopped);
}

#[test]
fn what_is_needed_and_cannot_start_is_said() {
    let text = r#"
        [services.@web]
        command = [PART, "stay"]
        needs = ["@db"]
        [services.@db]
        command = [PART, "say=no licence", "exit=4"]
        ready = { log = "up" }
    "#;
    let project = Project::new(text);
    let said = project.output(["with", "@web", "--", "true"]);
    assert_eq!(said.code, Some(125));
    for part in [&project.text("@db"), "exited with status 4", "no licence"] {
        assert!(said.err.contains(part), "{said:?}");
    }
    project.sandbox.assert_nothing_left();
}
