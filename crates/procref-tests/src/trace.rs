//! Stops a program at each of its system calls (ptrace(2)): to look at them, to have them fail, to kill it there.
//!
//! A callback sees every call twice, as it is entered and as it returns, and says what comes next. So a test can list
//! the calls of a span, answer calls in the kernel's place, or kill a process at its N-th call for N = 1, 2, 3, …
//!
//! A traced process that stops in a sleeping semaphore operation leaves the queue: attaching to a guardian that sleeps
//! makes it begin its sleep anew.

use crate::sandbox::{PATIENCE, Sandbox};
use rustix::process::Pid;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Numbers that no process has: getpriority(2) of one does nothing, and is easy to see in a trace.
const FIRST_MARK: u64 = 0x7000_0000;

/// Shows up in this process's trace as [`Stop::mark`], and does nothing else.
pub fn mark(number: u16) {
    let nobody = Pid::from_raw(FIRST_MARK as i32 + i32::from(number));
    let _ = rustix::process::getpriority_process(nobody);
}

/// Whose calls are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The program's, on all its threads.
    Threads,
    /// Also those of all processes that come from it, however they are made.
    Forks,
}

/// What comes after a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The call goes its way.
    Go,
    /// At the entry: the call is not made, and returns this number; an error is the negative of its number. At the exit:
    /// it has been made, and returns this number all the same.
    Answer(i64),
    /// The process is killed with SIGKILL before it makes the call, or before it sees what came of it. Whatever else
    /// is traced goes on, and is traced.
    Kill,
    /// Nothing is traced any more, and everything goes on.
    LetGo,
    /// [`Then::Kill`] and [`Then::LetGo`].
    KillAndLetGo,
}

/// Where in a call a thread stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The call has not been made.
    Entry,
    /// It has been, and this is its result; an error is the negative of its number.
    Exit(i64),
}

/// A thread that stands still in a system call.
#[derive(Debug)]
pub struct Stop {
    /// The thread.
    pub thread: u32,
    /// Its process.
    pub process: u32,
    /// Counts the processes of a trace in the order in which they came: 0 is the program itself.
    pub index: usize,
    /// The call.
    pub number: i64,
    /// Its arguments as they were at the entry.
    pub args: [u64; 6],
    /// Before or after the call.
    pub side: Side,
}

impl Stop {
    /// The number that the program has passed to [`mark`].
    #[must_use]
    pub fn mark(&self) -> Option<u16> {
        let marks = self.number == libc::SYS_getpriority && self.side == Side::Entry;
        let number = self.args[1].checked_sub(FIRST_MARK).filter(|_| marks)?;
        number.try_into().ok()
    }

