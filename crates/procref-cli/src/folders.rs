//! Where things are: procref's hints, and what services keep.

use crate::sys;
use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names the folder for hints, for all procref commands that are to meet.
pub(crate) const RUNTIME: &str = "PROCREF_RUNTIME_DIR";

/// How much of a log is kept when the service is started anew.
const MOST_LOG: u64 = 1 << 20;

/// What a log is called among what procref keeps for a service.
pub(crate) const LOG: &str = "log";

const RUN_NOTE: &str = "run";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folders {
    /// Where hints are, if that is not where they always are.
    pub(crate) runtime: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl Folders {
    /// # Errors
    ///
    /// What the environment says cannot be.
    pub(crate) fn here() -> Result<Self, Box<dyn Error + Send + Sync>> {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let runtime = path(RUNTIME);
        if let Some(relative) = runtime.as_ref().filter(|path| !path.is_absolute()) {
            return Err(format!("{RUNTIME} is {}, and must be an absolute path", relative.display()).into());
        }
        // As the XDG base directory specification has it: a relative path counts for nothing.
        let absolute = |name: &str| path(name).filter(|path: &PathBuf| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").map(|state| state.join("procref"));
        Ok(Self { runtime, state: state.or_else(|| sys::default_state(absolute)) })
    }

    /// Where this user's hints are.
    pub(crate) fn hints(&self) -> PathBuf {
        self.runtime.clone().unwrap_or_else(sys::default_hints)
    }

    /// What procref keeps for all services.
    ///
    /// # Errors
    ///
    /// There is no such place.
    pub(crate) fn state(&self) -> Result<&Path, String> {
        let nowhere = || format!("there is nowhere to keep what services leave: {}", sys::NO_STATE);
        self.state.as_deref().ok_or_else(nowhere)
    }

    /// What procref keeps for one service, by its full name: its log and its state.
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state).
    pub(crate) fn of_service(&self, full: &str) -> Result<PathBuf, String> {
        Ok(self.state()?.join(full))
    }
}

/// Whether there is more of a log than is kept.
pub(crate) fn is_long(log: &Path) -> bool {
    fs::symlink_metadata(log).is_ok_and(|metadata| metadata.is_file() && metadata.len() > MOST_LOG)
}

/// Moves a log away. Only while nobody writes to it.
pub(crate) fn rotate(log: &Path) -> io::Result<()> {
    let mut old = log.as_os_str().to_owned();
    old.push(".old");
    match fs::rename(log, old) {
        // Another process that starts the service was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Notes that what is in a service's folder belongs to one test run, and that the run goes on.
pub(crate) fn note_run(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(RUN_NOTE), "")
}

/// The folder belongs to a test run that is over, as far as can be told: nothing was started in it for a day.
pub(crate) fn is_of_an_old_run(folder: &Path) -> bool {
    const DAY: Duration = Duration::from_secs(86400);
    let noted = fs::symlink_metadata(folder.join(RUN_NOTE)).and_then(|note| note.modified());
    noted.is_ok_and(|noted| noted.elapsed().is_ok_and(|age| age > DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(set: &[(&str, &str)]) -> Result<Folders, Box<dyn Error + Send + Sync>> {
        Folders::of(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).into()))
    }

    fn absolute(name: &str) -> String {
        std::env::temp_dir().join(name).display().to_string()
    }

    #[test]
    fn what_the_environment_says() {
        let state = |set: &[(&str, &str)]| folders(set).expect("it is right").of_service("db");
        let (home, other) = (absolute("h"), absolute("s"));
        let default = sys::default_state(|_| Some(PathBuf::from(&home))).expect("it is in there").join("db");
        // Whichever of them the system looks for.
        let at_home = [("HOME", home.as_str()), ("LOCALAPPDATA", &home)];
        let with = |value| [&at_home[..], &[("XDG_STATE_HOME", value)]].concat();
        assert_eq!(state(&at_home), Ok(default.clone()));
        assert_eq!(state(&with(&other)), Ok(Path::new(&other).join("procref").join("db")));
        assert_eq!(state(&with("s")), Ok(default));
        assert!(state(&[("HOME", "h"), ("LOCALAPPDATA", "h")]).is_err() && state(&[]).is_err());
        let runtime = absolute("r");
        assert_eq!(folders(&[(RUNTIME, &runtime)]).expect("it is right").runtime, Some(runtime.into()));
        assert_eq!(folders(&[(RUNTIME, "")]).expect("it is right").runtime, None);
        let error = folders(&[(RUNTIME, "r")]).expect_err("it is relative").to_string();
        assert_eq!(error, "PROCREF_RUNTIME_DIR is r, and must be an absolute path");
    }
}
