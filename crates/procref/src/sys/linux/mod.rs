//! Linux: System V semaphores with `SEM_UNDO`, pidfds, and a guardian that is started or forked.

mod detach;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod guardian;
pub(crate) mod hints;
mod memory;
mod pid;
pub(crate) mod port;
pub(crate) mod probe;
mod process;
pub(crate) mod program;
mod raw;
pub(crate) mod service;
mod set;
mod sysv_sem;
mod title;
pub(crate) mod watch;
mod witness;
pub(crate) mod words;

pub(crate) use pid::current_pid;
pub(crate) use process::{
    FORCE, Process, Signal, is_limit, namespace_fingerprint, signal_number, start_time, stop, stop_apart, stop_asked,
    time_until,
};
pub(crate) use set::{Set, WHO_REMOVES_SETS, undo_works};
pub(crate) use sysv_sem::SetError;
pub(crate) use witness::{Floor, Holder, Witness, holders};