    /// The call's name, or its number.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.number).map_or_else(|| format!("syscall {}", self.number), str::to_owned)
    }

    /// Reads the thread's memory.
    ///
    /// # Errors
    ///
    /// There is none at that address.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        File::open(format!("/proc/{}/mem", self.thread))?.read_exact_at(bytes, address)
    }

    /// Reads a string of the thread's that ends with a zero.
    ///
    /// # Errors
    ///
    /// There is none at that address.
    pub fn read_text(&self, address: u64) -> io::Result<String> {
        let memory = File::open(format!("/proc/{}/mem", self.thread))?;
        let mut text = Vec::new();
        for address in address.. {
            let mut byte = [0];
            memory.read_exact_at(&mut byte, address)?;
            if byte == [0] {
                break;
            }
            text.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Changes the thread's memory.
    ///
    /// # Errors
    ///
    /// There is none at that address.
    pub fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let memory = File::options().write(true).open(format!("/proc/{}/mem", self.thread))?;
        memory.write_all_at(bytes, address)
    }

    /// At the return of `execve`: the program gets no vDSO, so it asks the kernel for the time by a system call.
    ///
    /// # Errors
    ///
    /// Its first words cannot be found or changed.
    pub fn hide_vdso(&self) -> io::Result<()> {
        const WORD: u64 = size_of::<usize>() as u64;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.thread))?;
        // startstack, field 28 of proc_pid_stat(5): argc, argv, a zero, the environment, a zero, and the auxiliary vector.
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let start = fields.split(' ').nth(28 - 3).and_then(|field| field.parse::<u64>().ok());
        let mut address = start.ok_or(io::ErrorKind::InvalidData)?;
        let word = |address| {
            let mut bytes = [0; size_of::<usize>()];
            self.read(address, &mut bytes).map(|()| usize::from_ne_bytes(bytes))
        };
        address += (word(address)? as u64 + 2) * WORD;
        while word(address)? != 0 {
            address += WORD;
        }
        address += WORD;
        loop {
            match word(address)? as u64 {
                libc::AT_NULL => return Err(io::ErrorKind::NotFound.into()),
                libc::AT_SYSINFO_EHDR => return self.write(address, &(libc::AT_IGNORE as usize).to_ne_bytes()),
                _ => address += 2 * WORD,
            }
        }
    }

    /// The operations of a `semop` or `semtimedop`: semaphore, change and flags; none for other calls.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn operations(&self) -> io::Result<Vec<(u16, i16, i16)>> {
        if ![libc::SYS_semop, libc::SYS_semtimedop].contains(&self.number) {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; 6 * usize::try_from(self.args[2]).map_or(0, |count| count.min(500))];
        self.read(self.args[1], &mut bytes)?;
        let (operations, _) = bytes.as_chunks::<6>();
        let read = |[a, b, c, d, e, f]: &[u8; 6]| {
            (u16::from_ne_bytes([*a, *b]), i16::from_ne_bytes([*c, *d]), i16::from_ne_bytes([*e, *f]))
        };
        Ok(operations.iter().map(read).collect())
    }

    /// Has a `semop` or `semtimedop` do this instead; as many operations as there were.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn set_operations(&self, operations: &[(u16, i16, i16)]) -> io::Result<()> {
        let bytes: Vec<u8> = operations
            .iter()
            .flat_map(|(sem, change, flags)| [sem.to_ne_bytes(), change.to_ne_bytes(), flags.to_ne_bytes()])
            .flatten()
            .collect();
        self.write(self.args[1], &bytes)
    }
}

/// What became of a traced program.
#[derive(Debug)]
pub struct Traced {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub output: String,
}

/// Runs a program and shows each of its system calls to `on_stop`. Returns when nothing is traced any more and
/// the program has ended. Its standard output is taken; what it starts must not keep that open.
///
/// # Panics
///
/// The program cannot be started or traced, or takes longer than [`PATIENCE`].
pub fn trace(
    sandbox: &Sandbox,
    mut command: Command,
    follow: Follow,
    on_stop: impl FnMut(&Stop) -> Then + Send,
) -> Traced {
    // The program says its number and then waits until it is traced: by a thread of its own, for only the thread that
    // traces can wait for what it traces, and it must not take other tests' children.
    let (mut hears, says) = io::pipe().expect("a pipe");
    let (awaits, mut go) = io::pipe().expect("a pipe");
    let handshake = move || {
        (&says).write_all(&std::process::id().to_ne_bytes())?;
        (&awaits).read_exact(&mut [0])
    };
    #[expect(unsafe_code, reason = "there is no safe way to run code between fork and exec")]
    // SAFETY: the closure makes three system calls and neither allocates nor locks.
    unsafe {
        command.pre_exec(handshake);
    }
    command.stdout(Stdio::piped());
    let (done, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut pid = [0; 4];
            let traced = hears.read_exact(&mut pid).and_then(|()| {
                let mut tracer = Tracer::seize(u32::from_ne_bytes(pid), follow, on_stop)?;
                go.write_all(&[0])?;
                tracer.run()
            });
            // If nobody listens any more, the test has failed already.
            let _ = done.send(traced);
        });
        let mut child = command.spawn().expect("the program can be started and traced");
        // The closure holds the program's ends of the pipes.
        drop(command);
        let kill_all = || {
            for found in sandbox.processes() {
                let _ = rustix::process::pidfd_send_signal(&found.pidfd, rustix::process::Signal::KILL);
            }
        };
        let (read, was_read) = mpsc::channel();
        let watchdog = scope.spawn(move || match ended.recv_timeout(PATIENCE) {
            Ok(traced) => {
                // It may have been let go, and go on.
                if was_read.recv_timeout(PATIENCE).is_err() {
                    kill_all();
                }
                traced
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the callback panicked")),
            Err(RecvTimeoutError::Timeout) => loop {
                kill_all();
                match ended.recv_timeout(Duration::from_millis(100)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => break Err(io::Error::from(io::ErrorKind::TimedOut)),
                }
            },
        });
        let mut output = String::new();
        let mut stdout = child.stdout.take().expect("it is a pipe");
        stdout.read_to_string(&mut output).expect("the program writes text");
        // If nobody listens any more, it was too late.
        let _ = read.send(());
        let traced = watchdog.join().expect("it does not panic");
        let status = match traced.expect("the program can be traced to its end") {
            Some(status) => status,
            // It was let go.
            None => child.wait().expect("it can be awaited"),
        };
        Traced { status, output }
    })
}

