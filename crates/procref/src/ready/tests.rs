//! Probes of real processes and sockets. "It fails at once" is told by what is reported: the deadline is far away.

use super::*;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use sys::Signal;

pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(300)
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(300)
}

/// More than a connection takes to be made, or refused, on any system.
fn in_a_while() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

/// Its own number for each caller.
pub(crate) fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Relaxed)
}

/// An address that nothing else on this host has: it is this process's.
pub(crate) fn address() -> SocketAddr {
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
        Self::start(Command::new(this_program()).args(doing(&["sleep"])).stdout(Stdio::null()))
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

pub(crate) fn this_program() -> PathBuf {
    std::env::current_exe().expect("it has a path")
}

const HELPER: &str = "ready::tests::helper_that_does";

/// The arguments with which this program takes these steps.
pub(crate) fn doing(steps: &[&str]) -> Vec<String> {
    ["--nocapture", "--exact", HELPER].iter().chain(steps).map(|&argument| argument.to_owned()).collect()
}

/// Ready when this program has taken these steps.
fn exec(steps: &[&str]) -> Ready {
    Ready::exec(this_program(), doing(steps))
}

/// A program that every system has: takes the steps behind its name. What they name is set apart by `|`.
#[test]
fn helper_that_does() {
    for step in std::env::args().skip_while(|argument| argument != HELPER).skip(1) {
        match *step.split('|').collect::<Vec<_>>() {
            ["say", text] => println!("{text}"),
            ["complain", text] => eprint!("{text}"),
            ["say-without-end", text] => loop {
                println!("{text}");
            },
            ["append", file, text] => append(file.as_ref(), text),
            ["rename", from, to] => std::fs::rename(from, to).expect("it can be renamed"),
            ["kill", pid] => {
                let process = sys::Process::open(pid.parse().expect("a number")).expect("it can be opened");
                process.expect("it lives").signal(Signal::KILL).expect("it can be killed");
            }
            ["leave-one", file] => {
                #[expect(clippy::zombie_processes, reason = "who has started this program ends it")]
                let left = Command::new(this_program()).args(doing(&["sleep"])).spawn().expect("it starts");
                // The file appears as a whole.
                let new = format!("{file}.new");
                std::fs::write(&new, left.id().to_string()).expect("it can be written");
                std::fs::rename(new, file).expect("it can be renamed");
            }
            ["exit-3-without", variable] => {
                let file = std::env::var(variable).expect("it is in the environment");
                if !Path::new(&file).exists() {
                    println!("out");
                    eprintln!("no {file}");
                    std::process::exit(3);
                }
            }
            ["exit", code] => std::process::exit(code.parse().expect("a number")),
            // Until it is killed.
            ["sleep"] => std::thread::sleep(Duration::from_secs(1000)),
            // What a runner of tests says.
            [option] if option.starts_with("--") => {}
            _ => panic!("{step:?} is no step"),
        }
    }
}

pub(crate) fn append(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.expect("it opens").write_all(text.as_bytes()).expect("it can be written");
}

/// What this system says of an address where nobody listens.
pub(crate) fn refused() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| plain(&TcpStream::connect(address()).expect_err("nobody listens")))
}

/// What this system says of a file that is not there.
pub(crate) fn no_file() -> String {
    plain(&std::fs::metadata(this_program().with_file_name("no-such")).expect_err("it is not there"))
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
        assert_eq!(saw, format!("{address}: {}", refused()));
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
    ends_when_seen(&Ready::tcp(address()), refused());
    let address = address();
    assert_eq!(saw(&Ready::tcp(address), in_a_while()), format!("{address}: {}", refused()));
    // Also if there was no time at all: not everywhere enough to be refused.
    let text = saw(&Ready::tcp(address), Instant::now());
    let texts = [refused(), "the connection is not accepted"].map(|what| format!("{address}: {what}"));
    assert!(texts.contains(&text), "{text}");
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
    assert_eq!(exec(&["exit|0"]).answered_already(None), None);
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
    ends_when_seen(&Ready::http(health(address())), refused());
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
    assert_eq!(saw(&Ready::http(&url), in_a_while()), format!("no answer from {url}"));
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
    ready(&exec(&["exit|0"]));
    let folder = Folder::new();
    let service = Service::sleeping();
    let environment = [("PROCREF_TEST".into(), "made".into())];
    let context = Context { directory: Some(&folder.0), environment: &environment, ..service.context() };
    let ready = exec(&["exit-3-without|PROCREF_TEST", "exit|0"]);
    wait(&ready, &context, far(), &mut |saw| {
        assert_eq!(saw, format!("{} exited with status 3: no made", this_program().display()));
        std::fs::write(folder.path("made"), "").expect("it can be written");
    })
    .expect("it is ready");
}

