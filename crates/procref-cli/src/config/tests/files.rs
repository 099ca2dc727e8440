//! Which files are read, and what becomes of two of them.

use super::*;
use crate::sys::{self, kit};
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes with the test. In it: `home` and `work/project/src`.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("procref-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = sys::canonical(&std::env::temp_dir()).expect("there is a folder for files").join(name);
        fs::create_dir_all(folder.join("home/.config/procref")).expect("it can be made");
        fs::create_dir_all(folder.join("work/project/src")).expect("it can be made");
        Self(folder)
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        // As it will be shown.
        let file: PathBuf = self.0.join(file).components().collect();
        fs::write(&file, text).expect("it can be written");
        file
    }

    fn load(&self, start: &str) -> Result<Config, Problems> {
        let config = self.0.join("home/.config").into_os_string();
        load_with(&self.0.join(start), |name| (name == "XDG_CONFIG_HOME").then(|| config.clone()))
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
    if kit::link("work/project/src", &folder.0.join("link")) {
        assert_eq!(folder.load("link").expect("nothing is wrong"), config);
    }
    // The user's own folder is no project.
    let own = folder.load("home/.config/procref").expect("nothing is wrong");
    assert_eq!(own.files, [(Place::User, mine)]);
}

#[test]
fn where_the_users_own_file_is() {
    let absolute = |name: &str| std::env::temp_dir().join(name);
    let at = |xdg: Option<PathBuf>, home: Option<PathBuf>| {
        // Whichever of them the system looks for.
        find::user_file(|name| match name {
            "XDG_CONFIG_HOME" => xdg.clone().map(Into::into),
            "HOME" | "APPDATA" => home.clone().map(Into::into),
            _ => None,
        })
    };
    let default = sys::default_config(|_| Some(absolute("h"))).map(|folder| folder.join("procref.toml"));
    assert!(default.as_ref().is_some_and(|file| file.starts_with(absolute("h"))), "{default:?}");
    assert_eq!(at(None, Some(absolute("h"))), default);
    assert_eq!(at(Some(absolute("x")), Some(absolute("h"))), Some(absolute("x").join("procref").join("procref.toml")));
    assert_eq!(at(Some("relative".into()), Some(absolute("h"))), default);
    assert_eq!(at(Some("".into()), Some(absolute("h"))), default);
    assert_eq!(at(None, None), None);
    assert_eq!(at(None, Some("".into())), None);
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
    if let Some(why) = kit::lock_away(&file) {
        assert_eq!(said(&folder), format!("{}: cannot read it: {why}", file.display()));
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
    let Some(stranger) = kit::give_away(&file) else { return };
    folder.load("work/project/src").expect("a project may be another user's");
    kit::open_to_all(&project);
    let problems = folder.load("work/project/src").expect_err("a stranger may have put it there").to_string();
    let expected = format!(
        "{}: this belongs to {stranger}, in a folder that everybody can write to\n  = what it says would be run as you: move it away, or start procref in another folder",
        file.display()
    );
    assert_eq!(problems, expected);
    kit::take_back(&file).expect("who may give it away may do that");
    folder.load("work/project/src").expect("one's own file may be anywhere");
}
