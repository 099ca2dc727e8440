//! One test's own names and folder, and the check that it leaves nothing.
//!
//! Tests run side by side, as any user, so nothing here looks at what other tests do: every service that a test names,
//! every process that it starts and every file that procref writes for it carries the sandbox's own mark.

use crate::sys::{self, Held, Look};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

crate::linux_only! { "semaphore sets":
    pub use crate::sys::own_way::*;
}

/// The environment variable by which processes are found that a test has started.
pub const MARK: &str = "PROCREF_TEST_MARK";

/// The argument of a service that a callback starts, and that ends by itself if nobody has acquired it when its starter is gone.
pub const HANDED_OVER: &str = "handed-over";

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
        sys::prepare();
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
        sys::pids().into_iter().filter_map(|pid| self.find(pid)).collect()
    }

    fn find(&self, pid: u32) -> Option<Found> {
        if pid == std::process::id() {
            return None;
        }
        let Look { held, title, environment } = sys::look(pid)?;
        // What a callback starts is its own affair, also where the system leaves it half-made when the callback's process is
        // killed. What the library starts must go by itself.
        if title.contains(HANDED_OVER) && sys::never_begins(&held) {
            sys::kill(&held);
            return None;
        }
        let guardian = title.contains(&format!("procref-guardian: {}-", self.mark));
        let variable = format!("{MARK}={}", self.mark);
        (guardian || environment.contains(&variable)).then_some(Found { pid, pidfd: held, guardian, title })
    }

    /// What the kernel has of this test's services, by their names.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        sys::objects(&self.name(""))
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
        self.assert_no_kernel_object();
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
                panic!("processes are left: {list:?}; objects: {:?}", self.objects());
            }
        }
    }

    fn assert_no_object(&self) {
        self.assert_no_kernel_object();
        let files: Vec<_> = files(&self.runtime_dir());
        assert!(files.is_empty(), "files are left: {files:?}");
    }

    fn assert_no_kernel_object(&self) {
        let objects = sys::objects_that_stay(&self.name(""), PATIENCE);
        assert!(objects.is_empty(), "the kernel still has {objects:?}");
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
            } else if !sys::in_use(&self.name("")) {
                break;
            } else if Instant::now() >= deadline {
                return vec![format!("whoever has taken these: {:?}", self.objects())];
            } else {
                // A guardian has neither its title nor another's environment in the moment in which it drops its memory.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let objects = self.objects().into_iter().map(|name| format!("object {name:?}"));
        objects.chain(files(&self.runtime_dir()).iter().map(|path| format!("file {}", path.display()))).collect()
    }

    /// Ends whatever is left by force, for a test that has failed already.
    pub fn clean_up(&self) {
        for found in self.processes() {
            sys::kill(&found.pidfd);
        }
        sys::remove_objects(&self.name(""));
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
    pub pidfd: Held,
    /// Whether it is a guardian.
    pub guardian: bool,
    /// Its command line.
    pub title: String,
}

/// Whether a process has ended, reaped or not.
#[must_use]
pub fn has_ended(process: &Held) -> bool {
    sys::wait(process, Duration::ZERO)
}

/// Waits until a process has ended; says whether it has.
#[must_use]
pub fn wait_for_end(process: &Held, deadline: Instant) -> bool {
    loop {
        // A signal may end the wait before its time.
        let left = deadline.saturating_duration_since(Instant::now());
        if sys::wait(process, left) {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// Holds a process, to wait for its end.
///
/// # Panics
///
/// There is no such process.
#[must_use]
pub fn hold(pid: u32) -> Held {
    sys::open(pid).expect("the process lives")
}

fn since_epoch() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_micros())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| !sys::may_stay(path)).collect()
}
