//! What is printed: when, who, what, and the kernel's count.

use anstyle::{AnsiColor, Style};
use std::io::{self, Write};
use std::time::{Duration, Instant};

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// What a line is about, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Kill,
    Good,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Kill => AnsiColor::Red.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Timeline {
    begin: Instant,
    pause: Duration,
}

impl Timeline {
    pub(super) fn new(pause: Duration) -> Self {
        Self { begin: Instant::now(), pause }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Lets people read; nothing depends on it.
    pub(super) fn pause(&self) {
        std::thread::sleep(self.pause);
    }

    pub(super) fn text(&self, text: &str) -> io::Result<()> {
        writeln!(anstream::stdout().lock(), "{BOLD}{text}{BOLD:#}")
    }

    pub(super) fn event(&self, tone: Tone, who: &str, what: &str, count: u32) -> io::Result<()> {
        let (time, style) = (self.elapsed().as_secs_f64(), tone.style());
        let out = anstream::stdout();
        writeln!(out.lock(), "{DIM}{time:7.3} s{DIM:#}  {who:<10} {style}{what:<62}{style:#} {DIM}count{DIM:#} {count}")
    }
}
