//! What somebody at a terminal sees, and Ctrl-C as a terminal sends it.

use crate::kit::{Project, SIMPLE, SLOW};
use procref_tests::sandbox::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

struct Terminal {
    keyboard: File,
    screen: String,
    child: Child,
}

impl Terminal {
    /// The command with a terminal of its own, which it is in the foreground of.
    fn start(command: &Command) -> Self {
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
    fn wait_for(&mut self, text: &str) {
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

    fn press_ctrl_c(&mut self) {
        self.keyboard.write_all(b"\x03").expect("it is there");
    }

    fn end(mut self) -> (ExitStatus, String) {
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

#[test]
fn who_waits_is_told_for_how_long() {
    let project = Project::new(SLOW);
    let mut terminal = Terminal::start(&project.procref(["with", "@db", "--", "true"]));
    let _starts = project.gate.meet();
    terminal.wait_for(&project.text("waiting for @db: start-up 1 s …"));
    terminal.wait_for("2 s …");
    terminal.press_ctrl_c();
    let (status, screen) = terminal.end();
    assert_eq!(status.signal(), Some(2), "{screen:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn what_was_told_goes_away() {
    let project = Project::new(SLOW);
    let mut terminal = Terminal::start(&project.procref(["with", "@db", "--", "echo", "it is there"]));
    let starts = project.gate.meet();
    terminal.wait_for("start-up 1 s …");
    starts.let_go();
    let (status, screen) = terminal.end();
    assert!(status.success());
    assert!(screen.ends_with("\r\x1b[Kit is there\r\n"), "{screen:?}");
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_hold_says_what_it_holds_until_ctrl_c() {
    let project = Project::new(SIMPLE);
    let mut terminal = Terminal::start(&project.procref(["hold", "@db"]));
    terminal.wait_for(&project.text("procref: holds @db, pid "));
    terminal.press_ctrl_c();
    let (status, screen) = terminal.end();
    assert!(status.success(), "{status} {screen:?}");
    assert!(project.sandbox.objects().is_empty(), "it has waited for the stop");
    project.sandbox.assert_nothing_left();
}

#[test]
fn a_live_table_is_redrawn_until_ctrl_c() {
    let project = Project::new(SIMPLE);
    let mut terminal = Terminal::start(&project.procref(["status", "--watch", "@db"]));
    terminal.wait_for("stopped");
    let mut client = project.procref(["with", "@db", "--", "cat"]);
    let mut client = crate::kit::Running::start(client.stdin(std::process::Stdio::piped()));
    client.echo("it is cat by now");
    terminal.wait_for(" up ");
    terminal.press_ctrl_c();
    let (status, screen) = terminal.end();
    assert_eq!(status.signal(), Some(2));
    assert!(screen.starts_with("\x1b[HNAME") && screen.contains("\x1b[K\r\n"), "{screen:?}");
    drop(client.0.stdin.take());
    client.end(&project).assert_ok();
    project.sandbox.assert_nothing_left();
}

#[test]
fn colour_only_where_it_is_wanted() {
    let project = Project::new("");
    let (_, coloured) = Terminal::start(&project.procref(["doctor"])).end();
    assert!(coloured.contains("\x1b[32mok"), "{coloured:?}");
    let (_, plain) = Terminal::start(project.procref(["doctor"]).env("NO_COLOR", "1")).end();
    assert!(plain.contains("ok ") && !plain.contains('\x1b'), "{plain:?}");
}
