//! Probes of real processes and sockets. "It fails at once" is told by what is reported: the deadline is far away.

use super::*;
use std::io::Write;
use std::net::TcpListener;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use sys::Signal;

pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(300)
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

/// Its own number for each caller.
pub(crate) fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Relaxed)
}

/// An address that nothing else on this host has: it is this process's.
fn address() -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 64 | a & 63, b, c], 20_000 + number() as u16))
}

#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("procref-ready-{}-{}", std::process::id(), number()));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A service, killed at the latest with the test.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) process: sys::Process,
}

impl Service {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn().expect("it starts");
        let process = sys::Process::open(child.id()).expect("it can be opened").expect("it is not reaped");
        Self { child, process }
    }

    pub(crate) fn sleeping() -> Self {
        Self::start(Command::new("sleep").arg("1000"))
    }

    pub(crate) fn kill(&self) {
        self.process.signal(Signal::KILL).expect("it can be killed");
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context {
            process: &self.process,
            pid: self.child.id(),
            guardian: None,
            log: None,
            notify: None,
            directory: None,
            environment: &[],
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn ready(ready: &Ready) {
    wait(ready, &Service::sleeping().context(), far(), &mut |_| ()).expect("it is ready");
}

/// Waits, and ends the service when a probe has seen that.
pub(crate) fn ends_when_seen(ready: &Ready, seen: &str) {
    let service = Service::sleeping();
    let mut all = Vec::new();
    let result = wait(ready, &service.context(), far(), &mut |text| {
        all.push(text.to_owned());
        if text.contains(seen) {
            service.kill();
        }
    });
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }), "{all:?}");
}

/// A program that another test is just starting has a copy of a listener until it is executed.
pub(crate) fn until_nobody_answers(ready: &Ready) {
    while ready.answered_already(None).is_some() {
        std::thread::yield_now();
    }
}

pub(crate) fn saw(ready: &Ready, deadline: Instant) -> String {
    match wait(ready, &Service::sleeping().context(), deadline, &mut |_| ()) {
        Err(NotReady::TimedOut { saw, .. }) => saw,
        result => panic!("{result:?}"),
    }
}

pub(crate) fn cannot(ready: &Ready, context: &Context<'_>) -> String {
    match wait(ready, context, far(), &mut |_| ()) {
        Err(NotReady::CannotProbe(text)) => text,
        result => panic!("{result:?}"),
    }
}

pub(crate) fn cannot_probe(ready: &Ready) -> String {
    cannot(ready, &Service::sleeping().context())
}

#[test]
fn none_is_ready_as_long_as_it_runs() {
    ready(&Ready::none());
    let service = Service::sleeping();
    service.kill();
    service.process.wait(None).expect("it can be awaited");
    let result = wait(&Ready::none(), &service.context(), far(), &mut |_| ());
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
}

#[test]
fn tcp_when_it_listens() {
    let address = address();
    let service = Service::sleeping();
    let mut listener = None;
    wait(&Ready::tcp(address), &service.context(), far(), &mut |saw| {
        assert_eq!(saw, format!("{address}: connection refused"));
        listener = Some(TcpListener::bind(address).expect("it is free"));
    })
    .expect("it is ready");
    assert!(listener.is_some());
}

#[test]
fn tcp_by_port_alone_and_by_name() {
    let any = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = any.local_addr().expect("an address").port();
    ready(&Ready::tcp(port));
    ready(&Ready::tcp(format!("localhost:{port}")));
    // Whether it is in /etc/hosts, or not: the system's resolver is asked, and the wait ends with the service.
    let service = Service::sleeping();
    let ready = Ready::tcp(format!("procref-no-such-host.invalid:{port}"));
    let result = wait(&ready, &service.context(), far(), &mut |saw| {
        assert!(saw.contains("the address of procref-no-such-host.invalid"), "{saw}");
        service.kill();
    });
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
}

#[test]
fn tcp_on_ipv6_only() {
    // Where there is none, there is nothing to find.
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        let address = listener.local_addr().expect("an address");
        ready(&Ready::tcp(address));
        ready(&Ready::tcp(address.port()));
    }
}

#[test]
fn tcp_ends_with_the_service_and_in_time() {
    ends_when_seen(&Ready::tcp(address()), "connection refused");
    let address = address();
    assert_eq!(saw(&Ready::tcp(address), soon()), format!("{address}: connection refused"));
    // Also if there was no time at all.
    assert_eq!(saw(&Ready::tcp(address), Instant::now()), format!("{address}: connection refused"));
}

