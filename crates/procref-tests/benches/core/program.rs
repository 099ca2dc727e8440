//! What sharing a service costs, each figure beside the least that the kernel asks for the same thing, in the same run:
//! `cargo bench -p procref-tests`.
//!
//! Floor and product take turns, so that a machine that is busy with other things is so for both. Figures are medians,
//! with the 10th and the 90th percentile.

use procref::blocking::{ServiceHandle, SharedService};
use procref::protocol::set::{CLIENTS, JOIN, LEAVE_NOT_LAST, Op, SEMAPHORES};
use procref::{Result, ServiceInfo};
use procref_tests::{Sandbox, sandbox};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::{ClockId, clock_gettime};
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A row of the table and its verdict.
struct Row {
    what: String,
    floor: Option<Spread>,
    product: Spread,
    goal: String,
    met: bool,
}

pub(crate) fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        // A program that was started with nothing but a title is a guardian.
        [_] => procref::guardian::init(),
        [_, "client", name, folder, ballast, way, rounds] => {
            if way == "started" {
                procref::guardian::init();
            }
            let number = |text: &str| text.parse::<usize>().expect("a number");
            return client(name, folder, number(ballast), number(rounds)).expect("the client works");
        }
        [_, "service"] => return service(),
        [_, "holder", set, threads] => return holder(set.parse().expect("a set"), threads == "2"),
        [_, "waiter", set, pid] => return waiter(set.parse().expect("a set"), pid.parse().expect("a process")),
        _ => {}
    }
    if !words.contains(&"--bench") {
        println!("these are benchmarks: run them by `cargo bench`");
        return;
    }
    println!("{:<52} {:>25} {:>25} {:>8}", "", "floor", "procref", "");
    // `cargo bench -p procref-tests -- deaths` measures only those.
    let parts = [("joins", joins as fn() -> Vec<Row>), ("deaths", deaths), ("guardians", guardians)];
    let all = !parts.iter().any(|(part, _)| words.contains(part));
    for (part, measure) in parts {
        if all || words.contains(&part) {
            measure().iter().for_each(Row::print);
        }
    }
}

impl Row {
    fn print(&self) {
        let floor = self.floor.map_or_else(String::new, |floor| floor.to_string());
        let ratio = self.floor.map_or_else(String::new, |floor| format!("{:.2}x", self.product.median / floor.median));
        let met = if self.met { "met" } else { "MISSED" };
        let verdict = if self.goal.is_empty() { String::new() } else { format!("goal {}: {met}", self.goal) };
        println!("{:<52} {floor:>25} {:>25} {ratio:>8}  {verdict}", self.what, self.product.to_string());
    }
}

/// Median, 10th and 90th percentile.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    low: f64,
    high: f64,
    unit: &'static str,
}

impl Spread {
    fn of(mut samples: Vec<f64>, unit: &'static str) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |share: usize| samples[(samples.len() - 1) * share / 100];
        Self { median: at(50), low: at(10), high: at(90), unit }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, low, high, unit } = self;
        if low == high {
            write!(f, "{median:.0} {unit}")
        } else {
            write!(f, "{median:.2} ({low:.2}..{high:.2}) {unit}")
        }
    }
}

/// Nanoseconds of the clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

// ---------------------------------------------------------------------------------------------------------------------
// Joining

