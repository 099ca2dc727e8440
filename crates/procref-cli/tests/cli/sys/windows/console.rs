//! Ctrl-C. It can be sent to all processes of a console, and by one of them alone: so what is to hear it is started by this
//! very program, in another part, on a console that nobody sees. That one does not heed it, and ends as what it has started.

use crate::kit::Running;
use crate::part::Gate;
use procref_tests::sys::{alone, ignore_requests};
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, ExitStatus, exit};
use windows_sys::Win32::Foundation::STATUS_CONTROL_C_EXIT;
use windows_sys::Win32::System::Console::{CTRL_C_EVENT, GenerateConsoleCtrlEvent, SetConsoleCtrlHandler};

/// The argument that makes this program one of these. The port of a gate follows, to which it comes for each key, and what it
/// starts.
const CONSOLE: &str = "console";

/// A console, for one command and all that it starts.
pub(crate) struct Console(Gate);

impl Console {
    pub(crate) fn new() -> Self {
        Self(Gate::new())
    }

    /// The same command on this console. Its standard input and output have to be said anew.
    pub(crate) fn command(&self, command: Command) -> Command {
        self.command_in_part(CONSOLE, &command)
    }

    pub(super) fn command_in_part(&self, part: &str, command: &Command) -> Command {
        let mut starts = Command::new(std::env::current_exe().expect("it has a path"));
        starts.arg(part).arg(self.0.port().to_string()).arg(command.get_program()).args(command.get_args());
        starts.current_dir(command.get_current_dir().expect("it has one"));
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => starts.env(variable, value),
                None => starts.env_remove(variable),
            };
        }
        alone(&mut starts);
        starts
    }

    /// Returns when it has been sent.
    pub(crate) fn ctrl_c(&self, _: &Running) {
        self.press();
    }

    pub(super) fn press(&self) {
        self.0.meet().let_go();
    }
}

/// Who does not care ends so. Under Wine that is an end like others.
pub(crate) fn ended_by_ctrl_c(status: ExitStatus) -> bool {
    matches!(status.code(), Some(STATUS_CONTROL_C_EXIT | 0))
}

/// Plays the part, if this process is started for it.
pub(super) fn play() {
    if let Some(mut command) = command_of(CONSOLE) {
        let mut child = command.spawn().expect("it can be started");
        exit(child.wait().expect("it ends").code().expect("all have one"));
    }
}

/// What is to be started in this part, and Ctrl-C is sent to from now on.
pub(super) fn command_of(part: &str) -> Option<Command> {
    let mut arguments = std::env::args_os().skip(1);
    arguments.next().filter(|argument| argument == part)?;
    let gate = arguments.next().and_then(|port| port.to_str()?.parse().ok()).expect("it is a port");
    ignore_requests();
    // Who leads a group does not hear Ctrl-C, nor does what it starts, unless it says so.
    // SAFETY: it takes two numbers.
    assert_ne!(unsafe { SetConsoleCtrlHandler(None, 0) }, 0, "{}", std::io::Error::last_os_error());
    std::thread::spawn(move || while press(gate).is_ok() {});
    let mut command = Command::new(arguments.next().expect("there is a command"));
    command.args(arguments);
    Some(command)
}

/// Comes to the gate, and sends Ctrl-C when it is let go.
fn press(gate: u16) -> std::io::Result<()> {
    let mut keyboard = TcpStream::connect((Ipv4Addr::LOCALHOST, gate))?;
    keyboard.read_exact(&mut [0])?;
    // SAFETY: it takes two numbers: all of this console.
    let sent = unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) };
    assert_ne!(sent, 0, "it can be sent: {}", std::io::Error::last_os_error());
    Ok(())
}
