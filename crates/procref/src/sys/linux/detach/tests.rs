//! Real processes, each of which tells what it is left with.

#![expect(unsafe_code, reason = "system calls")]

use super::super::raw::read;
use super::*;
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TITLE: &CStr = c"procref-guardian: db";
/// The name under which the test program plays a part of its own instead of running tests.
const PART: &str = "procref-test";

// ------------------------------------------------------------------------------------------------ the processes

#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
struct Plan {
    number: u64,
    text: &'static str,
    bytes: [u8; 3000],
    /// What `black_box` cannot see through: how many of the bytes to copy.
    copy: usize,
}

fn plan() -> Plan {
    let mut bytes = [0; 3000];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    Plan { number: 0x0123_4567_89ab_cdef, text: "constants stay", bytes, copy: 3000 }
}

/// What a detached process says of itself on descriptor 3, before it waits for the end of descriptor 4.
#[derive(Clone, Copy)]
#[repr(C)]
struct Report {
    pid: u64,
    plan_arrived: u64,
}

fn tell(plan_arrived: bool) -> ! {
    // SAFETY: has no precondition.
    let pid = unsafe { syscall(libc::SYS_getpid, [0; 6]) }.unwrap_or(0) as u64;
    let report = Report { pid, plan_arrived: u64::from(plan_arrived) };
    let arguments = [3, ptr::from_ref(&report).addr(), size_of::<Report>(), 0, 0, 0];
    // SAFETY: reads the report.
    let _ = unsafe { syscall(libc::SYS_write, arguments) };
    let mut byte = [0];
    while read(4, &mut byte) > 0 {}
    exit(0)
}

fn guardian(plan: &Plan) -> ! {
    let pattern = |bytes: &[u8; 3000]| bytes.iter().enumerate().all(|(i, byte)| *byte == (i % 251) as u8);
    // A copy whose length only the run time knows is the C library's, and glibc's asks variables how to do it.
    let mut copy = std::mem::MaybeUninit::<[u8; 3000]>::uninit();
    let length = black_box(plan.copy);
    // SAFETY: both are 3000 bytes long.
    unsafe { ptr::copy_nonoverlapping(plan.bytes.as_ptr(), copy.as_mut_ptr().cast(), length) };
    // SAFETY: all of it was written.
    let copy = unsafe { copy.assume_init_ref() };
    tell(
        plan.number == 0x0123_4567_89ab_cdef
            && black_box(plan.text) == "constants stay"
            && pattern(&plan.bytes)
            && pattern(copy),
    )
}

/// Runs before `main` of the test program, which then never comes to it if it has a part to play.
#[used]
#[unsafe(link_section = ".init_array")]
static PLAY: extern "C" fn() = {
    extern "C" fn play() {
        let line = fs::read("/proc/self/cmdline").unwrap_or_default();
        if line.starts_with(TITLE.to_bytes()) {
            let plain = line == [TITLE.to_bytes(), b"\0"].concat();
            tell(plain && std::env::vars_os().all(|(name, _)| name == "LD_LIBRARY_PATH"));
        }
        let line = String::from_utf8_lossy(&line);
        let mut words = line.split('\0').filter(|word| !word.is_empty());
        if words.next() == Some(PART) {
            play_part(&words.collect::<Vec<_>>());
            std::process::exit(0);
        }
    }
    play
};

fn own_file() -> CString {
    CString::new(std::env::current_exe().unwrap().into_os_string().into_vec()).unwrap()
}

/// A detached process, which ends with this.
struct Detached {
    pid: libc::pid_t,
    plan_arrived: bool,
    _life: PipeWriter,
}

