//! Giving back the memory that a forked process came with.
//!
//! Runs in a process whose other threads are gone, with whatever lock they held: system calls and a stack, nothing else.

#![expect(unsafe_code, reason = "system calls")]

use super::raw::{close, exit, open, read, syscall};
use super::title::TitleArea;
use std::ffi::c_int;
use std::ptr;

/// What must stay, besides constants: addresses of code, and pages in use.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) ranges: [Range; 3],
    /// This module's, and what the compiler calls to copy and compare.
    pub(super) code: [usize; 5],
    pub(super) page: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) end: usize,
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
pub(super) fn drop_memory(kept: &Kept, area: Option<TitleArea>) -> Option<TitleArea> {
    let [region, errno, thread] = kept.ranges;
    let mut memory = Memory {
        kept: [region, errno, thread, own_shadow_stack(kept.page)],
        code: kept.code,
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
    #[cfg(target_arch = "x86_64")]
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
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        top = 0;
    }
    let start = top & !(page - 1);
    Range { start, end: if top == 0 { 0 } else { start + 2 * page } }
}

/// The page of this thread's `errno`.
pub(super) fn own_errno(page: usize) -> Range {
    // SAFETY: has no precondition.
    let errno = unsafe { libc::__errno_location() };
    let start = errno.addr() & !(page - 1);
    Range { start, end: start + page }
}

/// The pages of the C library's control block for this thread. The kernel writes to it (rseq), a stack protector and
/// musl's `errno` read it.
pub(super) fn own_thread(page: usize) -> Range {
    // SAFETY: has no precondition.
    let block = unsafe { libc::pthread_self() } as usize;
    Range { start: block & !(page - 1), end: (block + 4096).next_multiple_of(page) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
