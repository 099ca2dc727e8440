//! What somebody who looks at a terminal is told while nothing happens.

use crate::sys;
use crate::text;
use std::io::{IsTerminal, Write, stderr};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Who waits for less than this is told nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says each second on a terminal for how long `work` has been waited for, and takes it away in the end.
pub(crate) fn while_waiting<T>(what: &str, doing: &str, work: impl FnOnce() -> T) -> T {
    if !is_shown() {
        return work();
    }
    let (done, waits) = channel::<()>();
    let line = format!("waiting for {}: {doing}", text::line(what));
    let began = Instant::now();
    let teller = std::thread::spawn(move || {
        let mut said = false;
        while let Err(RecvTimeoutError::Timeout) = waits.recv_timeout(PATIENCE) {
            let _ = write!(stderr(), "\r\x1b[K{line} {} s …", began.elapsed().as_secs());
            said = true;
        }
        if said {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    });
    let result = work();
    drop(done);
    let _ = teller.join();
    result
}

/// Whether anybody looks on who can see a line go away.
pub(crate) fn is_shown() -> bool {
    stderr().is_terminal() && sys::terminal_obeys()
}