fn joins() -> Vec<Row> {
    // So short that most batches are not interrupted, however busy the machine is.
    const BATCHES: usize = 2001;
    const BATCH: u64 = 10;
    let sandbox = Sandbox::new();
    let mut holder = Role::client(&sandbox, "s", 0, "forked", 1);
    let guardian = holder.number("held");
    let service = described(&sandbox.name("s"), &sandbox.runtime_dir());
    let status = service.status().expect("it runs");
    let pid = status.info.and_then(|info| info.pid()).expect("it is a process");
    let bare = Bare::new(&sandbox, &service, pid, guardian as u32);

    let mut joined = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        joined.0.push(per_call(BATCH, || bare.join_and_leave()));
        joined.1.push(per_call(BATCH, || service.acquire().and_then(ServiceHandle::release).expect("it runs")));
    }
    let held = service.acquire().expect("it runs");
    let mut again = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        again.0.push(1000.0 * per_call(BATCH * 10, || bare.is_alive(&bare.service)));
        let acquire_again = || service.acquire().and_then(ServiceHandle::release).expect("it runs");
        again.1.push(1000.0 * per_call(BATCH * 10, acquire_again));
    }
    held.release().expect("another process holds it");
    holder.end();

    let (floor, product) = (Spread::of(joined.0, "us"), Spread::of(joined.1, "us"));
    let join = Row {
        what: "join of a running service, and release".into(),
        floor: Some(floor),
        product,
        goal: "1.5x".into(),
        met: product.median <= 1.5 * floor.median,
    };
    let (floor, product) = (Spread::of(again.0, "ns"), Spread::of(again.1, "ns"));
    let above = product.median - floor.median;
    let again = Row {
        what: format!("acquire again, and release: {above:.0} ns more than a poll"),
        floor: Some(floor),
        product,
        goal: "500 ns more".into(),
        met: above <= 500.0,
    };
    vec![join, again]
}

/// Microseconds for each of `calls` calls.
fn per_call(calls: u64, mut call: impl FnMut()) -> f64 {
    let before = now();
    for _ in 0..calls {
        call();
    }
    micros(now() - before) / calls as f64
}

fn described(name: &str, folder: &std::path::Path) -> SharedService {
    let builder = SharedService::builder(name).runtime_dir(folder);
    builder.on_first_acquire(|| Err("another process starts it".into())).build().expect("a good description")
}

/// The system calls that a join and a release cannot do without, and nothing between them.
struct Bare {
    key: i32,
    service: OwnedFd,
    service_pid: Pid,
    guardian_pid: Pid,
    stat: String,
    pipe: String,
    epoll: OwnedFd,
}

impl Bare {
    fn new(sandbox: &Sandbox, service: &SharedService, pid: u32, guardian: u32) -> Self {
        let number = |pid: u32| Pid::from_raw(pid.cast_signed()).expect("a process");
        Self {
            key: key_of(set_of(sandbox, service.name())),
            service: sandbox::hold(pid),
            service_pid: number(pid),
            guardian_pid: number(guardian),
            stat: format!("/proc/{pid}/stat"),
            pipe: format!("/proc/{guardian}/fd/4"),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll set"),
        }
    }

    /// The list that `tests/syscalls` asserts of the product, without its questions who it is (getpid, geteuid).
    /// Each call has its reason: the set is found, and verified to be this user's and this name's; joined; read again,
    /// for the record may have changed since; the service is held, proved to be the recorded one, and alive; the
    /// guardian is held, proved to be the recorded one, its pipe opened, and its death watched.
    fn join_and_leave(&self) {
        // SAFETY: semget takes three numbers.
        #[expect(unsafe_code, reason = "there is no safe wrapper for semget")]
        let set = unsafe { libc::semget(self.key, SEMAPHORES as i32, libc::IPC_CREAT | 0o600) };
        control(set, libc::IPC_STAT, &mut [0_u64; 32]);
        let mut values = [0_u16; SEMAPHORES];
        control(set, libc::GETALL, &mut values);
        operate(set, &JOIN);
        control(set, libc::GETALL, &mut values);
        let service = pidfd_open(self.service_pid, PidfdFlags::empty()).expect("it lives");
        let stat = rustix::fs::open(&*self.stat, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("it lives");
        rustix::io::read(&stat, &mut [0_u8; 1200]).expect("it lives");
        drop(stat);
        self.is_alive(&service);
        let guardian = pidfd_open(self.guardian_pid, PidfdFlags::empty()).expect("it lives");
        control(set, libc::GETALL, &mut values);
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let pipe = rustix::fs::open(&*self.pipe, flags, Mode::empty()).expect("it lives");
        rustix::fs::fstat(&pipe).expect("it is open");
        self.is_alive(&guardian);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        epoll::add(&self.epoll, &guardian, epoll::EventData::new_u64(1), flags).expect("it is new");

        operate(set, &LEAVE_NOT_LAST);
        drop(service);
        drop(pipe);
        epoll::delete(&self.epoll, &guardian).expect("it is there");
        drop(guardian);
    }

    fn is_alive(&self, process: &OwnedFd) {
        let time = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)], Some(&time));
        assert_eq!(ended, Ok(0), "it lives");
    }
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
fn control<T, const N: usize>(set: i32, command: i32, room: &mut [T; N]) {
    // SAFETY: every caller has room for what its command writes: a semid_ds, or a value for each semaphore.
    let result = unsafe { libc::semctl(set, 0, command, room.as_mut_ptr()) };
    assert_eq!(result, 0, "the set is there");
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semop")]
fn operate(set: i32, operations: &[Op]) {
    let mut buffer = [libc::sembuf { sem_num: 0, sem_op: 0, sem_flg: 0 }; 8];
    for (slot, op) in buffer.iter_mut().zip(operations) {
        let undo = if op.undo { libc::SEM_UNDO } else { 0 };
        let nowait = if op.wait { 0 } else { libc::IPC_NOWAIT };
        *slot = libc::sembuf { sem_num: op.sem, sem_op: op.delta, sem_flg: (undo | nowait) as i16 };
    }
    // SAFETY: reads that many operations from `buffer`.
    let result = unsafe { libc::semop(set, buffer.as_mut_ptr(), operations.len()) };
    assert_eq!(result, 0, "the operations apply");
}

fn set_of(sandbox: &Sandbox, name: &str) -> i32 {
    let found = sandbox.sets().into_iter().find(|(_, found)| found == name);
    found.expect("the service has a set").0
}

fn key_of(set: i32) -> i32 {
    let list = std::fs::read_to_string("/proc/sysvipc/sem").expect("the list of sets");
    let rows = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.get(1) == Some(&&*set.to_string())).expect("the set is listed");
    row[0].parse::<i64>().expect("a number") as i32
}

