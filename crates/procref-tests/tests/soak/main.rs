//! Two hundred clients of real services, killed at random, and an observer that knows only what the kernel says.
//!
//! The schedule follows from the seed alone, which is printed: `PROCREF_SEED=N` repeats it. It has a few hundred actions, or as
//! many as fit into `PROCREF_SOAK_SECONDS`. All that happens is written down, and the promises are checked against that log,
//! which `PROCREF_SOAK_LOG` keeps.

// The crate's documentation says why.
#![cfg(target_os = "linux")]

mod judge;
mod observer;
mod schedule;

use judge::judge;
use observer::Observer;
use procref::blocking::SharedService;
use procref::{ServiceCommand, ServiceState};
use procref_tests::sandbox::{PATIENCE, hold, wait_for_end};
use procref_tests::servers::program;
use procref_tests::{Event, Events, Sandbox};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use schedule::{Action, Schedule};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const MEMBER: &str = env!("CARGO_BIN_EXE_member");
const SERVICE: &str = env!("CARGO_BIN_EXE_service");

const CLIENTS: usize = 200;
const ACTIONS: u64 = 600;

/// A service of the soak.
struct Shared {
    /// What its instances call it in the log.
    what: &'static str,
    name: String,
    way: &'static str,
    /// In milliseconds.
    linger: &'static str,
    ready: String,
    command: Vec<String>,
}

struct Client {
    child: Child,
    process: OwnedFd,
}

struct Driver {
    services: Vec<Shared>,
    slots: Vec<Option<Client>>,
    /// Those whose input has ended. One may wait for one that is stopped.
    leaving: Vec<Client>,
    log: Events,
    observer: Observer,
    sandbox: Sandbox,
}

#[test]
fn whatever_is_killed_in_whatever_order() {
    let seconds = std::env::var("PROCREF_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let seed = std::env::var("PROCREF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_micros() as u64);
        if seconds == 0 { 1 } else { since }
    });
    println!("PROCREF_SEED={seed}");
    let mut driver = Driver::new();
    let mut schedule = Schedule::new(seed, driver.services.len());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut actions = 0;
    while actions < ACTIONS || Instant::now() < end {
        for action in schedule.next() {
            driver.act(action);
            actions += 1;
        }
    }
    let told = driver.finish();
    println!("soak: {CLIENTS} clients, {actions} actions, {told}");
}

/// A program that says that it is born, and then is this server.
fn server(log: &Events, sandbox: &Sandbox, what: &str, words: &[&str]) -> Vec<String> {
    let lock = sandbox.folder().join(what);
    let own = [SERVICE.to_owned(), format!("log={}", log.path().display()), format!("lock={}", lock.display())];
    own.into_iter().chain(words.iter().map(|&word| word.to_owned())).collect()
}

