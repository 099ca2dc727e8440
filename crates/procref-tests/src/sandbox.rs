//! One test's own names and folder, and the check that it leaves nothing.
//!
//! Tests run side by side, as any user, so nothing here looks at what other tests do: every service that a test names,
//! every process that it starts and every file that procref writes for it carries the sandbox's own mark.

use procref::protocol::set::{Instance, Op, Record, SEMAPHORES, Snapshot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The environment variable by which processes are found that a test has started.
pub const MARK: &str = "PROCREF_TEST_MARK";

/// How long anything that must happen may take on a busy machine. Not waited for where a fact says that it has.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One test's own surroundings.
#[derive(Debug)]
pub struct Sandbox {
    mark: String,
    folder: PathBuf,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// A new sandbox with a folder of its own.
    ///
    /// # Panics
    ///
    /// The folder cannot be made.
    #[must_use]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mark = format!("t{}-{number}-{:x}", std::process::id(), since_epoch());
        let folder = std::env::temp_dir().join(format!("procref-test-{mark}"));
        fs::create_dir(&folder).expect("the test's folder can be made");
        Self { mark, folder }
    }

    /// The name of a service that only this test uses.
    #[must_use]
    pub fn name(&self, service: &str) -> String {
        format!("{}-{service}", self.mark)
    }

    /// A folder that only this test uses; what is in it is removed in the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder for procref's hints: `runtime_dir` of all services of this test.
    #[must_use]
    pub fn runtime_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// A program that carries the sandbox's mark, and so do all its children.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env(MARK, &self.mark);
        command
    }

    /// The sandbox's mark, for `MARK` in the environment.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The guardians of this test's services that live.
    #[must_use]
    pub fn guardians(&self) -> Vec<u32> {
        self.processes().into_iter().filter(|process| process.guardian).map(|process| process.pid).collect()
    }

    /// All processes of this test that live: guardians and whatever was started by [`Sandbox::command`].
    #[must_use]
    pub fn processes(&self) -> Vec<Found> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| self.find(pid)).collect()
    }

    fn find(&self, pid: u32) -> Option<Found> {
        if pid == std::process::id() {
            return None;
        }
        let number = Pid::from_raw(pid.try_into().ok()?)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // While the pidfd is not readable, what /proc says is about the process that it holds.
        let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let title = String::from_utf8_lossy(&title).replace('\0', " ");
        let guardian = title.starts_with(&format!("procref-guardian: {}-", self.mark));
        let variable = format!("{MARK}={}", self.mark);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let marked = environment.split(|&byte| byte == 0).any(|entry| entry == variable.as_bytes());
        ((guardian || marked) && !has_ended(&pidfd)).then_some(Found { pid, pidfd, guardian, title })
    }

    /// The semaphore sets of this test's services, by the names in them.
    #[must_use]
    pub fn sets(&self) -> Vec<(i32, String)> {
        let sets = all_sets().into_iter().filter_map(|id| Some((id, String::from_utf8(snapshot(id)?.name()).ok()?)));
        sets.filter(|(_, name)| name.starts_with(&format!("{}-", self.mark))).collect()
    }

    /// Waits until nothing of this test is left: no process, no set, no file but logs.
    ///
    /// # Panics
    ///
    /// Something stays.
    pub fn assert_nothing_left(&self) {
        self.assert_no_process();
        self.assert_no_object();
    }

    /// Waits until no process of this test is left.
    ///
    /// # Panics
    ///
    /// One stays.
    pub fn assert_no_process(&self) {
        self.assert_no_process_that(|_| true);
    }

    /// Waits until no service of this test is left, and no guardian, while its clients live on.
    ///
    /// # Panics
    ///
    /// Something stays.
    pub fn assert_no_service(&self) {
        self.assert_no_process_that(|found| found.guardian);
        self.assert_no_object();
    }

    /// Waits until no guardian of this test is left, and no set; what files there are is not asked.
    ///
    /// # Panics
    ///
    /// Something stays.
    pub fn assert_no_guardian(&self) {
        self.assert_no_process_that(|found| found.guardian);
        assert!(self.sets().is_empty(), "semaphore sets are left: {:?}", self.sets());
    }

    fn assert_no_process_that(&self, matters: impl Fn(&Found) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        // A process that ends may leave another one that has to end: look again until there is none.
        loop {
            let mut processes = self.processes();
            processes.retain(&matters);
            let Some(first) = processes.first() else { break };
            if !wait_for_end(&first.pidfd, deadline) {
                let list: Vec<_> = processes.iter().map(|found| (found.pid, &found.title)).collect();
                panic!("processes are left: {list:?}; sets: {:?}", self.sets());
            }
        }
    }

    fn assert_no_object(&self) {
        let sets = self.sets();
        assert!(sets.is_empty(), "semaphore sets are left: {sets:?}");
        let files: Vec<_> = files(&self.runtime_dir());
        assert!(files.is_empty(), "files are left: {files:?}");
    }

    /// What is left of this test when it had so much time to go; nothing if all goes well.
    #[must_use]
    pub fn left_after(&self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        loop {
            let processes = self.processes();
            if let Some(first) = processes.first() {
                if !wait_for_end(&first.pidfd, deadline) {
                    return processes.iter().map(|found| format!("process {} {:?}", found.pid, found.title)).collect();
                }
            } else if !self.sets().iter().any(|(id, _)| is_in_use(*id)) {
                break;
            } else if Instant::now() >= deadline {
                return vec![format!("whoever has taken these: {:?}", self.sets())];
            } else {
                // A guardian has neither its title nor another's environment in the moment in which it drops its memory.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let sets = self.sets().into_iter().map(|(id, name)| format!("semaphore set {id} {name:?}"));
        sets.chain(files(&self.runtime_dir()).iter().map(|path| format!("file {}", path.display()))).collect()
    }

    /// Ends whatever is left by force, for a test that has failed already.
    pub fn clean_up(&self) {
        for found in self.processes() {
            let _ = rustix::process::pidfd_send_signal(&found.pidfd, rustix::process::Signal::KILL);
        }
        for (id, _) in self.sets() {
            remove_set(id);
        }
        let _ = fs::remove_dir_all(self.runtime_dir());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.clean_up();
        } else {
            let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.assert_nothing_left()));
            if let Err(panic) = left {
                self.clean_up();
                let _ = fs::remove_dir_all(&self.folder);
                std::panic::resume_unwind(panic);
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process of a test.
#[derive(Debug)]
pub struct Found {
    /// Its number.
    pub pid: u32,
    /// What holds it.
    pub pidfd: OwnedFd,
    /// Whether it is a guardian.
    pub guardian: bool,
    /// Its command line.
    pub title: String,
}

/// Whether a process has ended, reaped or not.
#[must_use]
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    wait_for_end(pidfd, Instant::now())
}

/// Waits until a process has ended; says whether it has.
#[must_use]
pub fn wait_for_end(pidfd: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&time)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Holds a process, to wait for its end.
///
/// # Panics
///
/// There is no such process.
#[must_use]
pub fn hold(pid: u32) -> OwnedFd {
    let number = Pid::from_raw(pid.try_into().expect("a process number")).expect("a process number");
    pidfd_open(number, PidfdFlags::empty()).expect("the process lives")
}

/// The same; `None` if there is none.
#[must_use]
pub fn try_hold(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()
}

fn since_epoch() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_micros())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_none_or(|extension| extension != "log")).collect()
}

