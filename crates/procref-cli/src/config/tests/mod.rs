use super::report::Source;
use super::*;
use procref::StopSignal;
use std::time::Duration;

mod bad;
mod files;
mod properties;
mod reference;
mod starters;

fn source(text: &str) -> Source {
    Source::new(Path::new("procref.toml"), text.to_owned())
}

/// What procref says on Linux, as it says it on this system.
fn on_this_system(said: &str) -> String {
    said.replace(r#"["sh", "-c", "…"]"#, crate::sys::SHELL)
}

fn parse(place: Place, text: &str) -> Result<BTreeMap<String, ServiceConfig>, Problems> {
    let mut problems = Vec::new();
    let services = merge(&[(place, source(text))], true, &mut problems);
    Problems::or(problems, &[], services)
}

fn good(text: &str) -> BTreeMap<String, ServiceConfig> {
    parse(Place::Project, text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn written(templates: &[Template]) -> Vec<String> {
    templates.iter().map(ToString::to_string).collect()
}

/// As issue and documentation show it.
const EXAMPLE: &str = r#"
[services.db]
command = ["postgres", "-D", "{state}/data", "-p", "{port}", "-k", "{run}", "-c", "listen_addresses=127.0.0.1"]
prepare = [["initdb", "-D", "{state}/data", "-A", "trust", "-U", "postgres"]]   # once; again if it failed
ports   = ["port"]                               # names of free ports to pick; { port = 5432 } fixes one
ready   = { tcp = "{port}", timeout = "30s" }    # or unix, http, exec, log, notify
stop    = { signal = "SIGINT", grace = "10s" }   # or command = […]
linger  = "30s"
env     = { DATABASE_URL = "postgres://postgres@127.0.0.1:{port}/postgres" }    # for the clients
needs   = []
"#;

#[test]
fn the_example_is_understood() {
    let services = good(EXAMPLE);
    let db = services.get("db").expect("it is declared");
    assert_eq!(db.name, "db");
    assert_eq!(db.origin, Origin { place: Place::Project, file: "procref.toml".into(), line: 2 });
    assert_eq!(
        written(&db.command).join(" "),
        "postgres -D {state}/data -p {port} -k {run} -c listen_addresses=127.0.0.1"
    );
    assert_eq!(
        db.prepare.iter().map(|command| written(command).join(" ")).collect::<Vec<_>>(),
        ["initdb -D {state}/data -A trust -U postgres"]
    );
    assert_eq!(db.ports, [Port { name: "port".into(), number: None }]);
    assert!(matches!(&db.ready.probe, Probe::Tcp(at) if at.to_string() == "{port}"), "{:?}", db.ready);
    assert_eq!(db.ready.timeout, Some(Duration::from_secs(30)));
    assert_eq!(db.stop, Stop { ask: Ask::Signal(StopSignal::Interrupt), grace: Duration::from_secs(10) });
    assert_eq!(db.linger, Duration::from_secs(30));
    let env = db.env.get("DATABASE_URL").expect("it is there");
    assert_eq!(env.to_string(), "postgres://postgres@127.0.0.1:{port}/postgres");
    assert!(db.needs.is_empty() && db.service_env.is_empty() && db.dir.is_none() && db.log.is_none());
    assert_eq!(db.scope, Scope::Project);

    let ports = BTreeMap::from([("port".to_owned(), 4711)]);
    let values = Values { name: "db", state: Path::new("/s"), run: Path::new("/r"), ports: &ports };
    let rendered: Result<Vec<_>, NoNumber> = db.command.iter().map(|word| word.render(&values)).collect();
    let expected = ["postgres", "-D", "/s/data", "-p", "4711", "-k", "/r", "-c", "listen_addresses=127.0.0.1"];
    assert_eq!(rendered.expect("all have numbers"), expected);
}

#[test]
fn the_least_has_the_defaults() {
    let db = good("[services.db]\ncommand = [\"a\"]").remove("db").expect("it is declared");
    assert_eq!(db.ready, Ready { probe: Probe::Started, timeout: None });
    assert_eq!(db.stop, Stop { ask: Ask::Signal(StopSignal::Terminate), grace: Duration::from_secs(10) });
    assert_eq!(db.linger, Duration::ZERO);
    // With a port, somebody has to accept there: at the first one.
    let db = good("[services.db]\ncommand = [\"a\", \"{y}\"]\nports = [{ x = 0x1F }, \"y\"]").remove("db");
    let db = db.expect("it is declared");
    assert_eq!(db.ports, [Port { name: "x".into(), number: Some(31) }, Port { name: "y".into(), number: None }]);
    assert!(matches!(&db.ready.probe, Probe::Tcp(at) if at.to_string() == "{x}"), "{:?}", db.ready);
    assert!(parse(Place::Project, "").is_ok_and(|services| services.is_empty()));
    assert!(good("\u{feff}[services]\r\n").is_empty());
}

#[test]
fn every_way_to_be_ready_and_to_stop() {
    let ready = |ready: &str| {
        let text = format!("[services.db]\ncommand = [\"a\", \"{{port}}\"]\nports = [\"port\"]\nready = {{ {ready} }}");
        good(&text).remove("db").expect("it is declared").ready.probe
    };
    assert!(matches!(ready(r#"tcp = "[::1]:{port}""#), Probe::Tcp(_)));
    assert!(matches!(ready(r#"unix = "{run}/socket""#), Probe::Unix(at) if at.to_string() == "{run}/socket"));
    assert!(matches!(ready(r#"http = "http://localhost:{port}/x""#), Probe::Http(_)));
    assert!(matches!(ready(r#"exec = ["a", "b"]"#), Probe::Exec(command) if written(&command) == ["a", "b"]));
    assert!(matches!(ready(r#"log = "up {{}}""#), Probe::Log(text) if text.to_string() == "up {{}}"));
    assert_eq!(ready("notify = true"), Probe::Notify);

    let stop = |stop: &str| {
        let text = format!("[services.db]\ncommand = [\"a\"]\nstop = {{ {stop} }}");
        good(&text).remove("db").expect("it is declared").stop
    };
    for (name, signal) in [
        ("TERM", StopSignal::Terminate),
        ("SIGINT", StopSignal::Interrupt),
        ("QUIT", StopSignal::Quit),
        ("SIGHUP", StopSignal::Hangup),
        ("USR1", StopSignal::User1),
        ("SIGUSR2", StopSignal::User2),
    ] {
        assert_eq!(stop(&format!("signal = \"{name}\"")), Stop { ask: Ask::Signal(signal), ..Stop::default() });
    }
    assert_eq!(stop("grace = \"0s\""), Stop { grace: Duration::ZERO, ..Stop::default() });
    let asked = stop(r#"command = ["pg_ctl", "stop"], grace = "1m""#);
    assert_eq!(asked.grace, Duration::from_secs(60));
    assert!(matches!(asked.ask, Ask::Command(command) if written(&command) == ["pg_ctl", "stop"]));
}

#[test]
fn an_unknown_name_is_answered_with_those_that_are_known() {
    let services = ["web", "api", "db", "cache", "other"].map(|name| format!("{name} = {{ command = [\"a\"] }}\n"));
    let services = good(&format!("[services]\n{}", services.concat()));
    let config = Config { services, files: vec![(Place::Project, "/p/procref.toml".into())] };
    let unknown = config.service("chache").expect_err("it is not declared");
    assert_eq!(
        unknown.to_string(),
        "there is no service `chache`; did you mean `cache`?\n  = there are `api`, `cache`, `db`, `other` and `web`, in /p/procref.toml"
    );
    let nothing = Config { services: BTreeMap::new(), files: Vec::new() };
    let unknown = nothing.service("db").expect_err("nothing is declared");
    assert!(unknown.to_string().contains("because there is no procref.toml"), "{unknown}");
}

/// Nobody writes these, and still they are no crash: on a thread with as little room as tests have.
#[test]
fn what_is_nested_too_deep_is_said() {
    let services = 5_000;
    let chain: Vec<String> =
        (0..services).map(|n| format!("s{n} = {{ command = [\"a\"], needs = [\"s{}\"] }}\n", n + 1)).collect();
    let chain = format!("[services]\n{}s{services} = {{ command = [\"a\"] }}", chain.concat());
    let said = parse(Place::Project, &chain).expect_err("it is too deep").to_string();
    assert!(said.contains("is needed by 100 services, each of which is needed by the one before"), "{said:.500}");
    let many = 30_001;
    let deep = [
        format!("x = {}", "[".repeat(many)),
        format!("x = {}{}", "[".repeat(many), "]".repeat(many)),
        format!("x = {}", "{ a = ".repeat(many)),
        format!("{}a = 1", "a.".repeat(many)),
        format!("[{}a]", "a.".repeat(many)),
        format!("[services.db]\ncommand = [\"{}\"]", "{".repeat(many)),
    ];
    for text in deep {
        assert!(parse(Place::Project, &text).is_err(), "{text:.50}");
    }
}
