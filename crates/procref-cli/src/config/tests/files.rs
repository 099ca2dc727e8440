//! Which files are read, and what becomes of two of them.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes with the test. In it: `home` and `work/project/src`.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("procref-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = fs::canonicalize(std::env::temp_dir()).expect("there is a folder for files").join(name);
        fs::create_dir_all(folder.join("home/.config/procref")).expect("it can be made");
        fs::create_dir_all(folder.join("work/project/src")).expect("it can be made");
        Self(folder)
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let file = self.0.join(file);
        fs::write(&file, text).expect("it can be written");
        file
    }

    fn load(&self, start: &str) -> Result<Config, Problems> {
        let home = self.0.join("home").into_os_string();
        load_with(&self.0.join(start), |name| (name == "HOME").then(|| home.clone()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MINE: &str = "home/.config/procref/procref.toml";
const PROJECT: &str = "work/project/procref.toml";

#[test]
fn the_nearest_file_and_the_users_own() {
    let folder = Folder::new();
    assert_eq!(
        folder.load("work/project/src").expect("nothing is wrong"),
        Config { services: BTreeMap::new(), files: vec![] }
    );
    let mine = folder.write(MINE, "[services.db]\ncommand = [\"mine\"]\n\n[services.cache]\ncommand = [\"mine\"]\n");
    let above = folder.write("work/procref.toml", "[services.above]\ncommand = [\"a\"]");
    let config = folder.load("work/project/src").expect("nothing is wrong");
    assert_eq!(config.files, [(Place::Project, above), (Place::User, mine.clone())]);
    assert_eq!(config.services.keys().collect::<Vec<_>>(), ["above", "cache", "db"]);

    // Only the nearest counts; of two services with one name it is the project's.
    let project = folder.write(PROJECT, "[services.db]\ncommand = [\"project\"]\nneeds = [\"cache\"]");
    let config = folder.load("work/project/src").expect("nothing is wrong");
    assert_eq!(config.files, [(Place::Project, project.clone()), (Place::User, mine.clone())]);
    let db = config.service("db").expect("it is declared");
    assert_eq!((written(&db.command), db.scope), (vec!["project".to_owned()], Scope::Project));
    assert_eq!(
        (&db.origin.file, db.origin.folder(), db.origin.line),
        (&project, project.parent().expect("it has one"), 1)
    );
    let cache = config.service("cache").expect("it is declared");
    assert_eq!((cache.origin.place, &cache.origin.file, cache.origin.line), (Place::User, &mine, 4));
    assert_eq!(cache.scope, Scope::User);

    // By another way to the same folder it is the same project.
    symlink("work/project/src", folder.0.join("link")).expect("it can be made");
    assert_eq!(folder.load("link").expect("nothing is wrong"), config);
    // The user's own folder is no project.
    let own = folder.load("home/.config/procref").expect("nothing is wrong");
    assert_eq!(own.files, [(Place::User, mine)]);
}

#[test]
fn where_the_users_own_file_is() {
    let at = |xdg: Option<&'static str>, home: Option<&'static str>| {
        find::user_file(|name| match name {
            "XDG_CONFIG_HOME" => xdg.map(Into::into),
            "HOME" => home.map(Into::into),
            _ => None,
        })
    };
    let expected = |path: &str| Some(PathBuf::from(path));
    assert_eq!(at(None, Some("/h")), expected("/h/.config/procref/procref.toml"));
    assert_eq!(at(Some("/x"), Some("/h")), expected("/x/procref/procref.toml"));
    assert_eq!(at(Some("relative"), Some("/h")), expected("/h/.config/procref/procref.toml"));
    assert_eq!(at(Some(""), Some("/h")), expected("/h/.config/procref/procref.toml"));
    assert_eq!(at(None, None), None);
    assert_eq!(at(None, Some("")), None);
    // Whatever this machine has.
    let _ = load(Path::new("/"));
}

#[test]
fn both_files_errors_are_reported_the_projects_first() {
    let folder = Folder::new();
    let mine = folder.write(
        MINE,
        "[services.db]\ncommand = [\"a\"]\nscope = \"project\"\n[services.b]\ncommand = [\"a\"]\nneeds = [\"a\"]",
    );
    let project = folder.write(PROJECT, "[services.a]\ncommand = [\"a\"]\nscope = \"user\"\nneeds = [\"b\", \"c\"]");
    let (mine, project) = (mine.display(), project.display());
    let expected = format!(
        "{project}:4:15: there is no service `c`\n 4 | needs = [\"b\", \"c\"]\n   |               ^^^\n   = declare it as [services.c], here or in the user's own procref.toml\n\n\
         {mine}:3:9: the user's own file belongs to no project\n 3 | scope = \"project\"\n   |         ^^^^^^^^^\n   = write \"user\" or \"run\", or declare the service in the project's procref.toml\n\n\
         {mine}:6:10: `a` would have to run before itself: a -> b -> a\n 6 | needs = [\"a\"]\n   |          ^^^\n   = leave out one of these needs\n\n3 errors"
    );
    assert_eq!(folder.load("work/project").expect_err("both are wrong").to_string(), expected);
    // What a broken file would have declared is not called unknown.
    folder.write(MINE, "[services.c");
    let problems = folder.load("work/project").expect_err("one is no TOML").to_string();
    assert!(problems.starts_with(&format!("{mine}:1:12: this is not TOML: ")), "{problems}");
    assert_eq!(problems.matches("= ").count(), 0, "{problems}");
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new();
    let said = |folder: &Folder| folder.load("work/project/src").expect_err("it cannot be read").to_string();
    let file = folder.write(PROJECT, b"[services.db]\ncommand = [\"caf\xe9\"]\n");
    let expected = format!(
        "{}:2:16: this is not UTF-8\n 2 | command = [\"caf\u{fffd}\"]\n   |                ^\n   = save the file as UTF-8",
        file.display()
    );
    assert_eq!(said(&folder), expected);
    folder.write(PROJECT, "#".repeat((1 << 20) + 1));
    let expected = format!("{}: this has more than 1 MiB\n  = a procref.toml is shorter", file.display());
    assert_eq!(said(&folder), expected);
    folder.write(PROJECT, "");
    if fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).is_ok() && fs::read(&file).is_err() {
        let expected = format!("{}: cannot read it: Permission denied (os error 13)", file.display());
        assert_eq!(said(&folder), expected);
    }
    fs::remove_file(&file).expect("it is there");
    fs::create_dir(&file).expect("it can be made");
    let expected =
        format!("{}: this is not a file\n  = move it away, or start procref in another folder", file.display());
    assert_eq!(said(&folder), expected);
}

#[test]
fn a_strangers_file_in_everybodys_folder_is_not_obeyed() {
    let folder = Folder::new();
    let file = folder.write(PROJECT, "[services.db]\ncommand = [\"a\"]");
    let project = folder.0.join("work/project");
    // Only root can give files away.
    if chown(&file, Some(12345), None).is_err() {
        return;
    }
    folder.load("work/project/src").expect("a project may be another user's");
    fs::set_permissions(&project, fs::Permissions::from_mode(0o1777)).expect("it is ours");
    let problems = folder.load("work/project/src").expect_err("a stranger may have put it there").to_string();
    let expected = format!(
        "{}: this belongs to another user (12345), in a folder that everybody can write to\n  = what it says would be run as you: move it away, or start procref in another folder",
        file.display()
    );
    assert_eq!(problems, expected);
    chown(&file, Some(rustix::process::geteuid().as_raw()), None).expect("root may");
    folder.load("work/project/src").expect("one's own file may be anywhere");
}
