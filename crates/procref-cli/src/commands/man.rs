//! `procref man`: the manual pages.

use crate::cli::{self, Outcome};
use crate::out;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for each subcommand into this folder; without it, the main page goes to standard output.
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.dir {
        Some(folder) => {
            let cannot = |error| format!("cannot write the manual pages into {}: {error}", folder.display());
            fs::create_dir_all(folder).map_err(cannot)?;
            clap_mangen::generate_to(cli::description(), folder).map_err(cannot)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(cli::description()).render(&mut page)?;
            out::write(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