#[derive(Debug, Default)]
struct Task {
    process: u32,
    index: usize,
    number: i64,
    args: [u64; 6],
    answer: Option<i64>,
}

struct Tracer<F> {
    program: u32,
    follow: Follow,
    on_stop: F,
    tasks: HashMap<u32, Task>,
    processes: Vec<u32>,
    letting_go: bool,
    status: Option<ExitStatus>,
}

impl<F: FnMut(&Stop) -> Then> Tracer<F> {
    fn seize(program: u32, follow: Follow, on_stop: F) -> io::Result<Self> {
        let options = libc::PTRACE_O_TRACESYSGOOD
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_EXITKILL;
        ptrace::request(ptrace::SEIZE, program, 0, options as usize)?;
        // It comes to stand in its read, and goes on from call to call.
        ptrace::request(ptrace::INTERRUPT, program, 0, 0)?;
        let (tasks, processes) = (HashMap::new(), vec![program]);
        Ok(Self { program, follow, on_stop, tasks, processes, letting_go: false, status: None })
    }

    fn run(&mut self) -> io::Result<Option<ExitStatus>> {
        while let Some((thread, status)) = ptrace::wait()? {
            if !libc::WIFSTOPPED(status) {
                self.tasks.remove(&thread);
                if thread == self.program {
                    self.status = Some(ExitStatus::from_raw(status));
                }
                continue;
            }
            match self.stopped(thread, libc::WSTOPSIG(status), status >> 16) {
                // It was killed as it stood there: its end is reported in its turn.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                result => result?,
            }
        }
        Ok(self.status)
    }

    fn stopped(&mut self, thread: u32, signal: i32, event: i32) -> io::Result<()> {
        if !self.tasks.contains_key(&thread) {
            let process = process_of(thread)?;
            let index = self.processes.iter().position(|known| *known == process).unwrap_or_else(|| {
                self.processes.push(process);
                self.processes.len() - 1
            });
            self.tasks.insert(thread, Task { process, index, ..Task::default() });
        }
        let foreign = self.follow == Follow::Threads && self.tasks.get(&thread).is_some_and(|task| task.index != 0);
        let in_call = event == 0 && signal == libc::SIGTRAP | 0x80;
        let delivers = if event == 0 && !in_call { signal } else { 0 };
        if self.letting_go || foreign {
            self.tasks.remove(&thread);
            return ptrace::request(ptrace::DETACH, thread, 0, delivers as usize);
        }
        if in_call {
            self.in_call(thread)?;
        }
        // A whole process that stands still by a signal must stay so until it is continued.
        if event == ptrace::EVENT_STOP && signal != libc::SIGTRAP {
            return ptrace::request(ptrace::LISTEN, thread, 0, 0);
        }
        let request = if self.tasks.contains_key(&thread) { ptrace::SYSCALL } else { ptrace::DETACH };
        ptrace::request(request, thread, 0, delivers as usize)
    }

