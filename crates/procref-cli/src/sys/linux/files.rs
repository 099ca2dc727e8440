//! Files and folders: where they are, whose they are, and who may do what.

use rustix::fs::Access;
use rustix::process::geteuid;
use std::borrow::Cow;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What to do where there is no place for what services leave.
pub(crate) const NO_STATE: &str = "set HOME or XDG_STATE_HOME";

/// Where the user's own file is, for people.
pub(crate) const CONFIG_SHOWN: &str = "~/.config/procref";

/// What procref keeps, if the XDG base directory specification says nothing. `folder` is a variable that names an absolute
/// path.
pub(crate) fn default_state(folder: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    Some(folder("HOME")?.join(".local/state/procref"))
}

/// The same for the user's own file.
pub(crate) fn default_config(folder: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    Some(folder("HOME")?.join(".config/procref"))
}

/// Where this user's hints are: what `runtime_dir` of procref's builders has as its default.
pub(crate) fn default_hints() -> PathBuf {
    let user = geteuid().as_raw();
    let runtime = PathBuf::from(format!("/run/user/{user}"));
    match fs::symlink_metadata(&runtime) {
        Ok(metadata) if metadata.is_dir() && metadata.uid() == user => runtime.join("procref"),
        _ => PathBuf::from(format!("/tmp/procref-{user}")),
    }
}

/// The folder that is above all.
pub(crate) fn root() -> String {
    "/".to_owned()
}

/// Makes a folder for this user alone, and those above it.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whether this user may make something in the folder.
pub(crate) fn may_write(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whether a stranger may have put the file where it is found from below, into /tmp, for instance: then who that is.
pub(crate) fn planter(file: &Path, metadata: &Metadata) -> Option<String> {
    let owner = metadata.uid();
    let everybodys = file.parent().and_then(|folder| fs::metadata(folder).ok()).is_none_or(|f| f.mode() & 0o002 != 0);
    (owner != 0 && owner != geteuid().as_raw() && everybodys).then(|| format!("another user ({owner})"))
}

/// Without symbolic links.
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// A path, as it is a part of a service's name.
pub(crate) fn path_bytes(path: &Path) -> Cow<'_, [u8]> {
    Cow::Borrowed(path.as_os_str().as_bytes())
}

/// All who can meet are in one IPC namespace.
pub(crate) fn met_here() -> impl Fn(&str) -> bool {
    let namespace = fs::metadata("/proc/self/ns/ipc").map_or(0, |file| file.ino());
    move |place| place.parse() == Ok(namespace)
}

/// Whether two open files are one.
pub(crate) fn same_file(one: &File, other: &File) -> bool {
    let which = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    which(one) == which(other)
}