type Way = fn(&[BorrowedFd<'_>]) -> io::Result<()>;
const WAYS: [(&str, Way); 2] =
    [("fork", |fds| fork(&plan(), TITLE, fds, guardian)), ("spawn", |fds| spawn(&own_file(), TITLE, fds))];

impl Detached {
    fn new(way: Way) -> Self {
        let ((mut heard, say), (end, life)) = (io::pipe().unwrap(), io::pipe().unwrap());
        way(&[say.as_fd(), end.as_fd()]).unwrap();
        drop((say, end));
        Self::hear(&mut heard, life)
    }

    fn hear(heard: &mut PipeReader, life: PipeWriter) -> Self {
        let mut words = [[0; 8]; 2];
        heard.read_exact(words.as_flattened_mut()).unwrap();
        let [pid, plan_arrived] = words.map(u64::from_ne_bytes);
        Self { pid: pid as libc::pid_t, plan_arrived: plan_arrived == 1, _life: life }
    }

    fn file(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(format!("/proc/{}/{name}", self.pid)).unwrap()).into_owned()
    }

    fn fds(&self) -> BTreeMap<i32, String> {
        fds_of(&self.pid.to_string())
    }

    /// Parent, process group and session.
    fn family(&self) -> [i32; 3] {
        let stat = self.file("stat");
        let mut fields = stat.rsplit(") ").next().unwrap().split(' ').skip(1);
        std::array::from_fn(|_| fields.next().unwrap().parse().unwrap())
    }

    fn status(&self, name: &str) -> String {
        let status = self.file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().to_owned()
    }

    /// Memory of its own, but for two things that depend on the program and not on us: clean pages of its file, which are
    /// the page cache's, and the constants that the loader has relocated, of which a test program has many.
    fn private_kib(&self) -> u64 {
        let program = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap();
        let (mut counts, mut sum) = (true, 0);
        for line in self.file("smaps").lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("Private_Dirty:" | "Swap:"), Some(size)) if counts => sum += size.parse::<u64>().unwrap(),
                // The first line of a mapping: a range, and in the end its file.
                (Some(range), Some(access)) if range.contains('-') => {
                    counts = access.contains('w') || words.last().is_none_or(|file| program.as_os_str() != file);
                }
                _ => {}
            }
        }
        sum
    }
}

fn fds_of(pid: &str) -> BTreeMap<i32, String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        Some((number, fs::read_link(entry.path()).ok()?.to_str().unwrap().to_owned()))
    });
    links.filter(|(_, link)| !link.starts_with("/proc/")).collect()
}

fn gone(pid: libc::pid_t) -> bool {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") && Instant::now() < limit => {}
            Ok(stat) => return stat.contains(") Z "),
            Err(_) => return true,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal_mask() -> SignalSet {
    // The call that sets a mask says what it was.
    let mask = set_signal_mask(0).unwrap();
    set_signal_mask(mask).unwrap();
    mask
}

/// What must be as before in the caller.
fn belongings() -> (BTreeMap<i32, String>, SignalSet, usize, usize) {
    // Guard pages tell the regions of this module from what the allocator does.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let guards = maps.lines().filter(|line| line.contains(" ---p ")).count();
    let size = |line: &str| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        usize::from_str_radix(end, 16).unwrap() - usize::from_str_radix(start, 16).unwrap()
    };
    let regions = maps.lines().filter(|line| line.contains(" rw-p ") && (STACK..STACK + 65536).contains(&size(line)));
    (fds_of("self"), signal_mask(), guards, regions.count())
}

// ----------------------------------------------------------------------------------------- parts of the test program

fn part(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg0(PART).args(words).stdin(Stdio::null());
    command
}

