//! One service and whoever shares it; namespaces of a test's own; what came of the cases.

use procref::blocking::SharedService;
use procref::protocol::set::Op;
use procref::{ServiceState, Status};
use procref_tests::actor::until;
use procref_tests::sandbox::{PATIENCE, hold, wait_for_end};
use procref_tests::{Actor, Config, Events, Sandbox};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Instant;

pub(crate) const ACTOR: &str = env!("CARGO_BIN_EXE_actor");
pub(crate) const SERVICE: &str = env!("CARGO_BIN_EXE_service");

/// How a service is described, and how its guardians are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) declared: bool,
    pub(crate) started: bool,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [
        Self { declared: false, started: true },
        Self { declared: false, started: false },
        Self { declared: true, started: true },
        Self { declared: true, started: false },
    ];
    pub(crate) const CALLBACKS: Self = Self { declared: false, started: true };
    pub(crate) const DECLARED: Self = Self { declared: true, started: false };
    /// For what does not depend on how guardians are made.
    pub(crate) const BOTH: [Self; 2] = [Self::CALLBACKS, Self::DECLARED];
}

/// One service, and whoever shares it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) events: Events,
    /// Dropped last: it looks for what is left.
    pub(crate) sandbox: Sandbox,
}

impl World {
    pub(crate) fn new(kind: Kind) -> Self {
        let sandbox = Sandbox::new();
        let config =
            Config { declared: kind.declared, started_guardian: kind.started, ..Config::new(&sandbox, SERVICE) };
        Self { events: config.events(), config, sandbox }
    }

    /// Another service than the usual one: a shell script. It says `ready`.
    pub(crate) fn of_script(kind: Kind, script: &str) -> Self {
        let mut world = Self::new(kind);
        world.config.service = ["sh", "-c", script].map(str::to_owned).to_vec();
        world
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::new(&self.sandbox, ACTOR, &self.config)
    }

    /// An actor that a command starts, such as `unshare`.
    pub(crate) fn actor_by(&self, words: &[&str]) -> Actor {
        let (program, arguments) = words.split_first().expect("a command");
        let mut command = self.sandbox.command(program);
        command.args(arguments).arg(ACTOR);
        Actor::of(command, &self.config)
    }

    pub(crate) fn observer(&self) -> SharedService {
        let service = SharedService::builder(&self.config.name).runtime_dir(&self.config.runtime_dir);
        service.on_first_acquire(|| Err("an observer starts nothing".into())).build().expect("a good service")
    }

    pub(crate) fn status(&self) -> Status {
        self.observer().status().expect("it can be seen")
    }

    pub(crate) fn state(&self) -> ServiceState {
        self.status().state
    }

    pub(crate) fn guardian(&self) -> u32 {
        self.status().guardian.expect("a guardian")
    }

    pub(crate) fn await_clients(&self, count: u32) {
        until("so many clients", || (self.status().clients == count).then_some(()));
    }

    /// The service's set.
    pub(crate) fn set(&self) -> i32 {
        let sets = self.sandbox.sets();
        assert_eq!(sets.len(), 1, "{sets:?}");
        sets[0].0
    }

    /// A service that nobody holds and nobody watches: its pid.
    pub(crate) fn orphan(&self) -> u32 {
        let mut actor = self.actor();
        let pid = actor.acquire().pid;
        let guardian = hold(self.guardian());
        // A stopped client cannot notice its guardian's death.
        actor.signal(Signal::STOP);
        send(&guardian, Signal::KILL);
        await_end(&guardian);
        actor.kill();
        pid
    }

    /// The service can be had by somebody new, and goes with him.
    pub(crate) fn assert_works(&self) {
        let mut actor = self.actor();
        let service = hold(actor.acquire().pid);
        assert_eq!(actor.ask("count").as_deref(), Ok("1"));
        assert_eq!(actor.ask("release").as_deref(), Ok(""));
        await_end(&service);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.events.count("overlap"), 0, "two instances at once: {:?}", self.events.all());
        }
    }
}

pub(crate) fn send(process: &OwnedFd, signal: Signal) {
    pidfd_send_signal(process, signal).expect("it lives");
}

pub(crate) fn kill(pid: u32) {
    let held = hold(pid);
    send(&held, Signal::KILL);
    await_end(&held);
}

pub(crate) fn await_end(held: &OwnedFd) {
    assert!(wait_for_end(held, Instant::now() + PATIENCE), "a process does not end");
}

/// The answer was an error of this kind that says all of this.
pub(crate) fn assert_error<T: std::fmt::Debug>(answer: Result<T, String>, kind: &str, words: &[&str]) {
    let error = answer.expect_err("an error");
    assert!(error.starts_with(&format!("{kind}: ")), "{kind} in {error}");
    for word in words {
        assert!(error.contains(word), "{word:?} in {error}");
    }
}

/// What the cases of a test look for. Each of them ends with a look for what is left ([`Sandbox`]), and no wait in it is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// What is in use is not stopped, and who holds it is counted.
    InUse,
    /// What nobody holds goes, and nothing of it stays.
    NothingLeft,
    /// There are never two of one service, and nothing is done to a stranger.
    OneInstance,
    /// Nobody waits without end.
    NeverBlocks,
    /// What cannot be done is an error that names its cause.
    Cause,
}

