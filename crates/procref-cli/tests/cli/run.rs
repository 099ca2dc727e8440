//! `procref run`.

use crate::kit::{Project, Running};
use crate::sys::SPLIT;
use std::process::Stdio;

/// A declaration of a server in one line: this program in a part.
fn service(project: &Project) -> String {
    let [program, part] = crate::part::begin();
    project.text(&format!("\"{program}\" {part} port={{port}} stay"))
}

#[test]
fn the_same_line_is_the_same_service() {
    let project = Project::new("");
    let service = service(&project);
    let client = |more: &[&str]| {
        let arguments = ["run", "--name", "@it", "--service", &service].into_iter().chain(more.iter().copied());
        let arguments = arguments.chain(["--", "PART", "say=$PROCREF_PORT $PROCREF_PORT_PORT $WHO", "cat"]);
        let mut running = Running::start(project.procref(arguments).stdin(Stdio::piped()));
        let line = running.line();
        (running, line)
    };
    let (first, line) = client(&["--env", "WHO={name}"]);
    let (second, other) = client(&["--env", "WHO={name}"]);
    assert_eq!(line, other);
    let ports: Vec<_> = line.split(' ').collect();
    assert!(ports.len() == 3 && ports[0] == ports[1] && ports[0].parse::<u16>().is_ok(), "{line}");
    assert_eq!(ports[2], project.text("@it"));
    for mut running in [first, second] {
        drop(running.0.stdin.take());
        running.end(&project).assert_ok();
    }
    project.sandbox.assert_nothing_left();
}

#[test]
fn what_is_wrong_with_an_option_is_said() {
    let project = Project::new("");
    let kinds = "there are tcp:[HOST:]PORT, unix:PATH, http:URL, exec:CMD, log:TEXT, notify and started";
    let cases: &[(&[&str], String)] = &[
        (&["--service", ""], "--service: there is no program in it\n= write 'PROGRAM ARGUMENT…', in quotes".into()),
        (
            &["--service", "a \"b"],
            format!("--service: a quote in \"a /\"b\" has no partner\n= {SPLIT}"),
        ),
        (
            &["--service", "a {"],
            "--service: there is a { without its }\n= for a brace that is no placeholder's write {{ or }}".into(),
        ),
        (
            &["--service", "a", "--name", "x y"],
            "--name: a service's name cannot have the character ' '\n= a name has 1 to N letters (a-z, A-Z), digits, '-', '_' and \
             '.', and does not begin with '.'"
                .into(),
        ),
        (
            &["--service", "a", "--port", "x=0"],
            "--port: \"0\" is no port: those go from 1 to N\n= write NAME=NUMBER, or NAME alone to have a free one picked".into(),
        ),
        (
            &["--service", "a", "--port", "run=1"],
            "--port: a port cannot be called `run`: {run} stands for something else\n= call it \"port\", for instance".into(),
        ),
        (
            &["--service", "a", "--port", "x=7", "--port", "y=7"],
            "--port: the ports `x` and `y` have the same number\n= give each its own number".into(),
        ),
        (&["--service", "a", "--ready", "smoke"], format!("--ready: there is no kind \"smoke\" of readiness\n= {kinds}")),
        (&["--service", "a", "--ready", "tcp"], format!("--ready: `tcp` has no value\n= {kinds}")),
        (&["--service", "a", "--ready", "started:x"], format!("--ready: `started` has no value\n= {kinds}")),
        (
            &["--service", "a", "--ready", "tcp:x"],
            format!("--ready: \"x\" cannot be asked: \"x\" is no port: that is a number from 1 to N\n= {kinds}"),
        ),
        (
            &["--service", "a", "--ready", "tcp:{port}"],
            "--ready: there is no placeholder `{port}`\n= there are `{state}`, `{run}` and `{name}`; for a port of this name write \
             ports = [\"port\"]"
                .into(),
        ),
        (
            &["--service", "a", "--timeout", "5"],
            "--timeout: \"5\" has no unit\n= write \"5s\" for seconds, \"5ms\" for milliseconds".into(),
        ),
        (&["--service", "a", "--timeout", "0s"], "--timeout: no service is ready in no time\n= a minute is the default".into()),
        (
            &["--service", "a", "--stop", "SIGTEM"],
            "--stop: a service cannot be asked to stop by the signal \"SIGTEM\"\n= did you mean `SIGTERM`? there are `SIGTERM`, \
             `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR1` and `SIGUSR2`"
                .into(),
        ),
        (&["--service", "a", "--env", "x"], "--env: \"x\" is no variable\n= write NAME=VALUE".into()),
        (&["--service", "a", "--service-env", "=x"], "--service-env: \"=x\" is no variable\n= write NAME=VALUE".into()),
        (
            &["--service", "a {port}", "--log", "{port}.log"],
            "--log: `{port}` is another one at each start, and what stands here outlasts a start\n= only --service, --ready, --env \
             and --service-env can have it"
                .into(),
        ),
        (
            &["--service", "a", "--dir", "{run}/x"],
            "--dir: `{run}` is another one at each start, and what stands here outlasts a start\n= only --service, --ready, --env \
             and --service-env can have it"
                .into(),
        ),
        (
            &["--service", "a {port}", "--prepare", "x {port}"],
            "--prepare: `{port}` is another one at each start, and what stands here outlasts a start\n= only --service, --ready, \
             --env and --service-env can have it"
                .into(),
        ),
    ];
    for (options, expected) in cases {
        let arguments = ["run"].into_iter().chain(options.iter().copied()).chain(["--", "true"]);
        project.output(arguments).assert_failed(125, &format!("procref: {expected}"));
    }
    for missing in [&["run", "--service", "a"][..], &["run", "--", "true"], &["run", "--service", "a", "--"]] {
        let said = project.output(missing);
        assert!(said.code == Some(125) && said.err.contains("Usage: procref run"), "{said:?}");
    }
}

#[test]
fn what_is_not_ready_in_time_says_how_long_it_had_before_its_log() {
    let project = Project::new("");
    let options = ["--name", "@late", "--ready", "log:never", "--timeout", "100ms"];
    let service = service(&project);
    let said = project.output(["run", "--service", &service].iter().chain(&options).chain(&["--", "PART"]));
    assert_eq!(said.code, Some(125), "{said:?}");
    assert!(said.err.contains(" had 100ms, and it was not ready in time"), "{said:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_working_directory_that_is_missing_is_named() {
    let project = Project::new("");
    let said =
        project.output(["run", "--name", "@it", "--service", &service(&project), "--dir", "no-such", "--", "PART"]);
    assert_eq!(said.code, Some(125), "{said:?}");
    assert!(said.err.contains("no-such, which is to be its working directory"), "{said:?}");
    project.sandbox.assert_nothing_left();
}
