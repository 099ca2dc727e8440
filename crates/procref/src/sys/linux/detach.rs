//! Makes processes that keep nothing of the program they come from: neither memory nor descriptors, terminal, working
//! directory, process group, signal handlers or signal mask. They are nobody's child: the program sees no SIGCHLD, no
//! zombie and no unexpected answer from `waitpid(-1)`.
//!
//! [`fork`] copies the program and throws the copy's memory away; [`spawn`] starts another program file.

#![expect(unsafe_code, reason = "system calls")]

use std::alloc::Layout;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_long, c_uint, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// What the kernel says when it refuses.
pub(crate) type Errno = c_int;

/// The number of the first descriptor that a detached process keeps; those below are `/dev/null`.
pub(crate) const FIRST_FD: c_int = 3;

/// What `ps -o comm` shows for a process made by [`fork`]; at most 15 bytes.
const COMM: &CStr = c"procref-guard";

/// Room for the code that runs on a stack of ours. Only the pages it touches cost memory.
const STACK: usize = 256 * 1024;

/// A terminal's and an operator's everyday signals must not end a guardian. SIGTERM may.
const IGNORED: [c_int; 10] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGTTOU,
    libc::SIGTTIN,
    libc::SIGTSTP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
];

const MIPS: bool =
    cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "mips32r6", target_arch = "mips64r6"));
/// The last signal number, and the size of the kernel's signal set, which is not the C library's.
const LAST_SIGNAL: c_int = if MIPS { 128 } else { 64 };
const SIGNAL_SET: usize = if MIPS { 16 } else { 8 };

// ---------------------------------------------------------------------------------------------------------------------
// In the caller

/// Starts a process that runs `main` on a copy of `plan` and keeps nothing else of this program.
///
/// `fds[i]` becomes number `3 + i`; everything else is closed, and 0 to 2 are `/dev/null`. `title` is what `ps` shows
/// as the command line. Returns once the process is on its own, or with the reason why there is none.
///
/// `main` runs in a process whose memory is gone. It may use its own stack, `plan`, constants, and [`syscall`]: no
/// allocation, no lock, no environment, no `thread_local`, no `static` that is ever written, no panic, no function of
/// the C library. `plan` must not point to anything but constants. `main` has 250 KiB of stack.
pub(crate) fn fork<P: Copy + Sync + 'static>(
    plan: &P,
    title: &CStr,
    fds: &[BorrowedFd<'_>],
    main: fn(&P) -> !,
) -> io::Result<()> {
    let title = title.to_bytes();
    let (layout, fds_at) = extend(Layout::new::<ForkArgs<P>>(), Layout::array::<c_int>(fds.len()))?;
    let (layout, title_at) = extend(layout, Layout::array::<u8>(title.len()))?;
    let align = layout.align().max(16);
    let region = Region::new(STACK + layout.size() + align)?;
    let place = region.base.with_addr((region.stack_top() - layout.size()) & !(align - 1));

    // SAFETY: `place` lies `layout.size()` bytes below the end of the region, and this is within the layout.
    let fd_place: *mut c_int = unsafe { place.add(fds_at) }.cast();
    // SAFETY: as above.
    let title_place: *mut u8 = unsafe { place.add(title_at) };
    // SAFETY: mapped, zeroed, aligned by the layout, and known to nobody else.
    let fd_copy = unsafe { slice::from_raw_parts_mut(fd_place, fds.len()) };
    for (copy, fd) in fd_copy.iter_mut().zip(fds) {
        *copy = fd.as_raw_fd();
    }
    // SAFETY: as for the descriptors.
    let title_copy = unsafe { slice::from_raw_parts_mut(title_place, title.len()) };
    title_copy.copy_from_slice(title);

    let args = place.cast::<ForkArgs<P>>();
    let copy = ForkArgs {
        plan: *plan,
        main,
        fds: (fd_place, fds.len()),
        title: (title_place, title.len()),
        page: region.page,
        kept: [region.range(), own_errno(region.page), own_thread(region.page)],
        code: [
            forked::<P> as *const () as usize,
            libc::memcpy as *const () as usize,
            libc::memmove as *const () as usize,
            libc::memset as *const () as usize,
            libc::memcmp as *const () as usize,
        ],
    };
    // SAFETY: room, alignment and exclusive access as above.
    unsafe { args.write(copy) };

    let pid = clone(forked::<P>, place, 0, args.cast())?;
    match wait(pid)? {
        None | Some(Ended::Exit(0)) => Ok(()),
        Some(Ended::Exit(errno)) => Err(io::Error::from_raw_os_error(errno)),
        Some(Ended::Signal(signal)) => Err(killed(signal)),
    }
}

