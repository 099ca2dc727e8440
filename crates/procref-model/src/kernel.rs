//! A semaphore set, as semop(2) has it.

use procref::protocol::set::{ASKED, Op, PROBE, SEMAPHORES, Snapshot};

/// The values that the protocol changes; the name's are left out.
pub const VALUES: usize = 24;

/// A set. A removed one never comes back: the next one under the same key has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Set {
    /// Which set it is.
    pub number: u8,
    /// Its values.
    pub values: [u16; VALUES],
}

/// What the kernel will take back when a process dies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Undo {
    /// The set it is about.
    pub set: u8,
    /// By semaphore.
    pub adjustments: [i8; 8],
}

/// What came of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// All of it was applied.
    Yes,
    /// Nothing was; the first operation in the way does not wait.
    Refused,
    /// Nothing was; the first operation in the way waits.
    Sleeps,
}

impl Set {
    /// A new set: all zeros.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self { number, values: [0; VALUES] }
    }

    /// What a process reads.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut values = [0; SEMAPHORES];
        for (to, from) in values.iter_mut().zip(self.values) {
            *to = from;
        }
        Snapshot::new(values)
    }

    /// Applies an array for a process: all of it or nothing. The first operation in the way says what becomes of it.
    pub fn apply(&mut self, ops: &[Op], undo: &mut Undo) -> Applied {
        let (mut values, mut adjustments) = (self.values, undo.adjustments);
        if undo.set != self.number {
            adjustments = [0; 8];
        }
        for op in ops {
            // The probe is not modelled, and lends its place; nor is the name.
            let sem = usize::from(if op.sem == ASKED { PROBE } else { op.sem });
            let Some(value) = values.get_mut(sem) else { continue };
            let next = i32::from(*value) + i32::from(op.delta);
            if (op.delta == 0 && *value != 0) || next < 0 {
                return if op.wait { Applied::Sleeps } else { Applied::Refused };
            }
            *value = next as u16;
            if op.undo
                && let Some(adjustment) = adjustments.get_mut(sem)
            {
                *adjustment -= op.delta as i8;
            }
        }
        self.values = values;
        *undo = Undo { set: self.number, adjustments };
        Applied::Yes
    }

    /// Takes back what a process did, as the kernel does when it dies.
    pub fn take_back(&mut self, undo: &Undo) {
        if undo.set == self.number {
            for (value, adjustment) in self.values.iter_mut().zip(undo.adjustments) {
                *value = (i32::from(*value) + i32::from(adjustment)).max(0) as u16;
            }
        }
    }
}
