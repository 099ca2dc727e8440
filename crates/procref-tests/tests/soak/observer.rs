//! Who looks on: nothing of procref is asked, only the kernel. Each service's process says that it is born, before it is a server; the
//! observer holds it from then on, and writes down when it is gone, and whether another one of the same service lived at that time.

use procref_tests::Events;
use procref_tests::sandbox::has_ended;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The instances that live: of which service each is.
type Lives = BTreeMap<u32, String>;

#[derive(Debug)]
pub(crate) struct Observer {
    shared: Arc<(Mutex<Lives>, Condvar)>,
    /// Closed, it ends.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    pub(crate) fn new(log: &Events) -> Self {
        let (stops, stop) = rustix::pipe::pipe().expect("a pipe");
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).expect("inotify");
        inotify::add_watch(&changes, log.path(), inotify::WatchFlags::MODIFY).expect("the log can be watched");
        let file = File::open(log.path()).expect("the log can be read");
        let shared = Arc::<(Mutex<Lives>, Condvar)>::default();
        let mut look =
            Look { log: log.clone(), file, rest: Vec::new(), held: BTreeMap::new(), shared: Arc::clone(&shared) };
        let thread = std::thread::spawn(move || {
            while !look.wait(&changes, &stops) {
                let _ = rustix::io::read(&changes, &mut [0_u8; 4096]);
                look.read();
            }
        });
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Waits until no instance of this service lives; says which do.
    pub(crate) fn await_none(&self, service: &str, time: Duration) -> Vec<u32> {
        let (lives, changed) = &*self.shared;
        let deadline = Instant::now() + time;
        let mut lives = lives.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let of: Vec<_> = lives.iter().filter(|(_, of)| *of == service).map(|(pid, _)| *pid).collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if of.is_empty() || left.is_zero() {
                return of;
            }
            lives = changed.wait_timeout(lives, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// It has seen all that was written.
    pub(crate) fn finish(mut self) {
        drop(self.stop.take());
        self.thread.take().expect("it runs").join().expect("the observer does not panic");
    }
}

struct Look {
    log: Events,
    file: File,
    rest: Vec<u8>,
    held: BTreeMap<u32, (String, OwnedFd)>,
    shared: Arc<(Mutex<Lives>, Condvar)>,
}

impl Look {
    /// Waits for more; whether it was told to stop and nobody lives any more of whom it knows.
    fn wait(&mut self, changes: &OwnedFd, stops: &OwnedFd) -> bool {
        let mut fds = vec![PollFd::new(stops, PollFlags::empty()), PollFd::new(changes, PollFlags::IN)];
        fds.extend(self.held.values().map(|(_, process)| PollFd::new(process, PollFlags::IN)));
        // A signal of the test's children may interrupt it: then it looks, and there is nothing.
        let _ = poll(&mut fds, None);
        let stops = fds.first().is_some_and(|fd| fd.revents().contains(PollFlags::HUP));
        self.see_the_dead();
        if stops {
            self.read();
            self.see_the_dead();
        }
        stops
    }

    fn read(&mut self) {
        self.file.read_to_end(&mut self.rest).expect("the log can be read");
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            let mut words = line.splitn(3, ' ');
            if let (Some(pid), Some("birth"), Some(service)) = (words.next(), words.next(), words.next()) {
                self.is_born(pid.parse().expect("a number"), service);
            }
        }
    }

    fn is_born(&mut self, pid: u32, service: &str) {
        self.see_the_dead();
        // Whoever lives now has lived when this one was born.
        if self.held.values().any(|(other, process)| other == service && !has_ended(process)) {
            self.log.add("overlap", format!("{service} {pid} beside {:?}", self.held));
        }
        let number = Pid::from_raw(pid.cast_signed()).expect("a process number");
        match pidfd_open(number, PidfdFlags::empty()) {
            Ok(process) => {
                self.held.insert(pid, (service.to_owned(), process));
                self.change(|lives| drop(lives.insert(pid, service.to_owned())));
            }
            Err(_) => self.log.add("gone", pid),
        }
    }

    fn see_the_dead(&mut self) {
        let dead: Vec<_> =
            self.held.iter().filter(|(_, (_, process))| has_ended(process)).map(|(pid, _)| *pid).collect();
        for pid in dead {
            self.held.remove(&pid);
            self.log.add("gone", pid);
            self.change(|lives| drop(lives.remove(&pid)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut Lives)) {
        let (lives, changed) = &*self.shared;
        change(&mut lives.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }
}
