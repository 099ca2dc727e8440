//! "Whatever is killed, in whatever order", made a thing that is run: every role that a process can play is killed at every
//! system call that it makes, every call fails in every way that its manual lists, and what was promised is looked at afterwards.
//!
//! By itself a fair share of all cases runs, the same ones every time; with `PROCREF_PROOF=full` all of them do. Each test
//! says what it has done in a line that begins with `proof:`; `scripts/prove` makes the table in docs/proof.md of them.

// The crate's documentation says why.
#![cfg(target_os = "linux")]

#[cfg(target_arch = "x86_64")]
mod fail;
mod full;
mod kill;
mod meet;
mod remove;
mod roles;
mod stage;