#[test]
fn exec_ends_with_the_service_and_in_time() {
    ends_when_seen(&exec(&["complain|of it", "exit|1"]), "exited with status 1: of it");
    // While the program runs.
    let service = Service::sleeping();
    let kill = format!("kill|{}", service.child.id());
    let result = wait(&exec(&[&kill, "sleep"]), &service.context(), far(), &mut |_| ());
    assert_eq!(result, Err(NotReady::Ended { log: vec![] }));
    let expected = format!("{} has not ended", this_program().display());
    for steps in ["sleep", "say-without-end|no"] {
        let text = saw(&exec(&[steps]), soon());
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn exec_leaves_nothing_of_its_group() {
    let folder = Folder::new();
    for (name, end) in [("ended", "exit|0"), ("hangs", "sleep")] {
        let path = folder.path(name);
        let leave = format!("leave-one|{}", path.display());
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
            let result = wait(&exec(&[&leave, end]), &service.context(), far(), &mut |_| ());
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
    let error = Command::new(&path).spawn().expect_err("it is no program");
    assert_eq!(text, format!("{} cannot be started: {}", path.display(), plain(&error)));
    let text = cannot_probe(&Ready::exec("procref-no-such-program", [""; 0]));
    // In a folder of PATH that is not ours to enter, it could be.
    assert!(text.starts_with("procref-no-such-program cannot be started: "), "{text}");
    let service = Service::sleeping();
    let nowhere = folder.path("nowhere");
    let context = Context { directory: Some(&nowhere), ..service.context() };
    assert!(cannot(&exec(&["exit|0"]), &context).ends_with("(its working directory does not exist)"));
    assert_eq!(cannot_probe(&Ready::exec("", [""; 0])), "the program has no name");
}

#[test]
fn log_when_the_line_is_there() {
    let folder = Folder::new();
    let path = folder.path("log");
    std::fs::write(&path, "ready to serve\n").expect("it can be written");
    let mark = LogMark::before_start(&path);
    // It writes in pieces, to a file moved away in between, and ends the line never.
    let (log, old) = (path.display(), folder.path("log.old"));
    let steps = [
        format!("append|{log}|starting\n"),
        format!("append|{log}|ready to "),
        format!("rename|{log}|{}", old.display()),
        format!("append|{log}|more\n"),
        format!("append|{}|serve", old.display()),
        "sleep".to_owned(),
    ];
    let service = Service::start(Command::new(this_program()).args(doing(&steps.each_ref().map(String::as_str))));
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
    let mut steps: Vec<_> = (1..=100).map(|number| format!("say|line {number}")).collect();
    steps.extend(["complain|\u{1b}[31mout of luck\u{1b}[0m", "exit|1"].map(str::to_owned));
    let steps: Vec<_> = steps.iter().map(String::as_str).collect();
    let service = Service::start(Command::new(this_program()).args(doing(&steps)).stdout(log()).stderr(log()));
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
    let bytes = std::fs::metadata(&path).expect("it is there").len();
    let expected =
        format!("it was not ready in time: no line with \"in luck\" in {}, which has {bytes} bytes", path.display());
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
    let text = text_of(&folder.path("no/log"));
    assert!(text.ends_with(&format!("log: {}", no_file())), "{text}");
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
