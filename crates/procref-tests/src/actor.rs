//! Client programs to be driven line by line: `src/bin/actor.rs` from the outside.

use crate::events::Events;
use crate::sandbox::{PATIENCE, Sandbox, hold, wait_for_end};
use crate::sys::{self, End, Group, Held};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What `on_last_release` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// There is none.
    None,
    /// Sends SIGTERM and returns.
    #[default]
    Terminate,
    /// Sends SIGTERM and fails.
    Fail,
}

/// What a client is like.
#[derive(Clone, Debug)]
pub struct Config {
    /// The service's name.
    pub name: String,
    /// `runtime_dir`.
    pub runtime_dir: PathBuf,
    /// The log of all that happens.
    pub log: PathBuf,
    /// The program that the service is, and its arguments.
    pub service: Vec<String>,
    /// Whether it calls `guardian::init`; if not, its guardians are forked.
    pub started_guardian: bool,
    /// Whether it uses the asynchronous API.
    pub tokio: bool,
    /// `linger`, in milliseconds.
    pub linger: u64,
    /// `stop_ladder`: such as `INT:100,TERM:200`. The default one if empty.
    pub ladder: String,
    /// A start waits until it can lock this file.
    pub start_gate: Option<PathBuf>,
    /// A start fails with the text in this file, if there is such a file.
    pub start_fails: Option<PathBuf>,
    /// Whether a service that was started ends by itself if nobody has acquired it when its starter is gone.
    pub hands_over: bool,
    /// The service's port.
    pub port: u16,
    /// The service's metadata under `note`.
    pub note: String,
    /// `on_health_check`: unhealthy is who is in this file as `bad PID`, and `hang PID` makes the check hang.
    pub health: Option<PathBuf>,
    /// `health_timeout`, in milliseconds; 0 for the default.
    pub health_timeout: u64,
    /// Whether there is an `on_recover`: it ends the old instance, if there is one, and starts another.
    pub recovers: bool,
    /// `on_last_release`.
    pub stop: Stop,
    /// Whether the service is declared by its command: no callbacks then. It is ready when it says so.
    pub declared: bool,
    /// `start_timeout`, in milliseconds; 0 for the default.
    pub start_timeout: u64,
    /// Whether it has closed its standard input, output and error before it does anything. It is talked to all the same.
    pub closed_stdio: bool,
}

impl Config {
    /// A client of a service in this sandbox, run by the given `service` helper.
    #[must_use]
    pub fn new(sandbox: &Sandbox, service: &str) -> Self {
        let log = sandbox.folder().join("log");
        let lock = sandbox.folder().join("instance");
        Self {
            name: sandbox.name("service"),
            runtime_dir: sandbox.runtime_dir(),
            service: vec![service.into(), format!("log={}", log.display()), format!("lock={}", lock.display())],
            log,
            started_guardian: true,
            tokio: false,
            linger: 0,
            ladder: String::new(),
            start_gate: None,
            start_fails: None,
            hands_over: false,
            port: 4711,
            note: String::new(),
            health: None,
            health_timeout: 0,
            recovers: false,
            stop: Stop::Terminate,
            declared: false,
            start_timeout: 0,
            closed_stdio: false,
        }
    }

    /// The same with another argument for the service.
    #[must_use]
    pub fn service_argument(mut self, argument: impl Into<String>) -> Self {
        self.service.push(argument.into());
        self
    }

