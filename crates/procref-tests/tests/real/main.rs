//! The real servers, as Debian packages them: how each stops, what it leaves when it is killed, and when it is ready.

// The crate's documentation says why.
#![cfg(target_os = "linux")]

mod epmd;
mod etcd;
mod mariadb;
mod memcached;
mod nats;
mod nginx;
mod postgres;

use procref::blocking::{Builder, ServiceHandle, SharedService};
use procref::{ServiceCommand, StopLadder, StopSignal};
use procref_tests::sandbox::{self, Sandbox};
use procref_tests::servers::program;
use rustix::fd::OwnedFd;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Nobody, for servers that refuse root.
const NOBODY: u32 = 65534;

fn builder(sandbox: &Sandbox, name: &str) -> Builder {
    SharedService::builder(sandbox.name(name)).runtime_dir(sandbox.runtime_dir())
}

/// A ladder with one signal, which comes to its end by itself within the time that a test has.
fn ladder(signal: StopSignal) -> StopLadder {
    StopLadder::new(signal, sandbox::PATIENCE)
}

/// A server's command, whose processes the sandbox finds.
fn server(sandbox: &Sandbox, name: &str) -> ServiceCommand {
    ServiceCommand::new(program(name)).env(sandbox::MARK, sandbox.mark())
}

/// The same, as somebody who is not root.
fn server_of_nobody(sandbox: &Sandbox, name: &str) -> ServiceCommand {
    if !is_root() {
        return server(sandbox, name);
    }
    let nobody = NOBODY.to_string();
    server(sandbox, "setpriv")
        .args([format!("--reuid={nobody}"), format!("--regid={nobody}"), "--clear-groups".into(), "--".into()])
        .arg(program(name))
}

/// A command that prepares something for such a server.
fn command_of_nobody(sandbox: &Sandbox, name: &str) -> Command {
    let mut command = sandbox.command(program(name));
    command.stdin(Stdio::null()).current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A folder of the sandbox for a server that is not root.
fn folder_of_nobody(sandbox: &Sandbox, name: &str) -> PathBuf {
    let folder = sandbox.folder().join(name);
    fs::create_dir(&folder).expect("it can be made");
    if is_root() {
        std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    folder
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn pid(handle: &ServiceHandle) -> u32 {
    handle.info().pid().expect("it is a process")
}

fn log_of(handle: &ServiceHandle) -> String {
    fs::read_to_string(handle.info().get("log").expect("it has a log")).expect("it can be read")
}

/// Lets go last, and returns the log and how long it took; the server has ended.
fn stop(handle: ServiceHandle) -> (String, Duration) {
    let process = sandbox::hold(pid(&handle));
    let log = handle.info().get("log").map(PathBuf::from).expect("it has a log");
    let began = Instant::now();
    handle.release().expect("it stops, whatever its exit status");
    assert!(sandbox::has_ended(&process), "the release of the last one waits for its end");
    (fs::read_to_string(log).expect("it can be read"), began.elapsed())
}

/// Kills a process and waits until it has ended.
fn kill(pid: u32) {
    let process = sandbox::hold(pid);
    rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL).expect("it lives");
    assert!(sandbox::wait_for_end(&process, Instant::now() + sandbox::PATIENCE));
}

/// The children of a process.
fn children(parent: u32) -> Vec<OwnedFd> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).expect("it lives");
    list.split_whitespace().map(|pid| sandbox::hold(pid.parse().expect("a number"))).collect()
}

/// What a server on the loopback interface answers until it has no more to say or `enough` is in it.
fn ask(port: u16, request: &str, enough: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    connection.set_read_timeout(Some(sandbox::PATIENCE)).expect("a time");
    connection.write_all(request.as_bytes()).expect("it reads");
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&answer).contains(enough) {
        match connection.read(&mut part).expect("it answers") {
            0 => break,
            count => answer.extend_from_slice(&part[..count]),
        }
    }
    let _ = connection.shutdown(Shutdown::Both);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A GET, and the whole answer.
fn get(port: u16, path: &str) -> String {
    ask(port, &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"), "\0")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is text")
}
