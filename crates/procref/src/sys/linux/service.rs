//! Starting a service as the guardian's child, and leaving none of its descendants behind.
//!
//! The guardian has no memory but its stack, so what is to be started comes by a descriptor that it maps: program,
//! arguments, environment. The child records itself in the set before it becomes the service, so that there is no moment
//! in which a process runs that nobody knows of; until then it dies with the guardian. The service's end of the pipe makes
//! the *kernel* send it the stop signal when guardian and clients have all gone (fcntl(2), `F_SETSIG` on a pipe).
//!
//! Descendants are found by four marks, for each can be shed: their parent (the guardian is made the parent of orphans),
//! their session, a variable in their environment, and the end of the pipe, which hardly any server closes.

#![expect(unsafe_code, reason = "a child between fork and exec, in a process without memory")]

use super::guardian::STATUS;
use super::hints;
use super::process::{PATH, Process, Stat, proc_path};
use super::raw::{Errno, SignalSet, close, each_number, exit, open, prctl, read, set_signal_mask, syscall};
use super::set::Set;
use super::sysv_sem::SetError;
use super::witness::{self, GUARDIAN_READS, GUARDIAN_WRITES, fingerprint};
use crate::protocol::set::HOLD_TOO;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::MemfdFlags;
use std::ffi::{CString, OsStr, OsString, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The variable that every process of a service has in its environment, unless it takes care not to.
const MARK: &str = "PROCREF_INSTANCE=";
/// The pid and the start time, in digits.
const MARK_LEN: usize = MARK.len() + 10 + 1 + 20;

/// What a guardian has that starts a service, and where.
const PROGRAM_FD: c_int = 6;
const LOG_FD: c_int = 7;
/// The guardian's descriptors are below this: those above, and the locks of ports.
pub(super) const MOST_FDS: c_int = 128;
/// The only descriptor that a service inherits beside its input and output.
const FLOOR_FD: c_int = 3;

/// What is to be started.
#[derive(Debug)]
pub(crate) struct Program {
    /// An absolute path.
    file: CString,
    directory: CString,
    arguments: Vec<CString>,
    environment: Vec<(CString, CString)>,
    /// What the kernel sends when guardian and clients have all gone; 0 for nothing.
    pub(crate) floor_signal: i32,
}

impl Program {
    /// `file`, in that directory, with these arguments, of which the first is its name, and this environment and no other.
    ///
    /// # Errors
    ///
    /// A text cannot be handed to a program: it has a NUL byte.
    pub(crate) fn new<'a>(
        file: &Path,
        directory: &Path,
        arguments: impl IntoIterator<Item = &'a OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        floor_signal: i32,
    ) -> io::Result<Self> {
        let environment = environment.into_iter().map(|(name, value)| Ok((c_string(&name)?, c_string(&value)?)));
        Ok(Self {
            file: c_string(file.as_os_str())?,
            directory: c_string(directory.as_os_str())?,
            arguments: arguments.into_iter().map(|argument| c_string(argument)).collect::<io::Result<_>>()?,
            environment: environment.collect::<io::Result<_>>()?,
            floor_signal,
        })
    }

    /// Where the guardian can read it. `needs`: what it needs, and where the descriptors for that begin.
    pub(super) fn write(&self, needs: &[Need], first_need: usize) -> io::Result<OwnedFd> {
        let mut bytes = Vec::new();
        let counts = [
            self.arguments.len() as u64,
            self.environment.len() as u64 + 1,
            self.floor_signal as u64,
            first_need as u64,
            needs.len() as u64,
        ];
        let sets = needs.iter().map(|need| need.set.id() as u64);
        counts.into_iter().chain(sets).for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
        bytes.extend_from_slice(self.file.to_bytes_with_nul());
        bytes.extend_from_slice(self.directory.to_bytes_with_nul());
        self.arguments.iter().for_each(|argument| bytes.extend_from_slice(argument.to_bytes_with_nul()));
        bytes.extend_from_slice(MARK.as_bytes());
        bytes.resize(bytes.len() + MARK_LEN - MARK.len(), b'0');
        bytes.push(0);
        for (name, value) in &self.environment {
            bytes.extend_from_slice(name.to_bytes());
            bytes.push(b'=');
            bytes.extend_from_slice(value.to_bytes_with_nul());
        }
        let file = rustix::fs::memfd_create("procref-program", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(file);
        file.write_all(&bytes)?;
        Ok(file.into())
    }
}

/// Another service that a service needs, and holds by itself: a reference in its set, and an end of its pipe.
#[derive(Debug)]
pub(crate) struct Need {
    pub(crate) set: Set,
    pub(crate) witness: OwnedFd,
}

/// Whether two names mean the same variable of the environment.
pub(crate) fn is_same_variable(a: &OsStr, b: &OsStr) -> bool {
    a == b
}

/// Bytes, with no NUL among them.
fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} has a NUL byte, which no argument can have"))
    })
}