#[test]
fn a_stranger_does_not_answer_for_a_dead_service() {
    let stranger = TcpListener::bind(address()).expect("it is free");
    let address = stranger.local_addr().expect("an address");
    let service = Service::sleeping();
    service.kill();
    service.process.wait(None).expect("it can be awaited");
    let result = wait(&Ready::tcp(address), &service.context(), far(), &mut |_| ());
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
    let text = format!("somebody else listens on {address} already");
    assert_eq!(Ready::tcp(address).answered_already(None), Some(text.clone()));
    assert_eq!(Ready::http(format!("http://{address}/x")).answered_already(None), Some(text));
    drop(stranger);
    until_nobody_answers(&Ready::tcp(address));
    assert_eq!(Ready::exec("true", [""; 0]).answered_already(None), None);
}

#[test]
fn addresses_that_cannot_be() {
    for wrong in
        ["", "x", "0", "65536", "+80", "a:", ":80", "a:0", "::1:80", "[::1]", "[1.2.3.4]:80", "a b:80", "a:80:80"]
    {
        assert!(cannot_probe(&Ready::tcp(wrong)).contains("is neither a port nor host:port"), "{wrong}");
    }
    for wrong in [100, 199, 600] {
        assert!(Ready::http_status("http://localhost/", wrong).check().is_err());
    }
    assert!(cannot_probe(&Ready::http("https://localhost/")).contains("https:"));
}

/// A server that gives these answers, one for each connection, the last one again and again.
fn server(listener: TcpListener, answers: &'static [&'static str]) -> SocketAddr {
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut answers = answers.iter().peekable();
        let mut answer = "";
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if !matches!(stream.read(&mut byte), Ok(1)) {
                    break;
                }
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /health?x HTTP/1.1\r\nHost: "), "{request:?}");
            answer = answers.next().unwrap_or(&answer);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

fn health(address: SocketAddr) -> String {
    format!("http://{address}/health?x")
}

fn listener() -> TcpListener {
    TcpListener::bind(address()).expect("it is free")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\n";

#[test]
fn http_when_the_status_is_right() {
    let address = server(listener(), &[UNAVAILABLE, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", OK]);
    let mut seen = Vec::new();
    let service = Service::sleeping();
    wait(&Ready::http(health(address)), &service.context(), far(), &mut |saw| seen.push(saw.to_owned()))
        .expect("it is ready");
    let url = health(address);
    assert_eq!(seen, [format!("HTTP 503 Service Unavailable from {url}"), format!("HTTP 302 Found from {url}")]);
    ready(&Ready::http_status(health(server(listener(), &["HTTP/1.0 401 \r\n\r\n"])), 401));
    ready(&Ready::http(health(server(listener(), &["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\n\r\n"]))));
    if let Ok(listener) = TcpListener::bind("[::1]:0") {
        ready(&Ready::http(health(server(listener, &[OK]))));
    }
}

#[test]
fn http_ends_with_the_service_and_in_time() {
    ends_when_seen(&Ready::http(health(server(listener(), &[UNAVAILABLE]))), "503");
    ends_when_seen(&Ready::http_status(health(server(listener(), &[OK])), 204), "HTTP 200 OK");
    ends_when_seen(&Ready::http(health(address())), "connection refused");
    // The last probe is cut off by the deadline; what the others saw is shown.
    let address = server(listener(), &[UNAVAILABLE]);
    let text = saw(&Ready::http(health(address)), Instant::now() + Duration::from_secs(2));
    assert!(text.starts_with("HTTP 503 Service Unavailable from http://127."), "{text}");
}

#[test]
fn http_servers_that_do_not_speak_it() {
    let first_lines: &[(&[&str], &str)] = &[
        (&[""], "closed without an answer"),
        (&["HTTP/1.1 20"], "closed after HTTP/1.1 20"),
        (&["SSH-2.0-x\x1b[31m\r\n"], "not HTTP but SSH-2.0-x [31m"),
        (&["\u{0}\u{1}\u{2}"], "not HTTP but"),
    ];
    for (answers, text) in first_lines {
        ends_when_seen(&Ready::http(health(server(listener(), answers))), text);
    }
}

/// A server that writes these bytes without end.
fn endless(bytes: &'static str) -> SocketAddr {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            while stream.write_all(bytes.as_bytes()).is_ok() {}
        }
    });
    address
}

#[test]
fn http_answers_without_end() {
    ends_when_seen(&Ready::http(health(endless("HTTP/1.1 100\r\nA: "))), "no status in 16384 bytes");
    ends_when_seen(&Ready::http(health(endless("HTTP/1.1"))), "not HTTP but HTTP/1.1HTTP/1.1");
    ready(&Ready::http(health(endless("HTTP/1.1 200 OK\r\n\r\n"))));
}

#[test]
fn http_servers_that_accept_and_say_nothing() {
    let listener = listener();
    let address = listener.local_addr().expect("an address");
    let url = health(address);
    assert_eq!(saw(&Ready::http(&url), soon()), format!("no answer from {url}"));
    // The service ends while its answer is awaited.
    let service = Service::sleeping();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // That of the probe before, and this one's.
            let _held = [listener.accept(), listener.accept()];
            service.kill();
            service.process.wait(None).expect("it can be awaited");
        });
        let result = wait(&Ready::http(&url), &service.context(), far(), &mut |_| ());
        assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
    });
}

