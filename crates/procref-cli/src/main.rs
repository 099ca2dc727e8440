//! The `procref` command: share one background service between many processes.

#![forbid(unsafe_code)]

mod cli;
mod demo;
mod exit;

use std::process::ExitCode;

fn main() -> ExitCode {
    procref::guardian::init();
    cli::main()
}
