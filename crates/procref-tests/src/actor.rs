//! Client programs to be driven line by line: `src/bin/actor.rs` from the outside.

use crate::events::Events;
use crate::sandbox::{PATIENCE, Sandbox, hold, wait_for_end};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
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
    pidfd: OwnedFd,
    says: ChildStdout,
    said: Vec<u8>,
    hears: Option<File>,
}

impl Actor {
    /// Starts the program in a process group of its own.
    #[must_use]
    pub fn new(sandbox: &Sandbox, program: &str, config: &Config) -> Self {
        Self::of(sandbox.command(program), config, 0)
    }

    /// Starts several of them in a process group of their own, which is called by the first one's number.
    #[must_use]
    pub fn several(sandbox: &Sandbox, program: &str, config: &Config, count: usize) -> Vec<Self> {
        let mut actors: Vec<Self> = Vec::new();
        for _ in 0..count {
            let group = actors.first().map_or(0, Self::pid);
            actors.push(Self::of(sandbox.command(program), config, group));
        }
        actors
    }

    /// Starts what the command says, with the client's arguments behind, in the process group; 0 for one of its own.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    #[must_use]
    pub fn of(mut command: Command, config: &Config, group: u32) -> Self {
        command.process_group(group.try_into().expect("a process number"));
        command.args(config.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let hears = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        Self::started(child, hears)
    }

    /// Starts the program as the leader of a session with a terminal of its own, on which it is told what to do.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    #[must_use]
    pub fn on_terminal(sandbox: &Sandbox, program: &str, config: &Config) -> Self {
        let (ours, theirs) = terminal();
        let mut command = sandbox.command("setsid");
        command.args(["--ctty", program]).args(config.arguments()).stdin(theirs).stdout(Stdio::piped());
        Self::started(command.spawn().expect("the program starts"), Some(ours))
    }

    fn started(mut child: Child, hears: Option<File>) -> Self {
        let pidfd = hold(child.id());
        let says = child.stdout.take().expect("its output is piped");
        Self { child, pidfd, says, said: Vec::new(), hears }
    }

    /// Types a key on its terminal.
    ///
    /// # Panics
    ///
    /// It has none any more.
    pub fn press(&mut self, key: u8) {
        use std::io::Write;
        self.hears.as_mut().expect("it has not been left").write_all(&[key]).expect("it has a terminal");
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
        use std::io::Write;
        let hears = self.hears.as_mut().expect("it has not been left");
        hears.write_all(format!("{line}\n").as_bytes()).expect("it listens");
    }

    /// The next line that it says; `None` if it has ended.
    ///
    /// # Panics
    ///
    /// It says nothing.
    pub fn line(&mut self) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(end) = self.said.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                return Some(String::from_utf8_lossy(line.get(..end).unwrap_or(&[])).into_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "process {} says nothing", self.pid());
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            if poll(&mut [PollFd::new(&self.says, PollFlags::IN)], Some(&time)) == Ok(1) {
                let mut buffer = [0_u8; 4096];
                let length = rustix::io::read(&self.says, &mut buffer).expect("a pipe can be read");
                if length == 0 {
                    return None;
                }
                self.said.extend_from_slice(buffer.get(..length).unwrap_or(&[]));
            }
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

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
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
        assert!(wait_for_end(&self.pidfd, Instant::now() + PATIENCE), "process {} does not end", self.pid());
        self.child.wait().expect("it can be reaped")
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        crate::sandbox::has_ended(&self.pidfd)
    }

    /// Whether it was killed by SIGKILL.
    #[must_use]
    pub fn was_killed(&mut self) -> bool {
        self.wait().signal() == Some(libc::SIGKILL)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A new terminal: the side of who types, and the side of who reads.
///
/// No other test's program may inherit the former, or nobody would ever hang up: so it is not `openpty`.
#[expect(unsafe_code, reason = "the standard library has no terminals")]
fn terminal() -> (File, File) {
    let mut options = File::options();
    let ours = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx").expect("a terminal");
    let unlocked: libc::c_int = 0;
    // SAFETY: the kernel reads one number.
    let result = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    assert_eq!(result, 0, "the terminal can be unlocked");
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: it takes flags, and no pointer.
    let theirs = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    assert!(theirs >= 0, "the terminal's other side can be opened");
    // SAFETY: it has just been opened, and belongs to nobody else.
    (ours, unsafe { File::from_raw_fd(theirs) })
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
    lock: File,
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
        Self { path, lock }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets everybody through.
    ///
    /// # Panics
    ///
    /// It is stuck.
    pub fn open(&self) {
        self.lock.unlock().expect("the gate can be opened");
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
