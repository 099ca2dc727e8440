//! `procref run`, with Redis, shells, and all ways to be ready.

use crate::kit::{Project, Running};
use procref_tests::sandbox;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Stdio;

/// A server whose name is the sandbox's, for services that are not given one.
fn server(project: &Project) -> String {
    let name = project.text("@server");
    let program = project.folder.join(&name);
    let script = "#!/bin/sh\nexec redis-server --bind 127.0.0.1 --save '' --dir / --port \"$1\"\n";
    sandbox::write_program(&program, script);
    format!("./{name} {{port}}")
}

#[test]
fn a_service_in_one_line() {
    let project = Project::new("");
    let service = "redis-server --bind 127.0.0.1 --port {port} --save '' --dir \"{run}\" --unixsocket {run}/'s s'";
    let script = "redis-cli -p $PROCREF_PORT ping; test $PROCREF_PORT = $PROCREF_PORT_PORT; echo $?; redis-cli -s \"$SOCKET\" ping";
    let said = project.output([
        "run",
        "--name",
        "@c",
        "--service",
        service,
        "--env",
        "SOCKET={run}/s s",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(said.transcript(), "exit 0\nPONG\n0\nPONG\n", "{said:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn the_same_declaration_is_the_same_service() {
    let project = Project::new("");
    let service = server(&project);
    let client = |more: &[&str], folder: &str| {
        let arguments = ["run", "--service", &service].into_iter().chain(more.iter().copied());
        let arguments = arguments.chain(["--", "sh", "-c", "echo $PROCREF_PORT; exec cat"]);
        let mut command = project.procref(arguments);
        fs::create_dir_all(project.sandbox.folder().join(folder)).expect("it can be made");
        command.current_dir(project.sandbox.folder().join(folder)).stdin(Stdio::piped());
        let mut running = Running::start(&mut command);
        let port: u16 = running.line().parse().expect("it is a port");
        (running, port)
    };
    let (first, port) = client(&[], "project");
    let (second, same) = client(&[], "project/below");
    let (third, other) = client(&["--linger", "0s", "--grace", "9s"], "project");
    assert_eq!(port, same);
    assert_ne!(port, other, "it is declared otherwise");
    let prefix = project.text("@server");
    let sets = project.sandbox.sets();
    assert!(sets.len() == 2 && sets.iter().all(|(_, name)| name.starts_with(&prefix)), "{sets:?}");
    for mut running in [first, second, third] {
        drop(running.0.stdin.take());
        running.end(&project).assert_ok();
    }
    project.sandbox.assert_nothing_left();
    // Another folder is another project.
    let (mut here, _) = client(&["--scope", "user", "--dir", project.folder.to_str().expect("it is text")], "project");
    let (mut there, _) = client(&["--scope", "user", "--dir", project.folder.to_str().expect("it is text")], "other");
    assert_eq!(project.sandbox.sets().len(), 1, "it is the user's");
    for running in [&mut here, &mut there] {
        drop(running.0.stdin.take());
        running.0.wait().expect("it ends");
    }
    project.sandbox.assert_nothing_left();
}

#[test]
fn every_option_reaches_the_service() {
    let project = Project::new("");
    let script = "echo \"$HELLO $(pwd) $(echo $(cat {state}/prepared)) {name}\"; trap 'echo asked; exit' USR1; while :; do sleep 1000 & wait; done";
    let service =
        format!("sh -c \"{}\" {{{{}}}} {{peer-port}} {{port}}", script.replace('"', "\\\"").replace('$', "\\$"));
    let folder = project.folder.join("below");
    fs::create_dir(&folder).expect("it can be made");
    let arguments = [
        "run",
        "--name",
        "@it",
        "--service",
        &service,
        "--port",
        "port=FIXED",
        "--port",
        "more",
        "--ready",
        "log:prepared @it",
        "--timeout",
        "30s",
        "--stop",
        "USR1",
        "--grace",
        "30s",
        "--prepare",
        "sh -c 'echo first > {state}/prepared'",
        "--prepare",
        "sh -c 'echo prepared >> {state}/prepared'",
        "--env",
        "A={port} {{}}",
        "--env",
        "B==",
        "--service-env",
        "HELLO=hello {port}",
        "--dir",
        "below",
        "--log",
        "own.log",
        "--",
        "sh",
        "-c",
        "echo \"$A $B $PROCREF_PORT_PORT\"; test $PROCREF_PORT = $PROCREF_PORT_PEER_PORT && test -n \"$PROCREF_PORT_MORE\"",
    ];
    let said = project.output(arguments);
    assert_eq!(said.transcript(), format!("exit 0\nN {{}} = N\n"), "{said:?}");
    project.sandbox.assert_nothing_left();
    let log = fs::read_to_string(project.folder.join("own.log")).expect("it is there");
    let expected =
        format!("hello {} {} first prepared {}\nasked\n", project.port, folder.display(), project.text("@it"));
    assert_eq!(log, expected);
}

/// Not a test: a service that says by itself that it is ready, when it is started as one.
#[test]
fn says_that_it_is_ready() {
    let (Some(socket), Some(says)) = (std::env::var_os("NOTIFY_SOCKET"), std::env::var_os("PROCREF_TEST_SAYS")) else {
        return;
    };
    let address = match socket.to_str().and_then(|socket| socket.strip_prefix('@')) {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&socket),
    };
    let sender = UnixDatagram::unbound().expect("there are sockets");
    sender.send_to_addr(says.as_encoded_bytes(), &address.expect("it is an address")).expect("somebody listens");
    loop {
        std::thread::park();
    }
}

#[test]
fn every_way_to_be_ready() {
    let project = Project::new("");
    let redis = "redis-server --bind 127.0.0.1 --save '' --dir {run} --unixsocket {run}/socket --port {port}";
    let this = std::env::current_exe().expect("it has a path");
    let notifier = &format!("'{}' --exact run_servers::says_that_it_is_ready", this.display());
    let cases = [
        (redis, "tcp:{port}"),
        (redis, "tcp:127.0.0.1:{port}"),
        (redis, "unix:{run}/socket"),
        (redis, "exec:redis-cli -p {port} ping"),
        (redis, "log:Ready to accept connections"),
        ("sh -c 'exec sleep 1000' {port}", "started"),
        (notifier, "notify"),
    ];
    for (service, ready) in cases {
        let said = project.output([
            "run",
            "--name",
            "@it",
            "--service",
            service,
            "--service-env",
            "PROCREF_TEST_SAYS=READY=1",
            "--ready",
            ready,
            "--",
            "echo",
            "ready",
        ]);
        assert_eq!(said.transcript(), "exit 0\nready\n", "{ready}: {said:?}");
        project.sandbox.assert_nothing_left();
    }
    // One whose answer is none: the time is up.
    let said = project.output([
        "run",
        "--name",
        "@it",
        "--service",
        redis,
        "--ready",
        "http:http://127.0.0.1:{port}/",
        "--timeout",
        "300ms",
        "--",
        "true",
    ]);
    assert_eq!(said.code, Some(125));
    assert!(said.err.contains("300ms"), "{said:?}");
    project.sandbox.assert_nothing_left();
}