/// The identifiers of all sets that have the size of ours.
fn all_sets() -> Vec<i32> {
    let list = fs::read_to_string("/proc/sysvipc/sem").unwrap_or_default();
    let rows = list.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row.get(3).is_some_and(|size| size.parse() == Ok(SEMAPHORES)));
    ours.filter_map(|row| row.get(1)?.parse().ok()).collect()
}

/// Whether the set says of a live process that it holds, locks or guards.
fn is_in_use(id: i32) -> bool {
    snapshot(id).map(|snapshot| snapshot.view()).is_some_and(|view| view.clients > 0 || view.locked || view.guarded)
}

/// What a set of ours says; `None` if there is no such set.
#[must_use]
#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
pub fn snapshot(id: i32) -> Option<Snapshot> {
    let mut values = [0_u16; SEMAPHORES];
    // SAFETY: the set has this many semaphores, as /proc/sysvipc/sem says.
    let result = unsafe { libc::semctl(id, 0, libc::GETALL, values.as_mut_ptr()) };
    (result == 0).then(|| Snapshot::new(values))
}

/// When a process started, in clock ticks since boot (proc_pid_stat(5), field 22).
///
/// # Panics
///
/// There is no such process.
#[must_use]
pub fn started(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("there is such a process");
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    fields.split(' ').nth(22 - 3).and_then(|ticks| ticks.parse().ok()).expect("a number")
}

/// Makes a set record another process's number with the start time that it has: as if the service's number had been
/// given to that process.
///
/// # Panics
///
/// There is no such set, or it records no process.
#[expect(unsafe_code, reason = "there is no safe wrapper for semop")]
pub fn reuse_number(id: i32, pid: u32) {
    let snapshot = snapshot(id).expect("the set is there");
    let Instance::Process { start, .. } = snapshot.record().instance else { panic!("no process is recorded") };
    let record = Record { instance: Instance::Process { pid, start }, ..snapshot.record() };
    let operation = |op: &Op| libc::sembuf { sem_num: op.sem, sem_op: op.delta, sem_flg: libc::IPC_NOWAIT as i16 };
    let mut operations: Vec<_> = snapshot.recording(&record).iter().map(operation).collect();
    // SAFETY: the kernel reads that many operations.
    let result = unsafe { libc::semop(id, operations.as_mut_ptr(), operations.len()) };
    assert_eq!(result, 0, "the set can be changed");
}

/// Writes a program that can be run at once. Another process does it: a child that this one forks meanwhile would have the file
/// open for writing for a moment, and what is open for writing cannot be run (`ETXTBSY`).
///
/// # Panics
///
/// It cannot be written.
pub fn write_program(path: &Path, text: &str) {
    let mut install = Command::new("install");
    install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped());
    let mut install = install.spawn().expect("there is install(1)");
    let mut input = install.stdin.take().expect("it is a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    assert!(install.wait().expect("it can be awaited").success(), "{} can be written", path.display());
}

/// Removes a semaphore set, as `ipcrm` does.
#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
pub fn remove_set(id: i32) {
    // SAFETY: IPC_RMID takes no argument.
    unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
}