/// A program, as the guardian has it: pointers into one mapping.
struct Mapped {
    base: *mut u8,
    len: usize,
    file: *const u8,
    directory: *const u8,
    /// `argv` and behind it `envp`, each with its zero at the end.
    pointers: *mut *const u8,
    pointers_len: usize,
    environment: usize,
    mark: *mut u8,
    floor_signal: c_int,
    first_need: c_int,
    needs: usize,
}

/// The numbers before the sets of what is needed.
const COUNTS: usize = 5;

impl Mapped {
    fn new(fd: c_int) -> Result<Self, Errno> {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the kernel writes one stat.
        unsafe { syscall(libc::SYS_fstat, [fd as usize, stat.as_mut_ptr().addr(), 0, 0, 0, 0]) }?;
        // SAFETY: all zeros is a valid stat, and the kernel has filled it.
        let size = unsafe { stat.assume_init() }.st_size as usize;
        let base = map(size, libc::MAP_PRIVATE, fd)?;
        // SAFETY: just mapped, with that many bytes, for nobody else.
        let bytes = unsafe { std::slice::from_raw_parts(base, size) };
        let number = |index| number(bytes, index);
        let (arguments, variables) = (number(0) as usize, number(1) as usize);
        let pointers_len = (arguments + variables + 2) * size_of::<usize>();
        let pointers = map(pointers_len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?.cast::<*const u8>();
        let needs = number(4) as usize;
        let mut strings = Strings { bytes, at: (COUNTS + needs) * 8 };
        let (file, directory) = (strings.next(), strings.next());
        let mut mark = std::ptr::null_mut();
        for index in 0..arguments + variables {
            let string = strings.next();
            // A zero stands between the two lists.
            let place = if index < arguments { index } else { index + 1 };
            if index == arguments {
                mark = string.cast_mut();
            }
            // SAFETY: within the mapping, whose length was made for this.
            let place = unsafe { pointers.add(place) };
            // SAFETY: as above, and aligned.
            unsafe { place.write(string) };
        }
        let environment = arguments + 1;
        Ok(Self {
            base,
            len: size,
            file,
            directory,
            pointers,
            pointers_len,
            environment,
            mark,
            floor_signal: number(2) as c_int,
            first_need: number(3) as c_int,
            needs,
        })
    }

    /// The set of something that is needed.
    fn need(&self, index: usize) -> Set {
        // SAFETY: mapped with that many bytes for as long as this exists.
        let bytes = unsafe { std::slice::from_raw_parts(self.base, self.len) };
        Set::from_id(number(bytes, COUNTS + index) as i32)
    }

    /// The descriptors for what is needed.
    const fn need_fds(&self) -> std::ops::Range<c_int> {
        self.first_need..self.first_need + self.needs as c_int
    }

    fn unmap(&self) {
        for (base, len) in [(self.base.addr(), self.len), (self.pointers.addr(), self.pointers_len)] {
            // SAFETY: mapped by `new`, and whoever calls this uses it no more.
            let _ = unsafe { syscall(libc::SYS_munmap, [base, len, 0, 0, 0, 0]) };
        }
    }
}

fn number(bytes: &[u8], index: usize) -> u64 {
    let bytes = bytes.get(index * 8..index * 8 + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

struct Strings<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Strings<'_> {
    fn next(&mut self) -> *const u8 {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        self.at += rest.iter().position(|&byte| byte == 0).map_or(rest.len(), |end| end + 1);
        rest.as_ptr()
    }
}

fn map(len: usize, flags: c_int, fd: c_int) -> Result<*mut u8, Errno> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, at a place where nothing is.
    unsafe { syscall(libc::SYS_mmap, [0, len, access as usize, flags as usize, fd as usize, 0]) }
        .map(std::ptr::with_exposed_provenance_mut)
}

/// The service's process, and when it started.
fn spawn(set: Set, hints: (&[u8], usize)) -> Result<(u32, u64), Errno> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    reap_children()?;
    let program = Mapped::new(PROGRAM_FD)?;
    let mut ends: [c_int; 2] = [0; 2];
    // SAFETY: the kernel writes two numbers.
    unsafe { syscall(libc::SYS_pipe2, [ends.as_mut_ptr().addr(), libc::O_CLOEXEC as usize, 0, 0, 0, 0]) }?;
    let [reads, writes] = ends;
    let guardian = super::pid::ask_pid();
    // SAFETY: without a stack this is a plain fork; both go on from here, each with its own memory.
    let pid = unsafe { syscall(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0]) }?;
    if pid == 0 {
        let error = match become_service(&program, set, guardian, hints) {
            Ok(never) => match never {},
            Err(error) => error.0.to_ne_bytes(),
        };
        // SAFETY: the kernel reads four bytes.
        let _ = unsafe { syscall(libc::SYS_write, [writes as usize, error.as_ptr().addr(), error.len(), 0, 0, 0]) };
        exit(127);
    }
    // Not reaped before it has been looked at.
    let start = start_of(pid as u32);
    SERVICE.store(pid as u32, Ordering::Relaxed);
    SERVICE_START.store(start.unwrap_or(0), Ordering::Relaxed);
    close(writes);
    let mut error = [0_u8; 4];
    // Until the exec, which closes the other end, or a failure.
    let read = read_whole(reads, &mut error);
    close(reads);
    program.unmap();
    close(PROGRAM_FD);
    close(LOG_FD);
    // A guardian that had them would hold what its service needs.
    program.need_fds().for_each(close);
    // Who does not know what came of it says so: then nothing asks for it any more, and what is recorded is finished.
    if read? == 4 { Err(Errno(c_int::from_ne_bytes(error))) } else { Ok((pid as u32, start?)) }
}

