//! Waiting: for a signal, for the end of standard input, for news of a log, and for the reader of standard output to go.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, PipeReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Waits for so long.
///
/// # Errors
///
/// Nobody reads standard output any more ([`io::ErrorKind::BrokenPipe`]), or the system cannot wait.
pub(crate) fn pause(limit: Duration) -> io::Result<()> {
    wait_while_read(None, Timespec::try_from(limit).ok().as_ref())
}

fn wait_while_read(source: Option<BorrowedFd<'_>>, limit: Option<&Timespec>) -> io::Result<()> {
    let stdout = io::stdout();
    let source = source.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
    let mut polled: Vec<PollFd<'_>> = source.into_iter().collect();
    // Of itself it says only that its other end is closed.
    polled.push(PollFd::new(&stdout, PollFlags::empty()));
    match poll(&mut polled, limit) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let closed = polled.last().is_some_and(|stdout| stdout.revents().intersects(PollFlags::ERR | PollFlags::HUP));
    if closed { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Whatever happens in a folder. What happens from its making on is not missed.
#[derive(Debug)]
pub(crate) struct Watch(OwnedFd);

impl Watch {
    /// # Errors
    ///
    /// The folder cannot be watched.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        inotify::add_watch(&events, folder, flags)?;
        Ok(Self(events))
    }

    /// Waits until there is a reason to look.
    ///
    /// # Errors
    ///
    /// As [`pause`].
    pub(crate) fn wait(&self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        wait_while_read(Some(self.0.as_fd()), None)?;
        while rustix::io::read(&self.0, &mut buffer).is_ok_and(|read| read > 0) {}
        Ok(())
    }
}

/// Whether this process has been asked to end: by SIGINT, SIGTERM or SIGHUP.
#[derive(Debug)]
pub(crate) struct Asked {
    signals: PipeReader,
    once: Arc<AtomicBool>,
}

impl Asked {
    /// # Errors
    ///
    /// The system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        let (signals, writes) = io::pipe()?;
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Comes first, so that the first signal does not end the process.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&once))?;
            signal_hook::low_level::pipe::register(signal, writes.try_clone()?)?;
        }
        Ok(Self { signals, once })
    }

    /// Waits for that, or for the end of standard input.
    ///
    /// # Errors
    ///
    /// The system cannot wait.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let stdin = io::stdin();
        let mut buffer = [0; 4096];
        loop {
            let mut sources = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            match poll(&mut sources, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let [input, signal] = sources.map(|source| !source.revents().is_empty());
            // What cannot be read has ended.
            if signal || input && stdin.lock().read(&mut buffer).unwrap_or(0) == 0 {
                return Ok(());
            }
        }
    }

    /// Who is in a hurry asks twice: the kernel and the guardian do the rest.
    pub(crate) fn end_at_the_next(&self) {
        self.once.store(true, Ordering::SeqCst);
    }
}
