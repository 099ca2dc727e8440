//! One semaphore set per service: what each semaphore means, and the arrays of operations that change them.
//!
//! The kernel applies an array as a whole or not at all, also on behalf of a sleeper (semop(2)), so every
//! transition below is atomic. A new set is all zeros on Linux, and all zeros is a valid state ("fresh"): nothing
//! has to be initialised before use.
//!
//! Two rules keep the undo lists of the kernel right, and everything here obeys them:
//! `SETVAL` and `SETALL` are never used, because they wipe every process's undo and the count leaks for ever; and
//! a semaphore with undo is only ever given back by the process that took it.

/// The value of [`LAYOUT`] in a set that has been named: `R` and the version of this layout.
pub const LAYOUT_VERSION: u16 = 0x5202;

/// Which layout the set has; 0 in a fresh set.
pub const LAYOUT: u16 = 0;
/// Processes that hold or await the service. With undo.
pub const CLIENTS: u16 = 1;
/// 0 free, 1 while a transition (start, recovery, stop) is under way. With undo.
pub const LOCK: u16 = 2;
/// 1 while a healthy start has been published.
pub const UP: u16 = 3;
/// 1 while a guardian watches. With undo.
pub const GUARDIAN: u16 = 4;
/// Raised by a short-lived process to find out whether the kernel undoes. With undo.
pub const PROBE: u16 = 5;
/// Processes that have let go, and will call `on_last_release` when the service has lingered. With undo.
pub const HEIRS: u16 = 6;
/// How many starts have failed: lets those who waited for a failed start fail at once with its cause.
pub const FAILURES: u16 = 7;
/// Which kind of instance is recorded: one of the `INSTANCE_` values.
pub const INSTANCE: u16 = 8;
/// Which instance is recorded; counts up by one with every published start or recovery. Two pieces.
pub const GENERATION: u16 = 9;
/// The service's process. Two pieces.
pub const PID: u16 = 11;
/// When that process started, in clock ticks since boot (proc_pid_stat(5), field 22). Three pieces.
pub const START: u16 = 13;
/// The service's port; 0 for none. Two pieces.
pub const PORT: u16 = 16;
/// Checksum of the file with the service's details; 0 for no details. Two pieces.
pub const DETAILS: u16 = 18;
/// The guardian's process. Two pieces.
pub const GUARDIAN_PID: u16 = 20;
/// Fingerprint of the namespaces in which pids and start times mean what they say. Two pieces.
pub const NAMESPACE: u16 = 22;
/// When the linger ends, in milliseconds of the monotonic clock; 0 while nothing lingers. Written by the guardian alone.
/// Three pieces.
pub const LINGER_UNTIL: u16 = 24;
/// Fingerprint of the pipe whose end the service holds; 0 where the kernel is not to signal it. Two pieces.
pub const PIPE: u16 = 27;
/// 1 while somebody who holds the lock waits for a guardian to start the service. With undo.
pub const ASKED: u16 = 29;
/// The service's name, two bytes in each.
pub const NAME: u16 = 30;
/// How many semaphores the set has.
pub const SEMAPHORES: usize = NAME as usize + MAX_NAME / 2;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 64;

/// Nothing is recorded.
pub const INSTANCE_NONE: u16 = 0;
/// A process is recorded by [`PID`] and [`START`].
pub const INSTANCE_PROCESS: u16 = 1;
/// A service that is not one process is recorded: a container, a socket path.
pub const INSTANCE_OTHER: u16 = 2;
/// A process is recorded as for [`INSTANCE_PROCESS`], and a guardian started it: no descendant of it may stay.
pub const INSTANCE_DECLARED: u16 = 3;

/// The largest value of a semaphore (SEMVMX).
const COUNTER_WRAP: u16 = 32_767;
const PIECE_BITS: u32 = 15;
const PIECE_MASK: u64 = 0x7fff;

/// All values of a set, as `GETALL` reports them: one consistent view.
pub type Values = [u16; SEMAPHORES];

/// One operation of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Op {
    /// Which semaphore.
    pub sem: u16,
    /// What to add; 0 asks for the value to be zero.
    pub delta: i16,
    /// Whether the kernel takes the change back when the process dies (`SEM_UNDO`).
    pub undo: bool,
    /// Whether the array may sleep until this operation applies (no `IPC_NOWAIT`).
    pub wait: bool,
}

