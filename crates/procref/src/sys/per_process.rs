//! A value for the whole process that a forked child does not share.
//!
//! After fork(2) the child has a copy of the parent's memory: its registry with the parent's references, its mutexes
//! as they were in that instant, perhaps locked for ever, and none of its threads. So the child never looks at it and
//! makes a value of its own.

#![expect(unsafe_code, reason = "a static value that is replaced after a fork")]

use std::sync::atomic::{AtomicPtr, Ordering};

/// Made on first use, and anew in a forked child. Never dropped.
#[derive(Debug)]
pub(crate) struct PerProcess<T: 'static> {
    slot: AtomicPtr<(u32, T)>,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        Self { slot: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// This process's value.
    pub(crate) fn get_or_try_init<E>(&'static self, make: impl FnOnce() -> Result<T, E>) -> Result<&'static T, E> {
        let pid = super::current_pid();
        let found = self.slot.load(Ordering::Acquire);
        // SAFETY: the slot is null or a leaked box, which nobody changes or frees.
        if let Some((owner, value)) = unsafe { found.as_ref() }
            && *owner == pid
        {
            return Ok(value);
        }
        let made = Box::leak(Box::new((pid, make()?)));
        match self.slot.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(&made.1),
            Err(other) => {
                // SAFETY: this thread leaked the box just now and has shown it to nobody.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: another thread of this process put a leaked box there.
                Ok(unsafe { &(*other).1 })
            }
        }
    }
}
