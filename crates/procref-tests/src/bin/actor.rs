//! A client of a service, driven by lines on its standard input; each gets one line as its answer: `ok …`, or
//! `error KIND: TEXT`. Its arguments are a [`Config`]. At the end of its input it ends, dropping what it holds.

use procref::ready::Ready;
use procref::{ServiceCommand, ServiceInfo, StopLadder, StopSignal, process};
use procref_tests::actor::{Gate, Stop};
use procref_tests::sandbox::{HANDED_OVER, MARK};
use procref_tests::{Config, Events, sys};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

fn main() {
    // A guardian that was started has no arguments.
    if std::env::args_os().len() == 1 || std::env::args().any(|argument| argument == "started-guardian=true") {
        procref::guardian::init();
    }
    let config = Config::parse(std::env::args().skip(1));
    let input: Box<dyn BufRead> = if config.closed_stdio {
        let [input, output] = sys::close_stdio().expect("they can be closed");
        let _ = OUTPUT.set(output);
        Box::new(BufReader::new(input))
    } else {
        Box::new(std::io::stdin().lock())
    };
    let callbacks = Arc::new(Callbacks { log: config.events(), config, unkept: Mutex::default() });
    let mut client = Client { service: Service::new(&callbacks), callbacks, handles: Vec::new() };
    for line in input.lines() {
        let line = line.expect("input is text");
        let words: Vec<_> = line.split(' ').collect();
        match client.obey(&words) {
            Ok(answer) => say(&format!("ok {answer}")),
            Err(error) => say(&format!("error {:?}: {error}", error.kind()).replace('\n', " ")),
        }
    }
}

/// Where the answers go, if not to the standard output.
static OUTPUT: OnceLock<File> = OnceLock::new();

/// A line that is there for the reader before anything else happens.
fn say(line: &str) {
    let line = format!("{line}\n");
    let _ = match OUTPUT.get() {
        Some(mut out) => out.write_all(line.as_bytes()),
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(line.as_bytes()).and_then(|()| out.flush())
        }
    };
}

struct Client {
    service: Service,
    callbacks: Arc<Callbacks>,
    handles: Vec<Handle>,
}

impl Client {
    fn obey(&mut self, words: &[&str]) -> procref::Result<String> {
        match words {
            ["acquire"] => self.acquire(),
            // Says so when it is there, and acquires when the gate is opened.
            ["acquire-at", gate] => {
                say("at the gate");
                Gate::pass(Path::new(gate));
                self.acquire()
            }
            ["release"] => match self.handles.pop() {
                Some(handle) => self.service.release(handle).map(|()| String::new()),
                None => Err("it holds nothing".into()),
            },
            ["keep"] => match self.handles.pop() {
                Some(Handle::Blocking(handle)) => handle.keep().map(|()| String::new()),
                Some(Handle::Tokio(handle)) => handle.keep().map(|()| String::new()),
                None => Err("it holds nothing".into()),
            },
            ["drop"] => {
                drop(self.handles.pop());
                Ok(String::new())
            }
            // By hand, as somebody who holds nothing.
            ["stop"] => {
                let config = &self.callbacks.config;
                let observed = procref::observe::Observed::new(&config.name)?.runtime_dir(&config.runtime_dir);
                observed.stop(&StopLadder::default(), false).map(|stopped| format!("{stopped:?}"))
            }
            ["count"] => self.service.count().map(|count| count.to_string()),
            ["alive"] => Ok(self.handles.last().is_some_and(Handle::is_alive).to_string()),
            // Says each round as it begins, so that whoever reads can kill it in the middle of one.
            ["rounds", count] => {
                for round in 0..count.parse().map_err(procref::Error::other)? {
                    say(&format!("round {round}"));
                    self.acquire()?;
                    self.obey(&["release"])?;
                }
                Ok(String::new())
            }
            ["fork"] => self.fork(|client| {
                client.handles.clear();
                0
            }),
            // So many children, each a client of its own; they are killed with this program. Says how many hold the
            // service, and how many do not though the system has room for them.
            ["crowd", count] => self.crowd(count.parse().map_err(procref::Error::other)?),
            // The child's copies of the handles, kept by it: says what came of that, and goes.
            ["fork-keep"] => self.fork(|client| {
                let kept = client.obey(&["keep"]).map_err(|error| error.kind());
                i32::from(kept != Err(procref::ErrorKind::InvalidInput))
            }),
            // A child that stays: says which it is.
            ["fork-stay"] => Ok(sys::fork_and_stay()?.to_string()),
            ["fork-exit"] => self.fork(|_| 0),
            ["exec", program, arguments @ ..] => Err(sys::become_program(Command::new(program).args(arguments)).into()),
            ["exit"] => std::process::exit(3),
            ["abort"] => std::process::abort(),
            ["crash"] => sys::crash(),
            // Unwinds as a panic does, without a word.
            ["panic"] => std::panic::resume_unwind(Box::new("as it was told")),
            // How many KiB of memory it shall have besides.
            ["grow", kib] => {
                let size = kib.parse::<usize>().map_err(procref::Error::other)? << 10;
                std::mem::forget(vec![1_u8; size]);
                Ok(String::new())
            }
            ["ping", port] => ping(port.parse().map_err(procref::Error::other)?).map_err(Into::into),
            _ => match sys::obey(words) {
                Some(answer) => Ok(answer?),
                None => Err(format!("unknown: {words:?}").into()),
            },
        }
    }

