//! Making processes end: asked first, by what a program on this system can hear, then at once.

#![expect(unsafe_code, reason = "system calls")]

use super::guardian;
use super::process::Process;
use crate::options::{StopSignal, StopStep};
use std::io;
use windows_sys::Win32::Foundation::{HWND, LPARAM};
use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, FreeConsole, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{EnumWindows, GetWindowThreadProcessId, PostMessageW, WM_CLOSE};
use windows_sys::core::BOOL;

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(i32);

/// The number of the step that nothing withstands: the last one of every ladder.
pub(crate) const FORCE: i32 = 9;

impl Signal {
    /// To end, in its own way.
    pub(crate) const TERM: Self = Self(15);
    /// Nothing: it is ended.
    pub(crate) const KILL: Self = Self(FORCE);
}

/// The number that a step of a ladder has for this signal: as on Unix. Here they all mean "end, in your own way".
pub(crate) const fn signal_number(signal: StopSignal) -> i32 {
    match signal {
        StopSignal::Terminate => 15,
        StopSignal::Interrupt => 2,
        StopSignal::Quit => 3,
        StopSignal::Hangup => 1,
        StopSignal::User1 => 10,
        StopSignal::User2 => 12,
    }
}

impl Process {
    /// Tells it to end; `Ok(false)` if it has gone.
    ///
    /// # Errors
    ///
    /// `Unsupported`: it cannot be asked, for it has neither a window nor a console group that can be reached.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        if signal == Signal::KILL {
            return self.terminate();
        }
        if self.has_ended() {
            return Ok(false);
        }
        if close_windows(self.pid()) {
            return Ok(true);
        }
        guardian::break_by_helper(self.pid()).unwrap_or_else(|| ctrl_break(self.pid()).map(|()| true))
    }
}

/// Asks all windows of a process to close, as a user would. Says whether it has any.
fn close_windows(pid: u32) -> bool {
    struct Search {
        pid: u32,
        found: bool,
    }
    unsafe extern "system" fn visit(window: HWND, search: LPARAM) -> BOOL {
        // SAFETY: what `close_windows` gives, and waits for.
        let search = unsafe { &mut *(search as *mut Search) };
        let mut pid = 0;
        // SAFETY: a window that may have gone, for which there is an answer as well; the system writes a number.
        unsafe { GetWindowThreadProcessId(window, &raw mut pid) };
        // SAFETY: the same.
        if pid == search.pid && unsafe { PostMessageW(window, WM_CLOSE, 0, 0) } != 0 {
            search.found = true;
        }
        1
    }
    let mut search = Search { pid, found: false };
    // SAFETY: `visit` is called in this call only.
    unsafe { EnumWindows(Some(visit), &raw mut search as LPARAM) };
    search.found
}

/// Sends Ctrl-Break to the group that this process leads, in its console. For a process that has no console itself.
pub(super) fn ctrl_break(pid: u32) -> io::Result<()> {
    #[expect(clippy::multiple_unsafe_ops_per_block, reason = "they belong together")]
    // SAFETY: numbers; the handler is the system's own, which ignores.
    unsafe {
        if AttachConsole(pid) == 0 {
            let what = "it has no console, or this process has one and no helper (procref::guardian)";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        SetConsoleCtrlHandler(None, 1);
        let sent = GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, pid);
        let error = io::Error::last_os_error();
        FreeConsole();
        if sent == 0 { Err(error) } else { Ok(()) }
    }
}

/// This process gives up its console.
pub(super) fn leave_console() {
    // SAFETY: takes nothing.
    unsafe { FreeConsole() };
}

/// Makes sure that a process ends: each step, then that step's grace, then the next step. `asked`: somebody has just asked it
/// to end in some other way, so it is first given the first step's grace for that. Who cannot be asked gets no grace. Says
/// whether it has gone.
pub(crate) fn stop(process: &Process, steps: &[StopStep], asked: bool) -> io::Result<bool> {
    if asked && process.wait(steps.first().map(|step| step.grace))? {
        return Ok(true);
    }
    for step in steps {
        let told = match step.signal {
            FORCE => process.terminate(),
            number => process.signal(Signal(number)),
        };
        match told {
            Ok(true) => {}
            Ok(false) => return Ok(true),
            Err(error) if step.signal != FORCE => {
                tracing::debug!(%error, pid = process.pid(), "cannot ask a process to end");
                continue;
            }
            Err(error) => return Err(error),
        }
        if process.wait(Some(step.grace))? {
            return Ok(true);
        }
    }
    Ok(process.has_ended())
}

/// The same for a process that a command has asked to end, in place of the first step.
pub(crate) fn stop_asked(process: &Process, steps: &[StopStep]) -> io::Result<bool> {
    match steps {
        // The last one is force, and always comes.
        [first, rest @ ..] if !rest.is_empty() => Ok(process.wait(Some(first.grace))? || stop(process, rest, false)?),
        _ => stop(process, steps, true),
    }
}

/// The same for a process that could not be opened: it is tried once more. Says whether it has gone.
pub(crate) fn stop_apart(pid: u32, steps: &[StopStep], asked: bool) -> bool {
    match Process::open(pid) {
        Ok(Some(process)) => stop(&process, steps, asked).unwrap_or(false),
        Ok(None) => true,
        Err(_) => false,
    }
}
