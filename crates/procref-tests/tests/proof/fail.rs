//! Every system call fails, in every way that its manual lists: what comes of it is success, or an error that names the cause.

use crate::roles::{Role, Whom, each_role};
use crate::stage::{Broken, Filter, Outcome, Promise, Report, Stage, broken, chosen};
use procref_tests::trace::{Side, Stop, Then};

/// How many cases of each role run by themselves.
const SHARE: usize = 24;

/// How this call can fail; empty where a failure is the C library's or Rust's to deal with, or would be a lie about what is
/// so (a process that lives is not `ESRCH`). What a set that was removed looks like is shown by removing it.
fn errnos(stop: &Stop) -> &'static [i32] {
    use libc::*;
    let [_, second, third, ..] = stop.args;
    match stop.name().as_str() {
        "semget" => &[EACCES, EINVAL, ENOMEM, ENOSPC],
        "semop" | "semtimedop" => {
            // Where an operation does not wait for what it asks.
            let refusable = |(_, change, flags): &(u16, i16, i16)| *change <= 0 && i32::from(*flags) & IPC_NOWAIT != 0;
            let refusable = stop.operations().is_ok_and(|list| list.iter().any(refusable));
            let all = &[EAGAIN, E2BIG, EACCES, EFBIG, EINTR, ENOMEM, ERANGE];
            if refusable { all } else { all.split_at(1).1 }
        }
        "semctl" if third as i32 == IPC_RMID => &[EACCES, EPERM],
        "semctl" => &[EACCES, EPERM],
        "clone" | "clone3" | "fork" | "vfork" => &[EAGAIN, ENOMEM],
        "execve" => &[E2BIG, EACCES, EAGAIN, EIO, ENOENT, ENOEXEC, ENOMEM, ETXTBSY],
        // There is a file about every process that lives.
        "open" | "openat" if is_about_process(stop) => &[EACCES, EINTR, EMFILE, ENFILE, ENOMEM],
        "open" | "openat" => &[EACCES, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC],
        "read" | "pread64" => &[EINTR, EIO],
        "getdents64" => &[EIO],
        "write" | "writev" => &[EINTR, EIO, ENOSPC],
        "close" => &[EINTR, EIO],
        "mkdir" | "mkdirat" => &[EACCES, ENOSPC, EROFS],
        "unlink" | "unlinkat" | "rmdir" => &[EACCES, EBUSY, EIO, EROFS],
        "rename" | "renameat" | "renameat2" => &[EACCES, EIO, ENOSPC, EROFS],
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" => &[EACCES, EIO, ENOMEM],
        "pidfd_open" => &[EMFILE, ENFILE, ENODEV, ENOMEM],
        "pidfd_send_signal" | "kill" => &[EPERM],
        "poll" | "ppoll" => &[EINTR, ENOMEM],
        "epoll_create1" => &[EMFILE, ENFILE, ENOMEM],
        "epoll_ctl" if second as i32 == EPOLL_CTL_ADD => &[ENOMEM, ENOSPC],
        "pipe2" => &[EMFILE, ENFILE],
        "dup3" => &[EBUSY, EINTR, EMFILE],
        "fcntl" if [F_DUPFD, F_DUPFD_CLOEXEC].contains(&(second as i32)) => &[EMFILE],
        "fcntl" if second as i32 == F_SETFL => &[EINTR, ENOMEM],
        "flock" => &[EINTR, ENOLCK],
        "kcmp" => &[ENOSYS, EPERM],
        "memfd_create" => &[EMFILE, ENFILE, ENOMEM],
        "socket" => &[EACCES, EMFILE, ENFILE, ENOBUFS, ENOMEM],
        "bind" => &[EACCES, EADDRINUSE, ENOMEM],
        "setsockopt" => &[ENOMEM],
        "inotify_init1" => &[EMFILE, ENFILE, ENOMEM],
        "inotify_add_watch" => &[EACCES, ENOMEM, ENOSPC],
        "setsid" => &[EPERM],
        "chdir" => &[EACCES, EIO, ENOMEM],
        "wait4" | "waitid" => &[ECHILD, EINTR],
        // What is not readable yet: the stacks of threads and of what becomes a guardian. A guardian has no other memory.
        "mmap" if third == 0 || stop.index > 0 => &[EAGAIN, ENOMEM],
        _ => &[],
    }
}

fn is_about_process(stop: &Stop) -> bool {
    let path = stop.args[usize::from(stop.name() == "openat")];
    stop.read_text(path).is_ok_and(|path| path.starts_with("/proc/"))
}

/// Whether the call does what it does, and fails all the same: what it says of itself is closed, and a child that somebody else
/// has waited for has ended.
fn is_made(name: &str) -> bool {
    ["close", "wait4", "waitid"].contains(&name)
}

