//! What a declared service is called in the kernel. Who computes the same name shares it, so a name has in it all that
//! decides who shares: the service's own name and its scope.

use crate::config::{Place, Scope, ServiceConfig};
use crate::sys;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// As many bytes as the kernel's name of a service may have.
const LONGEST: usize = 64;

/// Where the number of a test run is found. Ours is first: it is what `procref with` has exported.
pub(crate) const RUN_IDS: [&str; 3] = ["PROCREF_RUN_ID", "NEXTEST_RUN_ID", "PYTEST_XDIST_TESTRUNUID"];

/// Which service it is, for all who share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// As it is declared.
    pub(crate) name: String,
    /// As the kernel has it.
    pub(crate) full: String,
    pub(crate) scope: Scope,
    /// The project's; a service of the user's own scope has none.
    pub(crate) folder: Option<PathBuf>,
}

/// What a scope depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// The folder of the nearest `procref.toml`, without symbolic links.
    pub(crate) project: Option<PathBuf>,
    /// The test run.
    pub(crate) run: Option<String>,
}

impl Whereabouts {
    /// The run that the environment names.
    pub(crate) fn run_of(variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
        let values = RUN_IDS.iter().filter_map(|name| variable(name));
        values.map(|value| value.to_string_lossy().into_owned()).find(|value| !value.is_empty())
    }

    /// The number of a run that begins here.
    pub(crate) fn new_run() -> String {
        // std's hasher is seeded by the system's random numbers.
        format!("{:016x}", RandomState::new().hash_one(std::process::id()))
    }

    /// # Errors
    ///
    /// There is nothing here that the scope depends on.
    pub(crate) fn identity(&self, service: &ServiceConfig, scope: Scope) -> Result<Identity, NoScope> {
        let name = &service.name;
        let project = match service.origin.place {
            Place::Project => Some(service.origin.folder()),
            Place::User => self.project.as_deref(),
        };
        let folder = match scope {
            Scope::User => return Ok(Identity { name: name.clone(), full: name.clone(), scope, folder: None }),
            Scope::Project => project.ok_or_else(|| NoScope::Project(name.clone()))?,
            // Who is in no project at all has the user's own folder in common.
            Scope::Run => project.unwrap_or_else(|| service.origin.folder()),
        };
        let run = match scope {
            Scope::Run => Some(self.run.as_deref().ok_or_else(|| NoScope::Run(name.clone()))?),
            _ => None,
        };
        Ok(Identity { name: name.clone(), full: full_name(name, folder, run), scope, folder: Some(folder.to_owned()) })
    }
}

/// `NAME.` and eight digits. A name that is too long is cut off in front of them; they tell it apart all the same.
fn full_name(name: &str, folder: &Path, run: Option<&str>) -> String {
    const SUFFIX: usize = 1 + 8;
    let (kind, run) = run.map_or(("project", ""), |run| ("run", run));
    let folder = sys::path_bytes(folder);
    // No part has a NUL, so no two lists of parts are one.
    let parts = [kind.as_bytes(), run.as_bytes(), &folder, name.as_bytes()];
    let digits = short_hash(&parts.join(&0));
    let short = name.get(..name.floor_char_boundary(LONGEST - SUFFIX)).unwrap_or(name);
    format!("{short}.{digits}")
}

/// Whether a name may be the full one of a service of a project or a run.
pub(crate) fn may_be_full(name: &str) -> bool {
    let digits = name.rsplit_once('.').map(|(_, digits)| digits);
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Eight digits of the 64-bit FNV-1a hash, which is the same in every version and on every machine.
pub(crate) fn short_hash(bytes: &[u8]) -> String {
    let hash =
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}", (hash ^ hash >> 32) as u32)
}

/// Why a service is not known here, though it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoScope {
    Project(String),
    Run(String),
}

impl fmt::Display for NoScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(name) => write!(
                f,
                "`{name}` cannot have the scope \"project\" here: it is the user's own, and there is no procref.toml in this \
                 folder or above"
            ),
            Self::Run(name) => write!(
                f,
                "`{name}` belongs to one test run, and no run is known here: set PROCREF_RUN_ID, which `procref with` and \
                 `procref run` do for their command, or NEXTEST_RUN_ID or PYTEST_XDIST_TESTRUNUID"
            ),
        }
    }
}

impl Error for NoScope {}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(name: &str, folder: &str, run: Option<&str>) -> String {
        full_name(name, Path::new(folder), run)
    }

    #[test]
    fn who_shares_has_the_same_name() {
        let name = full("db", "/home/a/project", None);
        assert_eq!(name, "db.dbdf2909", "it is the same in every version");
        assert_ne!(name, full("db", "/home/a/other", None));
        assert_ne!(name, full("db", "/home/a/project", Some("1")));
        assert_ne!(full("db", "/p", Some("1")), full("db", "/p", Some("2")));
        assert!(may_be_full(&name) && !may_be_full("db") && !may_be_full("db.123") && !may_be_full("db.DBDF2909"));
    }

    #[test]
    fn a_long_name_is_cut_off_and_told_apart() {
        let (one, two) = ("x".repeat(64), format!("{}y", "x".repeat(63)));
        let names = [full(&one, "/p", None), full(&two, "/p", None)];
        assert!(names.iter().all(|name| name.len() == 64), "{names:?}");
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn the_run_is_the_first_that_is_named() {
        let of = |set: &[(&str, &str)]| {
            Whereabouts::run_of(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).into()))
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("PYTEST_XDIST_TESTRUNUID", "c")]).as_deref(), Some("c"));
        assert_eq!(of(&[("PYTEST_XDIST_TESTRUNUID", "c"), ("NEXTEST_RUN_ID", "b")]).as_deref(), Some("b"));
        assert_eq!(of(&[("NEXTEST_RUN_ID", "b"), ("PROCREF_RUN_ID", "a")]).as_deref(), Some("a"));
        assert_eq!(of(&[("NEXTEST_RUN_ID", "b"), ("PROCREF_RUN_ID", "")]).as_deref(), Some("b"));
        assert_ne!(Whereabouts::new_run(), Whereabouts::new_run());
    }
}