// ---------------------------------------------------------------------------------------------------------------------
// Dying

/// From the SIGKILL of the only holder until the stop signal has come to the service, which sleeps until it does. The
/// floor is a process that sleeps until a semaphore is zero. When it wakes it sends the same signal to the same
/// kind of service, so that there are two floors: until it is awake, and until its signal has come. What is killed has
/// two threads, as every client has that watches its guardian: they take longer to end than one.
fn deaths() -> Vec<Row> {
    const ROUNDS: usize = 301;
    let sandbox = Sandbox::new();
    let (mut woken, mut woken_by_one, mut signalled, mut stopped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (awake, arrived) = die_bare(&sandbox, "2");
        woken.push(micros(awake));
        signalled.push(micros(arrived));
        stopped.push(micros(die(&sandbox, &format!("s{round}"))));
        woken_by_one.push(micros(die_bare(&sandbox, "1").0));
    }
    let [woken, woken_by_one, signalled, stopped] =
        [woken, woken_by_one, signalled, stopped].map(|samples| Spread::of(samples, "us"));
    // The signal's own way to the service is no part of "until it is sent".
    let way = signalled.median - woken.median;
    let sent = Spread { median: stopped.median - way, low: stopped.low - way, high: stopped.high - way, unit: "us" };
    let row = |what: &str, floor, product, goal: &str, met| Row {
        what: what.into(),
        floor: Some(floor),
        product,
        goal: goal.into(),
        met,
    };
    let met = sent.median <= 1.3 * woken.median;
    vec![
        row("last client killed until the stop signal is sent", woken, sent, "1.3x", met),
        row("  against the death of a process with one thread", woken_by_one, sent, "", true),
        row("  until it has come to a service that sleeps", signalled, stopped, "", true),
    ]
}