    fn in_call(&mut self, thread: u32) -> io::Result<()> {
        let info = ptrace::syscall_info(thread)?;
        let Some(task) = self.tasks.get_mut(&thread) else { return Ok(()) };
        let side = match info {
            ptrace::Info::Entry { number, args } => {
                (task.number, task.args) = (number, args);
                Side::Entry
            }
            ptrace::Info::Exit(result) => match task.answer.take() {
                Some(answer) => {
                    ptrace::set_result(thread, answer)?;
                    Side::Exit(answer)
                }
                None => Side::Exit(result),
            },
            ptrace::Info::Other => return Ok(()),
        };
        let stop =
            Stop { thread, process: task.process, index: task.index, number: task.number, args: task.args, side };
        let then = (self.on_stop)(&stop);
        match (then, side) {
            (Then::Answer(answer), Side::Entry) => {
                ptrace::skip_call(thread)?;
                task.answer = Some(answer);
            }
            (Then::Answer(answer), Side::Exit(_)) => ptrace::set_result(thread, answer)?,
            _ => {}
        }
        if let Then::Kill | Then::KillAndLetGo = then {
            let process =
                i32::try_from(stop.process).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
            rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
        }
        if let Then::LetGo | Then::KillAndLetGo = then {
            self.letting_go = true;
            self.tasks.remove(&thread);
            for other in self.tasks.keys() {
                // One that is gone needs none.
                let _ = ptrace::request(ptrace::INTERRUPT, *other, 0, 0);
            }
        }
        Ok(())
    }
}

fn process_of(thread: u32) -> io::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status"));
    // A thread that has been killed meanwhile has no file any more.
    let status = status.map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| io::Error::other("no Tgid in /proc"))
}

/// The requests of ptrace(2).
#[expect(unsafe_code, reason = "there is no safe wrapper for ptrace")]
mod ptrace {
    use std::io;

    pub(super) const SEIZE: u32 = 0x4206;
    pub(super) const INTERRUPT: u32 = 0x4207;
    pub(super) const LISTEN: u32 = 0x4208;
    pub(super) const SYSCALL: u32 = 24;
    pub(super) const DETACH: u32 = 17;
    const GET_SYSCALL_INFO: u32 = 0x420e;
    /// The event of a thread that has just been attached to, or whose process is stopped.
    pub(super) const EVENT_STOP: i32 = 128;

    pub(super) enum Info {
        Entry { number: i64, args: [u64; 6] },
        Exit(i64),
        Other,
    }

