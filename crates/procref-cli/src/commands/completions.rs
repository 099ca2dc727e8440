//! `procref completions`: what a shell needs to know to complete a command line.

use crate::cli::{self, Outcome};
use crate::out;
use clap_complete::Shell;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::description(), "procref", &mut script);
    out::write(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
