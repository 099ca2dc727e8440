//! What happens in a demonstration, and what must come of it.

use super::stage::Stage;
use super::timeline::{Timeline, Tone};
use super::wire::{Line, News};
use super::{Broken, PATIENCE, Shared, promised};
use crate::sys::demo::{COUNTER, HAS_GUARDIAN, KILLED, STOPPED_BY, adopt_orphans, reap};
use procref::blocking::SharedService;
use procref::observe::Observed;
use procref::process::{Process, SignalOutcome};
use procref::{ServiceState, StopLadder};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const CLIENTS: usize = 5;

pub(super) fn tell(shared: &Shared, pause: Duration) -> Result<()> {
    shared.kind.check()?;
    adopt_orphans()?;
    let looks = shared.service().on_first_acquire(|| Err("the demo only looks on".into())).build()?;
    let timeline = Timeline::new(pause);
    let stage = Stage::new(shared)?;
    let mut story =
        Story { shared, stage, looks, timeline, service: None, starter: None, starts: 0, kills: 0, visits: 0 };
    let told = story.tell();
    if told.is_err() {
        story.clear();
    }
    told
}

#[derive(Debug)]
struct Story<'a> {
    shared: &'a Shared,
    stage: Stage,
    /// Sees the service as any process of this user can, and takes no part.
    looks: SharedService,
    timeline: Timeline,
    service: Option<Running>,
    /// Who has started it.
    starter: Option<usize>,
    starts: usize,
    kills: usize,
    visits: u32,
}

#[derive(Debug)]
struct Running {
    process: Process,
    port: u16,
}

