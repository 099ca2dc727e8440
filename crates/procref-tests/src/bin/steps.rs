//! A program that is made of steps, in place of a shell script: each argument is one.
//!
//! | step | what it does |
//! |---|---|
//! | `say=TEXT`, `warn=TEXT` | a line to the standard output, or to the standard error |
//! | `say-file=TEXT=FILE` | a line with what is in the file behind it |
//! | `add=FILE=TEXT` | adds a line to the file, which is made if it is missing |
//! | `log=FILE=TEXT` | the same, while others do it, too |
//! | `list=FOLDER=FILE` | adds a line to the file for each entry of the folder |
//! | `folder=PATH` | makes it and what it lies in, unless it is there |
//! | `new-folder=PATH` | makes it; ends with status 1 if it is there |
//! | `rename=FROM=TO` | |
//! | `need=PATH`, `need-variable=NAME` | ends with status 1 if that is missing |
//! | `await=PATH` | waits until it is there |
//! | `child=STEP;STEP…`, `alone=STEP;STEP…` | starts a child, and goes on |
//! | `deaf` | asked to end, it does nothing from now on |
//! | `own=PATH` | takes the file for life |
//! | `exit=STATUS`, `killed`, `abort`, `crash` | ends |
//! | `stay` | stays until it is ended, or asked to |

use procref_tests::sys;
use std::fs;
use std::io::{Result, Write as _};
use std::path::Path;
use std::process::{Command, exit};
use std::time::Duration;

fn main() -> Result<()> {
    if std::env::args().any(|step| step == "stay") {
        sys::end_on_request();
    }
    std::env::args().skip(1).try_for_each(|step| take(&step))
}

fn take(step: &str) -> Result<()> {
    let (verb, rest) = step.split_once('=').unwrap_or((step, ""));
    let two = || rest.split_once('=').unwrap_or((rest, ""));
    match verb {
        "say" => say(rest),
        "warn" => writeln!(std::io::stderr(), "{rest}"),
        "say-file" => say(&format!("{}{}", two().0, fs::read_to_string(two().1)?.trim_end())),
        "add" => add(two().0, two().1),
        "log" => sys::append(Path::new(two().0), format!("{}\n", two().1).as_bytes()),
        "list" => {
            let mut paths = fs::read_dir(two().0)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            paths.sort();
            paths.iter().try_for_each(|path| add(two().1, &path.display().to_string()))
        }
        "folder" => fs::create_dir_all(rest),
        "new-folder" => fs::create_dir(rest),
        "rename" => fs::rename(two().0, two().1),
        "need" if Path::new(rest).exists() => Ok(()),
        "need-variable" if std::env::var(rest).is_ok_and(|value| !value.is_empty()) => Ok(()),
        "need" | "need-variable" => exit(1),
        "await" => {
            while !Path::new(rest).exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
        "child" => child(rest).spawn().map(drop),
        "alone" => sys::alone(&mut child(rest)).spawn().map(drop),
        "deaf" => {
            sys::ignore_requests();
            Ok(())
        }
        "own" => {
            std::mem::forget(sys::own(Path::new(rest)).expect("nobody else has it"));
            Ok(())
        }
        "abort" => std::process::abort(),
        "crash" => sys::crash(),
        "exit" => exit(rest.parse().expect("a number")),
        "killed" => {
            sys::kill(&sys::open(std::process::id()).expect("this process lives"));
            take("stay")
        }
        "stay" => loop {
            std::thread::park();
        },
        _ => panic!("unknown: {step}"),
    }
}

fn add(file: &str, line: &str) -> Result<()> {
    writeln!(fs::OpenOptions::new().append(true).create(true).open(file)?, "{line}")
}

fn child(steps: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it is a file"));
    command.args(steps.split(';'));
    command
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}
