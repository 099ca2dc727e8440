//! Linux.

use super::{End, Look};
use crate::{Actor, Config, Sandbox};
use procref::protocol::set::{Instance, Op, Record, SEMAPHORES, Snapshot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, kill_process_group, pidfd_open, pidfd_send_signal, setrlimit,
};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A process that stays the same one.
pub type Held = OwnedFd;

/// Whether a service whose last client was killed is asked to end: by the guardian.
pub const ASKS: bool = true;

/// A test program's guardians are forked.
pub fn needs_way_in(_: &str) {}

/// Whether a file of procref's may stay when the last client was killed: the guardian leaves none but logs.
#[must_use]
pub fn may_stay(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// How an error says of a process that it was killed.
pub const KILLED_IN_WORDS: &str = "was killed by signal 9";

/// Whether a guardian can be forked, where the program gives no way to start one.
pub const FORKS: bool = true;

/// How often each of a few clients comes and goes.
pub const ROUNDS: u64 = 200;

/// How many processes are a storm.
pub const MANY: usize = 200;

/// Holds a process; `None` if there is none of this number.
#[must_use]
pub fn open(pid: u32) -> Option<Held> {
    pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()
}

/// Waits for so long until a process has ended, reaped or not; says whether it has.
#[must_use]
pub fn wait(process: &Held, time: Duration) -> bool {
    readable(process, time)
}

fn readable(descriptor: impl rustix::fd::AsFd, time: Duration) -> bool {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Ends a process at once. One that has ended already is left alone.
pub fn kill(process: &Held) {
    let _ = pidfd_send_signal(process, Signal::KILL);
}

/// Makes a process stand still.
pub fn freeze(process: &Held) {
    let _ = pidfd_send_signal(process, Signal::STOP);
}

/// Lets it go on.
pub fn thaw(process: &Held) {
    let _ = pidfd_send_signal(process, Signal::CONT);
}

/// Processes that are killed by one call: a process group, called by its first member's number.
#[derive(Clone, Debug, Default)]
pub struct Group(u32);

impl Group {
    /// Prepares a command for its process to be a member.
    pub fn prepare(&self, command: &mut Command) {
        command.process_group(self.0.try_into().expect("a process number"));
    }

    /// Takes the process in.
    pub fn add(&mut self, child: &Child) {
        if self.0 == 0 {
            self.0 = child.id();
        }
    }

    /// Kills all members in one call.
    ///
    /// # Panics
    ///
    /// There are none.
    pub fn kill(&self) {
        let group = Pid::from_raw(self.0.try_into().expect("a process number")).expect("it has members");
        kill_process_group(group, Signal::KILL).expect("the group lives");
    }
}

/// How that was.
#[must_use]
pub fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (_, Some(libc::SIGKILL)) => End::Killed,
        (_, Some(libc::SIGTERM)) => End::Asked,
        (_, Some(libc::SIGABRT)) => End::Aborted,
        (_, Some(libc::SIGSEGV)) => End::Crashed,
        _ => End::Otherwise(status),
    }
}

/// The numbers of all processes.
#[must_use]
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// What a process was started with; `None` if it has ended.
#[must_use]
pub fn look(pid: u32) -> Option<Look> {
    let held = open(pid)?;
    // While the pidfd is not readable, what /proc says is about the process that it holds.
    let title = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = String::from_utf8_lossy(&title).replace('\0', " ");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let environment = environment.split(|&byte| byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned());
    let environment = environment.collect();
    (!wait(&held, Duration::ZERO)).then_some(Look { held, title, environment })
}

/// A command whose process is in a process group of its own.
pub fn alone(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGTERM, "TERM"),
    (libc::SIGINT, "INT"),
    (libc::SIGQUIT, "QUIT"),
    (libc::SIGHUP, "HUP"),
    (libc::SIGUSR1, "USR1"),
];

/// The signals that ask a service to end.
#[derive(Debug)]
pub struct Requests(libc::sigset_t);

impl Requests {
    /// Listens, from now on and in all threads that begin after this: they end nothing by themselves any more.
    #[must_use]
    #[expect(unsafe_code, reason = "the standard library has no signal masks")]
    pub fn listen() -> Self {
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
        Self(set)
    }

