//! Says when a process has died: one sleeping thread for each program, and an epoll set of pidfds.

use super::pid::current_pid;
use super::process::Process;
use super::raw;
use crate::sys::PerProcess;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

struct Watcher {
    pid: u32,
    epoll: OwnedFd,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    last: u64,
    jobs: HashMap<u64, Job>,
    threaded: bool,
}

/// A process that is being watched; dropped, it is watched no longer.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: &'static Watcher,
    token: u64,
    process: Arc<Process>,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Calls `job`, once, on a thread that must not be kept, when the process has died.
pub(crate) fn on_death(process: Arc<Process>, job: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
    let watcher = watcher()?;
    let token = {
        let mut watches = watcher.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if !watches.threaded {
            start_thread(watcher)?;
            watches.threaded = true;
        }
        watches.last += 1;
        let token = watches.last;
        watches.jobs.insert(token, Box::new(job));
        token
    };
    // From here on the job may run: a process that has died is reported at once.
    let watch = Watch { watcher, token, process };
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    epoll::add(&watcher.epoll, watch.process.as_fd(), epoll::EventData::new_u64(token), flags)?;
    Ok(watch)
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After a fork the set is shared with the parent, whose watch this is.
        if self.watcher.pid == current_pid() {
            let mut watches = self.watcher.watches.lock().unwrap_or_else(PoisonError::into_inner);
            let job = watches.jobs.remove(&self.token);
            drop(watches);
            drop(job);
            let _ = epoll::delete(&self.watcher.epoll, self.process.as_fd());
        }
    }
}

/// The watcher of this process. A forked child has the parent's memory but not its thread, and makes its own.
fn watcher() -> io::Result<&'static Watcher> {
    static CURRENT: PerProcess<Watcher> = PerProcess::new();
    CURRENT.get_or_try_init(|| {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Watcher { pid: current_pid(), epoll, watches: Mutex::default() })
    })
}

fn start_thread(watcher: &'static Watcher) -> io::Result<()> {
    std::thread::Builder::new().name("procref-watch".into()).stack_size(128 << 10).spawn(move || {
        // The program's signals are for the program's threads. Those below SIGRTMIN are the C library's, for every thread:
        // `setuid` waits until all of them have answered one.
        let internal = (32..libc::SIGRTMIN()).fold(0, |set, signal| set | 1 << (signal - 1));
        let _ = raw::set_signal_mask(raw::SignalSet::MAX & !internal);
        run(watcher);
    })?;
    Ok(())
}

fn run(watcher: &Watcher) {
    let mut events = Vec::with_capacity(16);
    loop {
        events.clear();
        match epoll::wait(&watcher.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot watch guardians any more");
                return;
            }
        }
        for event in &events {
            let job = {
                let mut watches = watcher.watches.lock().unwrap_or_else(PoisonError::into_inner);
                watches.jobs.remove(&event.data.u64())
            };
            if let Some(job) = job {
                job();
            }
        }
    }
}