fn start_of(pid: u32) -> Result<u64, Errno> {
    match Process::open(pid) {
        Ok(Some(process)) => Ok(process.start()),
        Ok(None) => Err(Errno(libc::ESRCH)),
        Err(error) => Err(Errno(error.raw_os_error().unwrap_or(libc::ESRCH))),
    }
}

fn read_whole(fd: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        let arguments = [fd as usize, buffer.as_mut_ptr().addr(), buffer.len(), 0, 0, 0];
        // SAFETY: the kernel writes to the buffer only.
        match unsafe { syscall(libc::SYS_read, arguments) } {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// Whoever asked for the service does so no more, or something else was recorded before. No error of the kernel's, whose
/// numbers go to 4095.
const OVERTAKEN: Errno = Errno(4096);

enum Never {}

/// In the child.
fn become_service(program: &Mapped, set: Set, guardian: u32, (path, folder): (&[u8], usize)) -> Result<Never, Errno> {
    let call = |number, arguments: [usize; 6]| {
        // SAFETY: every call below is made with what its manual page asks for.
        unsafe { syscall(number, arguments) }
    };
    // Until the kernel knows what to do when all of us have gone, it dies with the guardian.
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize);
    if call(libc::SYS_getppid, [0; 6])? != guardian as usize {
        exit(127);
    }
    call(libc::SYS_setsid, [0; 6])?;
    super::detach::reset_signals(&[]);
    let pid = super::pid::ask_pid();
    let start = start_of(pid)?;
    write_mark(program.mark, pid, start);
    let pipe = match program.floor_signal {
        0 => 0,
        // SAFETY: the guardian was given this descriptor, and so this process has it.
        _ => fingerprint(unsafe { BorrowedFd::borrow_raw(GUARDIAN_READS) })
            .map_err(|errno| Errno(errno.raw_os_error()))?,
    };
    match set.snapshot().and_then(|snapshot| set.apply(&snapshot.announcing(pid, start, guardian, pipe))) {
        Ok(()) => {}
        Err(SetError::Refused) => return Err(OVERTAKEN),
        Err(SetError::Os(errno)) => return Err(errno),
        Err(SetError::Full) => return Err(Errno(libc::ERANGE)),
        Err(SetError::Gone | SetError::Interrupted) => return Err(Errno(libc::EIDRM)),
    }
    if !hints::note_begun_raw(path, folder, set.id(), (pid, start)) {
        return Err(Errno(libc::EIDRM));
    }
    if program.floor_signal != 0 {
        lay_floor(program.floor_signal, pid)?;
    }
    // The process that asked for this service holds them still. From here on this one does, over the exec, until it ends.
    for index in 0..program.needs {
        if program.need(index).apply(&HOLD_TOO).is_err() {
            return Err(Errno(libc::ENOLCK));
        }
    }
    prctl(libc::PR_SET_PDEATHSIG, 0);
    let floor = if program.floor_signal == 0 { -1 } else { FLOOR_FD };
    enter(program, LOG_FD, |fd| fd == floor || program.need_fds().contains(&fd))
}

/// Becomes the program, with its output in the log and no descriptor beside those that it `inherits`.
fn enter(program: &Mapped, log: c_int, inherits: impl Fn(c_int) -> bool) -> Result<Never, Errno> {
    let call = |number, arguments: [usize; 6]| {
        // SAFETY: every call below is made with what its manual page asks for.
        unsafe { syscall(number, arguments) }
    };
    for output in [1, 2] {
        call(libc::SYS_dup3, [log as usize, output, 0, 0, 0, 0])?;
    }
    // The pipe by which a failure is told closes itself, too. The guardian has no descriptor beyond these.
    for fd in (FLOOR_FD..MOST_FDS).filter(|fd| !inherits(*fd)) {
        let _ = call(libc::SYS_fcntl, [fd as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize, 0, 0, 0]);
    }
    call(libc::SYS_chdir, [program.directory.addr(), 0, 0, 0, 0, 0])?;
    set_signal_mask(SignalSet::MIN)?;
    // SAFETY: within the mapping, whose length was made for this.
    let environment = unsafe { program.pointers.add(program.environment) };
    call(libc::SYS_execve, [program.file.addr(), program.pointers.addr(), environment.addr(), 0, 0, 0])?;
    exit(127)
}

/// Asks the service to stop by a command, which runs as a child of the guardian. `false`: it cannot be run.
///
/// It dies with the guardian. If it is still there when the service has gone, it is swept up with the descendants.
pub(super) fn ask_to_stop(fd: c_int) -> bool {
    let Ok(program) = Mapped::new(fd) else { return false };
    // One that did not start the service has no children so far.
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
    let _ = reap_children();
    let guardian = super::pid::ask_pid();
    // SAFETY: as for the service.
    let pid = unsafe { syscall(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0, 0]) };
    if pid == Ok(0) {
        prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize);
        // SAFETY: takes no argument.
        let parent = unsafe { syscall(libc::SYS_getppid, [0; 6]) };
        // SAFETY: takes no argument.
        let _ = unsafe { syscall(libc::SYS_setsid, [0; 6]) };
        super::detach::reset_signals(&[]);
        if parent == Ok(guardian as usize) {
            let _ = enter(&program, fd + 1, |_| false);
        }
        exit(127);
    }
    program.unmap();
    pid.is_ok()
}

