//! A log that many processes append to, so that a test can count what they did.

use crate::sandbox::PATIENCE;
use crate::sys;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which process wrote it.
    pub by: u32,
    /// What happened there.
    pub what: String,
    /// What it happened to.
    pub detail: String,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Events {
    path: PathBuf,
}

impl Events {
    /// The log in this file, which is made if it is missing.
    ///
    /// # Panics
    ///
    /// The file cannot be made.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        sys::append(&path, b"").expect("the log can be made");
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line, which is not mixed with others.
    ///
    /// # Panics
    ///
    /// The log cannot be written.
    pub fn add(&self, what: &str, detail: impl std::fmt::Display) {
        let line = format!("{} {what} {detail}\n", std::process::id());
        sys::append(&self.path, line.as_bytes()).expect("the log can be written");
    }

    /// All lines so far.
    ///
    /// # Panics
    ///
    /// The log cannot be read.
    #[must_use]
    pub fn all(&self) -> Vec<Event> {
        let text = std::fs::read_to_string(&self.path).expect("the log can be read");
        let event = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (by, what, detail) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
            Some(Event { by, what: what.into(), detail: detail.into() })
        };
        text.lines().filter_map(event).collect()
    }

    /// The lines of this kind so far.
    #[must_use]
    pub fn of(&self, what: &str) -> Vec<Event> {
        self.all().into_iter().filter(|event| event.what == what).collect()
    }

    /// How many lines of this kind there are so far.
    #[must_use]
    pub fn count(&self, what: &str) -> usize {
        self.of(what).len()
    }

    /// Waits until there are `count` lines of this kind, and returns the last of them.
    ///
    /// # Panics
    ///
    /// They do not come.
    pub fn wait_for(&self, what: &str, count: usize) -> Event {
        let deadline = Instant::now() + PATIENCE;
        let changes = sys::Changes::of(&self.path);
        loop {
            if let Some(event) = self.of(what).into_iter().nth(count.saturating_sub(1)) {
                return event;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {count} × {what:?} in {:?}", self.all());
            changes.wait(left);
        }
    }
}