    /// A request whose last arguments are numbers.
    pub(super) fn request(request: u32, thread: u32, address: usize, data: usize) -> io::Result<()> {
        // SAFETY: every request that is made here takes numbers and leaves our memory alone.
        let result = unsafe { libc::ptrace(request as _, thread as libc::pid_t, address, data) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next thing that happens to what this thread traces; `None` if it traces nothing any more.
    pub(super) fn wait() -> io::Result<Option<(u32, i32)>> {
        let mut status = 0;
        loop {
            // SAFETY: writes to `status` only.
            let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
            if thread > 0 {
                return Ok(Some((thread.unsigned_abs(), status)));
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ECHILD) => return Ok(None),
                Some(libc::EINTR) => {}
                _ => return Err(error),
            }
        }
    }

    pub(super) fn syscall_info(thread: u32) -> io::Result<Info> {
        // struct ptrace_syscall_info: what it is in the first byte, two addresses, then the number and the arguments,
        // or the result.
        let mut words = [0_u64; 11];
        let size = size_of_val(&words);
        // SAFETY: writes up to `size` bytes to `words`.
        let result = unsafe { libc::ptrace(GET_SYSCALL_INFO as _, thread as libc::pid_t, size, words.as_mut_ptr()) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let [what, _, _, first, a, b, c, d, e, f, _] = words;
        Ok(match what as u8 {
            1 => Info::Entry { number: first as i64, args: [a, b, c, d, e, f] },
            2 => Info::Exit(first as i64),
            _ => Info::Other,
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn change_registers(thread: u32, change: impl FnOnce(&mut libc::user_regs_struct)) -> io::Result<()> {
        let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: writes one `user_regs_struct`.
        let got = unsafe { libc::ptrace(libc::PTRACE_GETREGS, thread as libc::pid_t, 0_usize, registers.as_mut_ptr()) };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all zeros is a valid `user_regs_struct`, and the kernel has filled it.
        let mut registers = unsafe { registers.assume_init() };
        change(&mut registers);
        // SAFETY: reads one `user_regs_struct`.
        let set = unsafe { libc::ptrace(libc::PTRACE_SETREGS, thread as libc::pid_t, 0_usize, &raw const registers) };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The call that is being entered is not made.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn skip_call(thread: u32) -> io::Result<()> {
        change_registers(thread, |registers| registers.orig_rax = u64::MAX)
    }

    /// What the program sees of the call that returns.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn set_result(thread: u32, result: i64) -> io::Result<()> {
        change_registers(thread, |registers| registers.rax = result as u64)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn skip_call(_: u32) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "calls can be answered on x86-64 only"))
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn set_result(_: u32, _: i64) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "calls can be answered on x86-64 only"))
    }
}

fn name(number: i64) -> Option<&'static str> {
    named(number).or_else(|| legacy(number))
}

macro_rules! names {
    ($function:ident: $($constant:ident)*) => {
        fn $function(number: i64) -> Option<&'static str> {
            $(if number == libc::$constant { return stringify!($constant).strip_prefix("SYS_"); })*
            None
        }
    };
}

names! {
    named:
    SYS_bind SYS_brk SYS_chdir SYS_clock_gettime SYS_clone SYS_clone3 SYS_close SYS_close_range SYS_dup SYS_dup3
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_execve SYS_exit SYS_exit_group SYS_fcntl SYS_flock SYS_fstat
    SYS_ftruncate SYS_futex SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getpid SYS_getppid SYS_getpriority
    SYS_getrandom SYS_gettid SYS_getuid SYS_inotify_add_watch SYS_inotify_init1 SYS_ioctl SYS_kcmp SYS_kill SYS_lseek SYS_madvise
    SYS_memfd_create SYS_mkdirat SYS_mmap SYS_mprotect
    SYS_mremap SYS_munmap SYS_nanosleep SYS_newfstatat SYS_openat SYS_pidfd_open SYS_pidfd_send_signal SYS_pipe2
    SYS_ppoll SYS_prctl SYS_pread64 SYS_prlimit64 SYS_pwrite64 SYS_read SYS_readlinkat SYS_renameat SYS_renameat2
    SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_getaffinity
    SYS_sched_yield SYS_semctl SYS_semget SYS_semop SYS_semtimedop SYS_set_robust_list SYS_set_tid_address SYS_setsid SYS_setsockopt SYS_socket
    SYS_sigaltstack SYS_statx SYS_tgkill SYS_unlinkat SYS_wait4 SYS_waitid SYS_write SYS_writev
}

#[cfg(target_arch = "x86_64")]
names! {
    legacy:
    SYS_access SYS_arch_prctl SYS_epoll_wait SYS_fork SYS_lstat SYS_mkdir SYS_open SYS_poll SYS_readlink SYS_rename
    SYS_rmdir SYS_stat SYS_unlink SYS_vfork
}

#[cfg(not(target_arch = "x86_64"))]
fn legacy(_: i64) -> Option<&'static str> {
    None
}
