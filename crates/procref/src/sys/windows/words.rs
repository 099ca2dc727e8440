//! What people call things here.

/// The object that [`Set`](super::Set) is.
pub(crate) const SET: &str = "kernel's record";
/// The object that [`Witness`](super::Witness) is.
pub(crate) const WITNESS: &str = "job";
/// What is done to a process to make it end.
pub(crate) const SIGNAL: &str = "end";
/// The last of it.
pub(crate) const FORCE: &str = "TerminateProcess";
/// The command for that, before the process's number.
pub(crate) const KILL: &str = "taskkill /f /pid";
/// How a process hangs that does not end even then.
pub(crate) const HANGS: &str = "hang in a driver";
