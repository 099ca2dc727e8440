//! Linux: System V semaphores with `SEM_UNDO`, pidfds, and a guardian that is started or forked.

mod detach;
pub(crate) mod folder;
pub(crate) mod guardian;
pub(crate) mod hints;
mod memory;
mod pid;
pub(crate) mod probe;
mod process;
mod raw;
pub(crate) mod service;
mod set;
mod sysv_sem;
mod title;
pub(crate) mod watch;
mod witness;

pub(crate) use pid::current_pid;
pub(crate) use process::{
    Process, Signal, namespace_fingerprint, start_time, stop, stop_apart, stop_asked, time_until,
};
pub(crate) use set::{Set, undo_works};
pub(crate) use sysv_sem::SetError;
pub(crate) use witness::{Floor, Holder, Witness, holders};
