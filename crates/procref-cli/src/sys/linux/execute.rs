//! Becoming COMMAND.

use crate::sys::NotRun;
use procref::blocking::ServiceHandle;
use rustix::fs::Access;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Whether there is such a program, and it may be executed.
///
/// # Errors
///
/// As exec(3) would say it.
pub(crate) fn can_be_run(program: &OsStr) -> io::Result<()> {
    let candidates: Vec<_> = if program.as_encoded_bytes().contains(&b'/') {
        vec![PathBuf::from(program)]
    } else {
        // As execvp(3) has it.
        let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
        std::env::split_paths(&folders).map(|folder| folder.join(program)).collect()
    };
    let can_be_run = |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    if candidates.iter().any(can_be_run) {
        return Ok(());
    }
    let errno = if candidates.iter().any(|path| path.exists()) { Errno::ACCESS } else { Errno::NOENT };
    Err(errno.into())
}

/// Becomes the command: returns only if that cannot be done. The references are the command's then, and the kernel takes
/// them back when it ends, however it ends.
///
/// It inherits all that this process has inherited. SIGPIPE, which Rust programs ignore, is as it is for others again.
pub(crate) fn execute<'a>(
    handles: Vec<ServiceHandle>,
    variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    program: &OsStr,
    arguments: &[OsString],
) -> NotRun {
    match handles.into_iter().try_for_each(ServiceHandle::keep) {
        Ok(()) => NotRun::Command(Command::new(program).args(arguments).envs(variables).exec()),
        Err(error) => NotRun::Procref(error.into()),
    }
}

/// How words are split.
pub(crate) const SPLIT: &str = "words are split as a shell does it";

/// How a command begins that a shell reads.
pub(crate) const SHELL: &str = r#"["sh", "-c", "…"]"#;

/// As a shell does it, by quotes and backslashes. `None`: a quote has no partner.
pub(crate) fn words(line: &str) -> Option<Vec<String>> {
    shlex::split(line)
}