    fn acquire(&mut self) -> procref::Result<String> {
        let handle = self.service.acquire()?;
        if let Some(mut service) = self.callbacks.unkept.lock().expect("no panic").take() {
            let _ = service.write_all(b"keep\n");
        }
        let (info, generation) = handle.info();
        let (pid, lost) = (info.pid().unwrap_or(0), info.metadata_lost());
        self.handles.push(handle);
        Ok(format!("{pid} {} {generation} {lost} {}", info.port(), info.get("note").unwrap_or("")))
    }

    fn crowd(&mut self, count: usize) -> procref::Result<String> {
        let answers = sys::crowd(count, || match self.acquire() {
            Ok(_) => b'h',
            Err(error) if error.kind() == procref::ErrorKind::LimitReached => b'l',
            Err(_) => b'?',
        })?;
        let of = |what| answers.iter().filter(|&&answer| answer == what).count();
        Ok(format!("{} {}", of(b'h'), of(b'?')))
    }

    /// Forks a child that does something and ends with that code, and waits for its end: says how that was.
    fn fork(&mut self, child: impl FnOnce(&mut Self) -> i32) -> procref::Result<String> {
        Ok(sys::fork(|| child(self))?.to_string())
    }
}

struct Callbacks {
    config: Config,
    log: Events,
    /// The service that was started, until it is acquired.
    unkept: Mutex<Option<ChildStdin>>,
}

impl Callbacks {
    fn start(&self) -> procref::Result<ServiceInfo> {
        self.log.add("start", "");
        if let Some(gate) = &self.config.start_gate {
            Gate::pass(gate);
        }
        if let Some(text) = self.config.start_fails.as_deref().and_then(|path| std::fs::read_to_string(path).ok()) {
            return Err(text.into());
        }
        let info = self.spawn()?;
        self.log.add("started", info.pid().unwrap_or(0));
        Ok(info)
    }

    fn spawn(&self) -> procref::Result<ServiceInfo> {
        let [program, arguments @ ..] = self.config.service.as_slice() else { return Err("no service".into()) };
        let mut command = Command::new(program);
        sys::alone(&mut command).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        if self.config.hands_over {
            command.arg(HANDED_OVER);
        }
        let mut child = sys::spawn(&mut command)?;
        let says = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        // `ready`, or Redis's "Ready to accept connections".
        if !says.lines().map_while(Result::ok).any(|line| line.to_lowercase().contains("ready")) {
            return Err("the service does not say that it is ready".into());
        }
        *self.unkept.lock().expect("no panic") = child.stdin.take();
        let info = ServiceInfo::new(child.id(), self.config.port);
        Ok(if self.config.note.is_empty() { info } else { info.with_metadata("note", &self.config.note) })
    }

    fn is_healthy(&self, info: &ServiceInfo) -> bool {
        let words =
            self.config.health.as_deref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let pid = info.pid().unwrap_or(0).to_string();
        match words.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["bad", number] => *number != pid,
            ["hang", number] if *number == pid => loop {
                std::thread::park();
            },
            _ => true,
        }
    }

    fn recover(&self, old: &ServiceInfo) -> procref::Result<ServiceInfo> {
        self.log.add("recover", old.pid().unwrap_or(0));
        process::stop(old.pid(), Duration::from_secs(10))?;
        self.spawn()
    }

    fn stop(&self, info: &ServiceInfo) -> procref::Result<()> {
        self.log.add("stop", info.pid().unwrap_or(0));
        process::terminate(info.pid());
        if self.config.stop == Stop::Fail { Err("as it was told".into()) } else { Ok(()) }
    }

    fn ladder(&self) -> Option<StopLadder> {
        let step = |step: &str| {
            let (signal, grace) = step.split_once(':')?;
            let signal = match signal {
                "INT" => StopSignal::Interrupt,
                "USR1" => StopSignal::User1,
                _ => StopSignal::Terminate,
            };
            Some((signal, Duration::from_millis(grace.parse().ok()?)))
        };
        let mut steps = self.config.ladder.split(',').filter_map(step);
        let (signal, grace) = steps.next()?;
        Some(steps.fold(StopLadder::new(signal, grace), |ladder, (signal, grace)| ladder.then(signal, grace)))
    }
}

