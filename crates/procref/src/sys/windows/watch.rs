//! Says when a process has died: a sleeping thread for each that is watched, which are few (guardians that linger).

use super::object::{self, Kind};
use super::process::{Process, wait_for_any};
use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::sync::Arc;

/// A process that is being watched; dropped, it is watched no longer.
#[derive(Debug)]
pub(crate) struct Watch {
    over: Arc<OwnedHandle>,
}

/// Calls `job`, once, on a thread that must not be kept, when the process has died.
pub(crate) fn on_death(process: Arc<Process>, job: impl FnOnce() + Send + 'static) -> io::Result<Watch> {
    let over = Arc::new(object::unnamed(Kind::Event)?);
    let watch = Watch { over: Arc::clone(&over) };
    std::thread::Builder::new().name("procref-watch".into()).stack_size(128 << 10).spawn(
        move || match wait_for_any(&[over.as_handle(), process.as_handle()], None) {
            Ok(Some(1)) => job(),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "cannot watch a guardian any more"),
        },
    )?;
    Ok(watch)
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = object::set(&self.over);
    }
}

/// Whether what this thread takes belongs to the whole program: handles always do.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to look")]
pub(crate) const fn is_at_home() -> io::Result<bool> {
    Ok(true)
}

/// Whether what this thread takes belongs to it alone: handles never do.
pub(crate) const fn is_elsewhere() -> bool {
    false
}

/// All threads of a process have the same named objects.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to look")]
pub(crate) const fn is_in_same_ipc_namespace() -> io::Result<bool> {
    Ok(true)
}

/// Starts a thread.
pub(crate) fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

/// Why there can be no thread, and what to do, where that is known and no limit.
pub(crate) const fn why_no_thread(_: &io::Error) -> Option<(&'static str, &'static str)> {
    None
}
