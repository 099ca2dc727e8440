//! The memory that all processes of a service share: a named section, read and changed under a named mutex.
//!
//! The values are there twice, and one word says which copy counts. Whoever changes them writes the other copy and then
//! that word, so a process that is killed in the middle of it has changed nothing; its mutex is abandoned, and the next
//! one goes on. The tables behind the values are only hints: whom to wait for, and whom to wake.

#![expect(unsafe_code, reason = "memory that other processes share")]

use super::object::{self, Kind, ObjectError};
use crate::protocol::set::{SEMAPHORES, Values};
use std::io;
use std::marker::PhantomData;
use std::mem::offset_of;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::ptr::{self, NonNull};
use windows_sys::Win32::System::Memory::{
    FILE_MAP_ALL_ACCESS, MEMORY_MAPPED_VIEW_ADDRESS, MapViewOfFile, UnmapViewOfFile,
};

/// How many can sleep at once, each with an event of its own; more than that look again and again.
pub(super) const WAITERS: usize = 1024;
/// How many holders can be told one by one. All are counted.
pub(super) const HOLDERS: usize = 4096;

/// What is in the section. All of it is zeros at first.
#[repr(C)]
struct Shared {
    magic: u32,
    which: u32,
    holder_count: u32,
    copies: [Copied; 2],
    waiters: [u8; WAITERS],
    holders: [Holding; HOLDERS],
}

/// What changes at once.
#[repr(C)]
#[derive(Clone, Copy)]
struct Copied {
    /// Which set it is: a new one when the set is removed.
    id: i32,
    values: Values,
}

/// "R" and the version of this structure, as nobody else begins one.
const MAGIC: u32 = 0x5052_0002;

/// A process that holds something: a hint, for its handles are what counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) start: u64,
    pub(super) pid: u32,
    pub(super) sem: u16,
    pub(super) count: u16,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Waits {
    ForChange = 1,
    /// For the end of a transition.
    ForLock = 2,
}

/// The section and the mutex.
#[derive(Debug)]
pub(super) struct Record {
    view: NonNull<Shared>,
    // Closed before the mutex: while there is the section, there is its mutex.
    section: OwnedHandle,
    latch: OwnedHandle,
}

// SAFETY: the memory is shared with other processes anyway, and only touched under the mutex.
unsafe impl Send for Record {}
// SAFETY: the same.
unsafe impl Sync for Record {}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nobody has a reference into it.
        unsafe { UnmapViewOfFile(MEMORY_MAPPED_VIEW_ADDRESS { Value: self.view.as_ptr().cast() }) };
    }
}

impl Record {
    /// The record under this name; made where there is none, if `create` says so.
    pub(super) fn open(stem: &str, create: bool) -> Result<Option<Self>, ObjectError> {
        let (latch, section) = (format!("{stem}.latch"), format!("{stem}.record"));
        let kind = Kind::Section(size_of::<Shared>() as u32);
        let (latch, section) = if create {
            (object::create(Kind::Mutex, &latch)?.0, object::create(kind, &section)?.0)
        } else {
            let Some(latch) = object::open(Kind::Mutex, &latch)? else { return Ok(None) };
            let Some(section) = object::open(kind, &section)? else { return Ok(None) };
            (latch, section)
        };
        // SAFETY: a section of ours; it is mapped as a whole, or not at all where it is smaller.
        let view = unsafe { MapViewOfFile(section.as_raw_handle(), FILE_MAP_ALL_ACCESS, 0, 0, size_of::<Shared>()) };
        let Some(view) = NonNull::new(view.Value.cast::<Shared>()) else {
            return Err(ObjectError::Os(io::Error::last_os_error()));
        };
        Ok(Some(Self { view, section, latch }))
    }

    /// What another process has to have open, so that the record is there for as long as it lives.
    pub(super) fn objects(&self) -> [BorrowedHandle<'_>; 2] {
        [self.latch.as_handle(), self.section.as_handle()]
    }

    /// Locks it.
    pub(super) fn lock(&self) -> io::Result<Latched<'_>> {
        // Abandoned: its holder was killed, and has changed nothing.
        object::lock_mutex(&self.latch)?;
        let mut latched = Latched { record: self, thread: PhantomData };
        if latched.get::<u32>(offset_of!(Shared, magic)) == 0 {
            latched.store_copy(Copied { id: new_id(), values: [0; SEMAPHORES] });
            latched.put(offset_of!(Shared, magic), MAGIC);
        }
        Ok(latched)
    }
}

/// A positive number that seldom comes twice.
fn new_id() -> i32 {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    (random as i32 & i32::MAX).max(1)
}

/// The record, locked. It belongs to the thread that locked it.
#[derive(Debug)]
pub(super) struct Latched<'a> {
    record: &'a Record,
    thread: PhantomData<*const ()>,
}

impl Drop for Latched<'_> {
    fn drop(&mut self) {
        object::unlock_mutex(&self.record.latch);
    }
}

