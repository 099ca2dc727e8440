//! Terminals: pty(7).

use procref_tests::sandbox::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

/// A terminal of its own, for one command in the foreground.
pub(crate) struct Terminal {
    keyboard: File,
    screen: String,
    child: Child,
}

impl Terminal {
    /// The command with a terminal of its own, which it is in the foreground of.
    pub(crate) fn start(command: &Command) -> Self {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there are terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let path = ptsname(&master, Vec::new()).expect("it has a name");
        let open = || {
            File::options().read(true).write(true).open(path.to_str().expect("it is text")).expect("it can be opened")
        };
        // It makes standard input its terminal, and becomes the command.
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args());
        leader.current_dir(command.get_current_dir().expect("it has one"));
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(variable, value),
                None => leader.env_remove(variable),
            };
        }
        leader.env("TERM", if command.get_envs().any(|(name, _)| name == "DUMB") { "dumb" } else { "xterm" });
        let child = leader.stdin(open()).stdout(open()).stderr(open()).spawn().expect("there is setsid");
        Self { keyboard: File::from(master), screen: String::new(), child }
    }

    /// Reads until this has been shown.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.screen.contains(text) {
            assert!(self.read(deadline), "{text:?} is not shown: {:?}", self.screen);
        }
    }

    fn read(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let ready = poll(&mut [PollFd::new(&self.keyboard, PollFlags::IN)], Some(&time)).expect("it can be waited for");
        let mut buffer = [0; 4096];
        // When the last process has closed the terminal, reading fails.
        let read = if ready > 0 { self.keyboard.read(&mut buffer).unwrap_or(0) } else { 0 };
        self.screen += &String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
        read > 0
    }

    pub(crate) fn press_ctrl_c(&mut self) {
        self.keyboard.write_all(b"\x03").expect("it is there");
    }

    /// How that ended, and all that was shown.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.read(deadline) {}
        (self.child.wait().expect("it ends"), std::mem::take(&mut self.screen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