/// The kernel shall send this signal to the service's process group when nobody holds a writing end any more.
///
/// The service has an open file of its own for that, for the setting belongs to the open file. Its own copy of a writing
/// end is closed last: if everybody else has gone meanwhile, the signal comes now.
fn lay_floor(signal: c_int, pid: u32) -> Result<(), Errno> {
    const F_SETSIG: usize = 10;
    const F_SETOWN_EX: usize = 15;
    const F_OWNER_PGRP: c_int = 2;
    let call = |number, arguments: [usize; 6]| {
        // SAFETY: every call below is made with what its manual page asks for.
        unsafe { syscall(number, arguments) }
    };
    let floor = open(c"/proc/self/fd/3", libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC)?;
    call(libc::SYS_dup3, [floor as usize, FLOOR_FD as usize, 0, 0, 0, 0])?;
    debug_assert_eq!(FLOOR_FD, GUARDIAN_READS);
    close(floor);
    let owner = [F_OWNER_PGRP, pid as c_int];
    call(libc::SYS_fcntl, [FLOOR_FD as usize, F_SETSIG, signal as usize, 0, 0, 0])?;
    call(libc::SYS_fcntl, [FLOOR_FD as usize, F_SETOWN_EX, owner.as_ptr().addr(), 0, 0, 0])?;
    let flags = libc::O_ASYNC | libc::O_NONBLOCK;
    call(libc::SYS_fcntl, [FLOOR_FD as usize, libc::F_SETFL as usize, flags as usize, 0, 0, 0])?;
    close(GUARDIAN_WRITES);
    Ok(())
}