/// Everything that can fail, in the order of the calls.
struct Recorded {
    failures: Vec<(usize, i32, String)>,
    /// How many descriptors the program has in the end, where it says so.
    descriptors: Option<usize>,
}

/// What the program does: it goes on after a failure.
fn mode(role: &Role) -> &'static str {
    match (role.whom, role.mode) {
        (Whom::Program, "acquire") => "acquire-anyway",
        (_, mode) => mode,
    }
}

fn fail(role: &Role) {
    let mut report = Report::new("fail", role);
    let recorded = record(role);
    for case in chosen(recorded.failures.len(), SHARE) {
        let (call, errno, name) = &recorded.failures[case];
        let what = format!("case {case}: call {call}, {name}, fails with errno {errno}");
        report.note(&what, one(role, &recorded, case));
    }
    report.end();
}

fn record(role: &Role) -> Recorded {
    let mut stage = Stage::new(role);
    let (mut filter, mut failures, mut calls) = (Filter::new(role), Vec::new(), 0);
    let traced = stage.run(mode(role), |stop| {
        if filter.takes(stop) && stop.side == Side::Entry && !errnos(stop).is_empty() {
            failures.extend(errnos(stop).iter().map(|errno| (calls, *errno, stop.name())));
            calls += 1;
        }
        Then::Go
    });
    let traced = traced.expect("it comes to its end");
    assert!(traced.status.success() && !traced.output.contains("error"), "{traced:?}");
    stage.aftermath().expect("nothing failed");
    Recorded { failures, descriptors: descriptors(&traced.output) }
}

fn descriptors(output: &str) -> Option<usize> {
    output.lines().last()?.strip_prefix("descriptors ")?.parse().ok()
}

fn one(role: &Role, recorded: &Recorded, case: usize) -> Outcome {
    let (call, errno, _) = &recorded.failures[case];
    let mut stage = Stage::new(role);
    let (mut filter, mut calls, mut returning) = (Filter::new(role), 0, None);
    // What it was in the end.
    let mut met = String::new();
    let traced = stage.run(mode(role), |stop| {
        if !filter.takes(stop) {
            return Then::Go;
        }
        if returning == Some(stop.thread) {
            returning = None;
            // An orphan would be traced for ever.
            return if is_made(&met) { Then::Answer(-i64::from(*errno)) } else { Then::LetGo };
        }
        let counts = stop.side == Side::Entry && !errnos(stop).is_empty();
        let now = counts && calls == *call;
        calls += usize::from(counts);
        // Threads may come in another order; then it is another call's turn.
        if !now || !errnos(stop).contains(errno) {
            return Then::Go;
        }
        (met, returning) = (stop.name(), Some(stop.thread));
        if is_made(&met) {
            return Then::Go;
        }
        Then::Answer(-i64::from(*errno))
    });
    let outcome = traced.and_then(|traced| {
        stage.assert_no_panic()?;
        if traced.status.code() != Some(0) {
            return broken(Promise::CauseNamed, format!("it ends with {:?}: {}", traced.status, traced.output));
        }
        said_well(&traced.output, &met, *errno)?;
        if let Some(descriptors) = descriptors(&traced.output).filter(|_| met != "close")
            && Some(descriptors) > recorded.descriptors
        {
            let how = format!("it says {:?}, and has had {:?} descriptors", traced.output, recorded.descriptors);
            return broken(Promise::NothingLeft, how);
        }
        stage.aftermath()
    });
    if outcome.is_err() {
        stage.sandbox.clean_up();
    }
    outcome.map_err(|Broken(promise, how)| Broken(promise, format!("{met} failed: {how}")))
}

/// The first error says what failed; after that, nothing fails any more.
fn said_well(output: &str, name: &str, errno: i32) -> Outcome {
    let mut errors = output.lines().filter_map(|line| line.strip_prefix("error "));
    let Some(first) = errors.next() else { return Ok(()) };
    let words = std::io::Error::from_raw_os_error(errno).to_string().to_lowercase();
    let words = words.split(" (").next().unwrap_or_default();
    let named = first.contains(&format!("os error {errno})")) || first.to_lowercase().contains(words);
    // More than the kernel counts; and POSIX has but one word for a thread that cannot be made.
    // Who cannot say what it met.
    let silent = name == "write" && first.contains("could not tell");
    let changed = errno == libc::EAGAIN && first.contains("changed by something else");
    let counted = errno == libc::ERANGE && first.contains("as far as the kernel counts");
    let threads = ["clone3", "mmap"].contains(&name) && first.contains("os error 11)");
    if !(named || silent || changed || counted || threads) {
        return broken(Promise::CauseNamed, format!("it says {first:?}"));
    }
    match errors.next() {
        None => Ok(()),
        Some(second) => broken(Promise::NextWorks, format!("it says {second:?} after {first:?}")),
    }
}

each_role! { fail }
