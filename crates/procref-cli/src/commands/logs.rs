//! `procref logs`: what a service has written.

use crate::cli::Outcome;
use crate::services::{ScopeOption, Services};
use crate::sys::{self, Watch};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service: as it is called in procref.toml, or by its full name.
    name: String,
    #[command(flatten)]
    scope: ScopeOption,
    /// Go on, and show what is written.
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines, so many of them.
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?;
    let named = services.named(&args.name)?;
    let path = named.log(services.folders())?;
    let file = match File::open(&path) {
        Ok(file) => Some(file),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && args.follow && path.parent().is_some_and(Path::is_dir) =>
        {
            None
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{} has no log: there is no {}", named.name(), path.display()).into());
        }
        Err(error) => return Err(format!("cannot read the log {}: {error}", path.display()).into()),
    };
    let mut log = Log { path, file, at: 0, stdout: io::stdout() };
    // Before the first look: what is written in between is an event.
    let follow = args.follow.then(|| log.watch()).transpose()?;
    if let Some(lines) = args.lines {
        log.skip_to_last(lines)?;
    }
    log.show_rest()?;
    if let Some(events) = follow {
        log.follow(&events)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Log {
    path: PathBuf,
    file: Option<File>,
    /// How far it has been shown.
    at: u64,
    stdout: Stdout,
}

impl Log {
    /// Goes to where the last lines begin. A line that does not end yet is one.
    fn skip_to_last(&mut self, lines: usize) -> io::Result<()> {
        const BLOCK: u64 = 64 << 10;
        let Some(file) = &mut self.file else { return Ok(()) };
        let end = file.metadata()?.len();
        if lines == 0 {
            self.at = end;
            return Ok(());
        }
        let (mut block_end, mut found) = (end, 0);
        let mut block = Vec::new();
        while block_end > 0 {
            let begin = block_end.saturating_sub(BLOCK);
            file.seek(SeekFrom::Start(begin))?;
            block.clear();
            file.take(block_end - begin).read_to_end(&mut block)?;
            for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = begin + index as u64 + 1;
                // The newline at the very end ends the last line, and begins none.
                if after == end {
                    continue;
                }
                found += 1;
                if found == lines {
                    self.at = after;
                    return Ok(());
                }
            }
            block_end = begin;
        }
        Ok(())
    }

    /// Shows what there is beyond what has been shown.
    fn show_rest(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.metadata()?.len() < self.at {
            // It was cut off, and has begun anew.
            self.at = 0;
        }
        file.seek(SeekFrom::Start(self.at))?;
        self.at += io::copy(file, &mut self.stdout)?;
        self.stdout.flush()
    }

    /// Whatever happens in the log's folder is a reason to look: also that the log is moved away, and another one is made.
    fn watch(&self) -> Result<Watch, Box<dyn Error + Send + Sync>> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        Ok(Watch::new(folder).map_err(|error| format!("cannot watch {}: {error}", folder.display()))?)
    }

    fn follow(&mut self, events: &Watch) -> Result<(), Box<dyn Error + Send + Sync>> {
        loop {
            events.wait()?;
            self.show_rest()?;
            self.look_for_another()?;
        }
    }

    /// The log was replaced: what the old one still got has been shown.
    fn look_for_another(&mut self) -> io::Result<()> {
        let new = match File::open(&self.path) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let same = self.file.as_ref().is_some_and(|old| sys::same_file(old, &new));
        if !same {
            self.file = Some(new);
            self.at = 0;
            self.show_rest()?;
        }
        Ok(())
    }
}