/// What came of the cases of a test.
pub(crate) struct Report {
    name: &'static str,
    promises: &'static [Promise],
    cases: usize,
    broken: Vec<String>,
}

impl Report {
    pub(crate) fn new(name: &'static str, promises: &'static [Promise]) -> Self {
        Self { name, promises, cases: 0, broken: Vec::new() }
    }

    /// One case: broken if it panics.
    pub(crate) fn case(&mut self, what: impl std::fmt::Display, case: impl FnOnce()) {
        self.cases += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(case)) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            self.broken.push(format!("hostile {}, {what}: {text}", self.name));
        }
    }

    /// The same for each kind of service.
    pub(crate) fn each<const KINDS: usize>(&mut self, kinds: [Kind; KINDS], what: &str, case: impl Fn(Kind)) {
        for kind in kinds {
            self.case(format_args!("{what}, {kind:?}"), || case(kind));
        }
    }

    /// A case that this machine does not allow.
    pub(crate) fn not_tested(&self, what: &str, why: &str) {
        println!("not tested: hostile {}, {what}: {why}", self.name);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let Self { name, promises, cases, broken } = self;
        if *cases > 0 {
            println!("proof: hostile {name}: {cases} cases, {} broken {promises:?}", broken.len());
        }
        if !std::thread::panicking() {
            assert!(broken.is_empty(), "{} of {cases} cases:\n{}", broken.len(), broken.join("\n"));
        }
    }
}

const INSIDE: &str = "PROCREF_TEST_INSIDE";

/// Runs the test in new namespaces, where it is root: in a process of its own, which is all of the test there. Where
/// this user gets none, that is said by name.
pub(crate) fn alone(test: &str, namespaces: &[&str], body: impl FnOnce()) {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return body();
    }
    let mut options = namespaces.to_vec();
    if !rustix::process::geteuid().is_root() {
        options.extend(["--user", "--map-root-user"]);
    }
    options.push("--fork");
    let tried = Command::new("unshare").args(&options).arg("true").output().expect("unshare (util-linux)");
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        println!("not tested: hostile {test}: this system gives no {options:?}: {why}");
        return;
    }
    let mut command = Command::new("unshare");
    // The shell is the first process of a new PID namespace: it reaps everybody's orphans.
    command.args(&options).args(["--kill-child", "--", "sh", "-c", "\"$@\"; exit $?", "sh"]);
    command.arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(INSIDE, test);
    let output = command.output().expect("unshare (util-linux)");
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    // The first one comes behind the harness's own words.
    for line in said.lines() {
        if let Some(at) = line.find("proof: ").or_else(|| line.find("not tested: ")) {
            println!("{}", &line[at..]);
        }
    }
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    assert!(said.contains("1 passed"), "no test of this name: {test}");
}

/// Threads that are clients of their own for the kernel: each has an undo list of its own.
pub(crate) struct Crowd {
    threads: Vec<std::thread::JoinHandle<()>>,
    leave: std::sync::Arc<std::sync::Barrier>,
}

impl Crowd {
    /// So many threads, each of which has changed the set by this.
    #[expect(unsafe_code, reason = "there is no safe wrapper for semop")]
    pub(crate) fn new(set: i32, count: usize, ops: &'static [Op]) -> Self {
        let flags = |op: &Op| {
            let undo = if op.undo { libc::SEM_UNDO } else { 0 };
            (undo | if op.wait { 0 } else { libc::IPC_NOWAIT }) as i16
        };
        let raw = move || -> Vec<_> {
            let op = |op: &Op| libc::sembuf { sem_num: op.sem, sem_op: op.delta, sem_flg: flags(op) };
            ops.iter().map(op).collect()
        };
        let leave = std::sync::Arc::new(std::sync::Barrier::new(count + 1));
        let (says, said) = std::sync::mpsc::channel();
        let thread = |_| {
            let (leave, says) = (std::sync::Arc::clone(&leave), says.clone());
            let body = move || {
                let mut raw = raw();
                // SAFETY: it takes a number, and this thread has changed no semaphore yet.
                let alone = unsafe { libc::unshare(libc::CLONE_SYSVSEM) };
                // SAFETY: the kernel reads that many operations.
                let joined = unsafe { libc::semop(set, raw.as_mut_ptr(), raw.len()) };
                let _ = says.send((alone, joined));
                leave.wait();
            };
            std::thread::Builder::new().stack_size(32 << 10).spawn(body).expect("a thread")
        };
        let threads = (0..count).map(thread).collect();
        for _ in 0..count {
            assert_eq!(said.recv_timeout(PATIENCE), Ok((0, 0)), "it is counted");
        }
        Self { threads, leave }
    }

    /// They end, as if they had been killed: the kernel takes back what they did.
    pub(crate) fn end(self) {
        self.leave.wait();
        for thread in self.threads {
            thread.join().expect("no panic");
        }
    }
}