    /// The log that all its clients and services write to.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(&self.log)
    }

    /// As the arguments of a program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: &Option<PathBuf>| path.as_deref().map_or(String::new(), |path| path.display().to_string());
        let stop = match self.stop {
            Stop::None => "none",
            Stop::Terminate => "terminate",
            Stop::Fail => "fail",
        };
        let mut arguments = vec![
            format!("name={}", self.name),
            format!("runtime-dir={}", self.runtime_dir.display()),
            format!("log={}", self.log.display()),
            format!("linger={}", self.linger),
            format!("ladder={}", self.ladder),
            format!("start-gate={}", path(&self.start_gate)),
            format!("start-fails={}", path(&self.start_fails)),
            format!("port={}", self.port),
            format!("note={}", self.note),
            format!("health={}", path(&self.health)),
            format!("health-timeout={}", self.health_timeout),
            format!("stop={stop}"),
            format!("start-timeout={}", self.start_timeout),
        ];
        let flags = [
            ("started-guardian", self.started_guardian),
            ("tokio", self.tokio),
            ("hands-over", self.hands_over),
            ("recovers", self.recovers),
            ("declared", self.declared),
            ("closed-stdio", self.closed_stdio),
        ];
        arguments.extend(flags.into_iter().map(|(flag, on)| format!("{flag}={on}")));
        arguments.extend(self.service.iter().map(|word| format!("service={word}")));
        arguments
    }

    /// What [`arguments`](Self::arguments) said.
    ///
    /// # Panics
    ///
    /// It did not say that.
    #[must_use]
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut config = Self {
            name: String::new(),
            runtime_dir: PathBuf::new(),
            log: PathBuf::new(),
            service: Vec::new(),
            started_guardian: false,
            tokio: false,
            linger: 0,
            ladder: String::new(),
            start_gate: None,
            start_fails: None,
            hands_over: false,
            port: 0,
            note: String::new(),
            health: None,
            health_timeout: 0,
            recovers: false,
            stop: Stop::None,
            declared: false,
            start_timeout: 0,
            closed_stdio: false,
        };
        let path = |value: &str| (!value.is_empty()).then(|| PathBuf::from(value));
        for argument in arguments {
            let (key, value) = argument.split_once('=').expect("key=value");
            match key {
                "name" => config.name = value.into(),
                "runtime-dir" => config.runtime_dir = value.into(),
                "log" => config.log = value.into(),
                "service" => config.service.push(value.into()),
                "started-guardian" => config.started_guardian = value == "true",
                "tokio" => config.tokio = value == "true",
                "linger" => config.linger = value.parse().expect("a number"),
                "ladder" => config.ladder = value.into(),
                "start-gate" => config.start_gate = path(value),
                "start-fails" => config.start_fails = path(value),
                "hands-over" => config.hands_over = value == "true",
                "port" => config.port = value.parse().expect("a number"),
                "note" => config.note = value.into(),
                "health" => config.health = path(value),
                "health-timeout" => config.health_timeout = value.parse().expect("a number"),
                "start-timeout" => config.start_timeout = value.parse().expect("a number"),
                "recovers" => config.recovers = value == "true",
                "declared" => config.declared = value == "true",
                "closed-stdio" => config.closed_stdio = value == "true",
                "stop" => {
                    config.stop = match value {
                        "terminate" => Stop::Terminate,
                        "fail" => Stop::Fail,
                        _ => Stop::None,
                    }
                }
                _ => panic!("unknown: {key}"),
            }
        }
        config
    }
}

/// What an actor says of the service that it acquired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    /// The service's process.
    pub pid: u32,
    /// Its port.
    pub port: u16,
    /// Which instance it is.
    pub generation: u32,
    /// Whether the metadata is lost.
    pub metadata_lost: bool,
    /// What `note` is in the metadata.
    pub note: String,
}

/// A client that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    process: Held,
    group: Group,
    says: Receiver<String>,
    hears: Option<Hears>,
}

/// Where it is told what to do.
#[derive(Debug)]
enum Hears {
    Pipe(ChildStdin),
    Terminal(File),
}

impl Actor {
    /// Starts the program in a process group of its own.
    #[must_use]
    pub fn new(sandbox: &Sandbox, program: &str, config: &Config) -> Self {
        Self::of(sandbox.command(program), config)
    }

    /// Starts several of them that can be killed by one call.
    #[must_use]
    pub fn several(sandbox: &Sandbox, program: &str, config: &Config, count: usize) -> Vec<Self> {
        let mut group = Group::default();
        (0..count).map(|_| Self::member(sandbox.command(program), config, &mut group)).collect()
    }

    /// Starts what the command says, with the client's arguments behind.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    #[must_use]
    pub fn of(command: Command, config: &Config) -> Self {
        Self::member(command, config, &mut Group::default())
    }

    fn member(mut command: Command, config: &Config, group: &mut Group) -> Self {
        group.prepare(&mut command);
        command.args(config.arguments()).stdin(Stdio::piped());
        let mut actor = Self::started(command, None);
        group.add(&actor.child);
        actor.group = group.clone();
        actor
    }

