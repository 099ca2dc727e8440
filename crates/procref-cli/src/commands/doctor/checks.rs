//! What is looked at on every system.

use super::Finding;
use crate::folders::Folders;
use crate::sys;
use procref::observe::{self, Observed};
use procref::{ErrorKind, PlatformRefCounter, RefCounter, ServiceState};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn all(folders: &Folders) -> Vec<Finding> {
    let mut findings = sys::doctor::checks(folders);
    findings.extend([state_folder(folders), leftovers(folders)]);
    findings
}

/// Does this kernel take back what a process did that has ended? procref asks by a process that ends.
pub(crate) fn undo() -> Finding {
    const CHECK: &str = "undo";
    let name = format!("procref-doctor-{}", std::process::id());
    let counted = PlatformRefCounter::new(&name).and_then(|counter| {
        counter.acquire()?;
        counter.release()
    });
    match counted {
        Ok(_) => Finding::ok(CHECK, "the kernel counts, and takes back what a process did that has ended"),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Finding::wrong(CHECK, error.to_string(), "procref cannot work here: this kernel or sandbox does not count")
        }
        Err(error) => Finding::wrong(CHECK, error.to_string(), "procref cannot count here"),
    }
}

fn state_folder(folders: &Folders) -> Finding {
    const CHECK: &str = "state folder";
    match folders.state() {
        Ok(path) => may_write(CHECK, path, "services keep their logs and their state there"),
        Err(what) => Finding::wrong(CHECK, what, "services of a procref.toml cannot be started"),
    }
}

/// The folder, or the nearest one above it that there is.
pub(crate) fn may_write(check: &'static str, path: &Path, good: &str) -> Finding {
    let root = PathBuf::from(sys::root());
    let there = path.ancestors().find(|folder| fs::metadata(folder).is_ok()).unwrap_or(&root);
    match sys::may_write(there) {
        Ok(()) => Finding::ok(check, format!("{}: {good}", path.display())),
        Err(error) => {
            let found = format!("cannot write to {}: {error}", there.display());
            Finding::wrong(check, found, format!("procref needs the folder {}", path.display()))
        }
    }
}

fn leftovers(folders: &Folders) -> Finding {
    const CHECK: &str = "leftovers";
    let services = match observe::all() {
        Ok(services) => services,
        Err(error) => return Finding::wrong(CHECK, error.to_string(), "procref cannot look for services here"),
    };
    let services: Vec<Observed> = services.into_iter().map(|service| folders.look_at(service)).collect();
    let left: Vec<&str> = services.iter().filter(|service| is_leftover(service)).map(Observed::name).collect();
    if left.is_empty() {
        return Finding::ok(CHECK, format!("none; {} services are in order", services.len()));
    }
    let found = format!("killed processes have left something of {}", left.join(", "));
    Finding::warning(CHECK, found, "`procref gc` finishes it; so does the next who wants the service")
}

fn is_leftover(service: &Observed) -> bool {
    let Ok(status) = service.status() else { return false };
    match status.state {
        ServiceState::Orphaned => true,
        ServiceState::Dead => status.clients == 0,
        _ => false,
    }
}
