//! Where programs are, and how they end.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Where programs are looked for if there is no `PATH`.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The file of the program that is called so, if it can be run.
pub(crate) fn file(path: &Path) -> Option<PathBuf> {
    let can_run = |path: &Path| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    can_run(path).then(|| path.to_owned())
}

/// Where servers are that systems keep out of `PATH`.
pub(crate) fn more_folders() -> Vec<PathBuf> {
    let mut folders = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from).to_vec();
    folders.extend(debian_postgresql());
    folders
}

/// Debian keeps the server's programs in a folder for each version. The newest one first.
fn debian_postgresql() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// Its name, for people.
pub(crate) fn quoted(program: &OsStr) -> String {
    format!("{program:?}")
}

/// How a program ended, after its name.
pub(crate) fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