impl Latched<'_> {
    /// A field at its place in [`Shared`], which is of plain numbers.
    fn get<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: it is within the mapping, and aligned as it is in `Shared`; under the mutex, nobody else writes.
        unsafe { ptr::read_volatile(self.place(offset)) }
    }

    fn put<T: Copy>(&mut self, offset: usize, value: T) {
        // SAFETY: the same.
        unsafe { ptr::write_volatile(self.place(offset), value) }
    }

    fn place<T>(&self, offset: usize) -> *mut T {
        assert!(offset + size_of::<T>() <= size_of::<Shared>());
        // SAFETY: it is within the mapping.
        unsafe { self.record.view.as_ptr().byte_add(offset).cast() }
    }

    /// `false`: another program, or another version, has made it.
    pub(super) fn is_ours(&self) -> bool {
        self.get::<u32>(offset_of!(Shared, magic)) == MAGIC
    }

    #[cfg(test)]
    pub(super) fn claim_for_another(&mut self) {
        self.put(offset_of!(Shared, magic), MAGIC + 1);
    }

    pub(super) fn id(&self) -> i32 {
        self.copy().id
    }

    fn which(&self) -> usize {
        (self.get::<u32>(offset_of!(Shared, which)) & 1) as usize
    }

    /// The values, without what handles add to them.
    pub(super) fn stored(&self) -> Values {
        self.copy().values
    }

    fn copy(&self) -> Copied {
        self.get(offset_of!(Shared, copies) + self.which() * size_of::<Copied>())
    }

    /// Changes all of them at once.
    pub(super) fn store(&mut self, values: &Values) {
        self.store_copy(Copied { id: self.id(), values: *values });
    }

    fn store_copy(&mut self, copy: Copied) {
        let other = self.write_other(copy);
        self.put(offset_of!(Shared, which), other as u32);
    }

    /// Writes the copy that does not count, and says which that is.
    fn write_other(&mut self, copy: Copied) -> usize {
        let other = 1 - self.which();
        self.put(offset_of!(Shared, copies) + other * size_of::<Copied>(), copy);
        other
    }

    /// The first half of [`Latched::store`].
    #[cfg(test)]
    pub(super) fn begin_to_store(&mut self, values: &Values) {
        self.write_other(Copied { id: self.id(), values: *values });
    }

    /// From here on it is another set, with nothing in it.
    pub(super) fn renew(&mut self) {
        // First: nobody is told of who held the old one as if they held the new one.
        self.put(offset_of!(Shared, holder_count), 0);
        let old = self.id();
        let new = std::iter::repeat_with(new_id).find(|&new| new != old).unwrap_or(1);
        self.store_copy(Copied { id: new, values: [0; SEMAPHORES] });
    }

    /// A place for somebody who sleeps; `None` if all are taken.
    pub(super) fn wait_at(&mut self, waits: Waits) -> Option<usize> {
        let free = (0..WAITERS).find(|&at| self.waiter(at) == 0)?;
        self.set_waiter(free, waits as u8);
        Some(free)
    }

    /// Nobody sleeps at this place any more.
    pub(super) fn wait_no_more(&mut self, at: usize) {
        self.set_waiter(at, 0);
    }

    /// The places at which somebody sleeps, or was killed as they slept.
    pub(super) fn waiters(&self) -> Vec<(usize, bool)> {
        let waiters: [u8; WAITERS] = self.get(offset_of!(Shared, waiters));
        let taken = waiters.iter().enumerate().filter(|&(_, &waits)| waits != 0);
        taken.map(|(at, &waits)| (at, waits == Waits::ForLock as u8)).collect()
    }

    fn waiter(&self, at: usize) -> u8 {
        self.get(offset_of!(Shared, waiters) + at.min(WAITERS - 1))
    }

    fn set_waiter(&mut self, at: usize, waits: u8) {
        self.put(offset_of!(Shared, waiters) + at.min(WAITERS - 1), waits);
    }

    fn holder_count(&self) -> usize {
        (self.get::<u32>(offset_of!(Shared, holder_count)) as usize).min(HOLDERS)
    }

    fn holding(&self, at: usize) -> Holding {
        self.get(offset_of!(Shared, holders) + at.min(HOLDERS - 1) * size_of::<Holding>())
    }

    fn set_holding(&mut self, at: usize, holding: Holding) {
        self.put(offset_of!(Shared, holders) + at.min(HOLDERS - 1) * size_of::<Holding>(), holding);
    }

    /// Who holds something, as far as the table goes; some may have ended.
    pub(super) fn holders(&self) -> Vec<Holding> {
        (0..self.holder_count()).map(|at| self.holding(at)).collect()
    }

    /// Whether no further process can be noted.
    pub(super) fn knows_no_more(&self) -> bool {
        self.holder_count() == HOLDERS
    }

    /// Notes what a process holds more, or less.
    pub(super) fn note(&mut self, (pid, start): (u32, u64), sem: u16, change: i32) {
        let count = self.holder_count();
        let same = |holding: &Holding| (holding.pid, holding.start, holding.sem) == (pid, start, sem);
        match (0..count).map(|at| (at, self.holding(at))).find(|(_, holding)| same(holding)) {
            Some((at, holding)) => match i32::from(holding.count) + change {
                ..=0 => self.forget_at(at),
                count => self.set_holding(at, Holding { count: count as u16, ..holding }),
            },
            None if change > 0 && count < HOLDERS => {
                self.set_holding(count, Holding { start, pid, sem, count: change as u16 });
                self.put(offset_of!(Shared, holder_count), count as u32 + 1);
            }
            None => {}
        }
    }

    /// A process has ended.
    pub(super) fn forget(&mut self, pid: u32, start: u64) {
        for at in (0..self.holder_count()).rev() {
            let holding = self.holding(at);
            if (holding.pid, holding.start) == (pid, start) {
                self.forget_at(at);
            }
        }
    }

    fn forget_at(&mut self, at: usize) {
        if let Some(last) = self.holder_count().checked_sub(1) {
            let moved = self.holding(last);
            self.set_holding(at, moved);
            self.put(offset_of!(Shared, holder_count), last as u32);
        }
    }
}
