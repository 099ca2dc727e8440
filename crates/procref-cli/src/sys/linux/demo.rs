//! What a demonstration needs of its processes.

use procref::process::Process;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Whether a process guards the service, which can be killed, too.
pub(crate) const HAS_GUARDIAN: bool = true;

/// What ends the service when its last client was killed.
pub(crate) const STOPPED_BY: &str = "the guardian";

/// How a process ends that is killed.
pub(crate) const KILLED: &str = "killed with SIGKILL";

/// What the kernel counts with.
pub(crate) const COUNTER: &str = "semaphore";

/// This program again.
pub(crate) fn this_program<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> io::Result<Command> {
    // Not by its path: that may be another program by now.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("procref").args(arguments);
    Ok(command)
}

/// Out of the reach of Ctrl-C.
pub(crate) fn apart(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Guardians, and a service whose starter was killed, are orphans. Where nobody else reaps them (in a container without an
/// init) they would stay as zombies.
///
/// # Errors
///
/// The system refuses.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Takes leave of an orphan that has ended.
pub(crate) fn reap(orphan: &Process) {
    if let Some(pid) = orphan.pid().try_into().ok().and_then(Pid::from_raw) {
        // It is not ours if somebody nearer has adopted it.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
