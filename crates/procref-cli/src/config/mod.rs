//! `procref.toml`: which services there are, and what they are. `docs/procref.toml.md` has every key.
//!
//! [`load`] finds the files and reads them. Everything that is wrong is reported at once, with its place. What is
//! declared is only understood here; other modules start it.

mod address;
mod duration;
mod find;
mod near;
mod needs;
mod options;
mod read;
mod report;
mod starter;
mod template;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use options::{Options, declare};
pub(crate) use read::{signal_name, stop_signal};
pub(crate) use report::Problems;
pub(crate) use starter::{Known, template};
pub(crate) use template::{Placeholder, Template, Values};
pub(crate) use types::{Ask, Place, Probe, Scope, ServiceConfig};
#[cfg(test)]
pub(crate) use {
    template::{Allowed, NoNumber},
    types::{Origin, Port, Ready, Stop},
};

use needs::Needs;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A length of time, for an option.
///
/// # Errors
///
/// What is wrong with it, and what would be right.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text).map_err(|mistake| format!("{}: {}", mistake.what, mistake.help))
}

/// All services that are declared for somebody in a certain folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) services: BTreeMap<String, ServiceConfig>,
    /// The files that were read, the project's first. None is no error.
    pub(crate) files: Vec<(Place, PathBuf)>,
}

/// Reads the nearest `procref.toml` from `start` upwards, and the user's own. Of two services with one name the
/// project's is taken, as a whole.
///
/// # Errors
///
/// All that is wrong with the files.
pub(crate) fn load(start: &Path) -> Result<Config, Problems> {
    load_with(start, |name| std::env::var_os(name))
}

/// The folder of the project that somebody in `start` is in: that of the nearest `procref.toml`.
pub(crate) fn project(start: &Path) -> Option<PathBuf> {
    let files = find::files(start, |name| std::env::var_os(name));
    let project = files.into_iter().find(|(place, _)| *place == Place::Project);
    project.and_then(|(_, file)| file.parent().map(Path::to_owned))
}

fn load_with(start: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Result<Config, Problems> {
    let files = find::files(start, variable);
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    for (place, path) in &files {
        match find::read(path) {
            Ok(source) => sources.push((*place, source)),
            Err(problem) => problems.push(problem),
        }
    }
    // What was in a file that cannot be read is not known: nobody's needs can be called unknown.
    let services = merge(&sources, problems.is_empty(), &mut problems);
    let order: Vec<_> = files.iter().map(|(_, file)| file.clone()).collect();
    Problems::or(problems, &order, Config { services, files })
}

/// For the fuzzer: a project's file, or a user's, with whatever in it.
#[cfg(fuzzing)]
pub(crate) fn read_or_explain(text: &str) {
    for place in [Place::Project, Place::User] {
        let source = report::Source::new(Path::new("procref.toml"), text.to_owned());
        let mut problems = Vec::new();
        let services = merge(&[(place, source)], true, &mut problems);
        if let Err(problems) = Problems::or(problems, &[], services) {
            let said = problems.to_string();
            assert!(said.starts_with("procref.toml:"), "{said:?}");
            assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
        }
    }
}

fn merge(
    sources: &[(Place, report::Source)],
    complete: bool,
    problems: &mut Vec<report::Problem>,
) -> BTreeMap<String, ServiceConfig> {
    let mut services = BTreeMap::new();
    let mut needs: BTreeMap<String, Needs<'_>> = BTreeMap::new();
    let mut complete = complete;
    for (place, source) in sources {
        let before = problems.len();
        let declared = read::read(source, *place, problems);
        complete &= !declared.is_empty() || problems.len() == before;
        for (name, declared) in declared {
            if let std::collections::btree_map::Entry::Vacant(entry) = needs.entry(name.clone()) {
                entry.insert(Needs { source, scope: declared.scope, needs: declared.needs });
                services.extend(declared.service.map(|service| (name, service)));
            }
        }
    }
    if complete {
        needs::check(&needs, problems);
    }
    services
}

impl Config {
    /// # Errors
    ///
    /// It is not declared.
    pub(crate) fn service(&self, name: &str) -> Result<&ServiceConfig, UnknownService> {
        self.services.get(name).ok_or_else(|| UnknownService {
            name: name.to_owned(),
            known: self.services.keys().cloned().collect(),
            files: self.files.iter().map(|(_, file)| file.clone()).collect(),
        })
    }
}

/// Somebody asks for a service that no file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownService {
    name: String,
    known: Vec<String>,
    files: Vec<PathBuf>,
}

impl std::fmt::Display for UnknownService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, known, files } = self;
        let known = || known.iter().map(String::as_str);
        if files.is_empty() {
            return write!(
                f,
                "there is no service `{name}`, because there is no procref.toml, neither here nor in a folder above nor in \
                 {}; `procref init` writes one",
                crate::sys::CONFIG_SHOWN
            );
        }
        write!(f, "there is no service `{name}`")?;
        if let Some(near) = near::nearest(name, known()) {
            write!(f, "; did you mean `{near}`?")?;
        }
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        match known().count() {
            0 => write!(f, "\n  = no service is declared in {}", files.join(" and ")),
            1 => write!(f, "\n  = there is {}, in {}", near::list(known()), files.join(" and ")),
            _ => write!(f, "\n  = there are {}, in {}", near::list(known()), files.join(" and ")),
        }
    }
}

impl std::error::Error for UnknownService {}

/// What is wrong with a text, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The bytes of the text that are wrong, if it is not all of it.
    pub(crate) at: Option<Range<usize>>,
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Mistake {
    fn of(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at: None, what: what.into(), help: help.into() }
    }

    fn at(at: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at: Some(at), what: what.into(), help: help.into() }
    }
}
