//! Makes processes that keep nothing of the program they come from: neither memory nor descriptors, terminal, working
//! directory, process group, signal handlers or signal mask. They are nobody's child: the program sees no SIGCHLD, no
//! zombie and no unexpected answer from `waitpid(-1)`.
//!
//! [`fork`] copies the program and throws the copy's memory away; [`spawn`] starts another program file.

#![expect(unsafe_code, reason = "system calls")]

use super::memory::{Kept, Range, drop_memory, own_errno, own_thread};
use super::raw::{Errno, LAST_SIGNAL, SignalSet, close, each_number, exit, open, prctl, set_signal_mask, syscall};
use super::title::{set_title, title_area};
use std::alloc::Layout;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

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
        kept: Kept {
            ranges: [region.range(), own_errno(region.page), own_thread(region.page)],
            code: [
                forked::<P> as *const () as usize,
                libc::memcpy as *const () as usize,
                libc::memmove as *const () as usize,
                libc::memset as *const () as usize,
                libc::memcmp as *const () as usize,
            ],
            page: region.page,
        },
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
    before: SignalSet,
}

impl SignalsBlocked {
    fn new() -> io::Result<Self> {
        Ok(Self { before: set_signal_mask(SignalSet::MAX)? })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // Cannot fail: the same call has succeeded before.
        let _ = set_signal_mask(self.before);
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

// ---------------------------------------------------------------------------------------------------------------------
// In the new processes. Here there are system calls and a stack, and nothing else: other threads of the program may
// have held any lock when it was copied.

struct ForkArgs<P> {
    plan: P,
    main: fn(&P) -> !,
    fds: (*mut c_int, usize),
    title: (*const u8, usize),
    kept: Kept,
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
    exit(detach(args, fds, title).err().map_or(0, |errno| errno.0))
}

/// Returns in the intermediate process, whose end makes the other one an orphan.
fn detach<P: Copy>(args: &ForkArgs<P>, fds: &mut [c_int], title: &[u8]) -> Result<(), Errno> {
    leave(fds)?;
    let area = drop_memory(&args.kept, title_area());
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
    set_signal_mask(0)?;
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
    let result = leave(fds).and_then(|()| set_signal_mask(0)).and_then(|_| {
        let (argv, envp) = (args.argv.as_ptr().addr(), args.envp.as_ptr().addr());
        // SAFETY: strings and lists end with a zero and outlive the call.
        unsafe { syscall(libc::SYS_execve, [args.exe.addr(), argv, envp, 0, 0, 0]) }.map(|_| ())
    });
    if let Err(errno) = result {
        args.error.store(errno.0, Ordering::Release);
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
    reset_signals(&IGNORED);
    // SAFETY: has no precondition.
    unsafe { syscall(libc::SYS_setsid, [0; 6]) }?;
    place_fds(fds)?;
    // SAFETY: reads the path.
    unsafe { syscall(libc::SYS_chdir, [c"/".as_ptr().addr(), 0, 0, 0, 0, 0]) }.map(|_| ())
}

/// Every signal does what it does by itself, but for those that shall be ignored. A child that another program is started
/// in would pass ignored ones on.
pub(super) fn reset_signals(ignored: &[c_int]) {
    for signal in 1..=LAST_SIGNAL {
        // struct sigaction as the kernel has it: the handler comes first.
        let mut action = [0_usize; 8];
        if ignored.contains(&signal) {
            action[0] = libc::SIG_IGN;
        }
        let arguments = [signal as usize, action.as_ptr().addr(), 0, size_of::<SignalSet>(), 0, 0];
        // SAFETY: reads the action, which names no function. SIGKILL and SIGSTOP are refused and stay as they are.
        let _ = unsafe { syscall(libc::SYS_rt_sigaction, arguments) };
    }
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
    each_number(c"/proc/self/fd", |fd, list| {
        let fd = fd as c_int;
        if fd != list && doomed(fd) {
            close(fd);
        }
    })
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

fn dup_to(fd: c_int, target: c_int) -> Result<(), Errno> {
    // SAFETY: nothing in this process owns a descriptor.
    unsafe { syscall(libc::SYS_dup3, [fd as usize, target as usize, 0, 0, 0, 0]) }.map(|_| ())
}

#[cfg(test)]
mod tests;
