//! Running the command that somebody wants to run, with the references that were taken for it.

use crate::cli::Outcome;
use crate::exit;
use crate::out;
use crate::sys::{self, NotRun};
use crate::text;
use procref::blocking::ServiceHandle;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitCode;

/// Says that the program cannot be run, before anything is started for it, as far as that can be known.
pub(crate) fn check(command: &[OsString]) -> Option<ExitCode> {
    let program = command.first()?;
    sys::can_be_run(program).err().map(|error| failed(program, &error))
}

/// The command takes this process's place: returns only if that cannot be done. The references are the command's then, until
/// it ends, however it ends.
pub(crate) fn execute<'a>(
    handles: Vec<ServiceHandle>,
    variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    command: &[OsString],
) -> Outcome {
    let Some((program, arguments)) = command.split_first() else { return Err("there is no command to run".into()) };
    match sys::execute(handles, variables, program, arguments) {
        NotRun::Command(error) => Ok(failed(program, &error)),
        NotRun::Procref(error) => Err(error),
    }
}

/// As `env` and `timeout` have it.
fn failed(program: &OsStr, error: &io::Error) -> ExitCode {
    let missing = error.kind() == io::ErrorKind::NotFound;
    let shown = text::line(&program.to_string_lossy());
    out::say(&format!("cannot run `{shown}`: {}", text::line(&error.to_string())));
    if missing { exit::NOT_FOUND.into() } else { exit::CANNOT_EXECUTE.into() }
}
