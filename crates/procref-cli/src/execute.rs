//! Becoming the command that somebody wants to run, with the references that were taken for it.

use crate::cli::Outcome;
use crate::exit;
use crate::out;
use crate::text;
use procref::blocking::ServiceHandle;
use rustix::fs::Access;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Says that the program cannot be run, before anything is started for it, as far as that can be known.
pub(crate) fn check(command: &[OsString]) -> Option<ExitCode> {
    let program = command.first()?;
    let candidates: Vec<_> = if program.as_encoded_bytes().contains(&b'/') {
        vec![PathBuf::from(program)]
    } else {
        // As execvp(3) has it.
        let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
        std::env::split_paths(&folders).map(|folder| folder.join(program)).collect()
    };
    let can_be_run = |path: &PathBuf| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
    if candidates.iter().any(can_be_run) {
        return None;
    }
    let errno = if candidates.iter().any(|path| path.exists()) { Errno::ACCESS } else { Errno::NOENT };
    Some(failed(program, &errno.into()))
}

/// Becomes the command: returns only if that cannot be done. The references are the command's then, and the kernel takes
/// them back when it ends, however it ends.
///
/// It inherits all that this process has inherited. SIGPIPE, which Rust programs ignore, is as it is for others again.
pub(crate) fn execute<'a>(
    handles: Vec<ServiceHandle>,
    variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    command: &[OsString],
) -> Outcome {
    let Some((program, arguments)) = command.split_first() else { return Err("there is no command to run".into()) };
    handles.into_iter().try_for_each(ServiceHandle::keep)?;
    let error = Command::new(program).args(arguments).envs(variables).exec();
    Ok(failed(program, &error))
}

/// As `env` and `timeout` have it.
fn failed(program: &OsStr, error: &io::Error) -> ExitCode {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let shown = text::line(&program.to_string_lossy());
    out::say(&format!("cannot run `{shown}`: {}", text::line(&error.to_string())));
    if missing { exit::NOT_FOUND.into() } else { exit::CANNOT_EXECUTE.into() }
}
