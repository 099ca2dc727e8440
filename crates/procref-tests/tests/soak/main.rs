//! Two hundred clients of real services, killed at random, and an observer that knows only what was written down.
//!
//! The schedule of actions follows from the seed alone, which is printed: `PROCREF_SEED=N` repeats it. It has
//! a few hundred actions, or as many as fit into `PROCREF_SOAK_SECONDS`.

// The crate's documentation says why.
#![cfg(target_os = "linux")]

use procref::blocking::SharedService;
use procref::{ServiceCommand, ServiceState};

use procref_tests::sandbox::{PATIENCE, hold, wait_for_end};
use procref_tests::{Event, Events, Sandbox};
use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const MEMBER: &str = env!("CARGO_BIN_EXE_member");
const SERVICE: &str = env!("CARGO_BIN_EXE_service");

const CLIENTS: usize = 200;
const ACTIONS: u64 = 600;

/// A service of the soak.
struct Shared {
    name: String,
    way: &'static str,
    /// In milliseconds.
    linger: &'static str,
    command: Vec<String>,
}

struct Client {
    child: Child,
    process: OwnedFd,
    service: usize,
    stopped: bool,
}

struct Driver {
    services: Vec<Shared>,
    slots: Vec<Option<Client>>,
    /// How many of the slots are in use, for a while.
    crowd: usize,
    /// Those whose input has ended. One may wait for one that is stopped.
    leaving: Vec<Client>,
    log: Events,
    sandbox: Sandbox,
    random: Random,
}

