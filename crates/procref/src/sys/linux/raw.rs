//! System calls without the C library, for the guardian's loop.
//!
//! A forked guardian has dropped the memory of the program it came from. What is left is code and read-only data:
//! no allocator, no locks, no lazily bound symbols. On the common processors the calls are therefore made directly.
//! The same functions serve the clients, so that there is one way to make a semaphore call.

#![expect(unsafe_code, reason = "system calls")]

use std::arch::asm;

/// An error number, as errno(3) lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

/// Makes a system call with up to four arguments.
///
/// # Safety
///
/// As the call's manual page has it for these arguments.
pub(crate) unsafe fn syscall4(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> Result<usize, Errno> {
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention on x86-64 (syscall(2)); the caller vouches for the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
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
            in("x1") b, in("x2") c, in("x3") d,
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
            in("a1") b, in("a2") c, in("a3") d,
            options(nostack),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
    compile_error!("procref has no system call convention for this processor yet: see src/sys/linux/raw.rs");
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

/// The monotonic clock, in nanoseconds (clock_gettime(2)).
pub(crate) fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which `now` is. The call cannot fail for this clock.
    let _ = unsafe { syscall4(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC as usize, &raw mut now as usize, 0, 0) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Keeps every signal that can be kept from this thread (rt_sigprocmask(2)).
pub(crate) fn block_signals() {
    let all = u64::MAX;
    // SAFETY: the kernel reads 8 bytes of mask, which `all` is.
    let _ = unsafe {
        syscall4(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK as usize, &raw const all as usize, 0, size_of_val(&all))
    };
}

/// Ends the process without running anything of the program's.
pub(crate) fn exit(code: u8) -> ! {
    loop {
        // SAFETY: exit_group takes a number and does not return.
        let _ = unsafe { syscall4(libc::SYS_exit_group, usize::from(code), 0, 0, 0) };
    }
}
