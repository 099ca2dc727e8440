//! Making processes end: asked first, by what a program on this system can hear, then at once.

#![expect(unsafe_code, reason = "system calls")]

use super::process::{Listed, Process, listed};
use super::{current_pid, guardian};
use crate::options::{StopSignal, StopStep};
use std::io;
use windows_sys::Win32::Foundation::{HWND, LPARAM};
use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetConsoleProcessList,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    EnumWindows, GetWindowThreadProcessId, IsWindowVisible, PostMessageW, WM_CLOSE,
};
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
        let windows = close_windows(self.pid());
        if windows == OnScreen::Windows {
            return Ok(true);
        }
        let sent = guardian::break_by_helper(self.pid()).unwrap_or_else(|| ctrl_break(self.pid()).map(|()| true));
        match sent {
            Err(error) if error.kind() == io::ErrorKind::Unsupported && windows == OnScreen::Hidden => Ok(true),
            sent => sent,
        }
    }
}

/// What a process has on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OnScreen {
    Nothing,
    /// Windows that nobody sees: many programs have some for messages, and do not end with them.
    Hidden,
    Windows,
}

/// Asks all windows of a process to close, as a user would. Says whether it has any.
fn close_windows(pid: u32) -> OnScreen {
    struct Search {
        pid: u32,
        found: OnScreen,
    }
    unsafe extern "system" fn visit(window: HWND, search: LPARAM) -> BOOL {
        // SAFETY: what `close_windows` gives, and waits for.
        let search = unsafe { &mut *(search as *mut Search) };
        let mut pid = 0;
        // SAFETY: a window that may have gone, for which there is an answer as well; the system writes a number.
        unsafe { GetWindowThreadProcessId(window, &raw mut pid) };
        // SAFETY: the same.
        if pid == search.pid && unsafe { PostMessageW(window, WM_CLOSE, 0, 0) } != 0 {
            // SAFETY: the same.
            let seen = unsafe { IsWindowVisible(window) } != 0;
            search.found = search.found.max(if seen { OnScreen::Windows } else { OnScreen::Hidden });
        }
        1
    }
    let mut search = Search { pid, found: OnScreen::Nothing };
    // SAFETY: `visit` is called in this call only.
    unsafe { EnumWindows(Some(visit), &raw mut search as LPARAM) };
    search.found
}

/// Sends Ctrl-Break to the group that this process leads, in its console. For a process that has no console itself.
///
/// The console takes a number that is no group's for all who are there. So nothing is sent where there is anybody else: a
/// service that a callback has started may have the console of who started it.
pub(super) fn ctrl_break(pid: u32) -> io::Result<()> {
    let cannot = |what| Err(io::Error::new(io::ErrorKind::Unsupported, what));
    // SAFETY: takes a number.
    if unsafe { AttachConsole(pid) } == 0 {
        return cannot("it has no console, or this process has one and no helper (procref::guardian)");
    }
    let sent = match has_console_alone(pid) {
        Ok(true) => {
            // SAFETY: takes two numbers.
            let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, pid) };
            if sent == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        }
        Ok(false) => cannot("others have its console, too, who would hear it"),
        Err(error) => Err(error),
    };
    leave_console();
    sent
}

/// Whether nobody has this console but that process, what it has started, and this process, which looks.
fn has_console_alone(pid: u32) -> io::Result<bool> {
    let mut there = [0_u32; 1024];
    // SAFETY: the system writes no more numbers than there is room for.
    let count = unsafe { GetConsoleProcessList(there.as_mut_ptr(), there.len() as u32) };
    if count == 0 {
        return Err(io::Error::last_os_error());
    }
    let Some(there) = there.get(..count as usize) else { return Ok(false) };
    let listed = listed()?;
    Ok(there.iter().all(|&it| it == current_pid() || is_of(it, pid, &listed)))
}

/// Whether a process is that one, or was started by it, or by one that was.
fn is_of(process: u32, leader: u32, listed: &[Listed]) -> bool {
    let find = |pid| listed.iter().find(|it| it.pid == pid);
    // Who is younger has only the number of a parent that has gone.
    let parent = |it: &&Listed| find(it.parent).filter(|parent| parent.start <= it.start && parent.pid != it.pid);
    std::iter::successors(find(process), parent).take(listed.len()).any(|it| it.pid == leader)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{SignalOutcome, kill, terminate};
    use crate::ready::tests::{doing, this_program};
    use std::os::windows::process::CommandExt;
    use std::process::Command;
    use windows_sys::Win32::System::Threading::DETACHED_PROCESS;

    #[test]
    fn one_without_a_console_and_windows_cannot_be_asked() {
        let mut child = Command::new(this_program())
            .args(doing(&["sleep"]))
            .creation_flags(DETACHED_PROCESS)
            .spawn()
            .expect("it starts");
        assert_eq!(terminate(child.id()), SignalOutcome::CannotBeAsked);
        assert_eq!(kill(child.id()), SignalOutcome::Sent);
        child.wait().expect("it ends");
        assert_eq!(terminate(child.id()), SignalOutcome::NotRunning);
    }

    #[test]
    fn who_is_of_a_process_descends_from_it_and_is_younger() {
        let listed = [(4, 0, 1), (8, 4, 2), (12, 8, 3), (16, 12, 4), (20, 99, 5), (24, 16, 3), (28, 28, 1)]
            .map(|(pid, parent, start)| Listed { pid, parent, start });
        let of = |leader| listed.iter().map(|it| it.pid).filter(|&pid| is_of(pid, leader, &listed)).collect::<Vec<_>>();
        assert_eq!(of(8), [8, 12, 16]);
        assert_eq!(of(4), [4, 8, 12, 16]);
        // Its parent has gone; and one whose parent's number is a younger one's.
        assert_eq!((of(20), of(24), of(28), of(99)), (vec![20], vec![24], vec![28], vec![]));
        // All of the same instant, one the parent of the other.
        let round = [(4, 8, 1), (8, 4, 1)].map(|(pid, parent, start)| Listed { pid, parent, start });
        assert!(!is_of(4, 12, &round));
    }
}
