//! What a demonstration needs of its processes.

use procref::process::Process;
use std::ffi::OsStr;
use std::io;
use std::os::windows::process::CommandExt;
use std::process::Command;
use windows_sys::Win32::System::Threading::{CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW};

/// The kernel itself guards the service: it is in a job that only its clients hold.
pub(crate) const HAS_GUARDIAN: bool = false;

/// What ends the service when its last client was killed.
pub(crate) const STOPPED_BY: &str = "the kernel";

/// How a process ends that is killed.
pub(crate) const KILLED: &str = "killed with TerminateProcess";

/// What the kernel counts with.
pub(crate) const COUNTER: &str = "kernel object";

/// This program again.
///
/// # Errors
///
/// The system does not say where it is.
pub(crate) fn this_program<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    Ok(command)
}

/// Out of the reach of Ctrl-C, and where it can be asked to end without anybody else.
pub(crate) fn apart(command: &mut Command) -> &mut Command {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW)
}

/// There are no zombies here.
///
/// # Errors
///
/// None.
#[expect(clippy::unnecessary_wraps, reason = "other systems refuse")]
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// There are no zombies here.
pub(crate) fn reap(_: &Process) {}
