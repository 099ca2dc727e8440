//! System calls as text that says what they are about.

use procref::blocking::SharedService;
use procref::protocol::set;
use procref_tests::trace::{Side, Stop};
use std::collections::HashMap;
use std::fmt::Write as _;

/// What the C library and Rust's do to manage memory, threads and their waits for each other. How often depends on
/// them and on the scheduler, so it is left out; that a thread is made (`clone3`) is not.
const NOISE: [&str; 20] = [
    "brk",
    "exit",
    "futex",
    "getrandom",
    "gettid",
    "madvise",
    "membarrier",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "prctl",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
];

/// Lists the calls between the marks 1 and 2, each thread's by itself, for the order between threads is the
/// scheduler's.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    service: &'a SharedService,
    folder: String,
    listens: bool,
    /// What the numbers of processes are.
    pids: HashMap<u32, &'static str>,
    /// What the descriptors are.
    fds: HashMap<u64, String>,
    /// In the order in which the threads came.
    threads: Vec<(u32, Vec<String>)>,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(service: &'a SharedService, folder: &std::path::Path) -> Self {
        let folder = folder.display().to_string();
        let (pids, fds) = (HashMap::new(), HashMap::from([(0, "stdin".into())]));
        Self { service, folder, listens: false, pids, fds, threads: Vec::new() }
    }

    /// Takes note of a call.
    pub(crate) fn note(&mut self, stop: &Stop) {
        if let Some(mark) = stop.mark() {
            self.listens = mark == 1;
            if self.listens {
                self.look_around(stop);
            }
        }
        let Side::Exit(result) = stop.side else { return };
        let name = match stop.name().as_str() {
            // Not every processor has the older of the two.
            "openat" => "open".to_owned(),
            "newfstatat" => "stat".to_owned(),
            "unlinkat" | "rmdir" => "unlink".to_owned(),
            name => name.to_owned(),
        };
        let text = self.text(stop, &name, result);
        // Rust's library asks before it closes a descriptor, in programs that are built with debug assertions.
        let asks = name == "fcntl" && stop.args[1] == libc::F_GETFD as u64;
        if self.listens && name != "getpriority" && !asks && !NOISE.contains(&&*name) {
            let index = self.threads.iter().position(|(thread, _)| *thread == stop.thread).unwrap_or_else(|| {
                self.threads.push((stop.thread, Vec::new()));
                self.threads.len() - 1
            });
            let calls = &mut self.threads[index].1;
            // What a thread drops when it has told the waiting one that it is done may come after the mark.
            if index == 0 || calls.last().is_none_or(|last| last != "semctl(remove)") {
                calls.push(text);
            }
        }
    }

    /// The program stands still, so that what is true now is true when it goes on.
    fn look_around(&mut self, stop: &Stop) {
        self.pids.insert(stop.process, "self");
        let status = self.service.status().expect("the service can be looked at");
        if let Some(pid) = status.info.and_then(|info| info.pid()) {
            self.pids.insert(pid, "service");
        }
        if let Some(pid) = status.guardian {
            self.pids.insert(pid, "guardian");
        }
        // What was opened before is named as if it had been opened now.
        for label in self.fds.values_mut() {
            for (pid, name) in &self.pids {
                *label = label.replace(&pid.to_string(), name);
            }
        }
    }

    /// The lists, a blank line between two threads.
    pub(crate) fn finish(self) -> String {
        let lists: Vec<_> = self.threads.into_iter().map(|(_, calls)| calls.join("\n")).collect();
        lists.join("\n\n")
    }

    fn text(&mut self, stop: &Stop, name: &str, result: i64) -> String {
        let args = stop.args;
        let path = |index: usize| self.path(&stop.read_text(args[index]).unwrap_or_default());
        let fd = |number: u64| self.fds.get(&number).cloned().unwrap_or_else(|| format!("fd {number}"));
        let what = match name {
            "semget" if args[1..3] == [set::SEMAPHORES as u64, 0o1600] => "create".into(),
            "semctl" => match args[2] as i32 {
                libc::IPC_STAT => "stat".into(),
                libc::IPC_RMID => "remove".into(),
                libc::GETALL => "all values".into(),
                libc::GETVAL => format!("value of {}", semaphore(args[1] as u16)),
                libc::GETZCNT => format!("waiters for {}", semaphore(args[1] as u16)),
                other => format!("command {other}"),
            },
            "semtimedop" => operations(stop),
            "pidfd_open" => self.pid(args[0]),
            "open" | "stat" | "unlink" => path(stop.name().ends_with("at").into()),
            "close" | "read" | "write" | "fstat" | "getdents64" | "fcntl" | "epoll_wait" | "epoll_pwait" => fd(args[0]),
            "epoll_ctl" => format!("{} {}", if args[1] == 1 { "add" } else { "delete" }, fd(args[2])),
            "pidfd_send_signal" => format!("{}, {}", fd(args[0]), args[1]),
            "ppoll" | "poll" => {
                let mut number = [0; 4];
                stop.read(args[0], &mut number).expect("the list of descriptors");
                let zero = {
                    let mut time = [1; 16];
                    args[2] != 0 && stop.read(args[2], &mut time).is_ok() && time == [0; 16]
                };
                format!("{}, {}", fd(u32::from_ne_bytes(number).into()), if zero { "now" } else { "wait" })
            }
            "clone3" => "thread".into(),
            "kcmp" if args[2] == 6 => "undo lists".into(),
            _ => String::new(),
        };
        let new = match name {
            "pidfd_open" => Some(format!("pidfd of {what}")),
            "open" => Some(what.clone()),
            "fcntl" if args[1] == libc::F_DUPFD_CLOEXEC as u64 => Some(what.clone()),
            "epoll_create1" => Some("epoll".into()),
            "pipe2" => {
                let mut ends = [0; 8];
                if stop.read(args[0], &mut ends).is_ok()
                    && let ([reads, writes], _) = ends.as_chunks::<4>()
                {
                    self.fds.insert(u32::from_ne_bytes(*reads).into(), "reading end".into());
                    self.fds.insert(u32::from_ne_bytes(*writes).into(), "writing end".into());
                }
                None
            }
            _ => None,
        };
        if let (Some(new), Ok(number)) = (new, u64::try_from(result)) {
            self.fds.insert(number, new);
        }
        if name == "close" {
            self.fds.remove(&args[0]);
        }
        let mut text = format!("{name}({what})");
        if result < 0 {
            let _ = write!(text, " = {}", errno(-result));
        }
        text
    }

    fn pid(&self, pid: u64) -> String {
        self.pids.get(&(pid as u32)).map_or_else(|| pid.to_string(), |name| (*name).to_owned())
    }

    fn path(&self, path: &str) -> String {
        let mut path = path.replace(&self.folder, "RUN").replace(self.service.name(), "NAME");
        for (pid, name) in &self.pids {
            path = path.replace(&format!("/proc/{pid}/"), &format!("/proc/{name}/"));
        }
        // The number of the IPC namespace.
        match path.split_once('@') {
            Some((before, after)) => {
                format!("{before}@IPC{}", after.trim_start_matches(|byte: char| byte.is_ascii_digit()))
            }
            None => path,
        }
    }
}

