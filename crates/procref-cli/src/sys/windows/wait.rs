//! Waiting: for Ctrl-C and its like, for the end of standard input, for news of a log, and for the reader of standard
//! output to go.

use super::succeeded;
use std::io::{self, Read};
use std::mem::size_of;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_PIPE_CLOSING_STATE, FILE_PIPE_LOCAL_INFORMATION, FilePipeLocalInformation, NtQueryInformationFile,
};
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

/// How often it is looked what nobody is told of.
const INTERVAL: Duration = Duration::from_millis(250);

/// Waits for so long.
///
/// # Errors
///
/// Nobody reads standard output any more ([`io::ErrorKind::BrokenPipe`]).
pub(crate) fn pause(limit: Duration) -> io::Result<()> {
    std::thread::sleep(limit);
    if is_unread() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
}

/// Whether standard output is a pipe whose other end is closed. Who has this end is told so only when it writes.
fn is_unread() -> bool {
    let stdout = io::stdout();
    let mut status = IO_STATUS_BLOCK::default();
    let mut pipe = FILE_PIPE_LOCAL_INFORMATION::default();
    let length = size_of::<FILE_PIPE_LOCAL_INFORMATION>() as u32;
    // SAFETY: what is said of the pipe is written to where it is kept, which is as long as is said. What is no pipe is
    // refused.
    let result = unsafe {
        NtQueryInformationFile(
            stdout.as_raw_handle(),
            &raw mut status,
            (&raw mut pipe).cast(),
            length,
            FilePipeLocalInformation,
        )
    };
    result == 0 && pipe.NamedPipeState == FILE_PIPE_CLOSING_STATE
}

/// Whatever happens in a folder. The system tells of a file that grows only when it is closed, or its data are written to the
/// disk; a log is open for as long as its service runs. So there is a reason to look four times a second.
#[derive(Debug)]
pub(crate) struct Watch;

impl Watch {
    /// # Errors
    ///
    /// There is no such folder.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        std::fs::read_dir(folder).map(|_| Self)
    }

    /// Waits until there is a reason to look.
    ///
    /// # Errors
    ///
    /// As [`pause`].
    #[expect(clippy::unused_self, reason = "other systems have something to wait for")]
    pub(crate) fn wait(&self) -> io::Result<()> {
        pause(INTERVAL)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Ctrl-C ends this process.
    End,
    /// It is noted.
    Note,
    /// Other processes of the console decide what becomes of it.
    LeaveToOthers,
    /// It may be late, and was for one of those; the next one ends this process.
    Forgive,
}

struct Console {
    answer: Answer,
    /// It has been noted, or standard input has ended.
    asked: bool,
}

static CONSOLE: Mutex<Console> = Mutex::new(Console { answer: Answer::End, asked: false });
static CHANGED: Condvar = Condvar::new();

/// The system calls it on a thread of its own.
unsafe extern "system" fn on_ctrl(event: u32) -> i32 {
    let mut console = CONSOLE.lock().unwrap_or_else(PoisonError::into_inner);
    match console.answer {
        Answer::End => return 0,
        Answer::Note => console.asked = true,
        Answer::LeaveToOthers => {}
        Answer::Forgive => console.answer = Answer::End,
    }
    drop(console);
    CHANGED.notify_all();
    if matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT) {
        return 1;
    }
    // The console is closed, the user logs off or the machine is shut down: the process ends when this returns. What there is to
    // be done is done meanwhile, as far as the system leaves time for it.
    loop {
        std::thread::park();
    }
}

fn answer(answer: Answer) {
    CONSOLE.lock().unwrap_or_else(PoisonError::into_inner).answer = answer;
}

/// Until this is dropped, Ctrl-C is left to other processes. Each process of a console is told of it in its turn, so another
/// one may have ended by it before this one hears: one more is forgiven.
#[derive(Debug)]
pub(super) struct LeftToOthers;

impl Drop for LeftToOthers {
    fn drop(&mut self) {
        answer(Answer::Forgive);
    }
}

pub(super) fn leave_ctrl_c_to_others() -> LeftToOthers {
    answer(Answer::LeaveToOthers);
    // Without a console there is no Ctrl-C.
    let _ = add_handler();
    LeftToOthers
}

fn add_handler() -> io::Result<()> {
    // SAFETY: the function is there for as long as the program. Unlike a null pointer it is not inherited.
    succeeded(unsafe { SetConsoleCtrlHandler(Some(on_ctrl), 1) })
}

/// Whether this process has been asked to end: by Ctrl-C, Ctrl-Break, or because its console is closed.
#[derive(Debug)]
pub(crate) struct Asked;

impl Asked {
    /// # Errors
    ///
    /// The system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        answer(Answer::Note);
        add_handler()?;
        Ok(Self)
    }

    /// Waits for that, or for the end of standard input.
    ///
    /// # Errors
    ///
    /// The system gives no thread to read with.
    #[expect(clippy::unused_self, reason = "who has not listened cannot wait")]
    pub(crate) fn wait(&self) -> io::Result<()> {
        std::thread::Builder::new().name("procref-input".into()).spawn(read_to_the_end)?;
        let mut console = CONSOLE.lock().unwrap_or_else(PoisonError::into_inner);
        while !console.asked {
            console = CHANGED.wait(console).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Who is in a hurry asks twice: the kernel does the rest.
    #[expect(clippy::unused_self, reason = "who has not listened is ended by the first one")]
    pub(crate) fn end_at_the_next(&self) {
        answer(Answer::End);
    }
}

/// What cannot be read has ended.
fn read_to_the_end() {
    let mut stdin = io::stdin().lock();
    let mut buffer = [0; 4096];
    while stdin.read(&mut buffer).unwrap_or(0) > 0 {}
    CONSOLE.lock().unwrap_or_else(PoisonError::into_inner).asked = true;
    CHANGED.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_for_others_may_be_late() {
        let handled = || {
            // SAFETY: it is called as the system would.
            unsafe { on_ctrl(CTRL_C_EVENT) != 0 }
        };
        let others = leave_ctrl_c_to_others();
        assert_eq!([handled(), handled()], [true, true]);
        drop(others);
        assert_eq!([handled(), handled()], [true, false]);
    }
}