#[track_caller]
fn play(words: &[&str]) {
    let output = part(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

fn play_part(words: &[&str]) {
    match words[0] {
        "large" => large_parent(words[1].parse().unwrap(), words[2].parse().unwrap()),
        "unseen" => unseen(words[1]),
        "numbers" => numbers(),
        "full" => full_table(),
        "refused" => refused(words[1].parse().unwrap()),
        "filtered" => filtered(words[1]),
        "busy" => busy(),
        "title" => titles(),
        other => panic!("no such part: {other}"),
    }
}

/// Forks with standard output as the report and standard input as the lifeline, then waits to be killed.
fn large_parent(mib: usize, mappings: usize) {
    let heap: Vec<u8> = black_box(vec![1; mib << 20]);
    // In the middle of a block, away from the pages of the C library's data for this thread.
    let secret = black_box(vec![b'!'; 100_000]);
    let shared = map(16 << 20, libc::MAP_SHARED);
    shared[..16].copy_from_slice(b"shared memory...");
    // More mappings than fit into any buffer: every second page without access.
    let many = map(mappings.max(1) * 8192, libc::MAP_PRIVATE);
    for page in many.chunks_exact_mut(8192) {
        page.fill(1);
        // SAFETY: a page of ours that nobody uses again.
        unsafe { libc::mprotect(page.as_mut_ptr().cast(), 4096, libc::PROT_NONE) };
    }
    let file = fs::File::open("/proc/self/exe").unwrap();
    let (length, private) = (65536, libc::MAP_PRIVATE);
    // SAFETY: a new mapping.
    unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_READ, private, file.as_raw_fd(), 0) };
    let begin = Instant::now();
    fork(&plan(), TITLE, &[io::stdout().as_fd(), io::stdin().as_fd()], guardian).unwrap();
    eprintln!("{} {} {}", begin.elapsed().as_micros(), secret.as_ptr().addr() + 50_000, heap.as_ptr().addr());
    loop {
        std::thread::park();
    }
}

fn map(length: usize, kind: c_int) -> &'static mut [u8] {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let base = unsafe { libc::mmap(ptr::null_mut(), length, access, kind | libc::MAP_ANONYMOUS, -1, 0) };
    assert_ne!(base, libc::MAP_FAILED);
    // SAFETY: mapped, zeroed, for good.
    unsafe { slice::from_raw_parts_mut(base.cast(), length) }
}

fn unseen(disposition: &str) {
    static SEEN: AtomicI32 = AtomicI32::new(0);
    extern "C" fn count(_: c_int) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    let handler = match disposition {
        "handled" => count as *const () as usize,
        "ignored" => libc::SIG_IGN,
        _ => libc::SIG_DFL,
    };
    // SAFETY: the handler does what a handler may.
    unsafe { libc::signal(libc::SIGCHLD, handler) };
    set_signal_mask(1 << (libc::SIGWINCH - 1)).unwrap();
    in_short_lived_process(&(), |()| 0).unwrap();
    let before = belongings();
    for _ in 0..20 {
        for (name, way) in WAYS {
            let detached = Detached::new(way);
            assert!(detached.plan_arrived, "{name}");
            drop(detached);
        }
        assert!(spawn(c"/nonexistent", TITLE, &[]).is_err());
        assert_eq!(in_short_lived_process(&7, |number| *number).unwrap(), 7);
        // SAFETY: without a place for the status.
        let waited = unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
        assert_eq!((waited, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ECHILD)));
    }
    assert_eq!(belongings(), before);
    assert_eq!(SEEN.load(Ordering::Relaxed), 0);
}