impl Op {
    const fn add(sem: u16, delta: i16) -> Self {
        Self { sem, delta, undo: false, wait: false }
    }
    const fn zero(sem: u16) -> Self {
        Self::add(sem, 0)
    }
    const fn undo(mut self) -> Self {
        self.undo = true;
        self
    }
    const fn wait(mut self) -> Self {
        self.wait = true;
        self
    }
}

/// Joins a service that is up and guarded while no transition is under way, or changes nothing.
pub const JOIN: [Op; 6] = [
    Op::add(UP, -1),
    Op::add(UP, 1),
    Op::add(GUARDIAN, -1),
    Op::add(GUARDIAN, 1),
    Op::zero(LOCK),
    Op::add(CLIENTS, 1).undo(),
];
/// Counts a client before anything else is done for it: one who waits keeps the service wanted.
pub const ANNOUNCE: [Op; 1] = [Op::add(CLIENTS, 1).undo()];
/// Waits for the end of a transition and begins one.
pub const TAKE_LOCK: [Op; 2] = [Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// Ends a transition.
pub const UNLOCK: [Op; 1] = [Op::add(LOCK, -1).undo()];
/// Takes an announced client back, and whatever it would have done with it.
pub const WITHDRAW: [Op; 1] = [Op::add(CLIENTS, -1).undo()];
/// Takes an announced client back and ends the transition it was in.
pub const WITHDRAW_AND_UNLOCK: [Op; 2] = [Op::add(CLIENTS, -1).undo(), Op::add(LOCK, -1).undo()];
/// Leaves if others remain.
pub const LEAVE_NOT_LAST: [Op; 2] = [Op::add(CLIENTS, -2).undo(), Op::add(CLIENTS, 1).undo()];
/// Leaves if nobody else is there, and shuts the door in the same instant.
pub const LEAVE_LAST: [Op; 4] =
    [Op::add(CLIENTS, -1).undo(), Op::zero(CLIENTS), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// Leaves, last or not, if a guardian watches: it lingers and stops the service.
pub const LEAVE_TO_GUARDIAN: [Op; 3] = [Op::add(CLIENTS, -1).undo(), Op::add(GUARDIAN, -1), Op::add(GUARDIAN, 1)];
/// The same, and this process is an heir: it will call `on_last_release`, unless it is gone by then.
pub const LEAVE_AS_HEIR: [Op; 4] =
    [Op::add(CLIENTS, -1).undo(), Op::add(HEIRS, 1).undo(), Op::add(GUARDIAN, -1), Op::add(GUARDIAN, 1)];
/// An heir has nothing to do any more.
pub const RESIGN: [Op; 1] = [Op::add(HEIRS, -1).undo()];
/// An heir shuts the door after lingering, unless somebody has come.
pub const HEIR_SHUT: [Op; 4] =
    [Op::zero(CLIENTS), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo(), Op::add(HEIRS, -1).undo()];
/// The guardian's sleep: until nobody is left, and with the door shut as it wakes.
pub const GUARDIAN_SLEEP: [Op; 3] = [Op::zero(CLIENTS).wait(), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// The guardian's sleep before it lingers: until nobody is left. The door stays open.
pub const GUARDIAN_IDLE: [Op; 1] = [Op::zero(CLIENTS).wait()];
/// Completes as soon as a client is there, even one that leaves again before the sleeper runs.
pub const SOMEBODY_CAME: [Op; 2] = [Op::add(CLIENTS, -1).wait(), Op::add(CLIENTS, 1)];
/// The guardian shuts the door after lingering, unless somebody has come. Heirs that live go first.
pub const GUARDIAN_SHUT: [Op; 4] =
    [Op::zero(CLIENTS), Op::zero(HEIRS).wait(), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// Begins a transition in order to replace the guardian; refused as soon as there is one.
pub const LOCK_UNGUARDED: [Op; 3] = [Op::zero(GUARDIAN), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// Makes way for a guardian that is a process.
pub const KERNEL_GUARDS_NO_MORE: [Op; 2] = [Op::add(GUARDIAN, -1), Op::zero(GUARDIAN)];
/// Counts a reference if there is none, in a set that is only a counter.
pub const COUNT_FIRST: [Op; 3] = [Op::zero(CLIENTS), Op::zero(LOCK), Op::add(CLIENTS, 1).undo()];
/// Counts a reference if there are others, in a set that is only a counter.
pub const COUNT_ANOTHER: [Op; 4] =
    [Op::add(CLIENTS, -1), Op::add(CLIENTS, 1), Op::zero(LOCK), Op::add(CLIENTS, 1).undo()];
/// Takes a reference beside one that somebody holds for us, whatever transition is under way.
pub const HOLD_TOO: [Op; 3] = [Op::add(CLIENTS, -1), Op::add(CLIENTS, 1), Op::add(CLIENTS, 1).undo()];
/// Somebody who holds nothing shuts the door, unless somebody holds or awaits the service.
pub const SHUT_UNHELD: [Op; 3] = [Op::zero(CLIENTS), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// The same, unless somebody is there who sees to the service's end: a guardian, or an heir.
pub const SHUT_LEFT: [Op; 5] =
    [Op::zero(CLIENTS), Op::zero(GUARDIAN), Op::zero(HEIRS), Op::zero(LOCK).wait(), Op::add(LOCK, 1).undo()];
/// Waits until the service is up and no transition is under way, and changes nothing.
pub const AWAIT_UP: [Op; 3] = [Op::add(UP, -1).wait(), Op::add(UP, 1), Op::zero(LOCK).wait()];
/// From here on a guardian may start the service for who does this, and holds the lock.
pub const ASK: [Op; 1] = [Op::add(ASKED, 1).undo()];
/// From here on nothing is recorded that a guardian may still be about to start.
pub const ASK_NO_MORE: [Op; 1] = [Op::add(ASKED, -1).undo()];
/// Waits for the end of a transition.
pub const AWAIT_UNLOCKED: [Op; 1] = [Op::zero(LOCK).wait()];
/// What the short-lived process of the undo probe does before it dies.
pub const RAISE_PROBE: [Op; 1] = [Op::add(PROBE, 1).undo()];
/// Waits until no probe is under way.
pub const AWAIT_UNPROBED: [Op; 1] = [Op::zero(PROBE).wait()];
/// What is published is no longer up: from here on it is a predecessor that has to be finished.
pub const MARK_DOWN: [Op; 1] = [Op::add(UP, -1)];

/// An array that depends on values: built without allocation, for the guardian has no heap.
#[derive(Clone, Copy, Debug)]
pub struct Ops {
    ops: [Op; Self::CAPACITY],
    len: usize,
}

impl Ops {
    /// The longest array is the one that names a fresh set. Well below the 100 (SEMOPM) of tuned old systems.
    const CAPACITY: usize = 48;

    const fn new() -> Self {
        Self { ops: [Op::add(0, 0); Self::CAPACITY], len: 0 }
    }

    fn push(&mut self, op: Op) {
        if let Some(slot) = self.ops.get_mut(self.len) {
            *slot = op;
            self.len += 1;
        }
    }

    /// The change from `from` to `to`, where there is one.
    fn change(&mut self, sem: u16, from: u16, to: u16) {
        if from != to {
            self.push(Op::add(sem, to as i16 - from as i16));
        }
    }

    /// The same for a value in `pieces` pieces of 15 bits.
    fn change_pieces(&mut self, values: &Values, sem: u16, pieces: u16, to: u64) {
        for piece in 0..pieces {
            let to = ((to >> (PIECE_BITS * u32::from(piece))) & PIECE_MASK) as u16;
            self.change(sem + piece, value(values, sem + piece), to);
        }
    }
}

impl Ops {
    /// Is it this value? Each of the two pieces is taken down by what it should be, asked to be zero, and put back.
    fn compare_pieces(&mut self, sem: u16, value: u64) {
        for piece in 0..2 {
            let part = (value >> (PIECE_BITS * u32::from(piece)) & PIECE_MASK) as u16;
            self.change(sem + piece, part, 0);
            self.push(Op::zero(sem + piece));
            self.change(sem + piece, 0, part);
        }
    }
}

impl std::ops::Deref for Ops {
    type Target = [Op];
    fn deref(&self) -> &[Op] {
        self.ops.get(..self.len).unwrap_or(&[])
    }
}

/// The instance of the service that a set records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instance {
    /// Nothing.
    None,
    /// A process: its pid, and when it started.
    Process {
        /// The process's number.
        pid: u32,
        /// When it started, in clock ticks since boot: a pid that was given to somebody else has another one.
        start: u64,
    },
    /// Something that is not one process.
    Other,
}

/// What a set says of the service's instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// What is recorded.
    pub instance: Instance,
    /// The service's port; 0 for none.
    pub port: u16,
    /// Which instance this is.
    pub generation: u32,
    /// Checksum of the details file; 0 for no details.
    pub details: u32,
    /// A guardian started the process: no descendant of it may stay.
    pub declared: bool,
    /// Fingerprint of the pipe by which the kernel knows whether anybody holds the service; 0 where there is none.
    pub pipe: u32,
}

/// A consistent view of a set.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    values: Values,
}

fn value(values: &Values, sem: u16) -> u16 {
    values.get(usize::from(sem)).copied().unwrap_or(0)
}

impl Snapshot {
    /// A view of these values.
    #[must_use]
    pub const fn new(values: Values) -> Self {
        Self { values }
    }

    /// One semaphore's value.
    #[must_use]
    pub fn value(&self, sem: u16) -> u16 {
        value(&self.values, sem)
    }

    fn pieces(&self, sem: u16, pieces: u16) -> u64 {
        (0..pieces).fold(0, |sum, piece| sum | u64::from(self.value(sem + piece)) << (PIECE_BITS * u32::from(piece)))
    }

    /// Whether nobody has named the set yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.value(LAYOUT) == 0
    }

    /// The guardian's process while one watches. `None` also where the kernel itself is the guardian, which has no number.
    #[must_use]
    pub fn guardian_pid(&self) -> Option<u32> {
        Some(self.pieces(GUARDIAN_PID, 2) as u32).filter(|&pid| pid != 0 && self.value(GUARDIAN) != 0)
    }

    /// Whether the kernel is the guardian, and no process: it does not die.
    #[must_use]
    pub fn kernel_guards(&self) -> bool {
        self.value(GUARDIAN) != 0 && self.guardian_pid().is_none()
    }

    /// Fingerprint of the namespaces the set's pids belong to.
    #[must_use]
    pub fn namespace(&self) -> u32 {
        self.pieces(NAMESPACE, 2) as u32
    }

    /// The service's name; bytes that no name has where something else wrote here.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let pairs = (NAME..NAME + (MAX_NAME / 2) as u16).map(|sem| self.value(sem));
        pairs.flat_map(|pair| [(pair & 0x7f) as u8, (pair >> 7) as u8]).take_while(|&byte| byte != 0).collect()
    }

    /// What is recorded of the service's instance.
    #[must_use]
    pub fn record(&self) -> Record {
        Record {
            instance: match self.value(INSTANCE) {
                INSTANCE_NONE => Instance::None,
                INSTANCE_PROCESS | INSTANCE_DECLARED => {
                    Instance::Process { pid: self.pieces(PID, 2) as u32, start: self.pieces(START, 3) }
                }
                _ => Instance::Other,
            },
            port: self.pieces(PORT, 2) as u16,
            generation: self.pieces(GENERATION, 2) as u32,
            details: self.pieces(DETAILS, 2) as u32,
            declared: self.value(INSTANCE) == INSTANCE_DECLARED,
            pipe: self.pieces(PIPE, 2) as u32,
        }
    }

    /// When the linger ends, in milliseconds of the monotonic clock, while the guardian waits for that.
    #[must_use]
    pub fn linger_until(&self) -> Option<u64> {
        Some(self.pieces(LINGER_UNTIL, 3)).filter(|&until| until != 0)
    }

    /// What the state machines decide by.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            fresh: self.is_fresh(),
            up: self.value(UP) != 0,
            locked: self.value(LOCK) != 0,
            guarded: self.value(GUARDIAN) != 0,
            clients: self.value(CLIENTS),
            failures: self.value(FAILURES),
            generation: self.pieces(GENERATION, 2) as u32,
            instance: self.value(INSTANCE) != INSTANCE_NONE,
        }
    }

    /// Names a fresh set: layout, namespaces and name at once.
    #[must_use]
    pub fn naming(&self, name: &[u8], namespace: u32) -> Ops {
        let mut ops = Ops::new();
        ops.change(LAYOUT, self.value(LAYOUT), LAYOUT_VERSION);
        ops.change_pieces(&self.values, NAMESPACE, 2, u64::from(namespace));
        for (sem, pair) in (NAME..).zip(name.chunks(2)) {
            let high = pair.get(1).copied().unwrap_or(0);
            ops.change(sem, self.value(sem), u16::from(pair.first().copied().unwrap_or(0)) | u16::from(high) << 7);
        }
        ops
    }

    /// Records that, for who holds the lock.
    #[must_use]
    pub fn recording(&self, record: &Record) -> Ops {
        self.and_record(Ops::new(), record)
    }

    fn and_record(&self, mut ops: Ops, record: &Record) -> Ops {
        let (kind, pid, start) = match record.instance {
            Instance::None => (INSTANCE_NONE, 0, 0),
            Instance::Process { pid, start } if record.declared => (INSTANCE_DECLARED, pid, start),
            Instance::Process { pid, start } => (INSTANCE_PROCESS, pid, start),
            Instance::Other => (INSTANCE_OTHER, 0, 0),
        };
        ops.change(INSTANCE, self.value(INSTANCE), kind);
        ops.change_pieces(&self.values, PID, 2, u64::from(pid));
        ops.change_pieces(&self.values, START, 3, start);
        ops.change_pieces(&self.values, PORT, 2, u64::from(record.port));
        ops.change_pieces(&self.values, GENERATION, 2, u64::from(record.generation));
        ops.change_pieces(&self.values, DETAILS, 2, u64::from(record.details));
        ops.change_pieces(&self.values, PIPE, 2, u64::from(record.pipe));
        ops
    }

    /// Records a process that `guardian` starts: what it is, not that it is up. The transition goes on, and whoever it
    /// is left to by a crash finds a predecessor to be finished.
    ///
    /// Its process does this, which does not hold the lock. So it is refused unless who holds it still waits for just this
    /// ([`ASKED`]), nothing else is recorded, and `guardian` is the one that watches: one that was slow to begin, and whose
    /// starter has long gone, records nothing behind the back of somebody who has looked already.
    #[must_use]
    pub fn announcing(&self, pid: u32, start: u64, guardian: u32, pipe: u32) -> Ops {
        let mut ops = Ops::new();
        for op in
            [Op::add(ASKED, -1), Op::add(ASKED, 1), Op::zero(INSTANCE), Op::add(GUARDIAN, -1), Op::add(GUARDIAN, 1)]
        {
            ops.push(op);
        }
        ops.compare_pieces(GUARDIAN_PID, u64::from(guardian));
        let generation = self.record().generation;
        let instance = Instance::Process { pid, start };
        self.and_record(ops, &Record { instance, port: 0, generation, details: 0, declared: true, pipe })
    }

    /// Publishes a started instance and ends the transition; refused where no guardian watches.
    #[must_use]
    pub fn publishing(&self, record: &Record) -> Ops {
        let mut ops = self.recording(record);
        ops.change(UP, self.value(UP), 1);
        ops.push(Op::add(GUARDIAN, -1));
        ops.push(Op::add(GUARDIAN, 1));
        ops.push(Op::add(LOCK, -1).undo());
        ops
    }

    /// Forgets an instance that has gone, but not its pipe: clients may still hold that. The transition goes on.
    #[must_use]
    pub fn forgetting(&self) -> Ops {
        let Record { generation, pipe, .. } = self.record();
        let nothing = Record { instance: Instance::None, port: 0, details: 0, generation, declared: false, pipe };
        let mut ops = self.recording(&nothing);
        ops.change(UP, self.value(UP), 0);
        ops
    }

    /// Tells those who wait that a start has failed, ends the transition, and takes the client back where
    /// `leave` says so.
    #[must_use]
    pub fn failing(&self, leave: bool) -> Ops {
        let mut ops = Ops::new();
        ops.change(FAILURES, self.value(FAILURES), self.next_failures());
        if leave {
            ops.push(Op::add(CLIENTS, -1).undo());
        }
        ops.push(Op::add(LOCK, -1).undo());
        ops
    }

    /// The number of failed starts after one more. Counters stay below the largest value of a semaphore.
    #[must_use]
    pub fn next_failures(&self) -> u16 {
        (self.value(FAILURES) + 1) % COUNTER_WRAP
    }

    /// The generation after the recorded one. Never 0, which is what a fresh set says.
    #[must_use]
    pub fn next_generation(&self) -> u32 {
        const LAST: u32 = (1 << (2 * PIECE_BITS)) - 1;
        let generation = self.record().generation;
        if generation == LAST { 1 } else { generation + 1 }
    }

    /// Makes `pid` the guardian, if there is none and the set is as this view has it.
    ///
    /// A guardian does not hold the lock, so each piece of its pid is compared as it is changed: taken down by what
    /// it was, asked to be zero, and raised to what it shall be. So is what one that was killed has left of a linger.
    #[must_use]
    pub fn guarding(&self, pid: u32) -> Ops {
        self.guarded_by(Op::add(GUARDIAN, 1).undo(), pid)
    }

    /// The same without a process: from here on the kernel is the guardian, on systems whose kernels can end a service.
    #[must_use]
    pub fn guarding_by_kernel(&self) -> Ops {
        self.guarded_by(Op::add(GUARDIAN, 1), 0)
    }

    fn guarded_by(&self, token: Op, pid: u32) -> Ops {
        let mut ops = Ops::new();
        ops.push(Op::zero(GUARDIAN));
        ops.push(token);
        for piece in 0..2 {
            let sem = GUARDIAN_PID + piece;
            let to = (u64::from(pid) >> (PIECE_BITS * u32::from(piece)) & PIECE_MASK) as u16;
            ops.change(sem, self.value(sem), 0);
            ops.push(Op::zero(sem));
            ops.change(sem, 0, to);
        }
        for sem in LINGER_UNTIL..LINGER_UNTIL + 3 {
            ops.change(sem, self.value(sem), 0);
            ops.push(Op::zero(sem));
        }
        ops
    }

    /// The guardian says how long it lingers. Empty if the set says so already.
    #[must_use]
    pub fn lingering(&self, until: u64) -> Ops {
        let mut ops = Ops::new();
        ops.change_pieces(&self.values, LINGER_UNTIL, 3, until);
        ops
    }

    /// Completes as [`SOMEBODY_CAME`] does, and in the same instant nothing lingers any more: for the guardian, while the
    /// set says that it lingers so long.
    #[must_use]
    pub fn somebody_came(&self) -> Ops {
        let mut ops = Ops::new();
        for op in SOMEBODY_CAME {
            ops.push(op);
        }
        ops.change_pieces(&self.values, LINGER_UNTIL, 3, 0);
        ops
    }

    /// Waits until a transition begins; refused, at once or as soon as that is so, where who is there or what is recorded is
    /// not what this view has. The kernel looks at a sleeper's whole array whenever the set changes.
    #[must_use]
    pub fn next_change(&self) -> Ops {
        let mut ops = Ops::new();
        for sem in [CLIENTS, GUARDIAN, HEIRS, UP, INSTANCE, GENERATION, GENERATION + 1, PID, PID + 1] {
            ops.change(sem, self.value(sem), 0);
            ops.push(Op::zero(sem));
            ops.change(sem, 0, self.value(sem));
        }
        ops.push(Op::add(LOCK, -1).wait());
        ops.push(Op::add(LOCK, 1));
        ops
    }
}

