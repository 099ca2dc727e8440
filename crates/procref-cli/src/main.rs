//! The `procref` command: share one background service between many processes.

#![forbid(unsafe_code)]

mod cli;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the commands that read procref.toml come next"))]
mod config;
mod demo;
mod exit;

use std::process::ExitCode;

fn main() -> ExitCode {
    procref::guardian::init();
    cli::main()
}
