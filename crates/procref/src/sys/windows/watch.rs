//! Says when a process has died: a sleeping thread for each that is watched, which are few (guardians that linger).

#![expect(unsafe_code, reason = "system calls")]

use super::object::{self, Kind};
use super::process::{Process, wait_for_any};
use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::ptr;
use std::sync::{Arc, OnceLock};
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::System::Threading::{
    CRITICAL_SECTION, GetCurrentProcess, GetCurrentThreadId, PROCESS_BASIC_INFORMATION,
};

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

/// Whether this thread may wait for another one. Not while it holds the loader's lock, as it does when it ends and its
/// `thread_local!` values are dropped: no other thread can begin or end until then.
pub(crate) fn may_wait() -> bool {
    // SAFETY: the lock is there for as long as the process.
    let Some(lock) = loader_lock().map(|lock| unsafe { &*lock }) else { return true };
    // It changes all the time, but it is this thread's number only if this thread itself has made it that.
    // SAFETY: part of the lock.
    let owner = unsafe { ptr::read_volatile(&raw const lock.OwningThread) };
    // SAFETY: it takes nothing.
    owner.addr() as u32 != unsafe { GetCurrentThreadId() }
}

/// The loader's lock, from the process environment block: where `AuxUlibIsDLLSynchronizationHeld` finds it, which is in a static
/// library that comes with Microsoft's own tools alone.
fn loader_lock() -> Option<*const CRITICAL_SECTION> {
    /// `PEB::LoaderLock` on 64-bit systems.
    const LOADER_LOCK: usize = 0x110;
    static LOCK: OnceLock<Option<usize>> = OnceLock::new();
    let address = *LOCK.get_or_init(|| {
        let mut basic = PROCESS_BASIC_INFORMATION::default();
        // SAFETY: it takes nothing.
        let this = unsafe { GetCurrentProcess() };
        // SAFETY: the kernel writes a structure of this size.
        let status = unsafe {
            NtQueryInformationProcess(
                this,
                ProcessBasicInformation,
                (&raw mut basic).cast(),
                size_of_val(&basic) as u32,
                ptr::null_mut(),
            )
        };
        if status < 0 || basic.PebBaseAddress.is_null() {
            return None;
        }
        let place = basic.PebBaseAddress.map_addr(|block| block + LOADER_LOCK).cast::<usize>();
        // SAFETY: the block is longer than that, and nobody changes this pointer once a program runs.
        let lock = unsafe { place.read() };
        (lock != 0).then_some(lock)
    });
    address.map(ptr::with_exposed_provenance)
}

/// Starts a thread.
pub(crate) fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop)
}

/// Why there can be no thread, and what to do, where that is known and no limit.
pub(crate) const fn why_no_thread(_: &io::Error) -> Option<(&'static str, &'static str)> {
    None
}
