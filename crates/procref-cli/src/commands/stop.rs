//! `procref stop`.

use super::status::who;
use crate::cli::Outcome;
use crate::json::Service;
use crate::out;
use crate::progress;
use crate::services::{ScopeOption, Services};
use crate::text;
use procref::ErrorKind;
use procref::observe::Stopped;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service: as it is called in procref.toml, or by its full name.
    name: String,
    #[command(flatten)]
    scope: ScopeOption,
    /// Stop it also while processes hold it. They are not asked.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?;
    let named = services.named(&args.name)?;
    let (observed, ladder) = named.to_be_stopped(services.folders())?;
    let stop = || observed.stop(&ladder, args.force);
    let name = text::line(named.name());
    match progress::while_waiting(named.name(), "stop", stop) {
        Ok(Stopped::NotRunning) => out::say(&format!("{name} does not run")),
        Ok(_) => out::say(&format!("{name} has stopped")),
        Err(error) if error.kind() == ErrorKind::InUse => {
            let who = who(&Service::look(&named.observed)).unwrap_or_else(|| "somebody".to_owned());
            return Err(format!("{name} is in use by {who}; --force stops it all the same").into());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}