fn semaphore(number: u16) -> String {
    const NAMES: [(u16, &str); 8] = [
        (set::CLIENTS, "CLIENTS"),
        (set::LOCK, "LOCK"),
        (set::UP, "UP"),
        (set::GUARDIAN, "GUARDIAN"),
        (set::PROBE, "PROBE"),
        (set::FAILURES, "FAILURES"),
        (set::INSTANCE, "INSTANCE"),
        (set::LAYOUT, "LAYOUT"),
    ];
    let pieces = [
        (set::GENERATION..set::PID, "GENERATION"),
        (set::PID..set::START, "PID"),
        (set::START..set::PORT, "START"),
        (set::PORT..set::DETAILS, "PORT"),
        (set::DETAILS..set::GUARDIAN_PID, "DETAILS"),
        (set::GUARDIAN_PID..set::NAMESPACE, "GUARDIAN_PID"),
        (set::NAMESPACE..set::NAME, "NAMESPACE"),
        (set::NAME..u16::MAX, "NAME"),
    ];
    let single = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned());
    single.unwrap_or_else(|| {
        let piece = pieces.iter().find(|(range, _)| range.contains(&number));
        piece.map_or_else(|| number.to_string(), |(_, name)| format!("{name}*"))
    })
}

/// Such as `LOCK=0 wait, LOCK+1 undo`. The amounts by which pieces of a value change are left out (`PID*`).
fn operations(stop: &Stop) -> String {
    let mut list: Vec<String> = Vec::new();
    for (sem, change, flags) in stop.operations().expect("the operations") {
        let name = semaphore(sem);
        let mut text = match change {
            _ if name.ends_with('*') => name,
            0 => format!("{name}=0"),
            change => format!("{name}{change:+}"),
        };
        if i32::from(flags) & libc::SEM_UNDO != 0 {
            text.push_str(" undo");
        }
        if i32::from(flags) & libc::IPC_NOWAIT == 0 {
            text.push_str(" wait");
        }
        // How many pieces of a value change depends on the value.
        if list.last() != Some(&text) {
            list.push(text);
        }
    }
    list.join(", ")
}

fn errno(number: i64) -> String {
    const NAMES: [(i32, &str); 6] = [
        (libc::EAGAIN, "EAGAIN"),
        (libc::EEXIST, "EEXIST"),
        (libc::EINTR, "EINTR"),
        (libc::ENOENT, "ENOENT"),
        (libc::ENOTEMPTY, "ENOTEMPTY"),
        (libc::ESRCH, "ESRCH"),
    ];
    let known = NAMES.iter().find(|(known, _)| i64::from(*known) == number);
    known.map_or_else(|| format!("errno {number}"), |(_, name)| (*name).to_owned())
}