/// Starts the program file `exe` with the single argument `title` and no environment but `LD_LIBRARY_PATH`.
///
/// Descriptors and the rest are as in [`fork`]. Returns once the program has been entered, or with the reason why not.
pub(crate) fn spawn(exe: &CStr, title: &CStr, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    // The new process leaves the working directory before it looks for the file.
    let exe = std::path::absolute(OsStr::from_bytes(exe.to_bytes()))?;
    let exe = CString::new(exe.into_os_string().into_vec())?;
    let libraries = std::env::var_os("LD_LIBRARY_PATH").and_then(|value| {
        let mut text = b"LD_LIBRARY_PATH=".to_vec();
        text.extend_from_slice(value.as_bytes());
        CString::new(text).ok()
    });
    let mut numbers: Vec<c_int> = fds.iter().map(|fd| fd.as_raw_fd()).collect();

    let outer = Region::new(STACK)?;
    let inner = Region::new(STACK)?;
    let args = SpawnArgs {
        exe: exe.as_ptr(),
        argv: [title.as_ptr(), ptr::null()],
        envp: [libraries.as_ref().map_or(ptr::null(), |text| text.as_ptr()), ptr::null()],
        fds: (numbers.as_mut_ptr(), numbers.len()),
        stack: inner.base.with_addr(inner.stack_top()),
        error: AtomicI32::new(0),
    };
    let pid = clone(
        intermediate,
        outer.base.with_addr(outer.stack_top()),
        libc::CLONE_VM | libc::CLONE_VFORK,
        ptr::from_ref(&args).cast_mut().cast(),
    )?;
    let ended = wait(pid)?;
    match (args.error.load(Ordering::Acquire), ended) {
        (0, None | Some(Ended::Exit(_))) => Ok(()),
        (0, Some(Ended::Signal(signal))) => Err(killed(signal)),
        (errno, _) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Runs `f` in a process of its own that shares this memory but no semaphore undo list, waits for its end and returns
/// what `f` returned. When this returns, the kernel has undone what it undoes when a process dies.
///
/// The calling thread stands still meanwhile, with all signals blocked. `f` has 250 KiB of stack. It must not
/// panic and must not wait for another thread's lock.
pub(crate) fn in_short_lived_process<A: Sync>(arg: &A, f: fn(&A) -> i32) -> io::Result<i32> {
    let stack = Region::new(STACK)?;
    let args = ProbeArgs { arg, f, done: AtomicBool::new(false), result: AtomicI32::new(0) };
    let pid = clone(
        probe::<A>,
        stack.base.with_addr(stack.stack_top()),
        libc::CLONE_VM | libc::CLONE_VFORK,
        ptr::from_ref(&args).cast_mut().cast(),
    )?;
    match wait(pid)? {
        Some(Ended::Signal(signal)) => Err(killed(signal)),
        _ if args.done.load(Ordering::Acquire) => Ok(args.result.load(Ordering::Acquire)),
        _ => Err(io::Error::other("the helper process ended before its time")),
    }
}

fn extend(layout: Layout, next: Result<Layout, std::alloc::LayoutError>) -> io::Result<(Layout, usize)> {
    next.and_then(|next| layout.extend(next)).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn killed(signal: c_int) -> io::Error {
    io::Error::other(format!("the helper process was killed by signal {signal}"))
}

/// `libc::clone` with all signals blocked, so that no handler of the program ever runs in the child.
///
/// The exit signal is 0: the program gets no SIGCHLD, and its `waitpid(-1)` does not see the child, unless it asks for
/// children of every kind (`__WALL`, `__WCLONE`).
fn clone(
    entry: extern "C" fn(*mut c_void) -> c_int,
    stack_top: *mut u8,
    flags: c_int,
    arg: *mut c_void,
) -> io::Result<libc::pid_t> {
    let _blocked = SignalsBlocked::new()?;
    // SAFETY: the stack is fresh, aligned and outlives the child or is copied with the rest; so is `arg`, which is what
    // `entry` expects. `entry` keeps to what is safe in a child of a process with many threads, and does not return.
    let pid = unsafe { libc::clone(entry, stack_top.cast(), flags, arg) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

enum Ended {
    Exit(c_int),
    Signal(c_int),
}

/// Waits for a child of [`clone`]. `None` if a `waitpid(-1, __WALL)` elsewhere in the program was faster.
fn wait(pid: libc::pid_t) -> io::Result<Option<Ended>> {
    let mut status = 0;
    loop {
        // SAFETY: writes to `status` only.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if waited == pid {
            return Ok(Some(if libc::WIFSIGNALED(status) {
                Ended::Signal(libc::WTERMSIG(status))
            } else {
                Ended::Exit(libc::WEXITSTATUS(status))
            }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Blocks every signal for this thread, also those that the C library keeps for itself, until dropped.
struct SignalsBlocked {
    before: [u64; 2],
}

impl SignalsBlocked {
    fn new() -> io::Result<Self> {
        let mut blocked = Self { before: [0; 2] };
        match set_signal_mask([u64::MAX; 2], Some(&mut blocked.before)) {
            Ok(()) => Ok(blocked),
            Err(errno) => {
                // Nothing was changed, so nothing is to be restored.
                std::mem::forget(blocked);
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // Cannot fail: the same call has succeeded before.
        let _ = set_signal_mask(self.before, None);
    }
}

/// Fresh memory between two pages that nobody may touch. They make an overflowing stack fault, and keep the kernel from
/// joining the mapping with its neighbours, which the child drops.
struct Region {
    base: *mut u8,
    len: usize,
    page: usize,
}

impl Region {
    fn new(usable: usize) -> io::Result<Self> {
        // SAFETY: reads a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).unwrap_or(4096).max(1);
        let usable = usable.next_multiple_of(page);
        let len = usable + 2 * page;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, at a place where nothing is.
        let base = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let region = Self { base: base.cast(), len, page };
        // SAFETY: `usable` bytes after the first page lie within the mapping.
        let usable_base = unsafe { region.base.add(page) };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the region is ours.
        if unsafe { libc::mprotect(usable_base.cast(), usable, access) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(region)
    }

    /// Where a stack begins that grows down from the end.
    fn stack_top(&self) -> usize {
        self.base.addr() + self.len - self.page
    }

    fn range(&self) -> Range {
        Range { start: self.base.addr(), end: self.base.addr() + self.len }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody uses it any more: a child that shared it has ended or has become another program.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

/// The page of this thread's `errno`.
fn own_errno(page: usize) -> Range {
    // SAFETY: has no precondition.
    let errno = unsafe { libc::__errno_location() };
    let start = errno.addr() & !(page - 1);
    Range { start, end: start + page }
}

/// The pages of the C library's control block for this thread. The kernel writes to it (rseq), a stack protector and
/// musl's `errno` read it.
fn own_thread(page: usize) -> Range {
    // SAFETY: has no precondition.
    let block = unsafe { libc::pthread_self() } as usize;
    Range { start: block & !(page - 1), end: (block + 4096).next_multiple_of(page) }
}

// ---------------------------------------------------------------------------------------------------------------------
// In the new processes. Here there are system calls and a stack, and nothing else: other threads of the program may
// have held any lock when it was copied.

struct ForkArgs<P> {
    plan: P,
    main: fn(&P) -> !,
    fds: (*mut c_int, usize),
    title: (*const u8, usize),
    page: usize,
    kept: [Range; 3],
    /// Addresses of code that must stay: this module's, and what the compiler calls to copy and compare.
    code: [usize; 5],
}

extern "C" fn forked<P: Copy>(arg: *mut c_void) -> c_int {
    // SAFETY: `fork` has put it there, and only this process has this copy.
    let args = unsafe { &*arg.cast::<ForkArgs<P>>() };
    let (fds, count) = args.fds;
    // SAFETY: as above; nothing else refers to it.
    let fds = unsafe { slice::from_raw_parts_mut(fds, count) };
    let (title, len) = args.title;
    // SAFETY: as above.
    let title = unsafe { slice::from_raw_parts(title, len) };
    // The number of an error is at most 133 and fits into an exit code.
    exit(detach(args, fds, title).err().unwrap_or(0))
}

/// Returns in the intermediate process, whose end makes the other one an orphan.
fn detach<P: Copy>(args: &ForkArgs<P>, fds: &mut [c_int], title: &[u8]) -> Result<(), Errno> {
    leave(fds)?;
    let area = drop_memory(args, title_area());
    prctl(libc::PR_SET_NAME, COMM.as_ptr().addr());
    if let Some(area) = area {
        set_title(area, title);
    }
    // The second fork comes after the memory has gone: there is next to nothing left to copy.
    //
    // SAFETY: without flags and stack this is a plain fork; both processes go on from here, each with its own memory.
    if unsafe { syscall(libc::SYS_clone, [0; 6]) }? != 0 {
        return Ok(());
    }
    // What a program hides from its user's other processes is gone; they must be able to look at this one.
    prctl(libc::PR_SET_DUMPABLE, 1);
    set_signal_mask([0; 2], None)?;
    (args.main)(&args.plan)
}

struct SpawnArgs {
    exe: *const c_char,
    argv: [*const c_char; 2],
    envp: [*const c_char; 2],
    fds: (*mut c_int, usize),
    stack: *mut u8,
    error: AtomicI32,
}

extern "C" fn intermediate(arg: *mut c_void) -> c_int {
    // SAFETY: `spawn` waits until this process has ended.
    let args = unsafe { &*arg.cast::<SpawnArgs>() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    // SAFETY: the stack is fresh and aligned, and outlives the child's use of this memory.
    if unsafe { libc::clone(execute, args.stack.cast(), flags, arg) } < 0 {
        // `errno` is that of the calling thread, which stands still.
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN);
        args.error.store(errno, Ordering::Release);
    }
    exit(0)
}

extern "C" fn execute(arg: *mut c_void) -> c_int {
    // SAFETY: `spawn` and the intermediate process wait until this one has become another program or has ended.
    let args = unsafe { &*arg.cast::<SpawnArgs>() };
    let (fds, count) = args.fds;
    // SAFETY: the caller's list, which the caller does not use again.
    let fds = unsafe { slice::from_raw_parts_mut(fds, count) };
    let result = leave(fds).and_then(|()| set_signal_mask([0; 2], None)).and_then(|()| {
        let (argv, envp) = (args.argv.as_ptr().addr(), args.envp.as_ptr().addr());
        // SAFETY: strings and lists end with a zero and outlive the call.
        unsafe { syscall(libc::SYS_execve, [args.exe.addr(), argv, envp, 0, 0, 0]) }.map(|_| ())
    });
    if let Err(errno) = result {
        args.error.store(errno, Ordering::Release);
    }
    exit(127)
}

struct ProbeArgs<'a, A> {
    arg: &'a A,
    f: fn(&A) -> i32,
    done: AtomicBool,
    result: AtomicI32,
}

extern "C" fn probe<A>(arg: *mut c_void) -> c_int {
    // SAFETY: `in_short_lived_process` waits until this process has ended.
    let args = unsafe { &*arg.cast::<ProbeArgs<'_, A>>() };
    args.result.store((args.f)(args.arg), Ordering::Release);
    args.done.store(true, Ordering::Release);
    exit(0)
}

/// Takes leave of everything of the program but its memory.
fn leave(fds: &mut [c_int]) -> Result<(), Errno> {
    reset_signals();
    // SAFETY: has no precondition.
    unsafe { syscall(libc::SYS_setsid, [0; 6]) }?;
    place_fds(fds)?;
    // SAFETY: reads the path.
    unsafe { syscall(libc::SYS_chdir, [c"/".as_ptr().addr(), 0, 0, 0, 0, 0]) }.map(|_| ())
}

fn reset_signals() {
    const HANDLER: usize = if MIPS { 1 } else { 0 };
    for signal in 1..=LAST_SIGNAL {
        let mut action = [0_usize; 8];
        if IGNORED.contains(&signal) {
            action[HANDLER] = libc::SIG_IGN;
        }
        let arguments = [signal as usize, action.as_ptr().addr(), 0, SIGNAL_SET, 0, 0];
        // SAFETY: reads the action, which names no function. SIGKILL and SIGSTOP are refused and stay as they are.
        let _ = unsafe { syscall(libc::SYS_rt_sigaction, arguments) };
    }
}

fn set_signal_mask(mask: [u64; 2], before: Option<&mut [u64; 2]>) -> Result<(), Errno> {
    let before = before.map_or(0, |before| ptr::from_mut(before).addr());
    let arguments = [libc::SIG_SETMASK as usize, mask.as_ptr().addr(), before, SIGNAL_SET, 0, 0];
    // SAFETY: reads the one set and writes the other.
    unsafe { syscall(libc::SYS_rt_sigprocmask, arguments) }.map(|_| ())
}

/// Moves the descriptors to 3, 4, ... and closes all others.
fn place_fds(fds: &mut [c_int]) -> Result<(), Errno> {
    // First of all, so that a program that has used up its descriptors leaves room for what follows.
    close_all_but(0, fds);
    let end = FIRST_FD + fds.len() as c_int;
    // By way of high numbers, since one's target may be another's number. dup3 also clears close-on-exec.
    for fd in fds.iter_mut() {
        let arguments = [*fd as usize, libc::F_DUPFD as usize, end as usize, 0, 0, 0];
        // SAFETY: makes a new descriptor.
        *fd = unsafe { syscall(libc::SYS_fcntl, arguments) }? as c_int;
    }
    for (target, fd) in (FIRST_FD..).zip(fds.iter()) {
        dup_to(*fd, target)?;
    }
    close_all_but(end, &[]);
    let null = open(c"/dev/null", libc::O_RDWR)?;
    for target in 0..FIRST_FD {
        if target != null {
            dup_to(null, target)?;
        }
    }
    if null >= FIRST_FD {
        close(null);
    }
    Ok(())
}

/// Closes the descriptors from `first` on that are not in `keep`.
fn close_all_but(first: c_int, keep: &[c_int]) {
    let mut low = first as c_uint;
    loop {
        let kept = keep.iter().map(|fd| *fd as c_uint).filter(|fd| *fd >= low).min();
        let high = kept.map_or(c_uint::MAX, |kept| kept.wrapping_sub(1));
        if kept != Some(low) {
            // SAFETY: closes descriptors, which nothing in this process owns any more.
            let closed = unsafe { syscall(libc::SYS_close_range, [low as usize, high as usize, 0, 0, 0, 0]) };
            if closed.is_err() {
                // Linux before 5.9, or a filter that does not know the call.
                close_listed_but(first, keep);
                return;
            }
        }
        match kept {
            Some(kept) => low = kept + 1,
            None => return,
        }
    }
}

fn close_listed_but(first: c_int, keep: &[c_int]) {
    let doomed = |fd: c_int| fd >= first && !keep.contains(&fd);
    if close_listed(doomed).is_err() {
        for fd in (first..descriptor_limit()).filter(|fd| doomed(*fd)) {
            close(fd);
        }
    }
}

fn close_listed(doomed: impl Fn(c_int) -> bool) -> Result<(), Errno> {
    let list = open(c"/proc/self/fd", libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut buffer = [0_u64; 128];
    let result = loop {
        let arguments = [list as usize, buffer.as_mut_ptr().addr(), size_of_val(&buffer), 0, 0, 0];
        // SAFETY: writes to the buffer only.
        let filled = match unsafe { syscall(libc::SYS_getdents64, arguments) } {
            Ok(0) => break Ok(()),
            Ok(filled) => filled,
            Err(errno) => break Err(errno),
        };
        // SAFETY: the buffer is at least as long, and has no bytes that are not initialised.
        let mut entries = unsafe { slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        // struct linux_dirent64: inode and offset, 8 bytes each, length of the entry, 2 bytes, type, 1 byte, name.
        while let Some((head, name)) = entries.split_first_chunk::<19>() {
            let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
            let number = digits
                .fold(None, |number: Option<c_int>, digit| Some(number.unwrap_or(0) * 10 + c_int::from(digit - b'0')));
            if let Some(fd) = number.filter(|fd| *fd != list && doomed(*fd)) {
                close(fd);
            }
            let length = u16::from_ne_bytes([head[16], head[17]]);
            entries = entries.get(usize::from(length).max(1)..).unwrap_or(&[]);
        }
    };
    close(list);
    result
}

/// Where to stop when there is no list of the open descriptors.
fn descriptor_limit() -> c_int {
    /// More would take minutes where the limit is "none".
    const MOST: u64 = 1 << 20;
    let mut limit = [MOST; 2];
    let arguments = [0, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr().addr(), 0, 0];
    // SAFETY: writes two numbers.
    let _ = unsafe { syscall(libc::SYS_prlimit64, arguments) };
    limit[0].min(MOST) as c_int
}

fn open(path: &CStr, flags: c_int) -> Result<c_int, Errno> {
    let at = libc::AT_FDCWD as usize;
    // SAFETY: reads the path.
    unsafe { syscall(libc::SYS_openat, [at, path.as_ptr().addr(), flags as usize, 0, 0, 0]) }.map(|fd| fd as c_int)
}

fn close(fd: c_int) {
    // SAFETY: nothing in this process owns a descriptor.
    let _ = unsafe { syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

fn dup_to(fd: c_int, target: c_int) -> Result<(), Errno> {
    // SAFETY: nothing in this process owns a descriptor.
    unsafe { syscall(libc::SYS_dup3, [fd as usize, target as usize, 0, 0, 0, 0]) }.map(|_| ())
}

fn prctl(option: c_int, value: usize) {
    // SAFETY: used for options that read a string or take a number. Neither is worth failing for.
    let _ = unsafe { syscall(libc::SYS_prctl, [option as usize, value, 0, 0, 0, 0]) };
}

fn read(fd: c_int, buffer: &mut [u8]) -> usize {
    let arguments = [fd as usize, buffer.as_mut_ptr().addr(), buffer.len(), 0, 0, 0];
    // SAFETY: writes to the buffer only.
    unsafe { syscall(libc::SYS_read, arguments) }.unwrap_or(0)
}

fn exit(code: c_int) -> ! {
    loop {
        // SAFETY: ends this process.
        let _ = unsafe { syscall(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The title

/// Where the kernel looks for the command line of this process, and where the environment behind it ends.
#[derive(Clone, Copy)]
struct TitleArea {
    start: usize,
    end: usize,
}

fn title_area() -> Option<TitleArea> {
    // Fifty numbers of up to twenty digits, and the name.
    let mut buffer = [0_u8; 1536];
    let file = open(c"/proc/self/stat", libc::O_RDONLY).ok()?;
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..) {
        match read(file, rest) {
            0 => break,
            more => len += more,
        }
    }
    close(file);
    // The name may contain anything, also blanks and parentheses; nothing behind it does.
    let stat = buffer.get(..len)?;
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    // Field 3 is the first behind the name; 48 to 51 are arg_start, arg_end, env_start and env_end.
    let mut fields = stat.get(name_end + 2..)?.split(|byte| *byte == b' ').skip(48 - 3);
    let mut number = || {
        fields
            .next()?
            .iter()
            .try_fold(0_usize, |value, digit| value.checked_mul(10)?.checked_add(usize::from(digit.wrapping_sub(b'0'))))
    };
    let (start, arg_end, env_start, env_end) = (number()?, number()?, number()?, number()?);
    // The kernel reads on into the environment, as setproctitle needs it, only if it follows at once.
    let end = if env_start == arg_end { arg_end.max(env_end) } else { arg_end };
    (start != 0 && start < end).then_some(TitleArea { start, end })
}

/// The last byte of the arguments tells the kernel which it is: zero, and the command line is the arguments; something
/// else, and it is one string from the start of the arguments that may reach into the environment.
fn set_title(area: TitleArea, title: &[u8]) {
    let room = area.end - area.start - 1;
    let bytes = title.iter().copied().take(room).chain(std::iter::repeat(0));
    for (address, byte) in (area.start..area.end).zip(bytes) {
        let place = ptr::with_exposed_provenance_mut::<u8>(address);
        // SAFETY: `drop_memory` has found the area in one private writable mapping.
        let present = unsafe { place.read_volatile() };
        // Most of it is zero already; writing would cost a page each.
        if present != byte {
            // SAFETY: as above, and nothing else in this process uses it.
            unsafe { place.write_volatile(byte) };
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The memory

#[derive(Clone, Copy)]
struct Range {
    start: usize,
    end: usize,
}

impl Range {
    fn contains(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// A file, by device and inode; inode 0 is no file.
type File = (u64, u64);

/// A line of `/proc/self/maps`.
struct Mapping {
    range: Range,
    /// Such as `rw-p`.
    access: [u8; 4],
    file: File,
    /// The beginning of what follows the last slash, or of a name such as `[stack]`.
    name: [u8; 8],
}

impl Mapping {
    const NONE: Self = Self { range: Range { start: 0, end: 0 }, access: [0; 4], file: (0, 0), name: [0; 8] };

    fn writable(&self) -> bool {
        self.access[1] == b'w'
    }

    fn shared(&self) -> bool {
        self.access[3] == b's'
    }

    fn anonymous(&self) -> bool {
        self.file.1 == 0
    }

    fn named(&self, names: &[&[u8]]) -> bool {
        names.iter().any(|name| self.name.starts_with(name))
    }

    /// Mapped by the kernel for its own ends: vdso, vvar, vsyscall, sigpage, uprobes.
    fn special(&self) -> bool {
        self.anonymous() && self.named(&[b"[v", b"[sig", b"[upro"])
    }
}

/// Shows each mapping of this process to `visit`, which may change the mappings it has been shown.
fn each_mapping(mut visit: impl FnMut(&Mapping)) {
    let Ok(list) = open(c"/proc/self/maps", libc::O_RDONLY) else { return };
    let mut buffer = [0_u8; 2048];
    let mut mapping = Mapping::NONE;
    // start-end access offset device inode name
    let (mut field, mut position) = (0, 0);
    loop {
        let filled = read(list, &mut buffer);
        for byte in buffer.iter().take(filled).copied() {
            match (field, byte) {
                (_, b'\n') => {
                    visit(&mapping);
                    mapping = Mapping::NONE;
                    (field, position) = (0, 0);
                }
                (0, b'-') | (1..=5, b' ') => (field, position) = (field + 1, 0),
                (0, _) => mapping.range.start = mapping.range.start << 4 | hex(byte),
                (1, _) => mapping.range.end = mapping.range.end << 4 | hex(byte),
                (4, _) => mapping.file.0 = mapping.file.0 << 8 | u64::from(byte),
                (5, _) => mapping.file.1 = mapping.file.1.wrapping_mul(10).wrapping_add(u64::from(byte & 15)),
                (6, b' ') if position == 0 => {}
                (6, b'/') => (mapping.name, position) = ([0; 8], 0),
                (2 | 6, _) => {
                    let text: &mut [u8] = if field == 2 { &mut mapping.access } else { &mut mapping.name };
                    if let Some(place) = text.get_mut(position) {
                        *place = byte;
                        position += 1;
                    }
                }
                _ => {}
            }
        }
        if filled == 0 {
            break;
        }
    }
    close(list);
}

fn hex(digit: u8) -> usize {
    usize::from(if digit > b'9' { (digit & 0xf) + 9 } else { digit & 0xf })
}

/// Gives the program's memory back, and returns the title's area if that can be written.
///
/// What stays: the mapping with our stack; this module's code and constants; the C library, since the compiler calls its
/// `memcpy` and the like, and glibc's look at variables; and the few pages that the kernel and the C library use for
/// this thread. Files and shared memory are unmapped, since a mapping keeps them from being deleted or unmounted; other
/// memory is emptied but stays mapped, as the kernel or this module's own variables may be there.
fn drop_memory<P>(args: &ForkArgs<P>, area: Option<TitleArea>) -> Option<TitleArea> {
    let [region, errno, thread] = args.kept;
    let mut memory = Memory {
        kept: [region, errno, thread, own_shadow_stack(args.page)],
        code: args.code,
        own: (0, 0),
        unprotected: false,
        libraries: [(0, 0); 4],
        area: None,
        library_end: 0,
    };
    each_mapping(|mapping| memory.find(mapping, area));
    each_mapping(|mapping| memory.forget(mapping));
    memory.area
}

/// Lies among the constants that hold addresses.
static ADDRESS: fn(c_int) -> ! = exit;

struct Memory {
    kept: [Range; 4],
    code: [usize; 5],
    own: File,
    /// Constants that hold addresses can be written: a program without RELRO, such as a static one with musl.
    unprotected: bool,
    libraries: [File; 4],
    area: Option<TitleArea>,
    /// Where the C library's variables with an initial value end, and those without may begin.
    library_end: usize,
}

impl Memory {
    fn find(&mut self, mapping: &Mapping, area: Option<TitleArea>) {
        let [own, libraries @ ..] = self.code;
        if mapping.range.contains(own) {
            self.own = mapping.file;
        }
        if mapping.range.contains(ptr::from_ref(&ADDRESS).addr()) {
            self.unprotected = mapping.writable();
        }
        for (file, address) in self.libraries.iter_mut().zip(libraries) {
            if mapping.range.contains(address) {
                *file = mapping.file;
            }
        }
        if mapping.anonymous() && mapping.writable() && !mapping.shared() {
            let inside = |area: &TitleArea| mapping.range.contains(area.start) && area.end <= mapping.range.end;
            self.area = self.area.or(area.filter(inside));
        }
    }

    fn forget(&mut self, mapping: &Mapping) {
        /// More than any C library has; what is joined to it is not its own.
        const VARIABLES: usize = 64 * 1024;

        let Range { start, end } = mapping.range;
        // Where the code is in anonymous memory (text moved to huge pages), nobody can tell what else belongs to it.
        let own_known = self.own.1 != 0;
        if mapping.special() || self.code.iter().any(|code| mapping.range.contains(*code)) {
            return;
        }
        if mapping.shared() {
            self.each_part(mapping.range, unmap);
        } else if mapping.anonymous() {
            if !own_known && !mapping.writable() {
                return;
            }
            let variables = if start == self.library_end { VARIABLES } else { 0 };
            let range = Range { start: end.min(start + variables), end };
            let has_title = self.area.is_some_and(|area| mapping.range.contains(area.start));
            if has_title || mapping.named(&[b"[stack"]) {
                self.each_part(range, empty);
            } else {
                self.each_part(range, empty_and_shrink);
            }
        } else if mapping.file == self.own {
            // Emptied, unprotected constants would be as in the file, without the addresses filled in.
            if mapping.writable() && !self.unprotected {
                self.each_part(mapping.range, empty);
            }
        } else if self.libraries.contains(&mapping.file)
            || mapping.named(&[b"libc.so", b"libc-2", b"ld-musl", b"libstd-"])
        {
            self.library_end = end;
        } else if own_known {
            self.each_part(mapping.range, unmap);
        } else if mapping.writable() {
            self.each_part(mapping.range, empty);
        }
    }

    /// Does something with what is not kept of a range, given as start and length.
    fn each_part(&self, range: Range, act: impl Fn(usize, usize)) {
        let mut from = range.start;
        while from < range.end {
            let in_the_way = self.kept.iter().filter(|kept| kept.end > from && kept.start < range.end);
            let next = in_the_way.min_by_key(|kept| kept.start);
            let to = next.map_or(range.end, |next| next.start.max(from));
            if to > from {
                act(from, to - from);
            }
            from = next.map_or(range.end, |next| next.end);
        }
    }
}

/// Empties private memory: it reads as zeros, or as its file, from now on.
fn empty(start: usize, len: usize) {
    let arguments = [start, len, libc::MADV_DONTNEED as usize, 0, 0, 0];
    // SAFETY: nothing in this process uses the memory; see `drop_memory`.
    if unsafe { syscall(libc::SYS_madvise, arguments) }.is_err() {
        // Device memory, and huge pages before Linux 5.18.
        unmap(start, len);
    }
}

/// Empties private memory and, where there is much of it, gives back its page tables too and makes it memory that
/// cannot be written: such memory does not count against what the system may promise.
fn empty_and_shrink(start: usize, len: usize) {
    /// The C library's and the kernel's data for this thread may be larger than the pages that are known.
    const MARGIN: usize = 1 << 20;

    empty(start, len);
    #[cfg(target_pointer_width = "64")]
    if len >= 4 * MARGIN {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let (start, len) = (start + MARGIN, len - 2 * MARGIN);
        let arguments = [start, len, libc::PROT_READ as usize, flags as usize, usize::MAX, 0];
        // SAFETY: nothing in this process uses the memory; see `drop_memory`. It is empty already if this fails.
        let _ = unsafe { syscall(libc::SYS_mmap, arguments) };
    }
}

fn unmap(start: usize, len: usize) {
    // SAFETY: nothing in this process uses the memory; see `drop_memory`.
    let _ = unsafe { syscall(libc::SYS_munmap, [start, len, 0, 0, 0, 0]) };
}

/// The pages with the return addresses of the functions under way, where the processor keeps a second list of them.
fn own_shadow_stack(page: usize) -> Range {
    let top: usize;
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    // SAFETY: does nothing where there is no shadow stack.
    unsafe {
        std::arch::asm!("rdsspq {}", inout(reg) 0_usize => top, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: `hint 40` is chkfeat; it does nothing on older processors, and the register is read only where it exists.
    unsafe {
        std::arch::asm!(
            "mov x16, #1",
            "hint #40",
            "mov {top}, #0",
            "cbnz x16, 2f",
            "mrs {top}, s3_3_c2_c5_1",
            "2:",
            top = out(reg) top,
            out("x16") _,
            options(nomem, nostack, preserves_flags)
        );
    }
    #[cfg(not(any(all(target_arch = "x86_64", target_pointer_width = "64"), target_arch = "aarch64")))]
    {
        top = 0;
    }
    let start = top & !(page - 1);
    Range { start, end: if top == 0 { 0 } else { start + 2 * page } }
}

// ---------------------------------------------------------------------------------------------------------------------
// System calls

/// A system call without the C library.
///
/// `libc::syscall` will not do where memory has been dropped: musl finds `errno` by a pointer in the thread's control
/// block, a program may be linked so that calls go by way of writable tables, and a preloaded library may have put
/// itself in between.
///
/// # Safety
///
/// As for the call.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[inline(always)]
pub(crate) unsafe fn syscall(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the caller's duty. The clobbers are those of the kernel's interface.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    checked(result)
}

/// A system call without the C library; see there for x86-64.
///
/// # Safety
///
/// As for the call.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) unsafe fn syscall(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the caller's duty. The kernel preserves all other registers.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0] => result,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            in("x5") args[5],
            options(nostack)
        );
    }
    checked(result)
}

/// A system call; elsewhere by the C library, whose variables and whose `errno` are among what is kept.
///
/// # Safety
///
/// As for the call.
#[cfg(not(any(all(target_arch = "x86_64", target_pointer_width = "64"), target_arch = "aarch64")))]
pub(crate) unsafe fn syscall(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = args;
    // SAFETY: the caller's duty.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result != -1 {
        return Ok(result as usize);
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL))
}

#[cfg(any(all(target_arch = "x86_64", target_pointer_width = "64"), target_arch = "aarch64"))]
fn checked(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) { Err(-result as Errno) } else { Ok(result as usize) }
}

#[cfg(test)]
mod tests {
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

        fn private_kib(&self) -> u64 {
            let rollup = self.file("smaps_rollup");
            let private = rollup.lines().filter(|line| line.starts_with("Private_"));
            private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
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

    fn signal_mask() -> [u64; 2] {
        let mut mask = [0; 2];
        // SIG_BLOCK of nothing.
        let arguments = [0, [0_u64; 2].as_ptr().addr(), mask.as_mut_ptr().addr(), SIGNAL_SET, 0, 0];
        // SAFETY: reads one set and writes the other.
        unsafe { syscall(libc::SYS_rt_sigprocmask, arguments) }.unwrap();
        mask
    }

    /// What must be as before in the caller.
    fn belongings() -> (BTreeMap<i32, String>, [u64; 2], usize, usize) {
        // Guard pages tell the regions of this module from what the allocator does.
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let guards = maps.lines().filter(|line| line.contains(" ---p ")).count();
        let size = |line: &str| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            usize::from_str_radix(end, 16).unwrap() - usize::from_str_radix(start, 16).unwrap()
        };
        let regions =
            maps.lines().filter(|line| line.contains(" rw-p ") && (STACK..STACK + 65536).contains(&size(line)));
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
        let mut mask = [0_u64; 2];
        mask[0] = 1 << (libc::SIGWINCH - 1);
        set_signal_mask(mask, None).unwrap();
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
    fn filter(number: c_long, errno: c_int) {
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
            let links = [say.as_fd(), end.as_fd()]
                .map(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap());
            way(&[say.as_fd(), end.as_fd(), third.as_fd()]).unwrap();
            let detached = Detached::hear(&mut heard, life);
            assert!(detached.plan_arrived, "{name}");
            let found = fs::read_dir(format!("/proc/{}/fd", detached.pid)).unwrap();
            let found: BTreeMap<i32, _> = found
                .map(|entry| entry.unwrap())
                .map(|entry| {
                    (entry.file_name().to_str().unwrap().parse().unwrap(), fs::read_link(entry.path()).unwrap())
                })
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
            assert!(alive < 160 && orphaned < 160, "{mib} MiB: {alive} and {orphaned} KiB");

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

    #[test]
    fn parts_of_a_range() {
        let cut = |range: (usize, usize), kept: [(usize, usize); 4]| {
            let kept = kept.map(|(start, end)| Range { start, end });
            let memory = Memory {
                kept,
                code: [0; 5],
                own: (0, 0),
                unprotected: false,
                libraries: [(0, 0); 4],
                area: None,
                library_end: 0,
            };
            let parts = std::cell::RefCell::new(Vec::new());
            memory
                .each_part(Range { start: range.0, end: range.1 }, |start, len| parts.borrow_mut().push((start, len)));
            parts.into_inner()
        };
        let none = (0, 0);
        assert_eq!(cut((10, 20), [none; 4]), [(10, 10)]);
        assert_eq!(cut((10, 20), [(0, 10), (20, 30), none, none]), [(10, 10)]);
        assert_eq!(cut((10, 20), [(5, 12), (18, 25), none, none]), [(12, 6)]);
        assert_eq!(cut((10, 20), [(16, 17), (12, 14), (13, 15), none]), [(10, 2), (15, 1), (17, 3)]);
        assert_eq!(cut((10, 20), [(5, 25), none, (11, 12), none]), []);
    }
}