/// PostgreSQL refuses root.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// A cluster of its own, and the words that start its server.
fn postgres(sandbox: &Sandbox) -> Vec<String> {
    let data = sandbox.folder().join("data");
    std::fs::create_dir(&data).expect("it can be made");
    let is_root = rustix::process::geteuid().is_root();
    let as_nobody: &[&str] = if is_root { &NOBODY } else { &[] };
    if is_root {
        std::os::unix::fs::chown(&data, Some(65534), Some(65534)).expect("root may");
    }
    let text = |path: &Path| path.to_str().expect("it is text").to_owned();
    let mut words: Vec<_> = as_nobody.iter().map(|&word| word.to_owned()).collect();
    words.extend([text(&program("initdb")), "-D".into(), text(&data)]);
    words.extend(["-A", "trust", "-U", "postgres", "-N"].map(str::to_owned));
    let (first, rest) = words.split_first().expect("a command");
    let made = sandbox.command(first).args(rest).current_dir("/").output().expect("it runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    words.truncate(as_nobody.len());
    // One that was killed as it made this file does not start any more (GOTCHAS.md). No other one lives.
    let pid_file = text(&data.join("postmaster.pid"));
    let start = format!("[ -s {pid_file} ] || rm -f {pid_file}; exec \"$@\"");
    words.splice(0..0, ["exec", "sh", "-c", &start, "sh"].map(str::to_owned));
    words.extend([text(&program("postgres")), "-D".into(), text(&data)]);
    let settings = ["-p", "{port}", "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"];
    words.extend(settings.map(str::to_owned));
    words
}

impl Driver {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let log = Events::new(
            std::env::var_os("PROCREF_SOAK_LOG").map_or_else(|| sandbox.folder().join("log"), PathBuf::from),
        );
        let shared = |what: &'static str, way, linger, ready: &str, words: &[&str]| Shared {
            what,
            name: sandbox.name(what),
            way,
            linger,
            ready: ready.to_owned(),
            command: server(&log, &sandbox, what, words),
        };
        let text = |name: &str| program(name).display().to_string();
        let [redis, nats] = ["redis-server", "nats-server"].map(text);
        let pg_isready = format!("exec {} -q -h 127.0.0.1 -p {{port}}", text("pg_isready"));
        let words = postgres(&sandbox);
        let postgres: Vec<_> = words.iter().map(String::as_str).collect();
        let services = vec![
            shared("a", "started", "0", "log ready", &[]),
            shared("b", "forked", "20", "log ready", &[]),
            shared(
                "redis",
                "started",
                "0",
                "tcp",
                &["exec", &redis, "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{run}"],
            ),
            shared("nats", "forked", "0", "tcp", &["exec", &nats, "--addr", "127.0.0.1", "--port", "{port}"]),
            shared("postgres", "started", "50", &pg_isready, &postgres),
        ];
        let slots = (0..CLIENTS).map(|_| None).collect();
        let observer = Observer::new(&log);
        Self { services, slots, leaving: Vec::new(), log, observer, sandbox }
    }

    /// What it meets is a matter of chance.
    fn act(&mut self, action: Action) {
        match action {
            Action::Enter { slot, service } => self.enter(slot, service),
            Action::Kill(slot) => self.kill(slot),
            Action::Leave(slot) => self.leave(slot),
            Action::Again(slot) => {
                if let Some(client) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                    // Who has been killed with its service's guardian listens no more.
                    let _ = client.child.stdin.as_mut().map(|stdin| stdin.write_all(b"again\n"));
                }
            }
            Action::Stop(slot) => self.signal(slot, Signal::STOP),
            Action::Continue(slot) => self.signal(slot, Signal::CONT),
            Action::KillGuardian(service) => self.kill_guardian(service),
            Action::KillService(service) => self.kill_service(service),
            Action::KillEverybody { service, slots, alone } => self.kill_everybody(service, slots, alone),
            Action::SeeOff => self.see_off(),
        }
    }

    fn signal(&self, slot: usize, with: Signal) {
        if let Some(client) = self.slots.get(slot).and_then(Option::as_ref) {
            signal(&client.process, with);
        }
    }

    fn enter(&mut self, slot: usize, service: usize) {
        let Some(shared) = self.services.get(service) else { return };
        let mut command = self.sandbox.command(MEMBER);
        command.arg(&shared.name).arg(self.sandbox.runtime_dir()).arg(self.log.path());
        command.args([shared.way, shared.linger, &shared.ready]).args(&shared.command);
        let Some(place) = self.slots.get_mut(slot) else { return };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let process = hold(child.id());
        self.log.add("enters", child.id());
        *place = Some(Client { child, process });
    }

    /// Written down before it happens: from then on nobody can say that this one holds anything.
    fn kill(&mut self, slot: usize) {
        let Some(mut client) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        self.log.add("kills", client.child.id());
        signal(&client.process, Signal::KILL);
        client.child.wait().expect("it ends");
    }

    /// Ends its input: it releases, and ends.
    fn leave(&mut self, slot: usize) {
        let Some(mut client) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        drop(client.child.stdin.take());
        self.leaving.push(client);
    }

    /// Waits for all who leave.
    fn see_off(&mut self) {
        for client in self.slots.iter().flatten().chain(&self.leaving) {
            signal(&client.process, Signal::CONT);
        }
        for mut client in self.leaving.drain(..) {
            await_end(&client.process, "a client that was asked to leave");
            let status = client.child.wait().expect("it ends");
            assert!(status.success(), "{status:?}");
        }
    }

    fn look(&self, service: usize) -> Option<procref::Status> {
        let shared = self.services.get(service)?;
        let looks_on = SharedService::builder(&shared.name).runtime_dir(self.sandbox.runtime_dir());
        let service = looks_on.command(ServiceCommand::new("true")).build().expect("a good service");
        service.status().ok()
    }

    fn kill_guardian(&self, service: usize) {
        let guardian = self.look(service).and_then(|status| status.guardian);
        procref::process::kill(guardian);
    }

    fn kill_service(&self, service: usize) {
        let running = self.look(service).and_then(|status| status.info).and_then(|info| info.pid());
        let Some(process) = running.and_then(|pid| procref::process::Process::from_pid(pid).ok()?) else { return };
        // The number could have become another one's between the two looks: nothing but this test has such processes.
        let ours = self.sandbox.processes().iter().any(|found| found.pid == process.pid());
        if ours {
            self.log.add("slays", process.pid());
            process.kill();
        }
    }

    /// Guardian and clients, as a cgroup that is killed. When nobody is left, nobody but the kernel can stop the service.
    fn kill_everybody(&mut self, service: usize, slots: Vec<usize>, alone: bool) {
        for client in slots.iter().filter_map(|slot| self.slots.get(*slot)?.as_ref()) {
            self.log.add("kills", client.child.id());
            signal(&client.process, Signal::STOP);
        }
        self.kill_guardian(service);
        slots.into_iter().for_each(|slot| self.kill(slot));
        if alone && let Some(shared) = self.services.get(service) {
            let stay = self.observer.await_none(shared.what, PATIENCE);
            assert!(stay.is_empty(), "{} {stay:?} goes on, and nobody holds it: {:?}", shared.what, self.look(service));
            self.log.add("ends-alone", shared.what);
        }
    }

    /// Lets everybody who is left leave, one half in an orderly way, and looks at what was written down.
    fn finish(mut self) -> String {
        for slot in 0..CLIENTS {
            if slot % 2 == 0 { self.leave(slot) } else { self.kill(slot) }
        }
        self.see_off();
        // What was killed together with its guardian is finished by whoever comes next.
        for service in 0..self.services.len() {
            self.enter(service, service);
            self.leave(service);
        }
        self.see_off();
        for service in 0..self.services.len() {
            let deadline = Instant::now() + PATIENCE;
            while self.look(service).is_none_or(|status| status.state != ServiceState::Stopped) {
                assert!(Instant::now() < deadline, "a service stays: {:?}", self.look(service));
                std::thread::yield_now();
            }
        }
        let left = self.sandbox.processes();
        let nothing = catch_unwind(AssertUnwindSafe(|| self.sandbox.assert_nothing_left()));
        if let Err(panic) = nothing {
            let about = |event: &Event| {
                left.iter().any(|found| event.by == found.pid || event.detail.trim().parse() == Ok(found.pid))
            };
            let story: Vec<_> = self.log.all().into_iter().filter(about).collect();
            println!("what is known of it: {story:#?}");
            resume_unwind(panic);
        }
        self.observer.finish();
        judge(&self.log)
    }
}

fn signal(process: &OwnedFd, signal: Signal) {
    // Who has just ended needs none.
    let _ = pidfd_send_signal(process, signal);
}

fn await_end(process: &OwnedFd, who: &str) {
    assert!(wait_for_end(process, Instant::now() + PATIENCE), "{who} does not end");
}
