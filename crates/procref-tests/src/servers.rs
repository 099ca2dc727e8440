//! The real servers that tests share, as Debian packages them (scripts/install).

use std::path::PathBuf;

/// Where a program is, also in the folders that Debian keeps servers in.
///
/// # Panics
///
/// There is none of this name.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.extend(
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|it| it.path().join("bin")),
    );
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no {name}: scripts/install installs it on Debian, or says what to do"))
}
