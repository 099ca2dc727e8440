//! What `ps` shows as the command line of a forked process.

#![expect(unsafe_code, reason = "the memory of the arguments, which the kernel reads")]

use super::raw::{close, open, read};
use std::ptr;

/// Where the kernel looks for the command line of this process, and where the environment behind it ends.
#[derive(Clone, Copy)]
pub(super) struct TitleArea {
    pub(super) start: usize,
    pub(super) end: usize,
}

pub(super) fn title_area() -> Option<TitleArea> {
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
pub(super) fn set_title(area: TitleArea, title: &[u8]) {
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