/// All places of two descriptors among the first eleven, with the others open, closed and by turns.
fn numbers() {
    let duplicate = |fd: BorrowedFd<'_>, low: c_int| {
        // SAFETY: makes a new descriptor.
        let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, low) };
        // SAFETY: which nobody owns yet.
        unsafe { OwnedFd::from_raw_fd(new) }
    };
    let messages = duplicate(io::stderr().as_fd(), 50);
    let mut messages = fs::File::from(messages);
    let null = duplicate(fs::File::open("/dev/null").unwrap().as_fd(), 50);
    let mut tries = 0;
    let mut go = || {
        for (name, way) in WAYS {
            for (first, second) in (0..11).flat_map(|first| (0..11).map(move |second| (first, second))) {
                for pattern in [0_u32, 0x7ff, 0x2aa ^ (first * 31 + second) as u32] {
                    let (mut heard, say, end, life) = {
                        let ((heard, say), (end, life)) = (io::pipe().unwrap(), io::pipe().unwrap());
                        let high = |fd| duplicate(fd, 50);
                        let (heard, life) = (high(heard.as_fd()), high(life.as_fd()));
                        (PipeReader::from(heard), high(say.as_fd()), high(end.as_fd()), PipeWriter::from(life))
                    };
                    for fd in 0..11 {
                        let source = match fd {
                            _ if fd == first => say.as_raw_fd(),
                            _ if fd == second => end.as_raw_fd(),
                            _ if pattern >> fd & 1 == 1 => null.as_raw_fd(),
                            _ => -1,
                        };
                        let flags = if tries % 2 == 0 { libc::O_CLOEXEC } else { 0 };
                        if source < 0 {
                            // SAFETY: nobody owns a descriptor below 50 any more.
                            unsafe { libc::close(fd) };
                        } else {
                            // SAFETY: as above.
                            unsafe { libc::dup3(source, fd, flags) };
                        }
                    }
                    // The same place for both: the second is taken from elsewhere.
                    let second = if first == second { end.as_raw_fd() } else { second };
                    // SAFETY: both are open.
                    let fds = [first, second].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
                    if let Err(error) = way(&fds) {
                        return format!("{name} {first} {second} {pattern:x}: {error}");
                    }
                    let links =
                        [say, end].map(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap());
                    for fd in 0..11 {
                        // SAFETY: as above.
                        unsafe { libc::close(fd) };
                    }
                    let detached = Detached::hear(&mut heard, life);
                    let found: Vec<_> = detached.fds().into_iter().collect();
                    let null = "/dev/null".to_owned();
                    let [say, end] = links.map(|link| link.to_str().unwrap().to_owned());
                    let expected = vec![(0, null.clone()), (1, null.clone()), (2, null), (3, say), (4, end)];
                    if found != expected || !detached.plan_arrived {
                        return format!("{name} {first} {second} {pattern:x}: {found:?}");
                    }
                    tries += 1;
                }
            }
        }
        String::new()
    };
    let problem = go();
    writeln!(messages, "{problem}").unwrap();
    // SAFETY: ends this process.
    unsafe { libc::_exit(c_int::from(!problem.is_empty())) }
}

