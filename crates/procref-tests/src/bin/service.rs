//! A service to be shared. It says `ready`, waits for a signal that ends it, and writes down its birth, its signals
//! and its end.
//!
//! `service log=FILE [lock=FILE] [ignore=SIGNAL]… [dies-after=MILLISECONDS] [handed-over [recorded=NAME folder=FOLDER]]
//! [first-thread-ends] [exec PROGRAM ARGUMENT…]`
//!
//! `exec`: it writes down its birth and takes the lock, and then is that server.
//!
//! The lock tells whether two instances ever live at once: the kernel drops it before anybody can see that its holder
//! has ended. `handed-over`: it ends, without having taken the lock, if its starter is gone before it has said `keep`:
//! nobody would know of it. With `recorded` it stays all the same if it is what that service's semaphore set records.

use procref_tests::Events;
use procref_tests::sandbox::HANDED_OVER;
use procref_tests::sys::{self, Requests};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() {
    let (mut log, mut lock, mut ignored, mut delay, mut handed_over) = (None, None, Vec::new(), 0, false);
    let (mut recorded, mut folder, mut ends) = (None, String::new(), false);
    let mut arguments = std::env::args().skip(1);
    for argument in arguments.by_ref().take_while(|argument| argument != "exec") {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            ("log", path) => log = Some(Events::new(path)),
            ("lock", path) => lock = Some(PathBuf::from(path)),
            ("ignore", signal) => ignored.push(signal.to_owned()),
            ("dies-after", milliseconds) => delay = milliseconds.parse().expect("a number"),
            (HANDED_OVER, _) => handed_over = true,
            ("first-thread-ends", _) => ends = true,
            ("recorded", name) => recorded = Some(name.to_owned()),
            ("folder", path) => path.clone_into(&mut folder),
            _ => panic!("unknown: {argument}"),
        }
    }
    let log = log.expect("log=FILE");
    if let Some(program) = arguments.next() {
        become_server(&log, lock, program, arguments);
    }
    let requests = Requests::listen();
    log.add("birth", what(lock.as_deref()));
    if handed_over {
        let log = log.clone();
        let is_recorded = move || recorded.is_some_and(|name| is_recorded(&name, &folder));
        std::thread::spawn(move || await_keep(&log, lock, is_recorded));
    } else if let Some(path) = lock {
        take_lock(&log, path);
    }
    // Whoever started it may be gone.
    let _ = std::io::stdout().write_all(b"ready\n");
    let serve = move || {
        loop {
            let signal = requests.next();
            log.add("signal", signal);
            if !ignored.iter().any(|ignored| ignored == signal) {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(delay));
        log.add("death", "");
    };
    if ends {
        std::thread::spawn(move || {
            serve();
            std::process::exit(0);
        });
        sys::end_thread();
    } else {
        serve();
    }
}

/// What several instances of a service have in common: the name of their lock.
fn what(lock: Option<&Path>) -> String {
    lock.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
}

/// The lock goes with the process into the program, and not to its children.
fn become_server(log: &Events, lock: Option<PathBuf>, program: String, arguments: impl Iterator<Item = String>) -> ! {
    log.add("birth", what(lock.as_deref()));
    if let Some(path) = lock
        && !sys::own_as_program(&path).expect("the lock's file can be opened")
    {
        log.add("overlap", "");
    }
    let error = sys::become_program(std::process::Command::new(program).args(arguments));
    panic!("it cannot be run: {error}");
}

/// Whether this process is the instance of that service. Its starter is gone, so nothing of its doing is still to come.
fn is_recorded(name: &str, folder: &str) -> bool {
    let service = procref::blocking::SharedService::builder(name).runtime_dir(folder);
    let service = service.on_first_acquire(|| Err("it only looks".into())).build().expect("a good description");
    let info = service.status().ok().and_then(|status| status.info);
    info.and_then(|info| info.pid()) == Some(std::process::id())
}

fn await_keep(log: &Events, lock: Option<PathBuf>, is_recorded: impl FnOnce() -> bool) {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 && !is_recorded() {
        log.add("unkept", "");
        std::process::exit(1);
    }
    if let Some(path) = lock {
        take_lock(log, path);
    }
}

fn take_lock(log: &Events, path: PathBuf) {
    match sys::own(&path) {
        // For as long as this process lives.
        Some(file) => std::mem::forget(file),
        None => log.add("overlap", ""),
    }
}
