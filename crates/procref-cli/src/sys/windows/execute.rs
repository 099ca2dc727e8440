//! Running COMMAND, and being nothing but its shadow meanwhile: no process can become another one here.

use super::job::Job;
use super::wait::leave_ctrl_c_to_others;
use crate::out;
use crate::sys::NotRun;
use crate::text;
use procref::blocking::ServiceHandle;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf, is_separator};
use std::process::Command;
use windows_sys::Win32::Foundation::ERROR_FILE_NOT_FOUND;

/// What can be started, in the order in which it is looked for where a name has no ending.
const ENDINGS: [&str; 4] = ["com", "exe", "bat", "cmd"];

/// Whether there is such a program.
///
/// # Errors
///
/// As the system would say it.
pub(crate) fn can_be_run(program: &OsStr) -> io::Result<()> {
    find(program, env::var_os("PATH").as_deref()).map(drop)
}

/// As cmd.exe finds a program, but never in the current folder without being told so.
fn find(program: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    let name = Path::new(program);
    let is_path = program.to_string_lossy().contains(|c| is_separator(c) || c == ':');
    let folders: Vec<PathBuf> = if is_path {
        vec![PathBuf::new()]
    } else {
        path.map(|path| env::split_paths(path).collect()).unwrap_or_default()
    };
    let mut wrong = None;
    for file in folders.iter().map(|folder| folder.join(name)) {
        let ending = file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let has_one = ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()));
        if has_one && file.is_file() {
            return Ok(file);
        }
        let with = |ending: &&str| {
            let mut file = file.clone().into_os_string();
            file.push(".");
            file.push(ending);
            PathBuf::from(file)
        };
        if let Some(file) = ENDINGS.iter().map(with).find(|file| file.is_file()) {
            return Ok(file);
        }
        if file.is_dir() {
            wrong = Some((io::ErrorKind::IsADirectory, "it is a folder"));
        } else if file.exists() {
            wrong = Some((io::ErrorKind::InvalidData, "it is neither a program nor a batch file"));
        }
    }
    // What the system says of them has a place for the name, which it leaves empty.
    Err(wrong.map_or_else(
        || io::Error::from_raw_os_error(ERROR_FILE_NOT_FOUND as i32),
        |(kind, what)| io::Error::new(kind, what),
    ))
}

/// Runs the command, and ends with its exit code: returns only if it cannot be run. The references are held meanwhile, and
/// released when the command has ended.
///
/// It inherits this process's console, standard input and output. Ctrl-C and Ctrl-Break reach it by themselves, and this
/// process leaves it to the command what becomes of them. It is in a job with this process and all that it starts: if this
/// process is killed, and lets go of its services by that, they do not run on without them.
pub(crate) fn execute<'a>(
    handles: Vec<ServiceHandle>,
    variables: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    program: &OsStr,
    arguments: &[OsString],
) -> NotRun {
    let variables: Vec<_> = variables.into_iter().collect();
    let path = variables.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("PATH"));
    let path = path.map(|(_, value)| (*value).to_owned()).or_else(|| env::var_os("PATH"));
    let ended = find(program, path.as_deref()).map_err(NotRun::Command).and_then(|program| {
        let mut command = Command::new(program);
        run(command.args(arguments).envs(variables))
    });
    // Who needs others goes first.
    for handle in handles.into_iter().rev() {
        if let Err(error) = handle.release() {
            out::say(&text::lines(&error.to_string()));
        }
    }
    match ended {
        Ok(code) => std::process::exit(code),
        Err(why) => why,
    }
}

/// Returns the exit code when it has ended. Who asks twice by Ctrl-C then ends this process, and the kernel does the rest.
fn run(command: &mut Command) -> Result<i32, NotRun> {
    let cannot = |what: &str, error: io::Error| NotRun::Procref(format!("cannot {what}: {error}").into());
    let job = Job::enter().map_err(|error| cannot("enter a job that the command ends with", error))?;
    let _ctrl_c = leave_ctrl_c_to_others();
    let mut child = command.spawn().map_err(NotRun::Command)?;
    let status = child.wait().map_err(|error| cannot("wait for the command", error))?;
    // What it has left behind holds nothing, and is nobody's affair any more.
    job.let_live().map_err(|error| cannot("let live what the command has left", error))?;
    Ok(status.code().unwrap_or(1))
}

