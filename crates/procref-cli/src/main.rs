//! The `procref` command: share one background service between many processes.

#![deny(unsafe_code)]

mod cli;
mod commands;
mod config;
mod declare;
mod demo;
mod execute;
mod exit;
mod folders;
mod json;
mod names;
mod out;
mod progress;
mod services;
mod sys;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    procref::guardian::init();
    cli::main()
}