    /// Waits for the next one: its name.
    #[must_use]
    #[expect(unsafe_code, reason = "the standard library does not wait for signals")]
    pub fn next(&self) -> &'static str {
        let mut number = 0;
        // SAFETY: the set is initialised, and the number is ours.
        unsafe { libc::sigwait(&self.0, &mut number) };
        SIGNALS.iter().find(|(signal, _)| *signal == number).map_or("?", |(_, name)| name)
    }
}

/// What has to be there before a test starts anything: here nothing.
pub const fn prepare() {}

/// Starts a program.
///
/// # Errors
///
/// It cannot be started.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    command.spawn()
}

/// Whether a process will never begin because its maker was killed: here a child begins with `fork`.
#[must_use]
pub const fn never_begins(_: &Held) -> bool {
    false
}

/// A process that is asked to end does so, unless it has said otherwise.
pub const fn end_on_request() {}

/// From now on nothing that asks this process to end does anything.
#[expect(unsafe_code, reason = "the standard library does not ignore signals")]
pub fn ignore_requests() {
    for (number, _) in SIGNALS {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
}

/// Ends this process as a broken program ends.
#[expect(unsafe_code, reason = "what is safe does not do that")]
pub fn crash() -> ! {
    // SAFETY: there is nothing at this address, and that is what it is for.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    unreachable!("there is nothing to write to");
}

/// Takes a file for as long as this process lives, however it ends; `None` if another one has it. The kernel lets go of it before
/// anybody can see that its owner has ended.
///
/// # Panics
///
/// There can be no such file.
#[must_use]
pub fn own(path: &Path) -> Option<File> {
    let file = File::options().create(true).append(true).open(path).expect("the file can be opened");
    file.try_lock().is_ok().then_some(file)
}

/// Adds to a file: by one `write` to a file opened for appending, which the kernel does not mix with others.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
}

/// Says when a file changes.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Changes from now on.
    ///
    /// # Panics
    ///
    /// There is no such file.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let changes = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
        inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY).expect("the file can be watched");
        Self(changes)
    }

    /// Waits for a change for so long.
    pub fn wait(&self, time: Duration) {
        if readable(&self.0, time) {
            let mut buffer = [0_u8; 4096];
            let _ = rustix::io::read(&self.0, &mut buffer);
        }
    }
}

/// The semaphore sets of services whose names begin so, by the names in them.
#[must_use]
pub fn objects(prefix: &str) -> Vec<String> {
    sets_of(prefix).into_iter().map(|(_, name)| name).collect()
}

/// Waits until there are no such objects; here they go at once, or never.
#[must_use]
pub fn objects_that_stay(prefix: &str, _: Duration) -> Vec<String> {
    objects(prefix)
}

/// Removes them, for a test that has failed already.
pub fn remove_objects(prefix: &str) {
    for (id, _) in sets_of(prefix) {
        own_way::remove_set(id);
    }
}

/// Where a service is found: the key of its set.
#[derive(Debug)]
pub struct Place(i32);

impl Place {
    /// The place of a service that is there.
    ///
    /// # Panics
    ///
    /// It is not.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let set = sets_of(name).into_iter().find(|(_, other)| other == name).expect("its set is there").0;
        Self(own_way::sets().into_iter().find(|&(_, id)| id == set).expect("its set is there").0)
    }

    /// Whether there is nothing: no set, named or not.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        own_way::sets().into_iter().all(|(key, _)| key != self.0)
    }
}

fn sets_of(prefix: &str) -> Vec<(i32, String)> {
    let list = fs::read_to_string("/proc/sysvipc/sem").unwrap_or_default();
    let rows = list.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row.get(3).is_some_and(|size| size.parse() == Ok(SEMAPHORES)));
    let ids = ours.filter_map(|row| row.get(1)?.parse().ok());
    let named = ids.filter_map(|id| Some((id, String::from_utf8(own_way::snapshot(id)?.name()).ok()?)));
    named.filter(|(_, name)| name.starts_with(prefix)).collect()
}

/// Whether one of these sets says of a live process that it holds, locks or guards.
#[must_use]
pub fn in_use(prefix: &str) -> bool {
    sets_of(prefix).iter().any(|(id, _)| {
        own_way::snapshot(*id)
            .map(|snapshot| snapshot.view())
            .is_some_and(|view| view.clients > 0 || view.locked || view.guarded)
    })
}

/// Whether nobody but this user can do anything with a file or a folder.
///
/// # Panics
///
/// There is none.
#[must_use]
pub fn is_private(path: &Path) -> bool {
    let mode = fs::metadata(path).expect("it is there").mode() & 0o7777;
    mode == if path.is_dir() { 0o700 } else { 0o600 }
}

