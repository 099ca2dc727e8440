//! `procref hold`: services that are wanted for as long as this process is.

use crate::cli::Outcome;
use crate::out;
use crate::progress;
use crate::services::{ScopeOption, Service, Services};
use crate::sys::Asked;
use crate::text;
use procref::blocking::ServiceHandle;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services of procref.toml, as they are called there.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    scope: ScopeOption,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?;
    let wanted: Vec<Service> = args.names.iter().map(|name| services.service(name)).collect::<Result<_, _>>()?;
    let mut held = Vec::new();
    // Who is asked to end meanwhile ends, and the kernel takes back what there is.
    for service in &wanted {
        held.push((service, service.acquire()?));
    }
    let asked = Asked::listen()?;
    if progress::is_shown() {
        held.iter().for_each(|(service, handle)| out::say(&text::line(&holds(service, handle))));
    }
    asked.wait().map_err(|error| format!("cannot wait: {error}"))?;
    asked.end_at_the_next();
    let mut failed = Vec::new();
    // Who needs others goes first.
    for (service, handle) in held.into_iter().rev() {
        let released = progress::while_waiting(&service.identity.name, "stop", || handle.release());
        failed.extend(released.err().map(|error| error.to_string()));
    }
    if failed.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(failed.join("\nprocref: ").into()) }
}

fn holds(service: &Service, handle: &ServiceHandle) -> String {
    let ports = service.ports(handle.info()).unwrap_or_default();
    let ports: String = ports.iter().map(|(name, number)| format!(", {name} {number}")).collect();
    let pid = handle.info().pid().map(|pid| format!(", pid {pid}")).unwrap_or_default();
    format!("holds {}{pid}{ports}", service.identity.name)
}
