//! A service to be shared. It says `ready`, waits for a signal that ends it, and writes down its birth, its signals
//! and its end.
//!
//! `service log=FILE [lock=FILE] [ignore=SIGNAL]… [dies-after=MILLISECONDS] [handed-over]`
//!
//! The lock tells whether two instances ever live at once: the kernel drops it before anybody can see that its holder
//! has ended. `handed-over`: it ends, without having taken the lock, if its starter is gone before it has said `keep`:
//! nobody would know of it.

use procref_tests::Events;
use std::fs::File;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGTERM, "TERM"),
    (libc::SIGINT, "INT"),
    (libc::SIGQUIT, "QUIT"),
    (libc::SIGHUP, "HUP"),
    (libc::SIGUSR1, "USR1"),
];

fn main() {
    let (mut log, mut lock, mut ignored, mut delay, mut handed_over) = (None, None, Vec::new(), 0, false);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=').unwrap_or((&argument, "")) {
            ("log", path) => log = Some(Events::new(path)),
            ("lock", path) => lock = Some(PathBuf::from(path)),
            ("ignore", signal) => ignored.push(signal.to_owned()),
            ("dies-after", milliseconds) => delay = milliseconds.parse().expect("a number"),
            ("handed-over", _) => handed_over = true,
            _ => panic!("unknown: {argument}"),
        }
    }
    let log = log.expect("log=FILE");
    let signals = block_signals();
    log.add("birth", "");
    if handed_over {
        let log = log.clone();
        std::thread::spawn(move || await_keep(&log, lock));
    } else if let Some(path) = lock {
        take_lock(&log, path);
    }
    // Whoever started it may be gone.
    let _ = std::io::stdout().write_all(b"ready\n");
    loop {
        let signal = next_signal(&signals);
        log.add("signal", signal);
        if !ignored.iter().any(|ignored| ignored == signal) {
            break;
        }
    }
    std::thread::sleep(Duration::from_millis(delay));
    log.add("death", "");
}

fn await_keep(log: &Events, lock: Option<PathBuf>) {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 {
        log.add("unkept", "");
        std::process::exit(1);
    }
    if let Some(path) = lock {
        take_lock(log, path);
    }
}

fn take_lock(log: &Events, path: PathBuf) {
    let file = File::options().create(true).append(true).open(path).expect("the lock's file can be opened");
    if file.try_lock().is_err() {
        log.add("overlap", "");
    }
    // For as long as this process lives.
    std::mem::forget(file);
}

#[expect(unsafe_code, reason = "the standard library has no signal masks")]
fn block_signals() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises what it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it is initialised.
    let mut set = unsafe { set.assume_init() };
    for (number, _) in SIGNALS {
        // SAFETY: the set is initialised, and the signal exists.
        unsafe { libc::sigaddset(&mut set, number) };
    }
    // SAFETY: the set is initialised; the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    set
}

#[expect(unsafe_code, reason = "the standard library does not wait for signals")]
fn next_signal(set: &libc::sigset_t) -> &'static str {
    let mut number = 0;
    // SAFETY: the set is initialised, and the number is ours.
    unsafe { libc::sigwait(set, &mut number) };
    SIGNALS.iter().find(|(signal, _)| *signal == number).map_or("?", |(_, name)| name)
}
