//! Surroundings that mean no good: what is taken away, exhausted, squatted, given to somebody else, or stands still.
//!
//! Each test says what it has done in a line that begins with `proof:`. What this machine does not allow is named in a line
//! that begins with `not tested:`. What other tests cover is not here: foreign sets and folders of callbacks (`api`), sets
//! removed under callbacks and other users (`process`), refusals that are only told (`syscalls`, `proof`).

// The crate's documentation says why.
#![cfg(target_os = "linux")]

mod clients;
mod clock;
mod crowd;
mod folder;
mod frozen;
mod limits;
mod pids;
mod removed;
mod services;
mod squatted;
mod world;

use world::{Kind, Report, World, alone};