/// Makes a folder that nobody but this user can do anything with.
///
/// # Panics
///
/// It cannot be made.
pub fn make_private(folder: &Path) {
    fs::DirBuilder::new().mode(0o700).create(folder).expect("it can be made");
}

/// This thread, for [`sleeps`].
#[must_use]
pub fn thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

/// Whether a thread of this process sleeps, in a call that waits for a descriptor or for a set.
#[must_use]
pub fn sleeps(thread: u32) -> bool {
    let asleep = ["do_sys_poll", "poll_schedule_timeout", "__do_semtimedop", "do_semtimedop"];
    let read = |file: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).unwrap_or_default();
    let channel = read("wchan");
    // Where the kernel does not say in what it sleeps, that it does has to do.
    read("stat").contains(") S ")
        && (channel.is_empty() || channel == "0" || asleep.iter().any(|call| channel.starts_with(call)))
}

/// Forks a child that does something and ends with that code, and waits for it: its status.
///
/// # Errors
///
/// It cannot be forked.
#[expect(unsafe_code, reason = "the standard library does not fork, and its exit takes a lock")]
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child takes no lock that another thread of this program may have held in that instant.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = child();
        // `std::process::exit` takes a lock before, which the copy of a thread that was just ending holds for ever.
        // SAFETY: it is the only thread here.
        unsafe { libc::exit(code) };
    }
    let mut status = 0;
    // SAFETY: the status is ours.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(status) }
}

/// Forks a child that stays until it is killed: its number.
///
/// # Errors
///
/// It cannot be forked.
#[expect(unsafe_code, reason = "the standard library does not fork")]
pub fn fork_and_stay() -> io::Result<u32> {
    // SAFETY: the child only sleeps.
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: it takes nothing.
            unsafe { libc::pause() };
        },
        pid => u32::try_from(pid).map_err(|_| io::Error::last_os_error()),
    }
}

/// Forks as many children of so many as there is room for, each of which does something and stays until it is killed, as it is
/// with this process: what each of them has answered.
///
/// # Errors
///
/// There is no pipe for the answers, or a child has gone.
#[expect(unsafe_code, reason = "the standard library does not fork")]
pub fn crowd(count: usize, mut member: impl FnMut() -> u8) -> io::Result<Vec<u8>> {
    let (mut hears, says) = io::pipe()?;
    let mut answers = Vec::new();
    for _ in 0..count {
        // SAFETY: a program that makes a crowd has no other thread, as it has acquired nothing yet.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: it takes numbers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let answer = member();
                let _ = (&says).write_all(&[answer]);
                loop {
                    // SAFETY: it takes nothing.
                    unsafe { libc::pause() };
                }
            }
            -1 => break,
            _ => answers.push(0),
        }
    }
    hears.read_exact(&mut answers)?;
    Ok(answers)
}

/// Does something with no more than 64 descriptors, and then takes all that are left.
///
/// # Errors
///
/// It fails, or the limit cannot be set.
pub fn with_no_descriptor_left<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..limit })?;
    let done = work()?;
    while let Ok(file) = File::open("/dev/null") {
        std::mem::forget(file);
    }
    Ok(done)
}

/// Takes a file for this process, whatever program it becomes, and not for its children: says whether nobody else has it.
///
/// # Errors
///
/// There can be no such file.
pub fn own_as_program(path: &Path) -> io::Result<bool> {
    let file = File::options().create(true).append(true).open(path)?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
    let owned = rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok();
    std::mem::forget(file);
    Ok(owned)
}

/// Becomes another program: says why not.
#[must_use]
pub fn become_program(command: &mut Command) -> io::Error {
    command.exec()
}

/// Says by the socket in `NOTIFY_SOCKET` that this service is ready.
///
/// # Errors
///
/// Nobody listens.
pub fn notify_ready() -> io::Result<()> {
    let name = std::env::var("NOTIFY_SOCKET").map_err(io::Error::other)?;
    let socket = UnixDatagram::unbound()?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    socket.send_to_addr(b"READY=1", &address)?;
    Ok(())
}

