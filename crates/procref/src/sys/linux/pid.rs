//! This process's number without a system call each time, and right also in a forked child.

#![expect(unsafe_code, reason = "a page that the kernel empties in a forked child")]

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// A page that is empty again in a forked child (`MADV_WIPEONFORK`, madvise(2)), however it was forked: so it never
/// tells a child its parent's number. Mapped once and for ever.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());
/// There can be no such page here.
static NO_PAGE: AtomicBool = AtomicBool::new(false);

/// This process's number. Not for a guardian, whose memory is gone.
pub(crate) fn current_pid() -> u32 {
    // SAFETY: null, or a page that stays mapped for ever and is all zeros or holds a number.
    let page = unsafe { PAGE.load(Ordering::Acquire).as_ref() };
    match page.or_else(make_page) {
        None => ask_pid(),
        Some(page) => match page.load(Ordering::Relaxed) {
            0 => {
                let pid = ask_pid();
                page.store(pid, Ordering::Relaxed);
                pid
            }
            pid => pid,
        },
    }
}

/// This process's number, asked of the kernel.
pub(crate) fn ask_pid() -> u32 {
    rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()
}

fn make_page() -> Option<&'static AtomicU32> {
    const SIZE: usize = 4096;
    if NO_PAGE.load(Ordering::Relaxed) {
        return None;
    }
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at a place where nothing is.
    let page = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is ours, and empty already.
    if unsafe { libc::madvise(page, SIZE, libc::MADV_WIPEONFORK) } != 0 {
        NO_PAGE.store(true, Ordering::Relaxed);
        // SAFETY: ours, and nobody else has seen it.
        unsafe { libc::munmap(page, SIZE) };
        return None;
    }
    let made = page.cast::<AtomicU32>();
    let page = match PAGE.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => made,
        Err(other) => {
            // SAFETY: ours, and nobody else has seen it.
            unsafe { libc::munmap(page, SIZE) };
            other
        }
    };
    // SAFETY: as in `current_pid`.
    NonNull::new(page).map(|page| unsafe { page.as_ref() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_has_a_number_of_its_own() {
        assert_eq!(current_pid(), std::process::id());
        assert!(!PAGE.load(Ordering::Relaxed).is_null(), "it is remembered");
        // SAFETY: the child makes two system calls and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends this process.
            unsafe { libc::_exit(i32::from(current_pid() != ask_pid())) };
        }
        let mut status = -1;
        // SAFETY: writes to `status` only.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child took its parent's number for its own");
        assert_eq!(current_pid(), std::process::id());
    }
}
