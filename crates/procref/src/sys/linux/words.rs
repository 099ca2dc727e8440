//! What people call things here.

/// The object that [`Set`](super::Set) is.
pub(crate) const SET: &str = "semaphore set";
/// The object that [`Witness`](super::Witness) is.
pub(crate) const WITNESS: &str = "pipe";
/// What is done to a process to make it end.
pub(crate) const SIGNAL: &str = "signal";
/// The last of it.
pub(crate) const FORCE: &str = "SIGKILL";
/// The command for that, before the process's number.
pub(crate) const KILL: &str = "kill";
/// How a process hangs that does not end even then.
pub(crate) const HANGS: &str = "hang in the kernel (state D in `ps`)";
