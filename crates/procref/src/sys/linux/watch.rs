//! Says when a process has died: one sleeping thread for each program, and an epoll set of pidfds.
//!
//! That thread is also at home where the program's references are. The kernel keeps what is to be undone in a list, which threads
//! share, and undoes it when the last of them has ended. All threads of a program share one, but for those that have called
//! `unshare(CLONE_SYSVSEM)` or gone to another IPC namespace, and those that they make. What is taken with the one list and
//! given back with another counts once too little as soon as the first list ends, and a list ends early where only a thread
//! that ends has it. So all references are taken and given back by threads that share the list of this one, which never ends.

use super::pid::current_pid;
use super::process::Process;
use super::raw;
use crate::sys::PerProcess;
use rustix::event::epoll;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, OwnedFd};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

type Job = Box<dyn FnOnce() + Send>;

struct Watcher {
    pid: u32,
    epoll: OwnedFd,
    watches: Mutex<Watches>,
    /// The number of its thread, once that runs.
    thread: OnceLock<u32>,
}

#[derive(Default)]
struct Watches {
    last: u64,
    jobs: HashMap<u64, Job>,
    threaded: bool,
}

/// A process that is being watched; dropped, it is watched no longer.
pub(crate) struct Watch {
    watcher: &'static Watcher,
    token: u64,
    watched: Box<dyn AsFd + Send + Sync>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("token", &self.token).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Calls `job`, once, on a thread that must not be kept, when the process has died.
pub(crate) fn on_death(process: Arc<Process>, job: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
    on_readable(process, job)
}

/// The same for any descriptor. What is readable already is reported at once.
fn on_readable(watched: impl AsFd + Send + Sync + 'static, job: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
    let watcher = watcher()?;
    let token = {
        let mut watches = watcher.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.ensure_thread(watcher)?;
        watches.last += 1;
        let token = watches.last;
        watches.jobs.insert(token, Box::new(job));
        token
    };
    // From here on the job may run.
    let watch = Watch { watcher, token, watched: Box::new(watched) };
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
    epoll::add(&watcher.epoll, watch.watched.as_fd(), epoll::EventData::new_u64(token), flags)?;
    Ok(watch)
}

impl Watches {
    /// Says whether it has just been made.
    fn ensure_thread(&mut self, watcher: &'static Watcher) -> io::Result<bool> {
        if self.threaded {
            return Ok(false);
        }
        start_thread(watcher)?;
        self.threaded = true;
        Ok(true)
    }
}

/// Whether this thread has the undo list in which all references of this process are. Where nothing has been taken yet, it
/// becomes that. `None`: the kernel does not tell, for kcmp(2) may be forbidden.
fn shares_undo_list() -> io::Result<Option<bool>> {
    let watcher = watcher()?;
    if watcher.watches.lock().unwrap_or_else(PoisonError::into_inner).ensure_thread(watcher)? {
        return Ok(Some(true));
    }
    Ok(raw::same_undo_list(*watcher.thread.wait(), raw::thread_id()))
}

/// Whether this thread may take references and give them back.
pub(crate) fn is_at_home() -> io::Result<bool> {
    Ok(shares_undo_list()?.unwrap_or(false))
}

/// Whether it is certain that this thread has another undo list than the one in which all references are: it may not change them, and if it
/// becomes another program, they are lost.
pub(crate) fn is_elsewhere() -> bool {
    matches!(shares_undo_list(), Ok(Some(false)))
}

/// Whether this thread is in the IPC namespace where all references of this process are, as far as /proc tells.
pub(crate) fn is_in_same_ipc_namespace() -> io::Result<bool> {
    let inode = |thread| rustix::fs::stat(format!("/proc/self/task/{thread}/ns/ipc")).map(|stat| stat.st_ino);
    let [home, here] = [*watcher()?.thread.wait(), raw::thread_id()].map(inode);
    Ok(home.is_err() || here.is_err() || home == here)
}

/// Whether this thread may wait for another one: here always.
pub(crate) const fn may_wait() -> bool {
    true
}

/// Starts a thread that has the undo list in which all references of this process are, and the signal mask of this one.
pub(crate) fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.into());
    if is_at_home()? {
        return thread.spawn(run).map(drop);
    }
    let mask = raw::signal_mask();
    let (tell, told) = mpsc::channel();
    let job = move || {
        let run = move || {
            let _ = mask.map(raw::set_signal_mask);
            run();
        };
        let _ = tell.send(thread.spawn(run).map(drop));
    };
    let _watch = on_readable(eventfd(1, EventfdFlags::CLOEXEC)?, job)?;
    told.recv().unwrap_or_else(|_| Err(io::Error::other("the thread procref-watch has ended")))
}

/// Why there can be no thread, and what to do, where that is known and no limit.
pub(crate) fn why_no_thread(error: &io::Error) -> Option<(&'static str, &'static str)> {
    let why = "who has called unshare(CLONE_NEWPID), or setns to a PID namespace, can make none";
    (error.raw_os_error() == Some(libc::EINVAL)).then_some((why, "acquire it before, or in a child process"))
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After a fork the set is shared with the parent, whose watch this is.
        if self.watcher.pid == current_pid() {
            let mut watches = self.watcher.watches.lock().unwrap_or_else(PoisonError::into_inner);
            let job = watches.jobs.remove(&self.token);
            drop(watches);
            drop(job);
            let _ = epoll::delete(&self.watcher.epoll, self.watched.as_fd());
        }
    }
}

/// The watcher of this process. A forked child has the parent's memory but not its thread, and makes its own.
fn watcher() -> io::Result<&'static Watcher> {
    static CURRENT: PerProcess<Watcher> = PerProcess::new();
    CURRENT.get_or_try_init(|| {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Watcher { pid: current_pid(), epoll, watches: Mutex::default(), thread: OnceLock::new() })
    })
}

fn start_thread(watcher: &'static Watcher) -> io::Result<()> {
    std::thread::Builder::new().name("procref-watch".into()).stack_size(128 << 10).spawn(move || {
        let _ = watcher.thread.set(raw::thread_id());
        // The program's signals are for the program's threads. Those below SIGRTMIN are the C library's, for every thread:
        // `setuid` waits until all of them have answered one.
        let internal = (32..libc::SIGRTMIN()).fold(0, |set, signal| set | 1 << (signal - 1));
        let _ = raw::set_signal_mask(raw::SignalSet::MAX & !internal);
        run(watcher)
    })?;
    Ok(())
}

fn run(watcher: &Watcher) -> ! {
    let mut events = Vec::with_capacity(16);
    loop {
        events.clear();
        match epoll::wait(&watcher.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot watch guardians any more");
                watcher.watches.lock().unwrap_or_else(PoisonError::into_inner).jobs.clear();
                // What the process holds is in this thread's undo list.
                loop {
                    std::thread::park();
                }
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
