//! Where programs are, and how they end.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Where programs are looked for if there is no `PATH`.
pub(crate) const DEFAULT_PATH: &str = "C:\\Windows\\System32";

/// The file of the program that is called so: itself, or with one of the endings of programs.
pub(crate) fn file(path: &Path) -> Option<PathBuf> {
    let endings = std::env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".into());
    if path.extension().is_some() && path.is_file() {
        return Some(path.to_owned());
    }
    let ended = endings.split(';').filter(|ending| !ending.is_empty()).map(|ending| {
        let mut ended = path.as_os_str().to_owned();
        ended.push(ending.to_ascii_lowercase());
        PathBuf::from(ended)
    });
    ended.chain([path.to_owned()]).find(|path| path.is_file())
}

/// Nowhere else.
pub(crate) const fn more_folders() -> Vec<PathBuf> {
    Vec::new()
}

/// How a program ended, after its name.
pub(crate) fn ended(status: ExitStatus) -> String {
    match status.code() {
        // What the system says of a crash is known by its hexadecimal digits.
        Some(code) if code < 0 => format!("ended with {:#010x}", code as u32),
        Some(code) => format!("exited with status {code}"),
        None => "ended".into(),
    }
}
