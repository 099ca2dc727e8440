//! `procref run`: as `procref with`, for a service that is declared on the command line.

use crate::cli::Outcome;
use crate::config::{self, Options, Scope};
use crate::execute::{check, execute};
use crate::services::{ScopeOption, Services};
use crate::sys;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    scope: ScopeOption,
    #[arg(last = true, help = sys::help::COMMAND, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let here = std::env::current_dir().map_err(|error| format!("cannot tell in which folder this is: {error}"))?;
    let project = config::project(&here).unwrap_or_else(|| here.clone());
    let scope = args.scope.scope.unwrap_or(Scope::Project);
    let declared = config::declare(&args.options, scope, &project, &here)?;
    let name = declared.name.clone();
    let services = Services::alone(declared, args.scope)?.with_a_run();
    let service = services.service(&name)?;
    if let Some(code) = check(&args.command).filter(|_| !service.config.env.contains_key("PATH")) {
        return Ok(code);
    }
    let handle = service.acquire()?;
    let ports = service.ports(handle.info())?;
    let first = service.config.ports.first().and_then(|port| ports.get(&port.name));
    let mut variables: BTreeMap<String, OsString> = BTreeMap::new();
    variables.extend(services.new_run().map(|(name, run)| (name.to_owned(), run.into())));
    variables.extend(first.map(|number| ("PROCREF_PORT".to_owned(), number.to_string().into())));
    variables.extend(ports.iter().map(|(name, number)| (port_variable(name), number.to_string().into())));
    variables.extend(service.environment(handle.info())?);
    let variables = variables.iter().map(|(name, value)| (OsStr::new(name), value.as_os_str()));
    execute(vec![handle], variables, &args.command)
}

/// `PROCREF_PORT_PEER_PORT` for `peer-port`.
fn port_variable(port: &str) -> String {
    format!("PROCREF_PORT_{}", port.to_ascii_uppercase().replace('-', "_"))
}
