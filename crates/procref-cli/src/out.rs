//! Standard output, and standard error.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use std::io::{self, Write};
use std::time::Duration;

/// Writes all of it, at once. Colours are left out where nobody sees them.
///
/// # Errors
///
/// Nobody reads it ([`io::ErrorKind::BrokenPipe`]), or it cannot be written.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Waits until something can be read from one of these, and no longer than `limit`.
///
/// # Errors
///
/// Nobody reads standard output any more ([`io::ErrorKind::BrokenPipe`]), or the system cannot wait.
pub(crate) fn wait_while_read(sources: &[BorrowedFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let stdout = io::stdout();
    let mut polled: Vec<PollFd<'_>> =
        sources.iter().map(|source| PollFd::from_borrowed_fd(*source, PollFlags::IN)).collect();
    // Of itself it says only that its other end is closed.
    polled.push(PollFd::new(&stdout, PollFlags::empty()));
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let closed = polled.last().is_some_and(|stdout| stdout.revents().intersects(PollFlags::ERR | PollFlags::HUP));
    if closed { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Says something on standard error. Where nobody can be told, nothing is wrong with what was done.
pub(crate) fn say(message: &str) {
    let _ = writeln!(anstream::stderr(), "procref: {message}");
}
