//! Which files there are.

use super::report::{Problem, Source};
use super::types::Place;
use crate::sys;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "procref.toml";

/// More is none that anybody has written.
const MOST_BYTES: u64 = 1 << 20;

/// The nearest file from `start` upwards, then the user's own.
pub(super) fn files(start: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Vec<(Place, PathBuf)> {
    let start = sys::canonical(start).unwrap_or_else(|_| start.to_owned());
    // A folder that may not be looked into has no file for us.
    let there = |file: &PathBuf| fs::metadata(file).is_ok();
    let project = start.ancestors().map(|folder| folder.join(FILE)).find(there);
    let user = user_file(variable).filter(there).map(|file| sys::canonical(&file).unwrap_or(file));
    // Who is where the user's own file is, is in no project.
    let project = project.filter(|project| Some(project) != user.as_ref());
    let project = project.map(|file| (Place::Project, file));
    project.into_iter().chain(user.map(|file| (Place::User, file))).collect()
}

/// As the XDG base directory specification has it: a relative path counts for nothing.
pub(super) fn user_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").map(|folder| folder.join("procref"));
    Some(folder.or_else(|| sys::default_config(absolute))?.join(FILE))
}

pub(super) fn read(path: &Path) -> Result<Source, Problem> {
    let problem = |what: &str, help: &str| Problem::of_file(path, what, help);
    let cannot = |error: io::Error| problem(&format!("cannot read it: {error}"), "");
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        return Err(problem("this is not a file", "move it away, or start procref in another folder"));
    }
    if metadata.len() > MOST_BYTES {
        return Err(problem("this has more than 1 MiB", "a procref.toml is shorter"));
    }
    if let Some(who) = sys::planter(path, &metadata) {
        let what = format!("this belongs to {who}, in a folder that everybody can write to");
        return Err(problem(
            &what,
            "what it says would be run as you: move it away, or start procref in another folder",
        ));
    }
    let bytes = fs::read(path).map_err(cannot)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(path, text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let end = at + char::REPLACEMENT_CHARACTER.len_utf8();
            Err(Source::new(path, text).problem(at..end, "this is not UTF-8", "save the file as UTF-8"))
        }
    }
}