fn write_mark(mark: *mut u8, pid: u32, start: u64) {
    let digits = mark_digits(pid, start);
    for (index, digit) in digits.iter().enumerate() {
        // SAFETY: the mapping has room for the digits behind the variable's name.
        let place = unsafe { mark.add(MARK.len() + index) };
        // SAFETY: as above.
        unsafe { place.write(*digit) };
    }
}

fn mark_digits(pid: u32, start: u64) -> [u8; MARK_LEN - MARK.len()] {
    let mut digits = [b'0'; MARK_LEN - MARK.len()];
    let mut fill = |range: std::ops::Range<usize>, mut number: u64| {
        for slot in digits.get_mut(range).unwrap_or(&mut []).iter_mut().rev() {
            *slot = b'0' + (number % 10) as u8;
            number /= 10;
        }
    };
    fill(0..10, pid.into());
    fill(11..31, start);
    digits[10] = b'.';
    digits
}

/// The service, for the handler. Written only after the memory has been dropped.
static SERVICE: AtomicU32 = AtomicU32::new(0);
static SERVICE_START: AtomicU64 = AtomicU64::new(0);
/// Somebody can still be told how the service ended.
static REPORTS: AtomicBool = AtomicBool::new(false);

/// A child that ends is reaped in the signal's handler: whoever sleeps in a semaphore operation cannot wait for a child as
/// well, and a signal that came just before that sleep would not end it.
fn reap_children() -> Result<(), Errno> {
    extern "C" fn reap(_: c_int) {
        loop {
            let mut status: c_int = 0;
            let arguments = [usize::MAX, (&raw mut status).addr(), libc::WNOHANG as usize, 0, 0, 0];
            // SAFETY: the kernel writes one number.
            match unsafe { syscall(libc::SYS_wait4, arguments) } {
                Ok(0) | Err(_) => return,
                Ok(pid) if pid as u32 == SERVICE.load(Ordering::Relaxed) => report(ENDED, status, 0),
                Ok(_) => {}
            }
        }
    }
    let handler = reap as extern "C" fn(c_int) as usize;
    #[cfg(target_arch = "x86_64")]
    let action = {
        /// What a handler returns to; the C library has one of its own.
        #[unsafe(naked)]
        unsafe extern "C" fn give_back() {
            std::arch::naked_asm!("mov eax, 15", "syscall")
        }
        const SA_RESTORER: usize = 0x0400_0000;
        [handler, SA_RESTORER, give_back as unsafe extern "C" fn() as usize, 0]
    };
    #[cfg(not(target_arch = "x86_64"))]
    let action = [handler, 0, 0, 0];
    let arguments = [libc::SIGCHLD as usize, action.as_ptr().addr(), 0, size_of::<SignalSet>(), 0, 0];
    // SAFETY: the kernel reads an action whose handler makes system calls only.
    unsafe { syscall(libc::SYS_rt_sigaction, arguments) }.map(drop)
}