impl Story<'_> {
    fn tell(&mut self) -> Result<()> {
        let Shared { name, kind, .. } = self.shared;
        self.timeline.text(&format!("{CLIENTS} processes share one service, {}, as \"{name}\".", kind.title()))?;
        self.all_at_once()?;
        self.some_are_killed()?;
        self.one_joins_late()?;
        let guardian = if HAS_GUARDIAN {
            Some(self.guardian_is_killed()?)
        } else {
            self.everybody_talks()?;
            None
        };
        self.some_leave()?;
        self.last_is_killed(guardian.as_ref())?;
        let seconds = self.timeline.elapsed().as_secs_f64();
        self.timeline.text(&format!(
            "procref: {} start for {} clients, {} kills, 0 leaks: no process, no {COUNTER}, no file ({seconds:.1} s)",
            self.starts,
            self.stage.born(),
            self.kills
        ))?;
        Ok(())
    }

    fn all_at_once(&mut self) -> Result<()> {
        for _ in 0..CLIENTS {
            self.stage.enter()?;
        }
        self.say("demo", &format!("{CLIENTS} clients acquire it in the same instant"))?;
        let clients = self.stage.present();
        for &client in &clients {
            self.stage.order(client, "acquire")?;
        }
        let mut holders = BTreeMap::new();
        while holders.len() < clients.len() {
            let Line { client, news } = self.stage.listen()?;
            match news {
                News::Starts => {
                    self.starts += 1;
                    self.starter = Some(client);
                    self.say(&name(client), "is the first, and starts it")?;
                }
                News::Holds { pid, port } => {
                    let verb = if self.starter == Some(client) { "started" } else { "joined" };
                    self.say(&name(client), &format!("{verb}: pid {pid}, port {port}"))?;
                    holders.insert(client, (pid, port));
                }
                news => return Err(Broken(format!("{} said {news:?}", name(client))).into()),
            }
        }
        let starts = self.starts;
        promised(starts == 1, || format!("the service was started {starts} times"))?;
        let mut seen: Vec<_> = holders.values().copied().collect();
        seen.dedup();
        let &[(pid, port)] = seen.as_slice() else {
            return Err(Broken(format!("the clients see different services: {seen:?}")).into());
        };
        let process = Process::from_pid(pid)?.ok_or_else(|| Broken(format!("the service's process {pid} has gone")))?;
        self.service = Some(Running { process, port });
        self.count_is(CLIENTS)?;
        if HAS_GUARDIAN {
            let guardian = self.guardian()?.ok_or_else(|| Broken("nobody guards the service".into()))?;
            self.say("guardian", &format!("sleeps in the kernel until the count is 0: pid {}", guardian.pid()))?;
        }
        self.everybody_talks()
    }

    fn some_are_killed(&mut self) -> Result<()> {
        self.timeline.pause();
        // A service does not end with who has started it.
        let starter = self.starter.ok_or_else(|| Broken("nobody has started the service".into()))?;
        self.kill(starter, "the one that had started it")?;
        let other = self.stage.present().into_iter().nth(1);
        self.kill(other.ok_or_else(|| Broken("nobody is left".into()))?, "")?;
        self.count_is(CLIENTS - 2)?;
        self.everybody_talks()
    }

    fn one_joins_late(&mut self) -> Result<()> {
        self.timeline.pause();
        let late = self.stage.enter()?;
        self.stage.order(late, "acquire")?;
        let Line { news, .. } = self.stage.listen()?;
        let Some(Running { process, port }) = &self.service else { return Ok(()) };
        let (pid, port) = (process.pid(), *port);
        promised(news == News::Holds { pid, port }, || {
            format!("the late client should have joined, and said {news:?}")
        })?;
        self.say(&name(late), &format!("joined late: pid {pid}, port {port}"))?;
        self.count_is(CLIENTS - 1)
    }

    /// Returns the next guardian.
    fn guardian_is_killed(&mut self) -> Result<Process> {
        self.timeline.pause();
        let old = self.guardian()?.ok_or_else(|| Broken("nobody guards the service".into()))?;
        promised(old.kill() == SignalOutcome::Sent, || "the guardian had gone by itself".into())?;
        promised(old.wait(PATIENCE)?, || "the guardian survived that it was killed".into())?;
        reap(&old);
        let killed = Instant::now();
        self.kills += 1;
        self.tell_of(Tone::Kill, "guardian", &format!("{KILLED} (pid {})", old.pid()))?;
        let new = loop {
            match self.guardian()? {
                Some(new) if new.pid() != old.pid() => break new,
                _ => promised(killed.elapsed() < PATIENCE, || "no client made a new guardian".into())?,
            }
            // The clients are told by the kernel; only who holds nothing has to look.
            std::thread::sleep(Duration::from_millis(1));
        };
        let what = format!("a client noticed, and made a new one: pid {}", new.pid());
        self.tell_of(Tone::Good, "guardian", &what)?;
        self.count_is(CLIENTS - 1)?;
        self.everybody_talks()?;
        Ok(new)
    }

    fn some_leave(&mut self) -> Result<()> {
        self.timeline.pause();
        let present = self.stage.present();
        for &client in present.iter().rev().skip(1).rev() {
            self.stage.leave(client)?;
            self.say(&name(client), "released it, and ended")?;
        }
        self.count_is(1)?;
        self.everybody_talks()
    }

    fn last_is_killed(&mut self, guardian: Option<&Process>) -> Result<()> {
        self.timeline.pause();
        let Some(Running { process, .. }) = self.service.take() else { return Ok(()) };
        let (last, killed) = (self.stage.present(), Instant::now());
        let &[last] = last.as_slice() else { return Err(Broken(format!("clients are left: {last:?}")).into()) };
        self.kill(last, "the last one")?;
        if !process.wait(PATIENCE)? {
            process.stop(Duration::ZERO)?;
            return Err(Broken(format!("the service still ran {} s after its last client", PATIENCE.as_secs())).into());
        }
        reap(&process);
        let took = killed.elapsed().as_secs_f64() * 1e3;
        self.tell_of(Tone::Good, "service", &format!("stopped by {STOPPED_BY}, {took:.1} ms after the kill"))?;
        if let Some(guardian) = guardian {
            promised(guardian.wait(PATIENCE)?, || "the guardian stayed".into())?;
            reap(guardian);
        } else {
            self.remove_files()?;
            self.tell_of(Tone::Good, "gc", "removed the files, which nothing vouches for any more")?;
        }
        let status = self.looks.status()?;
        promised(status.state == ServiceState::Stopped, || format!("what is left: {status:?}"))?;
        self.count_is(0)?;
        let folder = &self.shared.folder;
        promised(!folder.try_exists()?, || format!("files are left: {}", folder.display()))?;
        match guardian {
            Some(_) => {
                self.tell_of(Tone::Good, "guardian", &format!("removed the {COUNTER}s and the files, and ended"))
            }
            None => Ok(()),
        }
    }

    /// Where no process sees to that, the next who wants the service does, or `procref gc`.
    fn remove_files(&self) -> Result<()> {
        let Shared { name, folder, .. } = self.shared;
        Observed::new(name)?.runtime_dir(folder).finish_leftovers(&StopLadder::default())?;
        // The folder is the demonstration's own. It stays if anything is in it.
        let _ = fs::remove_dir(folder);
        Ok(())
    }

    /// Everybody who is there talks to the service, and it is the same one as ever.
    fn everybody_talks(&mut self) -> Result<()> {
        let Some(expected) = self.service.as_ref().map(|service| service.process.pid()) else { return Ok(()) };
        let present = self.stage.present();
        for &client in &present {
            let (pid, visits) = self.stage.talk(client)?;
            self.visits += 1;
            promised((pid, visits) == (expected, self.visits), || {
                let (name, expected_visits) = (name(client), self.visits);
                format!("{name} should have met {expected} on visit {expected_visits}, and met {pid} on visit {visits}")
            })?;
        }
        let who = if let [one] = present.as_slice() { name(*one) } else { format!("all {}", present.len()) };
        self.say(&who, &format!("talked to pid {expected}: {} visits so far", self.visits))
    }

    fn kill(&mut self, client: usize, which: &str) -> Result<()> {
        self.stage.kill(client)?;
        self.kills += 1;
        let comma = if which.is_empty() { "" } else { ", " };
        self.tell_of(Tone::Kill, &name(client), &format!("{KILLED}{comma}{which}"))
    }

    fn guardian(&self) -> Result<Option<Process>> {
        Ok(match self.looks.status()?.guardian {
            Some(pid) => Process::from_pid(pid)?,
            None => None,
        })
    }

    fn count_is(&self, expected: usize) -> Result<()> {
        let count = self.looks.count()?;
        Ok(promised(usize::try_from(count) == Ok(expected), || format!("the count is {count}, and not {expected}"))?)
    }

    fn say(&self, who: &str, what: &str) -> Result<()> {
        self.tell_of(Tone::Plain, who, what)
    }

    fn tell_of(&self, tone: Tone, who: &str, what: &str) -> Result<()> {
        Ok(self.timeline.event(tone, who, what, self.looks.count()?)?)
    }

    /// Ends what is left after a failure. Without clients, everything ends by itself, unless it is that what failed.
    fn clear(&mut self) {
        for client in self.stage.present() {
            let _ = self.stage.kill(client);
        }
        if let Some(Running { process, .. }) = &self.service
            && !process.wait(Duration::from_secs(5)).unwrap_or(false)
        {
            let _ = process.stop(Duration::ZERO);
        }
        if let Some(Running { process, .. }) = &self.service {
            reap(process);
        }
        if !HAS_GUARDIAN {
            let _ = self.remove_files();
        }
    }
}

fn name(client: usize) -> String {
    format!("client {client}")
}