fn die(sandbox: &Sandbox, name: &str) -> u64 {
    let mut client = Role::client(sandbox, name, 0, "forked", 1);
    client.number("held");
    client.number("ready");
    until_somebody_waits(set_of(sandbox, &sandbox.name(name)), CLIENTS);
    let killed = client.kill();
    client.number("stopped") - killed
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semget and semctl")]
fn die_bare(sandbox: &Sandbox, threads: &str) -> (u64, u64) {
    // SAFETY: semget takes three numbers.
    let set = unsafe { libc::semget(libc::IPC_PRIVATE, SEMAPHORES as i32, 0o600) };
    assert!(set >= 0, "a set");
    let mut holder = Role::start(sandbox, &["holder", &set.to_string(), threads]);
    holder.number("holds");
    let mut service = Role::start(sandbox, &["service"]);
    let pid = service.number("ready");
    let mut waiter = Role::start(sandbox, &["waiter", &set.to_string(), &pid.to_string()]);
    waiter.number("waits");
    until_somebody_waits(set, CLIENTS);
    let killed = holder.kill();
    let times = (waiter.number("woke") - killed, service.number("stopped") - killed);
    for mut role in [service, waiter] {
        role.child.wait().expect("it ends");
    }
    // SAFETY: IPC_RMID takes no argument.
    unsafe { libc::semctl(set, 0, libc::IPC_RMID) };
    times
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
fn until_somebody_waits(set: i32, semaphore: u16) {
    // SAFETY: GETZCNT takes no argument.
    while unsafe { libc::semctl(set, semaphore.into(), libc::GETZCNT) } < 1 {
        std::thread::yield_now();
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Guardians

fn guardians() -> Vec<Row> {
    const IDLE: Duration = Duration::from_secs(3);
    let sandbox = Sandbox::new();
    let cases = [(8, "forked"), (1024, "forked"), (8, "started"), (1024, "started")];
    let mut running: Vec<_> = cases
        .iter()
        .map(|(ballast, way)| {
            let name = format!("{ballast}-{way}");
            let mut role = Role::client(&sandbox, &name, *ballast, way, 11);
            let making: Vec<f64> = (0..11).map(|_| micros(role.number("made"))).collect();
            let guardian = role.number("held");
            until_somebody_waits(set_of(&sandbox, &sandbox.name(&name)), CLIENTS);
            (role, guardian, making)
        })
        .collect();
    let before: Vec<u64> = running.iter().map(|(_, guardian, _)| wakes(*guardian)).collect();
    std::thread::sleep(IDLE);
    let mut rows = Vec::new();
    for ((ballast, way), ((_, guardian, making), before)) in cases.iter().zip(running.iter().zip(before)) {
        let one = |value: u64, unit| Spread::of(vec![value as f64], unit);
        let (memory, woken) = (private_memory(*guardian), wakes(*guardian) - before);
        let client = format!("{way} guardian of a client with {ballast} MiB");
        rows.push(Row {
            what: format!("{client}: memory"),
            floor: None,
            product: one(memory, "KiB"),
            goal: "200 KiB".into(),
            met: memory <= 200,
        });
        rows.push(Row {
            what: "  wake-ups in 3 idle seconds".into(),
            floor: None,
            product: one(woken, ""),
            goal: "0".into(),
            met: woken == 0,
        });
        rows.push(Row {
            what: "  making it".into(),
            floor: None,
            product: Spread::of(making.clone(), "us"),
            goal: String::new(),
            met: true,
        });
    }
    for (role, ..) in &mut running {
        role.end();
    }
    rows
}

/// KiB that no other process shares.
fn private_memory(pid: u64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
    let lines = text.lines().filter(|line| line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:"));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

fn wakes(pid: u64) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("it is counted");
    line.trim().parse().expect("a number")
}

// ---------------------------------------------------------------------------------------------------------------------
// The processes

/// Another process of this program.
struct Role {
    child: Child,
    /// Who reads its end ends itself, however this program ends.
    stdin: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
    said: Vec<String>,
}

impl Role {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = sandbox.command(std::env::current_exe().expect("this program"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it is a pipe"));
        Self { child, stdin, says: BufReader::new(stdout), said: Vec::new() }
    }

    fn client(sandbox: &Sandbox, name: &str, ballast: u32, way: &str, rounds: u32) -> Self {
        let folder = sandbox.runtime_dir();
        let folder = folder.to_str().expect("a name in UTF-8");
        Self::start(sandbox, &["client", &sandbox.name(name), folder, &ballast.to_string(), way, &rounds.to_string()])
    }

    /// The number that it or its service says after `word`, whatever else they say before.
    fn number(&mut self, word: &str) -> u64 {
        loop {
            if let Some(found) = self.said.iter().position(|line| line.starts_with(word)) {
                let line = self.said.remove(found);
                return line[word.len()..].trim().parse().expect("a number");
            }
            let mut line = String::new();
            self.says.read_line(&mut line).expect("it is text");
            assert!(!line.is_empty(), "it ends without a word of {word:?}");
            self.said.push(line);
        }
    }

    /// Kills it; says when.
    fn kill(&mut self) -> u64 {
        let process = sandbox::hold(self.child.id());
        let before = now();
        pidfd_send_signal(&process, Signal::KILL).expect("it lives");
        // Its end is awaited later, for this must not take the processor from those that are measured.
        before
    }

    fn end(&mut self) {
        self.stdin = None;
        self.child.wait().expect("it ends");
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}

/// Holds a service until it is killed or its standard input ends. Says how long each of its guardians took to be made.
fn client(name: &str, folder: &str, ballast: usize, rounds: usize) -> Result<()> {
    let memory = vec![1_u8; ballast << 20];
    let made = Arc::new(Mutex::new(Making::default()));
    let _ = tracing::subscriber::set_global_default(Events(Arc::clone(&made)));
    let services = Arc::new(Mutex::new(Vec::<Child>::new()));
    let started = Arc::clone(&services);
    let builder = SharedService::builder(name).runtime_dir(folder).on_first_acquire(move || {
        let mut command = Command::new("/proc/self/exe");
        let child = command.arg("service").stdin(Stdio::null()).spawn()?;
        let info = ServiceInfo::from_pid(child.id());
        if let Ok(mut services) = started.lock() {
            services.push(child);
        }
        Ok(info)
    });
    let service = builder.build()?;
    for round in 1..=rounds {
        let handle = service.acquire()?;
        println!("made {}", made.lock().map_or(0, |made| made.took));
        if round == rounds {
            println!("held {}", service.status()?.guardian.unwrap_or(0));
            let _ = std::io::stdin().read(&mut [0]);
        }
        handle.release()?;
        for mut child in services.lock().map(|mut services| std::mem::take(&mut *services)).unwrap_or_default() {
            child.wait()?;
        }
    }
    drop(memory);
    Ok(())
}

/// Sleeps until SIGTERM comes, and says when.
#[expect(unsafe_code, reason = "there is no safe wrapper for sigwait")]
fn service() {
    // SAFETY: all zeros is a valid set of signals.
    let mut signals: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: changes the set.
    unsafe { libc::sigaddset(&raw mut signals, libc::SIGTERM) };
    // SAFETY: reads the set.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut()) };
    println!("ready {}", std::process::id());
    let mut signal = 0;
    // SAFETY: reads the set and writes the number.
    unsafe { libc::sigwait(&raw const signals, &raw mut signal) };
    println!("stopped {}", now());
}

fn holder(set: i32, two_threads: bool) {
    if two_threads {
        let sleeper = || loop {
            std::thread::park();
        };
        std::thread::Builder::new().stack_size(128 << 10).spawn(sleeper).expect("a thread");
    }
    let count = Op { sem: CLIENTS, delta: 1, undo: true, wait: false };
    operate(set, &[count]);
    println!("holds 1");
    let _ = std::io::stdin().read(&mut [0]);
}

fn waiter(set: i32, pid: u32) {
    // As a guardian has one: the scheduler is fair to sessions, not to processes (sched(7), autogroup).
    rustix::process::setsid().expect("it leads no group");
    let service = sandbox::hold(pid);
    println!("waits 1");
    operate(set, &[Op { sem: CLIENTS, delta: 0, undo: false, wait: true }]);
    let woke = now();
    pidfd_send_signal(&service, Signal::TERM).expect("it lives");
    println!("woke {woke}");
}

/// When the last guardian was begun, and how long it took until it watched.
#[derive(Debug, Default)]
struct Making {
    began: u64,
    took: u64,
}

/// What procref says of its guardians.
struct Events(Arc<Mutex<Making>>);

impl tracing::Subscriber for Events {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let time = now();
        let mut text = String::new();
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            text.push_str(&format!("{value:?} "));
        });
        let Ok(mut making) = self.0.lock() else { return };
        if text.contains("makes a guardian") {
            making.began = time;
        } else if text.contains("EnsureGuardian") {
            making.took = time - making.began;
        }
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