/// The service was started: its process, and when that started.
const STARTED: u8 = b's';
/// It could not be: an error number.
const FAILED: u8 = b'f';
/// The service has ended: with what wait(2) says.
const ENDED: u8 = b'x';

/// How long what is told is: what it is, and two numbers.
const REPORT: usize = 13;

/// Tells who asked for the service. The last word closes the descriptor.
fn report(what: u8, number: c_int, start: u64) {
    if !REPORTS.load(Ordering::Relaxed) {
        return;
    }
    let mut bytes = [what; REPORT];
    let numbers = number.to_ne_bytes().into_iter().chain(start.to_ne_bytes());
    bytes.iter_mut().skip(1).zip(numbers).for_each(|(to, from)| *to = from);
    let arguments = [STATUS as usize, bytes.as_ptr().addr(), bytes.len(), 0, 0, 0];
    let written = loop {
        // SAFETY: the kernel reads five bytes.
        match unsafe { syscall(libc::SYS_write, arguments) } {
            Err(Errno(libc::EINTR)) => {}
            result => break result,
        }
    };
    // Who is not told must not wait for ever.
    if what != STARTED || written != Ok(bytes.len()) {
        REPORTS.store(false, Ordering::Relaxed);
        close(STATUS);
    }
}

/// The process that this guardian has started, and when that started; whether it runs or not.
pub(super) fn child() -> Option<(u32, u64)> {
    let started = (SERVICE.load(Ordering::Relaxed), SERVICE_START.load(Ordering::Relaxed));
    (started.0 != 0 && started.1 != 0).then_some(started)
}

/// Starts the service in the guardian, and says what came of it. `hints`: where its files are.
pub(super) fn start(set: Set, hints: (&[u8], usize)) {
    REPORTS.store(true, Ordering::Relaxed);
    // One that ends at once has been started before.
    let _ = set_signal_mask(1 << (libc::SIGCHLD - 1));
    match spawn(set, hints) {
        Ok((pid, start)) => report(STARTED, pid as c_int, start),
        Err(error) => report(FAILED, error.0, 0),
    }
    let _ = set_signal_mask(SignalSet::MIN);
}

/// What the guardian says of the service that it was made to start.
#[derive(Debug)]
pub(crate) struct Reports(File);

impl Reports {
    pub(super) const fn new(file: File) -> Self {
        Self(file)
    }

