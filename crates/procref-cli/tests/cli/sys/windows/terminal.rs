//! What a console shows. Nobody sees it, but who is on it can read it: the one that starts the command says all of it, again and
//! again.

use super::console::{Console, command_of};
use procref_tests::sandbox::PATIENCE;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::windows::io::AsRawHandle;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio, exit};
use std::time::{Duration, Instant};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, COORD, GetConsoleScreenBufferInfo, ReadConsoleOutputCharacterW,
};

/// As `CONSOLE`, but what is started has the console as its standard input and output.
const TERMINAL: &str = "terminal";

/// A terminal of its own, for one command in the foreground.
pub(crate) struct Terminal {
    console: Console,
    screen: String,
    shows: BufReader<ChildStdout>,
    child: Child,
}

impl Terminal {
    pub(crate) fn start(command: &Command) -> Self {
        let console = Console::new();
        let mut starts = console.command_in_part(TERMINAL, command);
        let mut child = starts.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it can be started");
        let shows = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { console, screen: String::new(), shows, child }
    }

    /// Reads until this is shown.
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.screen.contains(text) {
            assert!(self.read() && Instant::now() < deadline, "{text:?} is not shown: {:?}", self.screen);
        }
    }

    fn read(&mut self) -> bool {
        let mut screen = Vec::new();
        let read = self.shows.read_until(0, &mut screen).expect("it can be read");
        if read > 0 {
            self.screen = String::from_utf8(screen).expect("it is text");
        }
        read > 0
    }

    pub(crate) fn press_ctrl_c(&mut self) {
        self.console.press();
    }

    /// How that ended, and what was shown then.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.read() {
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.screen);
        }
        (self.child.wait().expect("it ends"), std::mem::take(&mut self.screen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays the part, if this process is started for it.
pub(super) fn play() {
    if let Some(command) = command_of(TERMINAL) {
        exit(show(command).expect("it can be shown"));
    }
}

fn show(mut command: Command) -> io::Result<i32> {
    let open = |name| File::options().read(true).write(true).open(name);
    let screen = open("CONOUT$")?;
    command.stdin(open("CONIN$")?).stdout(screen.try_clone()?).stderr(screen.try_clone()?);
    let mut child = command.spawn()?;
    loop {
        let ended = child.try_wait()?;
        io::stdout().write_all(format!("{}\0", text(&screen)?).as_bytes())?;
        if let Some(status) = ended {
            return Ok(status.code().expect("all have one"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All of it, down to the cursor, line after line without anything between them.
fn text(screen: &File) -> io::Result<String> {
    let mut size = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: the handle is open, and what is found is written to where it is kept.
    if unsafe { GetConsoleScreenBufferInfo(screen.as_raw_handle(), &raw mut size) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let cells = usize::from(size.dwSize.X.unsigned_abs()) * (1 + usize::from(size.dwCursorPosition.Y.unsigned_abs()));
    let (mut text, mut read) = (vec![0_u16; cells], 0);
    let (room, begin) = (text.as_mut_ptr(), COORD { X: 0, Y: 0 });
    // SAFETY: there is room for so many.
    if unsafe { ReadConsoleOutputCharacterW(screen.as_raw_handle(), room, cells as u32, begin, &raw mut read) } == 0 {
        return Err(io::Error::last_os_error());
    }
    text.truncate(read as usize);
    Ok(String::from_utf16_lossy(&text).trim_end().to_owned())
}
