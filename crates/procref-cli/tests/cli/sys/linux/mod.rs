//! Linux.

mod terminal;

pub(crate) use terminal::Terminal;

use crate::kit::Running;
use crate::part;
use procref_tests::sys::alone;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

pub(crate) const HOMES: [&str; 2] = ["HOME", "HOME"];

pub(crate) const CONFIG_SHOWN: &str = "~/.config/procref";

pub(crate) const SPLIT: &str = "words are split as a shell does it";

pub(crate) const CHECKS: &[&str] =
    &["semaphores", "undo", "pidfd", "IPC namespace", "PID namespace", "runtime folder", "state folder", "leftovers"];

/// The command itself, which procref has become.
pub(crate) fn holder_name() -> String {
    let this = std::env::current_exe().expect("it has a path");
    let name = this.file_name().and_then(|name| name.to_str()).expect("it is text");
    name.chars().take(15).collect()
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        part::play();
    }
    before_main
};

/// A job of its own, as a shell starts it: Ctrl-C reaches all that is in it.
pub(crate) struct Console;

impl Console {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn command(&self, mut command: Command) -> Command {
        alone(&mut command);
        command
    }

    pub(crate) fn ctrl_c(&self, running: &Running) {
        kill_process_group(Pid::from_child(&running.0), Signal::INT).expect("it is there");
    }
}

pub(crate) fn ended_by_ctrl_c(status: ExitStatus) -> bool {
    status.signal() == Some(2)
}
