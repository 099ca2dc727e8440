//! The same scenarios with procref and with another program that shares servers, `sharedserver`: `scripts/compare` runs them,
//! docs/comparison.md has what came of it.
//!
//! `compare SCENARIO procref|SHAREDSERVER`, where the latter is the path of that program. Whoever is a client is a process of its
//! own, and the service is the same program, which writes down when it begins, and whether another one runs.

use procref_tests::actor::Gate;
use procref_tests::part::{Kind, Part};
use procref_tests::sandbox::{hold, wait_for_end};
use procref_tests::{Events, Sandbox};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long whatever has to go may take; both are told to wait for a second at the most.
const GOING: Duration = Duration::from_secs(15);

pub(crate) fn main() {
    procref::guardian::init();
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "client", tool, gate, part @ ..] => {
            let part: Vec<String> = part.iter().map(|&word| word.to_owned()).collect();
            client(tool, Path::new(gate), &Part::parse(&part));
        }
        [_, "storm", tool, rounds] => storm(tool, number(rounds)),
        [_, "killed-watcher", tool, rounds] => killed_watcher(tool, number(rounds)),
        [_, "reused-number", tool, rounds] => reused_number(tool, number(rounds)),
        [_, "last-killed", tool, linger, rounds] => last_killed(tool, number(linger) as u64, number(rounds)),
        _ => panic!("usage: compare storm|killed-watcher|reused-number|last-killed TOOL [LINGER] ROUNDS"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Acquires, says so, and holds until its input ends.
fn client(tool: &str, gate: &Path, part: &Part) {
    Gate::pass(gate);
    let said = match tool {
        "procref" => {
            let participant = part.enter().expect("a good description");
            participant
                .acquire()
                .map(|handle| std::mem::forget((handle, participant)))
                .map_err(|error| error.to_string())
        }
        _ => share(tool, part, std::process::id()),
    };
    match said {
        Ok(()) => println!("holds"),
        Err(error) => println!("error {}", error.replace('\n', " ")),
    }
    let _ = std::io::stdin().read(&mut [0]);
}

/// `sharedserver use` for a process.
fn share(tool: &str, part: &Part, pid: u32) -> Result<(), String> {
    let arguments = [("log", &part.log), ("lock", &part.lock)].map(|(key, path)| format!("{key}={}", path.display()));
    let mut command = Command::new(tool);
    command.env("SHAREDSERVER_LOCKDIR", &part.folder).args(["use", &part.name, "--grace-period", "1s", "--pid"]);
    command.arg(pid.to_string()).arg("--").arg(&part.program).args(arguments);
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// A client that holds, or says why not.
struct Client {
    child: Child,
    says: BufReader<ChildStdout>,
    process: OwnedFd,
}

impl Client {
    fn new(world: &World) -> Self {
        let mut command = world.sandbox.command(std::env::current_exe().expect("it is known"));
        command.args(["client", &world.tool]).arg(world.gate.path()).args(world.part.arguments());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let says = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let process = hold(child.id());
        Self { child, says, process }
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("it is text");
        line.trim().to_owned()
    }

    fn kill(&self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// One service that is shared, by one of the two.
struct World {
    tool: String,
    part: Part,
    gate: Gate,
    events: Events,
    sandbox: Sandbox,
}

impl World {
    fn new(tool: &str, linger: Duration) -> Self {
        let sandbox = Sandbox::new();
        let service = std::env::current_exe().expect("it is known").with_file_name("service");
        let part = Part::new(&sandbox, service.to_str().expect("a path that is text"), Kind::Declared, linger);
        std::fs::create_dir_all(&part.folder).expect("a folder");
        let gate = Gate::closed(&sandbox, "gate");
        let events = Events::new(&part.log);
        Self { tool: tool.to_owned(), part, gate, events, sandbox }
    }

    /// Those that were started, and have not ended.
    fn services(&self) -> Vec<OwnedFd> {
        let running = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
        self.events.of("birth").iter().map(|event| event.by).filter(|pid| running(*pid)).map(hold).collect()
    }

    fn info(&self, field: &str) -> Option<u64> {
        if self.tool == "procref" {
            let status = self.part.enter().ok()?.service.status().ok()?;
            return match field {
                "refcount" => Some(status.clients.into()),
                _ => status.guardian.map(u64::from),
            };
        }
        let mut command = Command::new(&self.tool);
        command.env("SHAREDSERVER_LOCKDIR", &self.part.folder).args(["info", &self.part.name, "--json"]);
        let output = String::from_utf8(command.output().ok()?.stdout).ok()?;
        let (_, rest) = output.split_once(&format!("\"{field}\": "))?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What stays has been counted.
        self.sandbox.clean_up();
    }
}

/// Whether they have all ended by then.
fn all_end(services: &[OwnedFd], time: Duration) -> bool {
    let deadline = Instant::now() + time;
    services.iter().all(|service| wait_for_end(service, deadline))
}

fn storm(tool: &str, rounds: usize) {
    const CLIENTS: usize = 50;
    let (mut twice, mut refused, mut miscounted, mut left) = (0, 0, 0, 0);
    let mut times = Vec::new();
    for _ in 0..rounds {
        let world = World::new(tool, Duration::from_secs(1));
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::new(&world)).collect();
        let began = Instant::now();
        world.gate.open();
        let said: Vec<_> = clients.iter_mut().map(Client::said).collect();
        let held = said.iter().filter(|said| *said == "holds").count();
        if let Some(refused) = said.iter().find(|said| *said != "holds") {
            eprintln!("a client was refused: {refused}");
        }
        times.push(began.elapsed());
        refused += CLIENTS - held;
        twice += usize::from(world.events.count("overlap") > 0);
        miscounted += usize::from(world.info("refcount") != Some(held as u64));
        let services = world.services();
        clients.iter().for_each(Client::kill);
        left += usize::from(!all_end(&services, GOING));
    }
    println!(
        "| storm: {CLIENTS} clients at once, {rounds} rounds | {} | two servers at once in {twice}; another count than clients in {miscounted}; \
         clients refused: {refused}; the last one served after {}; all killed, and a server left after 15 s in {left} |",
        called(tool),
        range(&mut times)
    );
}

fn killed_watcher(tool: &str, rounds: usize) {
    let (mut left, mut counted, mut left_again) = (0, 0, 0);
    for _ in 0..rounds {
        let world = World::new(tool, Duration::from_secs(1));
        world.gate.open();
        let mut client = Client::new(&world);
        assert_eq!(client.said(), "holds");
        let services = world.services();
        let watcher = world.info("watcher_pid").and_then(|pid| u32::try_from(pid).ok()).expect("somebody watches");
        let watcher = hold(watcher);
        let _ = pidfd_send_signal(&watcher, Signal::KILL);
        assert!(wait_for_end(&watcher, Instant::now() + GOING));
        // For whoever does something about it.
        std::thread::sleep(Duration::from_secs(1));
        drop(client);
        left += usize::from(!all_end(&services, GOING));
        let mut next = Client::new(&world);
        assert_eq!(next.said(), "holds");
        counted += usize::from(world.info("refcount") != Some(1));
        let services = world.services();
        drop(next);
        left_again += usize::from(!all_end(&services, GOING));
    }
    println!(
        "| the watcher is killed, a second later the only client, {rounds} rounds | {} | the server left after 15 s in {left}; the next client counted with \
         others that are not there in {counted}; when it was killed, a server left after 15 s in {left_again} |",
        called(tool)
    );
}

fn reused_number(tool: &str, rounds: usize) {
    let mut left = 0;
    for _ in 0..rounds {
        let world = World::new(tool, Duration::from_secs(1));
        world.gate.open();
        let mut client = Client::new(&world);
        assert_eq!(client.said(), "holds");
        let (pid, services) = (client.child.id(), world.services());
        drop(client);
        let mut stranger = stranger(&world, pid);
        left += usize::from(!all_end(&services, GOING));
        let _ = stranger.kill();
        let _ = stranger.wait();
    }
    println!(
        "| the only client is killed, and its number given to another process at once, {rounds} rounds | {} | the server left after 15 s in {left} |",
        called(tool)
    );
}

/// A process with this number.
fn stranger(world: &World, pid: u32) -> Child {
    loop {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
            .expect("root, in a PID namespace of its own");
        let mut child = world.sandbox.command("sleep").arg("1000").spawn().expect("it starts");
        if child.id() == pid {
            return child;
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn last_killed(tool: &str, linger: u64, rounds: usize) {
    let (mut times, mut left) = (Vec::new(), 0);
    for _ in 0..rounds {
        let world = World::new(tool, Duration::from_millis(linger));
        world.gate.open();
        let mut client = Client::new(&world);
        assert_eq!(client.said(), "holds");
        let services = world.services();
        let began = Instant::now();
        client.kill();
        if all_end(&services, GOING) { times.push(began.elapsed()) } else { left += 1 }
    }
    println!(
        "| the last client is killed, the server may stay for {linger} ms, {rounds} rounds | {} | the server has gone after {}; left after 15 s in {left} |",
        called(tool),
        range(&mut times)
    );
}

fn called(tool: &str) -> String {
    PathBuf::from(tool).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The least, the median and the most.
fn range(times: &mut [Duration]) -> String {
    times.sort();
    let shown = |index: usize| {
        times.get(index).map_or_else(|| "-".into(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3))
    };
    format!(
        "{} / {} / {} (least, median, most)",
        shown(0),
        shown(times.len() / 2),
        shown(times.len().saturating_sub(1))
    )
}
