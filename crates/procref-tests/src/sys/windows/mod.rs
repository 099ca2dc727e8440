//! Windows.

mod objects;
mod processes;
mod requests;

pub use objects::{Place, in_use, objects, objects_that_stay, remove_objects};
pub use processes::{Group, Held, end_of, freeze, kill, look, never_begins, open, pids, spawn, thaw, wait};
pub use requests::{Requests, end_on_request, ignore_requests, prepare};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::sync::Once;
use std::time::Duration;
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, ExitThread, GetCurrentThreadId,
};

/// Whether a service whose last client was killed is asked to end: the kernel ends it.
pub const ASKS: bool = false;

/// A test program cannot be started as a guardian: the harness has its `main`. A companion can.
///
/// # Panics
///
/// There is no such program.
pub fn needs_way_in(companion: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // What was built on another system has no drive in front.
        let companion = std::path::absolute(companion).expect("a path");
        procref::guardian::use_companion(companion).expect("it is there");
    });
}

/// Whether a file of procref's may stay when the last client was killed: the kernel ends the service, and knows of no files. A
/// hint that is left is about nothing, and goes with the next instance.
#[must_use]
pub fn may_stay(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["log", "info", "run"].iter().any(|may| extension == *may))
}

/// How an error says of a process that it was killed.
pub const KILLED_IN_WORDS: &str = "exited with status 137";

/// Whether a guardian can be forked, where the program gives no way to start one.
pub const FORKS: bool = false;

/// How often each of a few clients comes and goes: a process takes its time to start, above all under Wine.
pub const ROUNDS: u64 = 20;

/// How many processes are a storm.
pub const MANY: usize = 50;

/// Whether this is Wine, for what it does not do, or in another way.
#[expect(unsafe_code, reason = "it is what ntdll exports")]
fn is_wine() -> bool {
    // SAFETY: a name that ends with a zero.
    let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: a module that stays, and a name that ends with a zero.
    unsafe { GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()) }.is_some()
}

/// A command whose process leads a group that Ctrl-Break can be sent to, on a console of its own that nobody sees.
pub fn alone(command: &mut Command) -> &mut Command {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW)
}

/// Ends this process as a broken program ends.
#[expect(unsafe_code, reason = "what is safe does not do that")]
pub fn crash() -> ! {
    // SAFETY: there is nothing at this address, and that is what it is for.
    unsafe { ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    unreachable!("there is nothing to write to");
}

/// Takes a file for as long as this process lives, however it ends; `None` if another one has it. The kernel closes it before
/// anybody can see that its owner has ended; a lock may last longer.
///
/// # Panics
///
/// There can be no such file.
#[must_use]
pub fn own(path: &Path) -> Option<File> {
    const ERROR_SHARING_VIOLATION: i32 = 32;
    match OpenOptions::new().create(true).append(true).share_mode(0).open(path) {
        Ok(file) => Some(file),
        Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => None,
        Err(error) => panic!("the file can be opened: {error}"),
    }
}

/// Adds to a file. Wine looks for its end and writes there in two steps, so this is done under a lock.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let lock = OpenOptions::new().append(true).create(true).open(path.with_added_extension("lock"))?;
    lock.lock()?;
    OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
}

/// Says when a file changes.
#[derive(Debug)]
pub struct Changes;

impl Changes {
    /// Changes from now on.
    #[must_use]
    pub fn of(_: &Path) -> Self {
        Self
    }

    /// Waits for a change for so long: the system tells of changes late, so this is a short sleep.
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time.min(Duration::from_millis(2)));
    }
}

/// Whether a file or a folder is there: who may do what with it follows from the folder of this user that it lies in.
#[must_use]
pub fn is_private(path: &Path) -> bool {
    path.exists()
}

/// Makes a folder, for which the same goes.
///
/// # Panics
///
/// It cannot be made.
pub fn make_private(folder: &Path) {
    fs::create_dir(folder).expect("it can be made");
}

/// This thread, for [`sleeps`].
#[must_use]
#[expect(unsafe_code, reason = "the standard library has other numbers")]
pub fn thread() -> u32 {
    // SAFETY: it takes nothing.
    unsafe { GetCurrentThreadId() }
}

/// Whether a thread sleeps, nobody says: after a moment it will. If it does not, it has less to be woken from, and the test sees
/// less; it fails for nothing.
#[must_use]
pub fn sleeps(_: u32) -> bool {
    std::thread::sleep(Duration::from_millis(50));
    true
}

fn only_elsewhere<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no fork.
///
/// # Errors
///
/// Always.
pub fn fork(_: impl FnOnce() -> i32) -> io::Result<i32> {
    only_elsewhere()
}

/// There is no fork.
///
/// # Errors
///
/// Always.
pub fn fork_and_stay() -> io::Result<u32> {
    only_elsewhere()
}

/// There is no fork.
///
/// # Errors
///
/// Always.
pub fn crowd(_: usize, _: impl FnMut() -> u8) -> io::Result<Vec<u8>> {
    only_elsewhere()
}

/// Handles have no limit that a program could set itself.
///
/// # Errors
///
/// Always.
pub fn with_no_descriptor_left<T>(_: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    only_elsewhere()
}

/// No process becomes another program.
///
/// # Errors
///
/// Always.
pub fn own_as_program(_: &Path) -> io::Result<bool> {
    only_elsewhere()
}

/// No process becomes another program.
#[must_use]
pub fn become_program(_: &mut Command) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// There is no `NOTIFY_SOCKET`.
///
/// # Errors
///
/// Always.
pub fn notify_ready() -> io::Result<()> {
    only_elsewhere()
}

/// What this is for is an affair of descriptors' numbers.
///
/// # Errors
///
/// Always.
pub fn close_stdio() -> io::Result<[File; 2]> {
    only_elsewhere()
}

/// What an actor can be told on this system alone: nothing.
#[must_use]
pub fn obey(_: &[&str]) -> Option<io::Result<String>> {
    None
}

/// Ends this thread, and the process only if it is the only one.
#[expect(unsafe_code, reason = "the standard library ends a process with its first thread")]
pub fn end_thread() -> ! {
    // SAFETY: nothing of this thread is used by others.
    unsafe { ExitThread(0) }
}