/// How words are split.
pub(crate) const SPLIT: &str = "words are split as programs do it on Windows";

/// How a command begins that a shell reads.
pub(crate) const SHELL: &str = r#"["cmd.exe", "/c", "…"]"#;

/// As programs split their command lines here, for paths are full of backslashes: a quote holds words together, and
/// backslashes mean something only in front of one. `None`: a quote has no partner.
pub(crate) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut rest = line.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '\\' => {
                let word = word.get_or_insert_default();
                let mut backslashes = 1;
                while rest.next_if_eq(&'\\').is_some() {
                    backslashes += 1;
                }
                let before_quote = rest.peek() == Some(&'"');
                word.extend(std::iter::repeat_n('\\', if before_quote { backslashes / 2 } else { backslashes }));
                if before_quote && backslashes % 2 == 1 {
                    rest.next();
                    word.push('"');
                }
            }
            '"' if quoted && rest.next_if_eq(&'"').is_some() => word.get_or_insert_default().push('"'),
            '"' => {
                word.get_or_insert_default();
                quoted = !quoted;
            }
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_programs_do_it_here() {
        let cases: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("  a  b ", &["a", "b"]),
            (r"C:\redis\redis-server.exe --dir D:\x\", &[r"C:\redis\redis-server.exe", "--dir", r"D:\x\"]),
            (r#""C:\Program Files\x.exe" a"#, &[r"C:\Program Files\x.exe", "a"]),
            (r#"a "" b"#, &["a", "", "b"]),
            (r#""a\\" b"#, &[r"a\", "b"]),
            (r#"a\"b "c\"d""#, &[r#"a"b"#, r#"c"d"#]),
            (r#""a""b" 'c d'"#, &[r#"a"b"#, "'c", "d'"]),
            (r#"a" "b"#, &["a b"]),
        ];
        for (line, split) in cases {
            assert_eq!(words(line).as_deref(), Some(&split.map_to_owned()[..]), "{line}");
        }
        assert_eq!(words(r#"a "b"#), None);
    }

    trait Owned {
        fn map_to_owned(&self) -> Vec<String>;
    }

    impl Owned for &[&str] {
        fn map_to_owned(&self) -> Vec<String> {
            self.iter().map(|word| (*word).to_owned()).collect()
        }
    }

    #[test]
    fn programs_are_found_with_and_without_their_endings() {
        let sandbox = env::temp_dir().join(format!("procref-find-{}", std::process::id()));
        let folder = |name: &str| sandbox.join(name);
        for name in ["one", "two", "two/there"] {
            std::fs::create_dir_all(folder(name)).expect("it can be made");
        }
        for file in ["one/tool.cmd", "two/tool.exe", "two/other.EXE", "two/text.txt"] {
            std::fs::write(folder(file), "").expect("it can be written");
        }
        let path = env::join_paths([folder("one"), folder("two")]).expect("there is no semicolon in it");
        let found = |name: &str| find(OsStr::new(name), Some(&path)).map_err(|error| error.kind());
        assert_eq!(found("tool"), Ok(folder("one").join("tool.cmd")));
        assert_eq!(found("tool.exe"), Ok(folder("two").join("tool.exe")));
        assert_eq!(found("other.exe").map(|file| file.is_file()), Ok(true));
        assert_eq!(found("text.txt"), Err(io::ErrorKind::InvalidData));
        assert_eq!(found("there"), Err(io::ErrorKind::IsADirectory));
        assert_eq!(found("none"), Err(io::ErrorKind::NotFound));
        let whole = folder("two").join("tool");
        assert_eq!(found(&whole.display().to_string()), Ok(folder("two").join("tool.exe")));
        std::fs::remove_dir_all(sandbox).expect("it is ours");
    }
}