    /// Starts what the command says; it is told what to do on the terminal, or by its input.
    pub(crate) fn started(mut command: Command, terminal: Option<File>) -> Self {
        let mut child = sys::spawn(command.stdout(Stdio::piped())).expect("the program starts");
        let process = hold(child.id());
        let hears = terminal.map(Hears::Terminal).or_else(|| child.stdin.take().map(Hears::Pipe));
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sends, says) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if sends.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, process, group: Group::default(), says, hears }
    }

    fn hear(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self.hears.as_mut().expect("it has not been left") {
            Hears::Pipe(pipe) => pipe.write_all(bytes),
            Hears::Terminal(terminal) => terminal.write_all(bytes),
        }
    }

    /// Types a key on its terminal.
    ///
    /// # Panics
    ///
    /// It has none any more.
    pub fn press(&mut self, key: u8) {
        self.hear(&[key]).expect("it has a terminal");
    }

    /// Hangs up its terminal, or ends its input.
    pub fn hang_up(&mut self) {
        self.hears = None;
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says one line to it.
    ///
    /// # Panics
    ///
    /// It does not listen any more.
    pub fn tell(&mut self, line: &str) {
        self.hear(format!("{line}\n").as_bytes()).expect("it listens");
    }

    /// The next line that it says; `None` if it has ended.
    ///
    /// # Panics
    ///
    /// It says nothing.
    pub fn line(&mut self) -> Option<String> {
        match self.says.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("process {} says nothing", self.pid()),
        }
    }

    /// Waits until it says just this.
    ///
    /// # Panics
    ///
    /// It says something else.
    pub fn expect(&mut self, line: &str) {
        let said = self.line();
        assert_eq!(said.as_deref(), Some(line), "process {}", self.pid());
    }

    /// The answer to what it was told: `Err` with the kind of error and its text.
    ///
    /// # Errors
    ///
    /// It says that the command failed.
    ///
    /// # Panics
    ///
    /// It has ended instead.
    pub fn answer(&mut self) -> Result<String, String> {
        let line = self.line().expect("it ends instead of answering");
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ok", rest) => Ok(rest.into()),
            ("error", rest) => Err(rest.into()),
            _ => panic!("process {} says {line:?}", self.pid()),
        }
    }

    /// Tells it something and waits for the answer.
    ///
    /// # Errors
    ///
    /// It says that the command failed.
    pub fn ask(&mut self, line: &str) -> Result<String, String> {
        self.tell(line);
        self.answer()
    }

    /// The answer to a command that acquires.
    ///
    /// # Errors
    ///
    /// Why it could not.
    ///
    /// # Panics
    ///
    /// It answers something else.
    pub fn acquired(&mut self) -> Result<Acquired, String> {
        let answer = self.answer()?;
        let mut words = answer.splitn(5, ' ');
        let mut word = || words.next().expect("five words");
        Ok(Acquired {
            pid: word().parse().expect("a number"),
            port: word().parse().expect("a number"),
            generation: word().parse().expect("a number"),
            metadata_lost: word() == "true",
            note: word().into(),
        })
    }

    /// Has it acquire.
    ///
    /// # Panics
    ///
    /// It cannot.
    pub fn acquire(&mut self) -> Acquired {
        self.tell("acquire");
        self.acquired().expect("it can acquire")
    }

    /// What holds its process.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.process
    }

    /// Those that were started together with it.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Kills it and waits for its end.
    pub fn kill(self) {
        drop(self);
    }

    /// Lets it come to its end by itself, and says how that was.
    ///
    /// # Panics
    ///
    /// It does not.
    pub fn end(mut self) -> ExitStatus {
        self.hang_up();
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// It does not come.
    pub fn wait(&mut self) -> ExitStatus {
        assert!(wait_for_end(&self.process, Instant::now() + PATIENCE), "process {} does not end", self.pid());
        self.child.wait().expect("it can be reaped")
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        crate::sandbox::has_ended(&self.process)
    }

    /// Whether it was killed.
    #[must_use]
    pub fn was_killed(&mut self) -> bool {
        sys::end_of(self.wait()) == End::Killed
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        sys::kill(&self.process);
        let _ = self.child.wait();
    }
}

/// Waits until something is so, for what the kernel tells nobody about: looks, and looks again.
///
/// # Panics
///
/// It does not come to be.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A gate that everybody waits at who is told of it, until it is opened. Dropped, it opens.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

impl Gate {
    /// A closed gate in the sandbox's folder.
    ///
    /// # Panics
    ///
    /// It cannot be made.
    #[must_use]
    pub fn closed(sandbox: &Sandbox, name: &str) -> Self {
        let path = sandbox.folder().join(name);
        let lock = File::create(&path).expect("the gate can be made");
        lock.lock().expect("the gate can be closed");
        Self { path, lock: Mutex::new(Some(lock)) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets everybody through.
    pub fn open(&self) {
        // It is closed and not unlocked: under Wine that fails while others wait.
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until the gate in this file is open.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn pass(path: &Path) {
        File::open(path).and_then(|file| file.lock_shared()).expect("the gate can be passed");
    }
}
