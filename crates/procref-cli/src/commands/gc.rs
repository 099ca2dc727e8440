//! `procref gc`: what killed processes have left is finished now, and not only when somebody wants the service again.

use crate::cli::Outcome;
use crate::folders::{self, Folders};
use crate::out;
use crate::services::{Named, ScopeOption, Services};
use crate::sys;
use crate::text;
use procref::ServiceState;
use procref::observe::{self, Leftovers, Observed};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these services. Without any, all of this user's.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(ScopeOption { scope: None })?;
    let folders = services.folders();
    let names: BTreeSet<String> = if args.names.is_empty() {
        let running = observe::all()?.into_iter().map(|observed| observed.name().to_owned());
        running.chain(names_of_hints(&folders.hints())).collect()
    } else {
        let full = |name: &String| Ok(services.named(name)?.observed.name().to_owned());
        args.names.iter().map(full).collect::<Result<_, Box<dyn Error + Send + Sync>>>()?
    };
    let mut failed = Vec::new();
    let mut did = false;
    for name in &names {
        let declared = services.declared_as(name);
        let Ok(observed) = Observed::new(name) else { continue };
        let named = Named { declared, observed: folders.look_at(observed) };
        let shown = text::line(name);
        let finished =
            named.to_be_stopped(folders).and_then(|(observed, ladder)| Ok(observed.finish_leftovers(&ladder)?));
        match finished {
            Ok(Leftovers::Nothing) => {}
            Ok(_) => {
                did = true;
                out::write(&format!("finished what was left of {shown}\n"))?;
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    if args.names.is_empty() {
        for folder in old_runs(folders) {
            did = true;
            match fs::remove_dir_all(&folder) {
                Ok(()) => out::write(&format!("removed {}, of an old run\n", text::line(&folder.to_string_lossy())))?,
                Err(error) => failed.push(format!("cannot remove {}: {error}", folder.display())),
            }
        }
    }
    if !did && failed.is_empty() {
        out::write("nothing is left over\n")?;
    }
    if failed.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(failed.join("\nprocref: ").into()) }
}

/// Services whose hints are there, of who can be met from here, whether or not there is anything else of them.
fn names_of_hints(folder: &Path) -> Vec<String> {
    let is_met_here = sys::met_here();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let file = entry.file_name().into_string().ok()?;
        let (name, rest) = file.split_once('@')?;
        // NAME@WHERE.KIND
        let met_here = rest.split_once('.').is_some_and(|(place, _)| is_met_here(place));
        met_here.then(|| name.to_owned())
    });
    names.collect()
}

/// What procref keeps for services of test runs that are over.
fn old_runs(folders: &Folders) -> Vec<PathBuf> {
    let Ok(state) = folders.state() else { return Vec::new() };
    let entries: io::Result<Vec<_>> = fs::read_dir(state).and_then(Iterator::collect);
    let paths = entries.unwrap_or_default().into_iter().map(|entry| entry.path());
    paths.filter(|folder| folders::is_of_an_old_run(folder) && is_stopped(folder, folders)).collect()
}

fn is_stopped(folder: &Path, folders: &Folders) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let status = Observed::new(name).and_then(|observed| folders.look_at(observed).status());
    status.is_ok_and(|status| status.state == ServiceState::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use procref::ServiceInfo;
    use procref::blocking::SharedService;

    #[test]
    fn a_service_is_found_by_its_hints_alone() {
        let name = format!("procref-gc-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        let service = SharedService::builder(&name)
            .runtime_dir(&folder)
            .on_first_acquire(|| Ok(ServiceInfo::without_pid().with_metadata("what", "a hint")))
            .build()
            .expect("nothing is wrong with it");
        let handle = service.acquire().expect("it starts");
        let found = names_of_hints(&folder);
        handle.release().expect("it stops");
        let _ = fs::remove_dir(&folder);
        assert_eq!(found, [name]);
    }
}
