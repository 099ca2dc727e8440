//! `procref with`: a command that has services while it runs.

use crate::cli::Outcome;
use crate::execute::{check, execute};
use crate::services::{ScopeOption, Service, Services};
use crate::sys;
use std::ffi::{OsStr, OsString};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services of procref.toml, as they are called there.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    scope: ScopeOption,
    #[arg(last = true, help = sys::help::COMMAND, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?.with_a_run();
    // All that can be wrong is found before anything is started.
    let wanted: Vec<Service> = args.names.iter().map(|name| services.service(name)).collect::<Result<_, _>>()?;
    let moves = wanted.iter().any(|service| service.config.env.contains_key("PATH"));
    if let Some(code) = check(&args.command).filter(|_| !moves) {
        return Ok(code);
    }
    let mut variables: Vec<(String, OsString)> = Vec::new();
    variables.extend(services.new_run().map(|(name, run)| (name.to_owned(), run.into())));
    let mut handles = Vec::new();
    for service in &wanted {
        let handle = service.acquire()?;
        variables.extend(service.environment(handle.info())?);
        handles.push(handle);
    }
    let variables = variables.iter().map(|(name, value)| (OsStr::new(name), value.as_os_str()));
    execute(handles, variables, &args.command)
}
