//! Readiness that shows in Linux's own ways. What is the same everywhere is tested beside [`crate::ready`].

use super::*;
use crate::ready::tests::{
    Folder, Service, address, cannot, cannot_probe, ends_when_seen, far, number, ready, saw, soon, this_program,
    until_nobody_answers,
};
use crate::ready::{Context, LogMark, NotReady, Ready, wait};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Stdio;

#[test]
fn unix_sockets_of_all_kinds() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let service = Service::sleeping();
    let mut listener = None;
    wait(&Ready::unix(&path), &service.context(), far(), &mut |saw| {
        assert_eq!(saw, format!("{}: no such file or directory", path.display()));
        listener = Some(UnixListener::bind(&path).expect("it is free"));
    })
    .expect("it is ready");
    // From the service's folder.
    let context = Context { directory: Some(&folder.0), ..service.context() };
    wait(&Ready::unix("socket"), &context, far(), &mut |_| ()).expect("it is ready");
    assert!(Ready::unix("socket").answered_already(Some(&folder.0)).is_some());
    drop(listener);
    until_nobody_answers(&Ready::unix(&path));
    ends_when_seen(&Ready::unix(&path), "connection refused");
    assert!(saw(&Ready::unix(&path), soon()).ends_with("connection refused"));

    let datagrams = folder.path("datagrams");
    let _socket = UnixDatagram::bind(&datagrams).expect("it is free");
    ready(&Ready::unix(datagrams));
    let name = format!("@procref-test-{}-{}", std::process::id(), number());
    let socket = NotifySocket::bind_at(Path::new(&name)).expect("it is free");
    let context = Context { directory: Some(&folder.0), ..service.context() };
    wait(&Ready::unix(&name), &context, far(), &mut |_| ()).expect("it is ready");
    drop(socket);
    for wrong in ["", "@", &"x".repeat(200)] {
        assert!(!cannot_probe(&Ready::unix(wrong)).is_empty());
    }
}

#[test]
fn exec_goes_with_who_waits() {
    let leave_one = || {
        let group = Group::start(Command::new("sleep").arg("1000")).expect("it starts");
        let ended = group.source().0.try_clone_to_owned().expect("a copy");
        // As if this thread were killed, and its process with it.
        std::mem::forget(group);
        ended
    };
    let ended = std::thread::spawn(leave_one).join().expect("no panic");
    let service = Service::sleeping();
    let woken = super::wait(&service.process, &[Source(ended.as_fd())], far()).expect("it can be awaited");
    assert_eq!(woken, Woken::Event(()));
}

/// A helper program: says what the test that has started it wants said.
#[test]
fn helper_that_notifies() {
    if let (Some(socket), Some(messages)) = (std::env::var_os("NOTIFY_SOCKET"), std::env::var("PROCREF_SAYS").ok()) {
        let socket = match socket.to_str().and_then(|socket| socket.strip_prefix('@')) {
            Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name),
            None => std::os::unix::net::SocketAddr::from_pathname(socket),
        };
        let socket = socket.expect("an address");
        let ours = UnixDatagram::unbound().expect("a socket");
        for message in messages.split('|') {
            ours.send_to_addr(message.as_bytes(), &socket).expect("it is sent");
        }
        // Until the test kills it.
        std::thread::sleep(Duration::from_secs(300));
    }
}

/// A command of this program as the helper.
fn helper(command: &mut Command, socket: &NotifySocket, says: &str) -> Service {
    command.args(["--exact", "sys::linux::probe::tests::helper_that_notifies", "--nocapture"]).stdout(Stdio::null());
    Service::start(command.env("NOTIFY_SOCKET", socket.address()).env("PROCREF_SAYS", says))
}

#[test]
fn notify_when_the_service_says_so() {
    let folder = Folder::new();
    let name = format!("@procref-test-{}-{}", std::process::id(), number());
    for path in [folder.path("notify"), folder.path("notify"), name.into()] {
        let socket = NotifySocket::bind_at(&path).expect("it is free");
        let says = "STATUS=half\n|READY=10|X=READY=1|READY=0\nSTATUS=\u{1b}[31mnearly\n|STATUS=done\nREADY=1";
        let service = helper(&mut Command::new(this_program()), &socket, says);
        let context = Context { notify: Some(&socket), ..service.context() };
        let mut seen = Vec::new();
        wait(&Ready::notify(), &context, far(), &mut |saw| seen.push(saw.to_owned())).expect("it is ready");
        assert_eq!(seen, ["it has not said READY=1", "half", "nearly", "done"]);
        drop(socket);
        assert!(!path.exists());
    }
}

#[test]
fn notify_by_a_descendant() {
    let folder = Folder::new();
    // A child, a grandchild, an orphan in the service's session.
    for (script, session) in
        [("\"$@\" & wait", false), ("(\"$@\" & wait) & wait", false), ("(\"$@\" &) ; exec sleep 1000", true)]
    {
        let socket = NotifySocket::bind_at(&folder.path("notify")).expect("it is free");
        let mut command = Command::new(if session { "setsid" } else { "sh" });
        if session {
            command.arg("sh");
        }
        // The group goes with the test.
        command.args(["-c", script, "sh"]).arg(this_program());
        if !session {
            command.process_group(0);
        }
        let service = helper(&mut command, &socket, "READY=1");
        let context = Context { notify: Some(&socket), ..service.context() };
        wait(&Ready::notify(), &context, far(), &mut |_| ()).expect("it is ready");
        let group = Pid::from_raw(service.child.id() as i32).expect("a number");
        rustix::process::kill_process_group(group, Signal::KILL).expect("it can be killed");
    }
}

