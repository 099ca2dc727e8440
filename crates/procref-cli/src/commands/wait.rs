//! `procref wait`.

use crate::cli::Outcome;
use crate::config;
use crate::exit;
use crate::out;
use crate::progress;
use crate::services::{ScopeOption, Services};
use crate::text;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service: as it is called in procref.toml, or by its full name. There need not be any of this name yet.
    name: String,
    #[command(flatten)]
    scope: ScopeOption,
    /// Wait until it has gone, instead of until it is ready.
    #[arg(long)]
    gone: bool,
    /// The longest time to wait; when it is over, the exit code is 124. Without it, for as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    timeout: Option<Duration>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?;
    let named = services.named_even_if_unknown(&args.name)?;
    let observed = &named.observed;
    let happened = match args.gone {
        true => progress::while_waiting(named.name(), "until it is gone", || observed.wait_until_gone(args.timeout))?,
        false => progress::while_waiting(named.name(), "until it is ready", || observed.wait_until_up(args.timeout))?,
    };
    if happened {
        return Ok(ExitCode::SUCCESS);
    }
    let what = if args.gone { "gone" } else { "ready" };
    let limit = args.timeout.unwrap_or_default();
    out::say(&format!("{} is not {what} after {limit:?}", text::line(named.name())));
    Ok(exit::TIMED_OUT.into())
}
