//! Surroundings that mean no good: what is taken away, exhausted, squatted, given to somebody else, or stands still.
//!
//! Each test says what it has done in a line that begins with `proof:`, and which promises it looks at. What this machine does not allow
//! is named in a line that begins with `not tested:`. What other tests cover is not here:
//!
//! | surroundings | tests |
//! |---|---|
//! | callbacks' sets removed | `process`: `surroundings`; `api`: `removed` |
//! | foreign sets under a callback's key, of other users, layouts, namespaces | `api`: `foreign` |
//! | folders and files of callbacks | `api`: `folder` |
//! | other users, other IPC namespaces | `process`: `surroundings` |
//! | services that ignore SIGTERM, orphans of all kinds | `declared`; `process`: `guardian`, `killed` |
//! | refusals that are only told, sandboxes | `syscalls`: `broken`; `proof`: `fail`, `full` |
//! | a set removed at every step | `proof`: `remove` |

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

use world::{Kind, Promise, Report, World, alone};
