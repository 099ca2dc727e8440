//! The command line: which subcommands there are, and what becomes of an error.

use crate::{demo, exit};
use clap::{Parser, Subcommand};
use std::error::Error;
use std::process::ExitCode;

/// What a subcommand comes to; an error is procref's own failure.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// Share one background service between many processes: the first one starts it, the last one to go stops it.
#[derive(Debug, Parser)]
#[command(name = "procref", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what procref does, with real processes and real SIGKILLs; takes a few seconds.
    Demo(demo::Args),
}

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::FAILED } else { 0 };
            // Nobody is left to be told.
            let _ = error.print();
            return code.into();
        }
    };
    let outcome = match cli.command {
        Command::Demo(args) => demo::run(args),
    };
    outcome.unwrap_or_else(|error| {
        anstream::eprintln!("procref: {error}");
        exit::FAILED.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