/// Closes standard input, output and error; the first two go on far away.
///
/// # Errors
///
/// Never here.
///
/// # Panics
///
/// There is no room for them.
#[expect(unsafe_code, reason = "nothing safe closes these")]
pub fn close_stdio() -> io::Result<[File; 2]> {
    let far = [0, 1].map(|fd| {
        // SAFETY: it takes numbers.
        let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 100) };
        assert!(copy >= 0, "there is room for a descriptor");
        // SAFETY: it has just been made, and belongs to nobody else.
        unsafe { File::from_raw_fd(copy) }
    });
    for fd in 0..3 {
        // SAFETY: nothing of this program uses these from here on.
        unsafe { libc::close(fd) };
    }
    Ok(far)
}

/// What an actor can be told on this system alone; `None` if it is something else.
#[must_use]
pub fn obey(words: &[&str]) -> Option<io::Result<String>> {
    match words {
        ["unshare", what] => Some(unshare(what)),
        ["setuid", user] => Some(user.parse().map_err(io::Error::other).and_then(set_user)),
        _ => None,
    }
}

#[expect(unsafe_code, reason = "the standard library knows no namespaces")]
fn unshare(what: &str) -> io::Result<String> {
    let flags = match what {
        "undo" => libc::CLONE_SYSVSEM,
        "ipc" => libc::CLONE_NEWIPC,
        "pid" => libc::CLONE_NEWPID,
        "files" => libc::CLONE_FILES,
        "mount" => libc::CLONE_NEWNS,
        "time" => 0x80,
        _ => return Err(io::Error::other(format!("unknown: {what}"))),
    };
    // SAFETY: it takes a number.
    if unsafe { libc::unshare(flags) } == 0 { Ok(String::new()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "the standard library does not change users")]
fn set_user(user: u32) -> io::Result<String> {
    // SAFETY: it takes a number.
    if unsafe { libc::setgid(user) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it takes a number.
    if unsafe { libc::setuid(user) } == 0 { Ok(String::new()) } else { Err(io::Error::last_os_error()) }
}

/// Ends this thread, and the process only if it is the only one.
#[expect(unsafe_code, reason = "the standard library ends a process with its first thread")]
pub fn end_thread() -> ! {
    loop {
        // SAFETY: nothing of this thread is used by others.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
}

/// What only tests of Linux use.
pub mod own_way {
    use super::*;

    /// Keys and identifiers of all sets.
    ///
    /// # Panics
    ///
    /// The kernel does not list them.
    #[must_use]
    pub fn sets() -> Vec<(i32, i32)> {
        let list = fs::read_to_string("/proc/sysvipc/sem").expect("the kernel lists the sets");
        let numbers = |row: &str| {
            let mut words = row.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        list.lines().skip(1).filter_map(numbers).collect()
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

    /// Writes a program that can be run at once. Another process does it: a child that this one forks meanwhile would have the
    /// file open for writing for a moment, and what is open for writing cannot be run (`ETXTBSY`).
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

    impl Sandbox {
        /// The semaphore sets of this test's services, by the names in them.
        #[must_use]
        pub fn sets(&self) -> Vec<(i32, String)> {
            sets_of(&self.name(""))
        }
    }

    impl Actor {
        /// Starts the program as the leader of a session with a terminal of its own, on which it is told what to do.
        ///
        /// # Panics
        ///
        /// It cannot be started.
        #[must_use]
        pub fn on_terminal(sandbox: &Sandbox, program: &str, config: &Config) -> Self {
            let (ours, theirs) = terminal();
            let mut command = sandbox.command("setsid");
            command.args(["--ctty", program]).args(config.arguments()).stdin(theirs);
            Self::started(command, Some(ours))
        }

        /// Sends a signal.
        pub fn signal(&self, signal: Signal) {
            let _ = pidfd_send_signal(self.held(), signal);
        }
    }

    /// A new terminal: the side of who types, and the side of who reads.
    ///
    /// No other test's program may inherit the former, or nobody would ever hang up: so it is not `openpty`.
    #[expect(unsafe_code, reason = "the standard library has no terminals")]
    fn terminal() -> (File, File) {
        let mut options = File::options();
        let ours = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/ptmx").expect("a terminal");
        let unlocked: libc::c_int = 0;
        // SAFETY: the kernel reads one number.
        let result = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
        assert_eq!(result, 0, "the terminal can be unlocked");
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // SAFETY: it takes flags, and no pointer.
        let theirs = unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags) };
        assert!(theirs >= 0, "the terminal's other side can be opened");
        // SAFETY: it has just been opened, and belongs to nobody else.
        (ours, unsafe { File::from_raw_fd(theirs) })
    }
}
