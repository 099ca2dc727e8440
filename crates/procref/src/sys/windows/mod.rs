//! Windows: named objects whose handles the kernel counts, a job that ends the service with its last client, and a guardian
//! process for what lingers.

mod directory;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod guardian;
pub(crate) mod hints;
mod job;
mod object;
pub(crate) mod port;
pub(crate) mod probe;
mod process;
pub(crate) mod program;
mod record;
pub(crate) mod service;
mod set;
mod spawn;
mod stop;
pub(crate) mod watch;
mod witness;
pub(crate) mod words;

pub(crate) use process::{Process, is_limit, namespace_fingerprint, start_time, time_until};
pub(crate) use set::{Set, SetError, WHO_REMOVES_SETS, undo_works};
pub(crate) use stop::{FORCE, Signal, signal_number, stop, stop_apart, stop_asked};
pub(crate) use witness::{Floor, Holder, Witness, holders};

/// This process's number.
pub(crate) fn current_pid() -> u32 {
    std::process::id()
}
