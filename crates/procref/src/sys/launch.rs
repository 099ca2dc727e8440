//! What a guardian is given, on every system, and how this program's guardians are made.

use super::Witness;
use super::port;
use super::service::{Need, Program, Reports};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How a guardian is started.
#[derive(Debug)]
pub(super) enum WayIn {
    /// The program's `main` begins with [`main_if_asked`](super::guardian::main_if_asked).
    Myself,
    /// Another program's does.
    Companion(PathBuf),
}

/// How this program's guardians are made.
pub(super) static WAY_IN: OnceLock<WayIn> = OnceLock::new();

/// Names the program that is started as a guardian. `false`: it has been decided already.
pub(crate) fn use_companion(program: &Path) -> bool {
    WAY_IN.set(WayIn::Companion(program.to_owned())).is_ok()
}

/// A service to start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: Program,
    /// Where the service writes what it says.
    pub(crate) log: File,
    /// What is held for as long as the service lives.
    pub(crate) keep: Vec<port::Lock>,
    /// What the service holds by itself for as long as it lives.
    pub(crate) needs: Vec<Need>,
}

/// A command that asks a service to stop.
#[derive(Debug)]
pub(crate) struct Stopper {
    pub(crate) program: Program,
    /// Where it writes what it says.
    pub(crate) log: File,
}

/// A guardian that watches.
#[derive(Debug)]
pub(crate) struct Made {
    /// The second witness, where this process had none before.
    pub(crate) witness: Option<Witness>,
    /// What is said of the service that was to be started.
    pub(crate) reports: Reports,
}