#[test]
fn whatever_is_killed_in_whatever_order() {
    let seconds = std::env::var("PROCREF_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
    let seed = std::env::var("PROCREF_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        if seconds == 0 { 1 } else { Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()) | 1 }
    });
    println!("PROCREF_SEED={seed}");
    let mut driver = Driver::new(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut actions = 0;
    while actions < ACTIONS || Instant::now() < end {
        driver.act();
        actions += 1;
    }
    let told = driver.finish();
    println!("soak: {actions} actions, {told}");
}

impl Driver {
    fn new(seed: u64) -> Self {
        let sandbox = Sandbox::new();
        let log = Events::new(
            std::env::var_os("PROCREF_SOAK_LOG").map_or_else(|| sandbox.folder().join("log"), PathBuf::from),
        );
        let own = |lock: &str| {
            let lock = sandbox.folder().join(lock);
            vec![SERVICE.to_owned(), format!("log={}", log.path().display()), format!("lock={}", lock.display())]
        };
        let redis = ["redis-server", "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", "{run}"];
        let services = vec![
            Shared { name: sandbox.name("a"), way: "started", linger: "0", command: own("a") },
            Shared { name: sandbox.name("b"), way: "forked", linger: "20", command: own("b") },
            Shared {
                name: sandbox.name("redis"),
                way: "started",
                linger: "0",
                command: redis.map(str::to_owned).to_vec(),
            },
        ];
        let slots = (0..CLIENTS).map(|_| None).collect();
        Self { services, slots, crowd: CLIENTS, leaving: Vec::new(), log, sandbox, random: Random(seed) }
    }

    /// One action, chosen by the seed and by what was chosen before. What it meets is a matter of chance.
    fn act(&mut self) {
        if self.random.below(40) == 0 {
            self.change_crowd();
        }
        let slot = self.random.below(self.crowd);
        let dice = self.random.below(100);
        match self.slots.get_mut(slot).and_then(Option::as_mut) {
            None => {
                let service = self.random.below(self.services.len());
                self.enter(slot, service);
            }
            Some(client) if client.stopped => {
                client.stopped = false;
                signal(&client.process, Signal::CONT);
            }
            Some(client) => match dice {
                0..40 => self.kill(slot),
                40..60 => self.leave(slot),
                60..80 => {
                    // Who has been killed with its service's guardian listens no more.
                    let _ = client.child.stdin.as_mut().map(|stdin| stdin.write_all(b"again\n"));
                }
                80..85 => {
                    client.stopped = true;
                    signal(&client.process, Signal::STOP);
                }
                85..92 => {
                    let service = client.service;
                    self.kill_guardian(service);
                }
                92..97 => {
                    let service = client.service;
                    self.kill_service(service);
                }
                _ => {
                    let service = client.service;
                    self.kill_everybody(service);
                }
            },
        }
    }

    /// A few clients start and stop a service often; many find it running.
    fn change_crowd(&mut self) {
        const CROWDS: [usize; 6] = [1, 2, 3, 5, 30, CLIENTS];
        let index = self.random.below(CROWDS.len());
        self.crowd = CROWDS.get(index).copied().unwrap_or(CLIENTS);
        for slot in self.crowd..CLIENTS {
            if self.random.below(2) == 0 { self.kill(slot) } else { self.leave(slot) }
        }
        if self.leaving.len() > CLIENTS {
            self.see_off();
        }
    }

    fn enter(&mut self, slot: usize, service: usize) {
        let Some(shared) = self.services.get(service) else { return };
        let mut command = self.sandbox.command(MEMBER);
        command.arg(&shared.name).arg(self.sandbox.runtime_dir()).arg(self.log.path());
        command.args([shared.way, shared.linger]).args(&shared.command);
        let Some(place) = self.slots.get_mut(slot) else { return };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let process = hold(child.id());
        *place = Some(Client { child, process, service, stopped: false });
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
        for client in self.slots.iter_mut().flatten().chain(&mut self.leaving) {
            client.stopped = false;
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

    /// Guardian and clients, as a cgroup that is killed.
    fn kill_everybody(&mut self, service: usize) {
        let slots: Vec<_> = (0..CLIENTS)
            .filter(|slot| self.slots.get(*slot).and_then(Option::as_ref).is_some_and(|it| it.service == service))
            .collect();
        for client in slots.iter().filter_map(|slot| self.slots.get(*slot)?.as_ref()) {
            self.log.add("kills", client.child.id());
            signal(&client.process, Signal::STOP);
        }
        self.kill_guardian(service);
        slots.into_iter().for_each(|slot| self.kill(slot));
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
        judge(&self.log)
    }
}

/// What the log says, line by line, in the order in which it was written.
///
/// A line that says that a client holds an instance is written when it does, and one that it gives it back, or is killed,
/// before that happens. A service writes that it was asked to stop when it has been. So whoever is asked to stop
/// between a client's two lines was stopped while it was in use.
fn judge(log: &Events) -> String {
    let (mut holders, mut gone) = (BTreeMap::<u32, BTreeSet<u32>>::new(), BTreeSet::new());
    let (mut births, mut holds, mut kills, mut errors) = (0, 0, 0, Vec::new());
    for event in log.all() {
        let about = event.detail.trim().parse::<u32>().unwrap_or(0);
        match event.what.as_str() {
            "birth" => {
                births += 1;
                holders.remove(&event.by);
            }
            "holds" if !gone.contains(&event.by) => {
                holds += 1;
                holders.entry(about).or_default().insert(event.by);
            }
            "releases" => {
                holders.entry(about).or_default().remove(&event.by);
            }
            "kills" => {
                kills += 1;
                gone.insert(about);
                holders.values_mut().for_each(|holders| {
                    holders.remove(&about);
                });
            }
            "signal" => {
                let held_by = holders.get(&event.by).filter(|holders| !holders.is_empty());
                assert!(held_by.is_none(), "service {} was stopped while {held_by:?} held it", event.by);
            }
            "slays" => {
                kills += 1;
                holders.remove(&about);
            }
            "overlap" => panic!("two instances at once: {event:?}"),
            "error" => errors.push(event.detail),
            _ => {}
        }
    }
    // A service that dies as it starts is an error to whoever wanted it; the driver kills some in that moment.
    errors.retain(|error| !error.starts_with("acquire StartFailed"));
    assert!(errors.is_empty(), "{errors:?}");
    format!("{births} services born, {holds} times held, {kills} kills, 0 broken")
}

fn signal(process: &OwnedFd, signal: Signal) {
    // Who has just ended needs none.
    let _ = pidfd_send_signal(process, signal);
}

fn await_end(process: &OwnedFd, who: &str) {
    assert!(wait_for_end(process, Instant::now() + PATIENCE), "{who} does not end");
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % end
    }
}

#[test]
fn the_judge_finds_what_is_broken() {
    let sandbox = Sandbox::new();
    let number = std::cell::Cell::new(0);
    let verdict = |lines: &[&str]| {
        number.set(number.get() + 1);
        let path: PathBuf = sandbox.folder().join(format!("log{}", number.get()));
        std::fs::write(&path, lines.join("\n") + "\n").expect("it can be written");
        catch_unwind(|| judge(&Events::new(&path))).is_ok()
    };
    let held = ["9 birth ", "1 holds 9", "2 holds 9"];
    let then = |more: &[&str]| verdict(&[&held[..], more].concat());
    assert!(then(&["1 releases 9", "5 kills 2", "9 signal TERM"]));
    assert!(then(&["5 slays 9", "9 signal TERM"]));
    assert!(!then(&["1 releases 9", "9 signal TERM"]), "stopped while it is held");
    assert!(!then(&["9 signal TERM", "1 releases 9", "5 kills 2"]), "stopped before it is given back");
    assert!(!then(&["8 overlap "]), "two at once");
    assert!(!then(&["1 error release SetRemoved it has gone"]), "an error nobody provoked");
}