enum Service {
    Blocking(procref::blocking::SharedService),
    Tokio(tokio::runtime::Runtime, procref::SharedService),
}

enum Handle {
    Blocking(procref::blocking::ServiceHandle),
    Tokio(procref::ServiceHandle),
}

/// What both builders are told.
macro_rules! set {
    ($builder:expr, $callbacks:expr) => {{
        let (mut builder, config) = ($builder, &$callbacks.config);
        builder = builder.runtime_dir(&config.runtime_dir).linger(Duration::from_millis(config.linger));
        if let Some(ladder) = $callbacks.ladder() {
            builder = builder.stop_ladder(ladder);
        }
        if config.health_timeout > 0 {
            builder = builder.health_timeout(Duration::from_millis(config.health_timeout));
        }
        if config.start_timeout > 0 {
            builder = builder.start_timeout(Duration::from_millis(config.start_timeout));
        }
        builder
    }};
}

impl Service {
    fn new(callbacks: &Arc<Callbacks>) -> Self {
        let has = &callbacks.config;
        if has.declared {
            let builder = set!(procref::blocking::SharedService::builder(&has.name), callbacks);
            return Self::Blocking(builder.command(declared(has)).build().expect("a good service"));
        }
        let [start, check, recover, stop] = std::array::from_fn(|_| Arc::clone(callbacks));
        if has.tokio {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let mut builder = set!(procref::SharedService::builder(&has.name), callbacks).on_first_acquire(move || {
                let start = Arc::clone(&start);
                async move { start.start() }
            });
            if has.health.is_some() {
                builder = builder.on_health_check(move |info| {
                    let check = Arc::clone(&check);
                    async move { tokio::task::spawn_blocking(move || check.is_healthy(&info)).await.unwrap_or(false) }
                });
            }
            if has.recovers {
                builder = builder.on_recover(move |info| {
                    let recover = Arc::clone(&recover);
                    async move { recover.recover(&info) }
                });
            }
            if has.stop != Stop::None {
                builder = builder.on_last_release(move |info| {
                    let stop = Arc::clone(&stop);
                    async move { stop.stop(&info) }
                });
            }
            Self::Tokio(runtime.expect("a runtime"), builder.build().expect("a good service"))
        } else {
            let mut builder = set!(procref::blocking::SharedService::builder(&has.name), callbacks)
                .on_first_acquire(move || start.start());
            if has.health.is_some() {
                builder = builder.on_health_check(move |info| check.is_healthy(&info));
            }
            if has.recovers {
                builder = builder.on_recover(move |info| recover.recover(&info));
            }
            if has.stop != Stop::None {
                builder = builder.on_last_release(move |info| stop.stop(&info));
            }
            Self::Blocking(builder.build().expect("a good service"))
        }
    }

    fn acquire(&self) -> procref::Result<Handle> {
        match self {
            Self::Blocking(service) => service.acquire().map(Handle::Blocking),
            Self::Tokio(runtime, service) => runtime.block_on(service.acquire()).map(Handle::Tokio),
        }
    }

    fn release(&self, handle: Handle) -> procref::Result<()> {
        match (self, handle) {
            (_, Handle::Blocking(handle)) => handle.release(),
            (Self::Tokio(runtime, _), Handle::Tokio(handle)) => runtime.block_on(handle.release()),
            (Self::Blocking(_), Handle::Tokio(_)) => Err("no runtime".into()),
        }
    }

    fn count(&self) -> procref::Result<u32> {
        match self {
            Self::Blocking(service) => service.count(),
            Self::Tokio(_, service) => service.count(),
        }
    }
}

impl Handle {
    fn info(&self) -> (ServiceInfo, u32) {
        match self {
            Self::Blocking(handle) => (handle.info().clone(), handle.generation()),
            Self::Tokio(handle) => (handle.info().clone(), handle.generation()),
        }
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Blocking(handle) => handle.is_alive(),
            Self::Tokio(handle) => handle.is_alive(),
        }
    }
}

/// The service's command. It bears the sandbox's mark, whoever makes the guardian.
fn declared(config: &Config) -> ServiceCommand {
    let (program, arguments) = config.service.split_first().expect("a service");
    let mark = std::env::var(MARK).expect("a sandbox");
    ServiceCommand::new(program).args(arguments).env(MARK, mark).ready(Ready::log("ready"))
}

/// Asks a Redis server whether it is there.
fn ping(port: u16) -> std::io::Result<String> {
    let mut server = std::net::TcpStream::connect(("127.0.0.1", port))?;
    server.write_all(b"PING\r\n")?;
    let mut answer = [0_u8; 7];
    server.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).trim().into())
}