    /// The service that was started, its process and when that started; `Ok(None)`: another one came in between. The error of the
    /// step that failed.
    pub(crate) fn started(&mut self) -> io::Result<Option<(u32, u64)>> {
        match self.next(None)? {
            Some((STARTED, pid, start)) => Ok(Some((pid as u32, start))),
            Some((FAILED, error, _)) if error == OVERTAKEN.0 => Ok(None),
            Some((FAILED, error, _)) => Err(io::Error::from_raw_os_error(error)),
            _ => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the guardian ended while it started the service, or could not tell what came of it",
            )),
        }
    }

    /// How the service ended; `None` if the guardian does not live to tell.
    ///
    /// # Errors
    ///
    /// `TimedOut`: it has not ended within that many milliseconds.
    pub(crate) fn ended(&mut self, milliseconds: u64) -> io::Result<Option<ExitStatus>> {
        match self.next(Some(milliseconds))? {
            Some((ENDED, status, _)) => Ok(Some(ExitStatus::from_raw(status))),
            _ => Ok(None),
        }
    }

    fn next(&mut self, milliseconds: Option<u64>) -> io::Result<Option<(u8, c_int, u64)>> {
        if !super::process::readable(self.0.as_fd(), milliseconds)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut bytes = [0_u8; REPORT];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => {
                let [what, a, b, c, d, start @ ..] = bytes;
                Ok(Some((what, c_int::from_ne_bytes([a, b, c, d]), u64::from_ne_bytes(start))))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// By what a process is known for a descendant of a service's. A process would have to shed all of them.
struct Marks<'a> {
    /// Its session. 0 for none.
    session: u32,
    parent: Option<u32>,
    /// The variable in its environment.
    digits: &'a [u8],
    /// The pipe of which it has inherited the reading end. 0 for none.
    pipe: u32,
}

/// Ends all that is left of a service whose main process has gone: whoever is a child of `parent`, in the service's
/// session, or bears its mark, or the end of the pipe that the service had. Nothing here allocates.
///
/// A number that has been given to another process says that the session of this number was empty before, and is that one's.
pub(crate) fn sweep(set: Set, pid: u32, start: u64, parent: Option<u32>) {
    let reused = || matches!(Process::open(pid), Ok(Some(process)) if process.start() != start);
    let pipe = set.snapshot().map_or(0, |snapshot| snapshot.record().pipe);
    let digits = mark_digits(pid, start);
    end_all(|| Marks { session: if reused() { 0 } else { pid }, parent, digits: &digits, pipe });
}

/// The same for an instance of which only a file tells, which may be as old as the last boot: by its mark alone.
pub(crate) fn sweep_marked(pid: u32, start: u64) {
    let digits = mark_digits(pid, start);
    end_all(|| Marks { session: 0, parent: None, digits: &digits, pipe: 0 });
}

fn end_all<'a>(marks: impl Fn() -> Marks<'a>) {
    /// A service whose processes multiply faster than they can be ended is given up.
    const ROUNDS: usize = 1000;
    let own = super::pid::ask_pid();
    for _ in 0..ROUNDS {
        let mut found = false;
        let marks = marks();
        let _ = each_number(c"/proc", |other, _| {
            // There may be thousands of strangers and zombies, so nobody is held before it has been looked at; and then it is
            // looked at once more, for its number may have been given away.
            if other != own
                && marks.are_of(other)
                && let Ok(Some(process)) = Process::hold(other)
                && marks.are_of(other)
                && !process.has_ended()
            {
                found = true;
                let _ = process.signal(super::process::Signal::KILL);
                let _ = process.wait(Some(100));
            }
        });
        if !found {
            return;
        }
    }
}

impl Marks<'_> {
    fn are_of(&self, other: u32) -> bool {
        match Stat::of(other) {
            Ok(stat) if !stat.zombie => {
                (self.session != 0 && self.session == stat.session)
                    || self.parent == Some(stat.parent)
                    || has_mark(other, self.digits)
                    || (self.pipe != 0 && witness::has_only_reading_end(other, self.pipe))
            }
            _ => false,
        }
    }
}

fn has_mark(other: u32, digits: &[u8]) -> bool {
    let mut path = [0_u8; PATH];
    let environ =
        proc_path(&mut path, other, b"/environ").and_then(|path| open(path, libc::O_RDONLY | libc::O_CLOEXEC).ok());
    let Some(environ) = environ else { return false };
    let mut window = [0_u8; 4096];
    let mut kept = 0;
    let mut found = false;
    while let Some(room) = window.get_mut(kept..) {
        let filled = read(environ, room);
        if filled == 0 {
            break;
        }
        let held = window.get(..kept + filled).unwrap_or(&[]);
        found |= held.windows(MARK_LEN).any(|bytes| bytes.strip_prefix(MARK.as_bytes()) == Some(digits));
        // What may be the beginning of one.
        let tail = held.len().min(MARK_LEN - 1);
        let from = held.len() - tail;
        window.copy_within(from..from + tail, 0);
        kept = tail;
    }
    close(environ);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_session_whose_number_was_given_away_is_not_swept() {
        let mut leader = Command::new("setsid").args(["sleep", "1000"]).spawn().expect("it starts");
        let pid = leader.id();
        let process = Process::open(pid).expect("it can be looked at").expect("it runs");
        while Stat::of(pid).is_ok_and(|stat| stat.session != pid) {
            std::thread::yield_now();
        }
        sweep(Set::from_id(-1), pid, process.start() + 1, None);
        sweep_marked(pid, process.start());
        assert!(!process.has_ended(), "it is another process, which has the number that the service had");
        sweep(Set::from_id(-1), pid, process.start(), None);
        assert!(process.has_ended());
        leader.wait().expect("it is our child");
    }
}