#[test]
fn exec_when_it_exits_with_0() {
    ready(&Ready::exec("true", [""; 0]));
    let folder = Folder::new();
    let service = Service::sleeping();
    let environment = [("PROCREF_TEST".into(), "made".into())];
    let context = Context { directory: Some(&folder.0), environment: &environment, ..service.context() };
    let script = "test -e \"$PROCREF_TEST\" || { echo out; echo \"no $PROCREF_TEST\" >&2; exit 3; }";
    wait(&Ready::exec("sh", ["-c", script]), &context, far(), &mut |saw| {
        assert_eq!(saw, "sh exited with status 3: no made");
        std::fs::write(folder.path("made"), "").expect("it can be written");
    })
    .expect("it is ready");
}

#[test]
fn exec_ends_with_the_service_and_in_time() {
    ends_when_seen(&Ready::exec("false", [""; 0]), "false exited with status 1");
    ends_when_seen(&Ready::exec("sh", ["-c", "kill -KILL $$"]), "sh was killed by signal 9");
    // While the program runs.
    let service = Service::sleeping();
    let script = format!("kill -KILL {}; sleep 1000", service.child.id());
    let result = wait(&Ready::exec("sh", ["-c", &script]), &service.context(), far(), &mut |_| ());
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
    assert_eq!(saw(&Ready::exec("sleep", ["1000"]), soon()), "sleep has not ended");
    let text = saw(&Ready::exec("yes", ["no"]), soon());
    assert!(text.starts_with("yes has not ended"), "{text}");
}

#[test]
fn exec_leaves_nothing_of_its_group() {
    let folder = Folder::new();
    for (name, end) in [("ended", "exit 0"), ("hangs", "wait")] {
        let path = folder.path(name);
        let script = format!("sleep 1000 & echo $! >{0}.new; mv {0}.new {0}; {end}", path.display());
        let service = Service::sleeping();
        std::thread::scope(|scope| {
            let left = scope.spawn(|| {
                let pid = loop {
                    // The file appears as a whole.
                    match std::fs::read_to_string(&path) {
                        Ok(text) => break text.trim().parse().expect("a number"),
                        Err(_) => std::thread::sleep(Duration::from_millis(1)),
                    }
                };
                let left = sys::Process::open(pid).expect("it can be opened");
                if name == "hangs" {
                    service.kill();
                }
                left
            });
            let result = wait(&Ready::exec("sh", ["-c", &script]), &service.context(), far(), &mut |_| ());
            assert_eq!(result.is_ok(), name == "ended", "{result:?}");
            if let Some(left) = left.join().expect("no panic") {
                assert!(left.wait(Some(60_000)).expect("it can be awaited"), "{name}");
            }
        });
    }
}

#[test]
fn programs_that_cannot_be_started() {
    let folder = Folder::new();
    let path = folder.path("script");
    std::fs::write(&path, "no program").expect("it can be written");
    let text = cannot_probe(&Ready::exec(&path, [""; 0]));
    assert_eq!(text, format!("{} cannot be started: permission denied", path.display()));
    let text = cannot_probe(&Ready::exec("procref-no-such-program", [""; 0]));
    // In a folder of PATH that is not ours to enter, it could be.
    assert!(text.starts_with("procref-no-such-program cannot be started: "), "{text}");
    let service = Service::sleeping();
    let nowhere = folder.path("nowhere");
    let context = Context { directory: Some(&nowhere), ..service.context() };
    assert!(cannot(&Ready::exec("true", [""; 0]), &context).ends_with("(its working directory does not exist)"));
    assert_eq!(cannot_probe(&Ready::exec("", [""; 0])), "the program has no name");
}

