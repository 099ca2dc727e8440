//! `procref init`: a procref.toml to begin with.

use crate::cli::Outcome;
use crate::config::{Known, template};
use crate::out;
use clap::ValueEnum;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service; without it, all are listed that procref knows.
    kind: Option<Known>,
    /// Write it to standard output instead of ./procref.toml.
    #[arg(long)]
    stdout: bool,
    /// Replace a procref.toml that is there.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let Some(kind) = args.kind else {
        let list: String = Known::value_variants().iter().map(|kind| format!("{}\n", kind.name())).collect();
        out::write(&list)?;
        return Ok(ExitCode::SUCCESS);
    };
    let text = template(kind);
    if args.stdout {
        out::write(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = Path::new("procref.toml");
    let written = if args.force { replace(path, text) } else { create(path, text) };
    match written {
        Ok(()) => {
            out::say("wrote procref.toml");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err("there is a procref.toml here already; --force replaces it, --stdout only shows the new one".into())
        }
        Err(error) => Err(format!("cannot write procref.toml: {error}").into()),
    }
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    File::create_new(path)?.write_all(text.as_bytes())
}

/// Whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("toml.{}", std::process::id()));
    let written = create(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}