#[test]
fn notify_of_a_stranger_does_not_count() {
    let folder = Folder::new();
    let socket = NotifySocket::bind_at(&folder.path("notify")).expect("it is free");
    let service = Service::sleeping();
    let say = |text: &str| {
        let ours = UnixDatagram::unbound().expect("a socket");
        ours.send_to(text.as_bytes(), socket.address()).expect("it is sent");
    };
    say("STATUS=nonsense");
    say("READY=1");
    let context = Context { notify: Some(&socket), ..service.context() };
    let us = std::process::id();
    let expected = format!("the process {us} said READY=1, but is not the service's");
    let mut seen = Vec::new();
    let result = wait(&Ready::notify(), &context, far(), &mut |saw| {
        seen.push(saw.to_owned());
        if saw == expected {
            service.kill();
        }
    });
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
    assert_eq!(seen, ["it has not said READY=1", expected.as_str()]);

    // A child of another one.
    let other = helper(&mut Command::new(this_program()), &socket, "READY=1");
    let service = Service::sleeping();
    let context = Context { notify: Some(&socket), ..service.context() };
    let expected = format!("the process {} said READY=1", other.child.id());
    let mut stranger = false;
    let result = wait(&Ready::notify(), &context, far(), &mut |saw| {
        if saw.starts_with(&expected) {
            stranger = true;
            service.kill();
        }
    });
    assert_eq!((result, stranger), (Err(NotReady::Ended { log: vec![] }), true));
    // But all of the guardian's are the service's: here the test's.
    say("READY=1");
    let service = Service::sleeping();
    let context = Context { notify: Some(&socket), guardian: Some(us), ..service.context() };
    wait(&Ready::notify(), &context, far(), &mut |_| ()).expect("it is ready");
}

#[test]
fn notify_ends_with_the_service_and_in_time() {
    assert_eq!(cannot_probe(&Ready::notify()), "the service has no socket for its messages");
    let folder = Folder::new();
    let socket = NotifySocket::bind_at(&folder.path("notify")).expect("it is free");
    let service = Service::sleeping();
    let context = Context { notify: Some(&socket), ..service.context() };
    let result = wait(&Ready::notify(), &context, far(), &mut |_| service.kill());
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
    let service = Service::sleeping();
    let context = Context { notify: Some(&socket), ..service.context() };
    let result = wait(&Ready::notify(), &context, soon(), &mut |_| ());
    let saw = "it has not said READY=1".into();
    assert_eq!(result, Err(NotReady::TimedOut { saw, log: vec![] }));
}

#[test]
fn a_message_that_is_too_long_is_empty_and_descriptors_are_closed() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let folder = Folder::new();
    let socket = NotifySocket::bind_at(&folder.path("notify")).expect("it is free");
    let ours = UnixDatagram::unbound().expect("a socket");
    ours.connect(socket.address()).expect("it is there");
    ours.send(format!("READY=1\n{}", "x".repeat(5000)).as_bytes()).expect("it is sent");
    let (mut reads, writes) = io::pipe().expect("a pipe");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [writes.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    rustix::net::sendmsg(&ours, &[io::IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::empty())
        .expect("it is sent");
    drop(writes);
    let receive = || socket.receive().expect("it can be read").map(|message| (message.pid, message.text));
    assert_eq!(receive(), Some((std::process::id(), vec![])));
    assert_eq!(receive(), Some((std::process::id(), b"BARRIER=1".into())));
    assert_eq!(receive(), None);
    assert_eq!(reads.read(&mut [0]).expect("it can be read"), 0);
}

#[test]
fn a_device_is_no_log() {
    let mark = LogMark::before_start("/dev/zero");
    let service = Service::sleeping();
    let text = cannot(&Ready::log("x"), &Context { log: Some(&mark), ..service.context() });
    assert!(text.ends_with("it is not a regular file"), "{text}");
}

#[test]
fn a_program_that_is_killed() {
    ends_when_seen(&Ready::exec("sh", ["-c", "kill -KILL $$"]), "sh was killed by signal 9");
}

/// A redis-server at that address, with its log.
fn redis(folder: &Folder, address: SocketAddr) -> Service {
    let log = std::fs::OpenOptions::new().append(true).create(true).open(folder.path("log")).expect("it opens");
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let arguments = ["--port", &port, "--bind", &host, "--save", "", "--appendonly", "no", "--dir"];
    Service::start(Command::new("redis-server").args(arguments).arg(&folder.0).stdout(log))
}

#[test]
fn redis_server() {
    let (folder, address) = (Folder::new(), address());
    let mark = LogMark::before_start(folder.path("log"));
    let first = redis(&folder, address);
    for ready in [
        Ready::tcp(address),
        Ready::log("Ready to accept connections"),
        Ready::exec("redis-cli", ["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-e", "ping"]),
    ] {
        let context = Context { log: Some(&mark), ..first.context() };
        wait(&ready, &context, far(), &mut |_| ()).unwrap_or_else(|error| panic!("{ready:?}: {error}"));
    }
    // Another one at the same address ends, and says why.
    let mark = LogMark::before_start(folder.path("log"));
    let second = redis(&folder, address);
    let context = Context { log: Some(&mark), ..second.context() };
    let failed = wait(&Ready::log("Ready to accept connections"), &context, far(), &mut |_| ());
    let Err(NotReady::Ended { log }) = &failed else { panic!("{failed:?}") };
    assert!(log.iter().any(|line| line.contains("Address already in use")), "{log:?}");
}