/// The latest end of a linger that a set can tell.
pub const LAST_LINGER: u64 = (1 << (3 * PIECE_BITS)) - 1;

/// What the state machines decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Nobody has named the set yet.
    pub fresh: bool,
    /// A healthy start has been published.
    pub up: bool,
    /// A transition is under way.
    pub locked: bool,
    /// A guardian watches.
    pub guarded: bool,
    /// How many processes hold or await the service.
    pub clients: u16,
    /// How many starts have failed.
    pub failures: u16,
    /// Which instance is recorded.
    pub generation: u32,
    /// An instance is recorded, up or to be finished.
    pub instance: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's rule for an array, for one process: all of it or nothing.
    fn apply(values: &Values, ops: &[Op]) -> Option<Values> {
        let mut next = *values;
        for op in ops {
            let slot = next.get_mut(usize::from(op.sem))?;
            if op.delta == 0 {
                if *slot != 0 {
                    return None;
                }
            } else {
                *slot = u16::try_from(i32::from(*slot) + i32::from(op.delta)).ok()?;
            }
        }
        Some(next)
    }

    fn fresh() -> Values {
        [0; SEMAPHORES]
    }

    #[test]
    fn a_record_survives_the_way_through_a_set() {
        let mut values = fresh();
        values[usize::from(LOCK)] = 1;
        values[usize::from(GUARDIAN)] = 1;
        let records = [
            Record {
                instance: Instance::Process { pid: 4_194_303, start: (1 << 45) - 1 },
                port: u16::MAX,
                generation: (1 << 30) - 1,
                details: (1 << 30) - 1,
                declared: true,
                pipe: (1 << 30) - 1,
            },
            Record { instance: Instance::Other, port: 0, generation: 1, details: 0, declared: false, pipe: 0 },
            Record {
                instance: Instance::Process { pid: 1, start: 1 },
                port: 1,
                generation: 2,
                details: 3,
                declared: false,
                pipe: 0,
            },
        ];
        for record in records {
            let ops = Snapshot::new(values).publishing(&record);
            let published = Snapshot::new(apply(&values, &ops).expect("the array applies"));
            assert_eq!(published.record(), record);
            assert!(published.view().up);
            assert!(!published.view().locked);
            values = published.values;
            values[usize::from(LOCK)] = 1;
        }
        let forgotten = apply(&values, &Snapshot::new(values).forgetting()).expect("the array applies");
        assert_eq!(Snapshot::new(forgotten).record().instance, Instance::None);
        assert!(!Snapshot::new(forgotten).view().up);
        assert_eq!(Snapshot::new(forgotten).view().generation, 2);
    }

    #[test]
    fn publishing_needs_a_guardian() {
        let mut values = fresh();
        values[usize::from(LOCK)] = 1;
        let record = Record { instance: Instance::Other, port: 0, generation: 1, details: 0, declared: false, pipe: 0 };
        assert_eq!(apply(&values, &Snapshot::new(values).publishing(&record)), None);
    }

    #[test]
    fn a_started_process_is_recorded_for_who_asked_and_by_its_guardian_only() {
        const GUARDIAN_IS: u32 = 4_194_303;
        let mut asked = apply(&fresh(), &Snapshot::new(fresh()).guarding(GUARDIAN_IS)).expect("nobody watches");
        asked[usize::from(ASKED)] = 1;
        let seen = Snapshot::new(asked);
        let ops = seen.announcing(70_000, 1 << 40, GUARDIAN_IS, 1 << 29);
        assert!(ops.len() < Ops::CAPACITY, "no operation was cut off");
        let recorded = Snapshot::new(apply(&asked, &ops).expect("it is asked for"));
        let instance = Instance::Process { pid: 70_000, start: 1 << 40 };
        let record = Record { instance, port: 0, generation: 0, details: 0, declared: true, pipe: 1 << 29 };
        assert_eq!((recorded.record(), recorded.guardian_pid()), (record, Some(GUARDIAN_IS)));
        assert_eq!(apply(&recorded.values, &ops), None, "something is recorded already");
        assert_eq!(apply(&asked, &seen.announcing(70_000, 1, 7, 0)), None, "another guardian watches");
        let mut none = asked;
        none[usize::from(ASKED)] = 0;
        assert_eq!(apply(&none, &ops), None, "nobody waits for it");
        none = asked;
        none[usize::from(GUARDIAN)] = 0;
        assert_eq!(apply(&none, &ops), None, "its guardian has been killed");
    }

    #[test]
    fn names_of_every_length_survive() {
        for len in 1..=MAX_NAME {
            let name: Vec<u8> = (0..len).map(|i| b"azAZ09-_."[i % 9]).collect();
            let ops = Snapshot::new(fresh()).naming(&name, 0x3fff_ffff);
            assert!(ops.len() < Ops::CAPACITY, "no operation was cut off");
            let named = Snapshot::new(apply(&fresh(), &ops).expect("the array applies"));
            assert_eq!(named.name(), name);
            assert_eq!(named.namespace(), 0x3fff_ffff);
            assert_eq!(named.value(LAYOUT), LAYOUT_VERSION);
        }
    }

    #[test]
    fn a_guardian_is_recorded_only_over_the_values_it_saw() {
        let seen = Snapshot::new(fresh());
        let first = apply(&fresh(), &seen.guarding(4_194_303)).expect("nobody watches");
        assert_eq!(Snapshot::new(first).guardian_pid(), Some(4_194_303));
        assert_eq!(apply(&first, &Snapshot::new(first).guarding(7)), None, "somebody watches");
        let mut died = first;
        died[usize::from(GUARDIAN)] = 0;
        assert_eq!(apply(&died, &seen.guarding(7)), None, "the view is stale");
        let next = apply(&died, &Snapshot::new(died).guarding(7)).expect("nobody watches");
        assert_eq!(Snapshot::new(next).guardian_pid(), Some(7));
        // Also where a guardian that has died was a process.
        assert_eq!(apply(&died, &seen.guarding_by_kernel()), None, "the view is stale");
        let ops = Snapshot::new(died).guarding_by_kernel();
        let kernel = Snapshot::new(apply(&died, &ops).expect("nobody watches"));
        assert_eq!((kernel.view().guarded, kernel.guardian_pid()), (true, None), "it is no process");
        assert!(ops.iter().all(|op| !op.undo), "it does not go with a process");
    }

    #[test]
    fn a_linger_is_told_for_as_long_as_it_lasts() {
        for until in [1, 0x7fff, 0x8000, 123_456_789_012, LAST_LINGER] {
            let begun = apply(&fresh(), &Snapshot::new(fresh()).lingering(until)).expect("the array applies");
            assert_eq!(Snapshot::new(begun).linger_until(), Some(until));
            assert!(Snapshot::new(begun).lingering(until).is_empty());
            assert_eq!(apply(&begun, &Snapshot::new(begun).somebody_came()), None, "nobody has");
            let mut came = begun;
            came[usize::from(CLIENTS)] = 1;
            let over = apply(&came, &Snapshot::new(begun).somebody_came()).expect("the array applies");
            assert_eq!((Snapshot::new(over).linger_until(), Snapshot::new(over).view().clients), (None, 1));
            // The next guardian begins with none, whatever the last one has left.
            let guarded = apply(&begun, &Snapshot::new(begun).guarding(7)).expect("nobody watches");
            assert_eq!(Snapshot::new(guarded).linger_until(), None);
        }
    }

    #[test]
    fn who_waits_for_a_change_changes_nothing() {
        let mut values: Values = std::array::from_fn(|sem| sem as u16 * 500);
        values[usize::from(LOCK)] = 1;
        let ops = Snapshot::new(values).next_change();
        assert!(ops.len() < Ops::CAPACITY, "no operation was cut off");
        assert_eq!(apply(&values, &ops), Some(values), "a transition is under way");
        for sem in [CLIENTS, GUARDIAN, HEIRS, UP, INSTANCE, GENERATION, GENERATION + 1, PID, PID + 1, LOCK] {
            for other in [-1_i16, 1] {
                let mut changed = values;
                let slot = &mut changed[usize::from(sem)];
                *slot = slot.wrapping_add_signed(other);
                if sem != LOCK || other < 0 {
                    assert_eq!(apply(&changed, &ops), None, "{sem}");
                }
            }
        }
        values[usize::from(LOCK)] = 1;
        values[usize::from(UP)] = 1;
        assert_eq!(apply(&values, &AWAIT_UP), None, "a transition is under way");
        values[usize::from(LOCK)] = 0;
        assert_eq!(apply(&values, &AWAIT_UP), Some(values));
        values[usize::from(UP)] = 0;
        assert_eq!(apply(&values, &AWAIT_UP), None, "nothing is up");
    }

    #[test]
    fn counters_wrap_before_the_kernel_refuses() {
        let mut values = fresh();
        values[usize::from(LOCK)] = 1;
        values[usize::from(FAILURES)] = COUNTER_WRAP - 1;
        let wrapped = apply(&values, &Snapshot::new(values).failing(false)).expect("the array applies");
        assert_eq!(Snapshot::new(wrapped).view().failures, 0);
        values[usize::from(GENERATION)] = 0x7fff;
        values[usize::from(GENERATION) + 1] = 0x7fff;
        assert_eq!(Snapshot::new(values).next_generation(), 1);
    }
}
