//! System calls without the C library.
//!
//! A forked guardian has dropped the memory of the program it came from, and `libc::syscall` will not do there: musl finds
//! `errno` by a pointer in the thread's control block, a program may be linked so that calls go by way of writable tables,
//! and a preloaded library may have put itself in between. The same functions serve the clients, so that there is one way to
//! make a semaphore call.

#![expect(unsafe_code, reason = "system calls")]

use std::arch::asm;
use std::ffi::{CStr, c_int, c_long};

/// An error number, as errno(3) lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

/// Makes a system call.
///
/// # Safety
///
/// As the call's manual page has it for these arguments.
#[inline(always)]
pub(super) unsafe fn syscall(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention on x86-64 (syscall(2)); the caller vouches for the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's convention on arm64 (syscall(2)); the caller vouches for the arguments.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the kernel's convention on riscv (syscall(2)); the caller vouches for the arguments.
    unsafe {
        asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a as isize => result,
            in("a1") b, in("a2") c, in("a3") d, in("a4") e, in("a5") f,
            options(nostack),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    compile_error!("procref has no system call convention for this processor yet");
    if (-4095..0).contains(&result) { Err(Errno(-result as c_int)) } else { Ok(result as usize) }
}

/// The monotonic clock, in nanoseconds.
pub(super) fn monotonic() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// A clock that every kernel has, in nanoseconds (clock_gettime(2)).
pub(super) fn clock(which: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let arguments = [which as usize, (&raw mut now).addr(), 0, 0, 0, 0];
    // SAFETY: the kernel writes one timespec, which `now` is. The call cannot fail for such a clock.
    let _ = unsafe { syscall(libc::SYS_clock_gettime, arguments) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The last signal number.
pub(super) const LAST_SIGNAL: c_int = 64;

/// The kernel's signal set, which is not the C library's: a bit for each signal.
pub(super) type SignalSet = u64;

/// Which signals are kept from this thread.
pub(super) fn signal_mask() -> Result<SignalSet, Errno> {
    let mut now: SignalSet = 0;
    let old = (&raw mut now).addr();
    // SAFETY: the kernel writes the set.
    unsafe { syscall(libc::SYS_rt_sigprocmask, [libc::SIG_BLOCK as usize, 0, old, size_of::<SignalSet>(), 0, 0]) }?;
    Ok(now)
}

/// Sets which signals are kept from this thread, and says which were (rt_sigprocmask(2)).
pub(super) fn set_signal_mask(mask: SignalSet) -> Result<SignalSet, Errno> {
    let mut before: SignalSet = 0;
    let (mask, old) = ((&raw const mask).addr(), (&raw mut before).addr());
    // SAFETY: the kernel reads the one set and writes the other.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, mask, old, size_of::<SignalSet>(), 0, 0])
    }?;
    Ok(before)
}

/// Ends the process without running anything of the program's.
pub(super) fn exit(code: c_int) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        let _ = unsafe { syscall(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

pub(super) fn open(path: &CStr, flags: c_int) -> Result<c_int, Errno> {
    let at = libc::AT_FDCWD as usize;
    // SAFETY: the kernel reads the path.
    unsafe { syscall(libc::SYS_openat, [at, path.as_ptr().addr(), flags as usize, 0, 0, 0]) }.map(|fd| fd as c_int)
}

pub(super) fn close(fd: c_int) {
    // SAFETY: called in processes where nothing owns a descriptor.
    let _ = unsafe { syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// What was read; nothing at the end and after an error.
pub(super) fn read(fd: c_int, buffer: &mut [u8]) -> usize {
    let arguments = [fd as usize, buffer.as_mut_ptr().addr(), buffer.len(), 0, 0, 0];
    // SAFETY: the kernel writes to the buffer only.
    unsafe { syscall(libc::SYS_read, arguments) }.unwrap_or(0)
}

/// Shows each entry of a folder whose name is a number to `visit`, with the folder's own descriptor.
pub(super) fn each_number(folder: &CStr, mut visit: impl FnMut(u32, c_int)) -> Result<(), Errno> {
    let list = open(folder, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)?;
    let result = each_entry(list, |name| {
        let digits = name.to_bytes().iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(None, |number: Option<u32>, digit| {
            Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(u32::from(digit - b'0')))
        });
        if let Some(number) = number {
            visit(number, list);
        }
    });
    close(list);
    result
}

/// Shows each entry's name in an opened folder to `visit`, from the first one on. Nothing allocates.
pub(super) fn each_entry(folder: c_int, mut visit: impl FnMut(&CStr)) -> Result<(), Errno> {
    // SAFETY: moves the folder's position.
    unsafe { syscall(libc::SYS_lseek, [folder as usize, 0, libc::SEEK_SET as usize, 0, 0, 0]) }?;
    let mut buffer = [0_u64; 128];
    loop {
        let arguments = [folder as usize, buffer.as_mut_ptr().addr(), size_of_val(&buffer), 0, 0, 0];
        // SAFETY: the kernel writes to the buffer only.
        let filled = match unsafe { syscall(libc::SYS_getdents64, arguments) } {
            Ok(0) => return Ok(()),
            Ok(filled) => filled,
            Err(errno) => return Err(errno),
        };
        // SAFETY: the buffer is at least as long, and has no bytes that are not initialised.
        let mut entries = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        // struct linux_dirent64: inode and offset, 8 bytes each, length of the entry, 2 bytes, type, 1 byte, name.
        while let Some((head, name)) = entries.split_first_chunk::<19>() {
            if let Ok(name) = CStr::from_bytes_until_nul(name) {
                visit(name);
            }
            let length = u16::from_ne_bytes([head[16], head[17]]);
            entries = entries.get(usize::from(length).max(1)..).unwrap_or(&[]);
        }
    }
}

/// Whether two descriptors of two processes are one open file (kcmp(2)). `None`: the kernel does not tell.
pub(super) fn same_open_file((pid, fd): (u32, u32), (other, other_fd): (u32, u32)) -> Option<bool> {
    const KCMP_FILE: usize = 0;
    is_same(pid, other, KCMP_FILE, [fd, other_fd])
}

/// Whether two threads share the list of what the kernel undoes to semaphores. `None`: the kernel does not tell.
pub(super) fn same_undo_list(thread: u32, other: u32) -> Option<bool> {
    const KCMP_SYSVSEM: usize = 6;
    is_same(thread, other, KCMP_SYSVSEM, [0, 0])
}

fn is_same(one: u32, other: u32, what: usize, [first, second]: [u32; 2]) -> Option<bool> {
    let arguments = [one as usize, other as usize, what, first as usize, second as usize, 0];
    // SAFETY: kcmp takes five numbers here.
    match unsafe { syscall(libc::SYS_kcmp, arguments) } {
        Ok(order) => Some(order == 0),
        // One of them has gone.
        Err(Errno(libc::ESRCH | libc::EBADF)) => Some(false),
        Err(_) => None,
    }
}

/// The calling thread's number (gettid(2)).
pub(super) fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

pub(super) fn prctl(option: c_int, value: usize) {
    // SAFETY: used for options that read a string or take a number. Neither is worth failing for.
    let _ = unsafe { syscall(libc::SYS_prctl, [option as usize, value, 0, 0, 0, 0]) };
}