/// A program that has used up its descriptors.
fn full_table() {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let pipes: Vec<_> = WAYS.iter().map(|_| (io::pipe().unwrap(), io::pipe().unwrap())).collect();
    let fill: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
    assert!(fill.len() > 40);
    for ((name, way), ((mut heard, say), (end, life))) in WAYS.iter().zip(pipes) {
        way(&[say.as_fd(), end.as_fd()]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(Detached::hear(&mut heard, life).plan_arrived);
    }
}

/// With room for `allowed` processes of this user, this one included.
fn refused(allowed: u64) {
    // SAFETY: has no precondition.
    if unsafe { libc::getuid() } == 0 {
        // A user nobody else runs processes as; also without root's exemption from the limit.
        let user = 54_000 + std::process::id() % 1_000;
        // SAFETY: changes the user of this process, which has one thread.
        assert_eq!(unsafe { libc::setuid(user) }, 0);
    } else if allowed != 1 {
        return;
    }
    let limit = libc::rlimit { rlim_cur: allowed, rlim_max: allowed };
    // SAFETY: reads the limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) }, 0);
    let before = belongings();
    for (name, way) in WAYS {
        let error = way(&[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "{name}");
    }
    let short = in_short_lived_process(&(), |()| 0);
    assert_eq!(short.err().and_then(|error| error.raw_os_error()), (allowed == 1).then_some(libc::EAGAIN));
    assert_eq!(belongings(), before);
}

/// Makes a system call answer with an error for this thread and its children.
fn filter(number: libc::c_long, errno: c_int) {
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let program = [
        op((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
        op((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, number as u32),
        op((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        op((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let list = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: reads the program.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const list) }, 0);
}

fn filtered(what: &str) {
    let open = fs::File::open("/dev/null").unwrap();
    for number in 100..400 {
        // SAFETY: makes a new descriptor.
        assert!(unsafe { libc::fcntl(open.as_raw_fd(), libc::F_DUPFD, number) } >= number);
    }
    match what {
        // Linux before 5.9, and an old container's filter.
        "close_range" => filter(libc::SYS_close_range, libc::ENOSYS),
        "both" => {
            filter(libc::SYS_close_range, libc::EPERM);
            filter(libc::SYS_getdents64, libc::EPERM);
        }
        _ => unreachable!(),
    }
    for (name, way) in WAYS {
        let detached = Detached::new(way);
        assert!(detached.plan_arrived, "{name}");
        filtered_fds(name, &detached);
    }
}

/// The list of descriptors cannot be read with getdents64 refused.
fn filtered_fds(name: &str, detached: &Detached) {
    let open: Vec<_> =
        (0..1000).filter(|fd| fs::read_link(format!("/proc/{}/fd/{fd}", detached.pid)).is_ok()).collect();
    assert_eq!(open, [0, 1, 2, 3, 4], "{name}");
}

fn busy() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let busy: Vec<_> = (0..6)
        .map(|index| {
            std::thread::spawn(move || {
                while !STOP.load(Ordering::Relaxed) {
                    match index % 3 {
                        0 => println!("noise"),
                        1 => drop(black_box(vec![index; 5000])),
                        _ => drop(black_box(std::env::var("PATH"))),
                    }
                }
            })
        })
        .collect();
    let forks: Vec<_> = (0..5)
        .map(|_| {
            std::thread::spawn(|| {
                let all: Vec<_> = (0..10).flat_map(|_| WAYS.map(|(_, way)| Detached::new(way))).collect();
                assert!(all.iter().all(|detached| detached.plan_arrived));
                assert!(all.iter().all(|detached| detached.fds().len() == 5));
                all.iter().map(|detached| detached.pid).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut pids: Vec<_> = forks.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    STOP.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(pids.iter().all(|pid| gone(*pid)));
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 100);
}

/// Titles of all lengths that matter, in a process with a short command line.
fn titles() {
    // SAFETY: sets a name with blanks and parentheses, which is in the middle of /proc/self/stat.
    unsafe { libc::prctl(libc::PR_SET_NAME, c") 1 (2) 3".as_ptr()) };
    let own = fs::read("/proc/self/cmdline").unwrap().len();
    let environment = fs::read("/proc/self/environ").unwrap().len();
    for length in [0, 1, own - 2, own - 1, own, own + 1, own + environment - 1, own + environment, 3000] {
        let title = CString::new(vec![b't'; length]).unwrap();
        let ((mut heard, say), (end, life)) = (io::pipe().unwrap(), io::pipe().unwrap());
        fork(&plan(), &title, &[say.as_fd(), end.as_fd()], guardian).unwrap();
        let detached = Detached::hear(&mut heard, life);
        let shown = detached.file("cmdline");
        let expected = "t".repeat(length.min((own + environment).saturating_sub(1)));
        assert_eq!(shown.trim_end_matches('\0'), expected, "{length} of {own} + {environment}");
        assert!(detached.plan_arrived);
    }
}

// --------------------------------------------------------------------------------------------------------- tests

#[test]
fn keeps_the_plan_and_the_descriptors_and_nothing_else() {
    for (name, way) in WAYS {
        let ((mut heard, say), (end, life)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let third = fs::File::open("/proc/version").unwrap();
        let links =
            [say.as_fd(), end.as_fd()].map(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap());
        way(&[say.as_fd(), end.as_fd(), third.as_fd()]).unwrap();
        let detached = Detached::hear(&mut heard, life);
        assert!(detached.plan_arrived, "{name}");
        let found = fs::read_dir(format!("/proc/{}/fd", detached.pid)).unwrap();
        let found: BTreeMap<i32, _> = found
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().to_str().unwrap().parse().unwrap(), fs::read_link(entry.path()).unwrap()))
            .collect();
        let [say, end] = links;
        let null = || "/dev/null".into();
        let expected = [(0, null()), (1, null()), (2, null()), (3, say), (4, end), (5, "/proc/version".into())];
        assert_eq!(found, expected.into(), "{name}");
    }
}

#[test]
fn belongs_to_nobody_and_says_what_it_is() {
    for (name, way) in WAYS {
        let detached = Detached::new(way);
        assert_eq!(detached.file("cmdline").trim_end_matches('\0'), TITLE.to_str().unwrap(), "{name}");
        assert_eq!(fs::read_link(format!("/proc/{}/cwd", detached.pid)).unwrap().to_str(), Some("/"), "{name}");
        // SAFETY: has no precondition.
        let group = unsafe { libc::getpgrp() };
        // SAFETY: has no precondition.
        let session = unsafe { libc::getsid(0) };
        let [parent, its_group, its_session] = detached.family();
        assert_ne!(parent, std::process::id() as i32, "{name}");
        assert!(its_group != group && its_session != session && its_group == its_session, "{name}");
        let environment = detached.file("environ");
        assert!(!environment.split('\0').any(|word| word.starts_with("PATH=")), "{name}");
        if name == "fork" {
            assert_eq!(detached.file("comm"), "procref-guard\n");
        }
        let ignored = IGNORED.iter().fold(0_u64, |set, signal| set | 1 << (signal - 1));
        for (field, expected) in [("SigBlk", 0), ("SigPnd", 0), ("ShdPnd", 0), ("SigIgn", ignored)] {
            assert_eq!(detached.status(field), format!("{expected:016x}"), "{name} {field}");
        }
        if name == "fork" {
            assert_eq!(detached.status("SigCgt"), format!("{:016x}", 0));
        }
        let pid = detached.pid;
        drop(detached);
        assert!(gone(pid), "{name}");
    }
}

#[test]
fn sigterm_ends_it_and_everyday_signals_do_not() {
    for (name, way) in WAYS {
        let detached = Detached::new(way);
        for signal in IGNORED {
            // SAFETY: a process of ours, which is alive.
            assert_eq!(unsafe { libc::kill(detached.pid, signal) }, 0, "{name}");
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(detached.file("stat").contains(") S "), "{name}");
        // SAFETY: as above.
        unsafe { libc::kill(detached.pid, libc::SIGTERM) };
        assert!(gone(detached.pid), "{name}");
    }
}

#[test]
fn costs_little_however_large_the_program() {
    for (mib, mappings) in [(8, 0), (256, 0), (8, 4000)] {
        let (mut heard, say) = io::pipe().unwrap();
        let (end, life) = io::pipe().unwrap();
        let (mut errors, error) = io::pipe().unwrap();
        let mut command = part(&["large", &mib.to_string(), &mappings.to_string()]);
        let mut parent: Child = command.stdin(end).stdout(say).stderr(error).spawn().unwrap();
        drop(command);
        let detached = Detached::hear(&mut heard, life);
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            errors.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let line = String::from_utf8(line).unwrap();
        let [micros, secret, heap] =
            std::array::from_fn(|index| line.split_whitespace().nth(index).unwrap().parse::<u64>().unwrap());
        let alive = detached.private_kib();
        parent.kill().unwrap();
        parent.wait().unwrap();
        let orphaned = detached.private_kib();
        let tables = detached.status("VmPTE");
        eprintln!(
            "{mib} MiB, {mappings} mappings: fork {micros} us, private {alive} KiB, then {orphaned} KiB, page tables {tables}"
        );
        assert!(detached.plan_arrived);
        assert!(alive <= 100 && orphaned <= 100, "{mib} MiB: {alive} and {orphaned} KiB");

        let maps = detached.file("maps");
        let own = std::env::current_exe().unwrap();
        for line in maps.lines() {
            let file = line.find('/').map(|at| &line[at..]);
            assert_ne!(line.split(' ').nth(1).unwrap().as_bytes()[3], b's', "{line}");
            assert!(file.is_none_or(|file| file == own.to_str().unwrap() || file.contains("/libc")), "{line}");
        }
        let own_text = maps.lines().filter(|line| line.ends_with(own.to_str().unwrap())).count();
        assert!(own_text <= 6, "a file mapped by the program stays: {maps}");
        let memory = fs::File::open(format!("/proc/{}/mem", detached.pid)).unwrap();
        for address in [secret, heap, heap + (mib << 19)] {
            let mut bytes = [0; 16];
            let read = std::os::unix::fs::FileExt::read_at(&memory, &mut bytes, address);
            assert!(read.is_err() || bytes == [0; 16], "{address:x}: {bytes:?}");
        }
    }
}

#[test]
fn the_program_sees_no_child_and_loses_nothing() {
    for disposition in ["default", "ignored", "handled"] {
        play(&["unseen", disposition]);
    }
}

#[test]
fn whatever_descriptors_the_program_has() {
    play(&["numbers"]);
    play(&["full"]);
}

#[test]
fn without_close_range() {
    play(&["filtered", "close_range"]);
    play(&["filtered", "both"]);
}

#[test]
fn too_many_processes() {
    play(&["refused", "1"]);
    play(&["refused", "2"]);
}

#[test]
fn from_many_threads_while_others_hold_every_lock() {
    play(&["busy"]);
}

#[test]
fn titles_of_every_length() {
    play(&["title"]);
    let mut without_environment = part(&["title"]);
    without_environment.env_clear();
    let output = without_environment.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_program_that_cannot_be_started_is_an_error() {
    let before = signal_mask();
    let missing = spawn(c"/nonexistent/program", TITLE, &[]).unwrap_err();
    assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    let directory = spawn(c"/tmp", TITLE, &[]).unwrap_err();
    assert_eq!(directory.raw_os_error(), Some(libc::EACCES));
    assert_eq!(signal_mask(), before);
}

#[test]
fn a_program_may_be_named_relative_to_the_working_directory() {
    let absolute = own_file();
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let relative = CString::new([up.as_bytes(), &absolute.to_bytes()[1..]].concat()).unwrap();
    let ((mut heard, say), (end, life)) = (io::pipe().unwrap(), io::pipe().unwrap());
    spawn(&relative, TITLE, &[say.as_fd(), end.as_fd()]).unwrap();
    assert!(Detached::hear(&mut heard, life).plan_arrived);
}

#[test]
fn a_short_lived_process_shares_memory_but_not_the_undo_list() {
    let own = std::process::id();
    let seen = AtomicI32::new(0);
    let other = in_short_lived_process(&seen, |seen| {
        seen.store(42, Ordering::Relaxed);
        // SAFETY: has no precondition.
        unsafe { syscall(libc::SYS_getpid, [0; 6]) }.unwrap_or(0) as i32
    });
    assert_ne!(other.unwrap(), own as i32);
    assert_eq!(seen.load(Ordering::Relaxed), 42);

    // SAFETY: makes a new set.
    let set = unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) };
    assert!(set >= 0);
    let add = |flags: c_int| {
        move |set: &c_int| {
            let mut op = libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: flags as i16 };
            // SAFETY: reads one operation.
            unsafe { libc::semop(*set, &raw mut op, 1) }
        }
    };
    // SAFETY: reads a value.
    let value = || unsafe { libc::semctl(set, 0, libc::GETVAL) };
    // The caller's own undo list must neither be used nor run.
    assert_eq!(add(libc::SEM_UNDO)(&set), 0);
    assert_eq!(
        in_short_lived_process(&set, |set| {
            let mut op = libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: libc::SEM_UNDO as i16 };
            // SAFETY: reads one operation.
            unsafe { libc::semop(*set, &raw mut op, 1) }
        })
        .unwrap(),
        0
    );
    assert_eq!(value(), 1);
    assert_eq!(
        in_short_lived_process(&set, |set| {
            let mut op = libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: 0 };
            // SAFETY: reads one operation.
            unsafe { libc::semop(*set, &raw mut op, 1) }
        })
        .unwrap(),
        0
    );
    assert_eq!(value(), 2);
    // SAFETY: removes the set made above.
    unsafe { libc::semctl(set, 0, libc::IPC_RMID) };
}

#[test]
fn a_short_lived_process_that_dies_is_an_error() {
    let before = signal_mask();
    let died = in_short_lived_process(&(), |()| {
        // SAFETY: has no precondition.
        let own = unsafe { syscall(libc::SYS_getpid, [0; 6]) }.unwrap_or(0);
        // SAFETY: kills the calling process, which is the helper.
        let _ = unsafe { syscall(libc::SYS_kill, [own, libc::SIGKILL as usize, 0, 0, 0, 0]) };
        0
    });
    assert!(died.unwrap_err().to_string().contains("signal 9"));
    let early = in_short_lived_process(&(), |()| exit(0));
    assert!(early.is_err());
    assert_eq!(signal_mask(), before);
}
