//! The command line: which subcommands there are, and what becomes of an error.

use crate::commands::{completions, doctor, gc, hold, init, logs, man, run, status, stop, wait, with};
use crate::{demo, exit, out, sys, text};
use clap::{CommandFactory, Parser, Subcommand};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// What a subcommand comes to; an error is procref's own failure.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error + Send + Sync>>;

/// Share one background service between many processes: the first one starts it, the last one to go stops it.
#[derive(Debug, Parser)]
#[command(name = "procref", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes of `with` and `run`: COMMAND's own; 125 if procref itself failed, 126 if COMMAND cannot be executed, 127 if there is no such command.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command that has services of procref.toml while it runs.
    With(with::Args),
    /// Run a command that has a service while it runs, which is declared right here.
    Run(Box<run::Args>),
    /// Show which services there are, and who is with them.
    Status(status::Args),
    /// Hold services until standard input ends, or until Ctrl-C.
    Hold(hold::Args),
    /// Stop a service that nobody holds, or by force any.
    Stop(stop::Args),
    /// Show what a service has written.
    Logs(logs::Args),
    /// Wait until a service is ready, or gone.
    Wait(wait::Args),
    /// Finish what killed processes have left.
    Gc(gc::Args),
    /// Say whether procref works here, and what to do if it does not.
    Doctor(doctor::Args),
    #[command(about = sys::help::DEMO)]
    Demo(demo::Args),
    /// Write a procref.toml for a service that procref knows.
    Init(init::Args),
    /// Print what a shell needs to complete procref's command line.
    Completions(completions::Args),
    /// Print the manual page, or write all of them into a folder.
    Man(man::Args),
}

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::FAILED } else { 0 };
            let plain = error.render().to_string();
            // What comes from outside is quoted in it.
            if text::lines(&plain) == plain {
                // Nobody is left to be told.
                let _ = error.print();
            } else {
                let _ = write!(anstream::stderr(), "{}", text::lines(&plain));
            }
            return code.into();
        }
    };
    let outcome = match cli.command {
        Command::With(args) => with::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Hold(args) => hold::run(&args),
        Command::Stop(args) => stop::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::Wait(args) => wait::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Init(args) => init::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    outcome.unwrap_or_else(|error| {
        let unread = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        // Who read standard output has seen enough.
        if !unread {
            out::say(&text::lines(&error.to_string()));
        }
        exit::FAILED.into()
    })
}

/// The command line, for what describes it to others.
pub(crate) fn description() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        description().debug_assert();
    }
}