#[test]
fn log_when_the_line_is_there() {
    let folder = Folder::new();
    let path = folder.path("log");
    std::fs::write(&path, "ready to serve\n").expect("it can be written");
    let mark = LogMark::before_start(&path);
    // A shell that writes in pieces, to a file moved away in between, and that ends the line never.
    let script = "echo starting >>$1; printf 'ready to ' >>$1; mv $1 $1.old; echo more >>$1; printf serve >>$1.old; exec sleep 1000";
    let service = Service::start(Command::new("sh").args(["-c", script, "sh"]).arg(&path));
    let context = Context { log: Some(&mark), ..service.context() };
    wait(&Ready::log("ready to serve"), &context, far(), &mut |_| ()).expect("it is ready");
}

#[test]
fn log_is_awaited_without_looks() {
    let folder = Folder::new();
    let path = folder.path("log");
    let mark = LogMark::before_start(&path);
    let service = Service::sleeping();
    let context = Context { log: Some(&mark), ..service.context() };
    let mut seen = false;
    wait(&Ready::log("ready"), &context, far(), &mut |saw| {
        assert_eq!(saw, format!("no line with \"ready\" in {}", path.display()));
        std::fs::write(&path, "ready").expect("it can be written");
        seen = true;
    })
    .expect("it is ready");
    assert!(seen);
}

#[test]
fn log_ends_with_the_service_and_in_time() {
    let folder = Folder::new();
    let path = folder.path("log");
    let log = || std::fs::OpenOptions::new().append(true).create(true).open(&path).expect("it opens");
    writeln!(log(), "of another one").expect("it can be written");
    let mark = LogMark::before_start(&path);
    let script = "for i in $(seq 100); do echo line $i; done; printf '\\033[31mout of luck\\033[0m' >&2; exit 1";
    let service = Service::start(Command::new("sh").args(["-c", script]).stdout(log()).stderr(log()));
    let context = Context { log: Some(&mark), ..service.context() };
    let failed = wait(&Ready::log("in luck"), &context, far(), &mut |_| ()).expect_err("it ends");
    let NotReady::Ended { log: lines } = &failed else { panic!("{failed:?}") };
    assert_eq!(lines.len(), SHOWN_LINES);
    assert_eq!(lines.last().map(String::as_str), Some("out of luck"));
    let text = failed.to_string();
    assert!(text.starts_with("it ended before it was ready; the last lines of its log:\n    line 82\n"), "{text}");

    let service = Service::sleeping();
    let context = Context { log: Some(&mark), ..service.context() };
    let failed = wait(&Ready::log("in luck"), &context, soon(), &mut |_| ()).expect_err("it never is");
    let expected = format!("it was not ready in time: no line with \"in luck\" in {}; the last", path.display());
    assert!(failed.to_string().starts_with(&expected), "{failed}");
}

#[test]
fn logs_that_cannot_be_read() {
    assert_eq!(cannot_probe(&Ready::log("x")), "the service has no log file");
    assert!(cannot_probe(&Ready::log("")).contains("empty"));
    assert!(cannot_probe(&Ready::log("a\nb")).contains("cannot be in one line"));
    let folder = Folder::new();
    let service = Service::sleeping();
    let text_of = |path: &Path| {
        let mark = LogMark::before_start(path);
        cannot(&Ready::log("x"), &Context { log: Some(&mark), ..service.context() })
    };
    assert!(text_of(&folder.path("no/log")).ends_with("log: no such file or directory"));
    assert!(text_of(&folder.0).ends_with("it is not a regular file"));
}

#[test]
fn texts_are_expanded() {
    let expand = |ready: Ready| ready.expand(|text| Ok::<_, ()>(text.replace("{port}", "80"))).expect("no error");
    assert_eq!(expand(Ready::tcp("{port}")), Ready::tcp(80));
    assert_eq!(expand(Ready::unix("/run/{port}")), Ready::unix("/run/80"));
    assert_eq!(expand(Ready::http_status("http://a:{port}/", 204)), Ready::http_status("http://a:80/", 204));
    assert_eq!(expand(Ready::exec("p{port}", ["-p", "{port}"])), Ready::exec("p80", ["-p", "80"]));
    assert_eq!(expand(Ready::log("on {port}")), Ready::log("on 80"));
    assert_eq!(expand(Ready::notify()), Ready::notify());
    assert_eq!(expand(Ready::default()), Ready::none());
    assert_eq!(Ready::tcp("x").expand(|_| Err("no")), Err("no"));
    assert!(Ready::notify().needs_notify() && !Ready::none().needs_notify());
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
