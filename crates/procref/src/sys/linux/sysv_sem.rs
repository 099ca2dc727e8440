//! System V semaphore sets (semget(2), semop(2), semctl(2)).
//!
//! There is no safe wrapper on the registry, rustix and nix have none, and libc lacks `semtimedop`. The C library
//! adds nothing to the bare calls, which the guardian needs anyway, so these go straight to the kernel.

#![expect(unsafe_code, reason = "system calls")]

use super::raw::{Errno, syscall};
use crate::error::ErrorKind;
use crate::protocol::set::{Op, SEMAPHORES, Values};
use std::time::Duration;

/// Why an operation on a set did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetError {
    /// The set has been removed (`EIDRM` for sleepers, `EINVAL` for who comes later).
    Gone,
    /// The array does not apply now (`EAGAIN`), also when its time was up.
    Refused,
    /// A signal handler ran, or the process was stopped and continued.
    Interrupted,
    /// A count would go beyond what the kernel counts to (`ERANGE`).
    Full,
    /// The kernel said no.
    Os(Errno),
}

impl SetError {
    fn new(errno: Errno) -> Self {
        match errno.0 {
            libc::EIDRM | libc::EINVAL => Self::Gone,
            libc::EAGAIN => Self::Refused,
            libc::EINTR => Self::Interrupted,
            libc::ERANGE => Self::Full,
            _ => Self::Os(errno),
        }
    }
}

impl Errno {
    /// What kind of error it is for a set's user, and what to do.
    pub(crate) const fn describe(self) -> (ErrorKind, Option<&'static str>) {
        match self.0 {
            libc::E2BIG => (ErrorKind::LimitReached, Some("raise SEMOPM, the third number in /proc/sys/kernel/sem")),
            libc::ENOSPC | libc::ENOMEM => (ErrorKind::LimitReached, None),
            libc::EACCES => (ErrorKind::PermissionDenied, None),
            // The kernel itself never says EPERM of an operation on a set.
            libc::ENOSYS | libc::EPERM => {
                (ErrorKind::Unsupported, Some("allow semget, semop, semtimedop and semctl in the sandbox's policy"))
            }
            _ => (ErrorKind::System, None),
        }
    }
}

/// What `IPC_STAT` says of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) uid: u32,
    pub(crate) creator: u32,
    pub(crate) mode: u32,
    pub(crate) semaphores: usize,
}

/// A set, by its identifier. The kernel does not count who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SemSet {
    id: i32,
}

impl SemSet {
    pub(crate) const fn from_id(id: i32) -> Self {
        Self { id }
    }

    pub(crate) const fn id(self) -> i32 {
        self.id
    }

    /// The set under `key`; made, for this user alone, where `create` says so.
    pub(crate) fn get(key: i32, create: bool) -> Result<Self, Errno> {
        // Asking for no semaphores finds a set of any size: what is wrong with it is for the caller to say.
        let (semaphores, flags) = if create { (SEMAPHORES, libc::IPC_CREAT | 0o600) } else { (0, 0) };
        // SAFETY: semget takes three numbers.
        let id = unsafe { syscall(libc::SYS_semget, [key as usize, semaphores, flags as usize, 0, 0, 0]) }?;
        Ok(Self { id: id as i32 })
    }

    fn control(self, sem: u16, command: i32, argument: usize) -> Result<usize, SetError> {
        // SAFETY: every caller passes the argument that semctl(2) lists for its command.
        unsafe { syscall(libc::SYS_semctl, [self.id as usize, usize::from(sem), command as usize, argument, 0, 0]) }
            .map_err(SetError::new)
    }

    pub(crate) fn stat(self) -> Result<Stat, SetError> {
        self.stat_by(libc::IPC_STAT).map(|(_, stat)| stat)
    }

    /// All sets that this process may read, with what the kernel says of each. One that comes or goes meanwhile may be
    /// missing.
    pub(super) fn all() -> Result<Vec<(Self, Stat)>, Errno> {
        // `struct seminfo`, which libc does not have: ten numbers.
        let mut info = [0_i32; 10];
        // The answer is the highest place in use, and a set is asked for by its place.
        let arguments = [0, 0, libc::SEM_INFO as usize, info.as_mut_ptr() as usize, 0, 0];
        // SAFETY: the kernel writes one seminfo.
        let last = unsafe { syscall(libc::SYS_semctl, arguments) }?;
        let places = (0..=last as i32).map(|place| Self { id: place });
        Ok(places.filter_map(|place| place.stat_by(libc::SEM_STAT).ok()).collect())
    }

    /// The set's identifier and what the kernel says of it, by a command that answers so.
    fn stat_by(self, command: i32) -> Result<(Self, Stat), SetError> {
        let mut data = std::mem::MaybeUninit::<libc::semid_ds>::zeroed();
        let id = self.control(0, command, data.as_mut_ptr() as usize)?;
        // SAFETY: all zeros is a valid semid_ds, and the kernel has filled it.
        let data = unsafe { data.assume_init() };
        let stat = Stat {
            uid: data.sem_perm.uid,
            creator: data.sem_perm.cuid,
            mode: u32::from(data.sem_perm.mode) & 0o777,
            semaphores: data.sem_nsems as usize,
        };
        Ok((Self { id: id as i32 }, stat))
    }

    /// All values at one instant. The set must have [`SEMAPHORES`] of them.
    pub(crate) fn values(self) -> Result<Values, SetError> {
        let mut values: Values = [0; SEMAPHORES];
        self.control(0, libc::GETALL, values.as_mut_ptr() as usize)?;
        Ok(values)
    }

    pub(crate) fn value(self, sem: u16) -> Result<u16, SetError> {
        self.control(sem, libc::GETVAL, 0).map(|value| value as u16)
    }

    /// How many processes sleep until this semaphore is zero.
    pub(crate) fn waiting_for_zero(self, sem: u16) -> Result<usize, SetError> {
        self.control(sem, libc::GETZCNT, 0)
    }

    /// Applies one array, all of it or nothing. Sleeps, no longer than `timeout`, where an operation says `wait`.
    pub(crate) fn apply(self, ops: &[Op], timeout: Option<Duration>) -> Result<(), SetError> {
        const MOST: usize = 64;
        let mut buffer = [libc::sembuf { sem_num: 0, sem_op: 0, sem_flg: 0 }; MOST];
        for (slot, op) in buffer.iter_mut().zip(ops) {
            let undo = if op.undo { libc::SEM_UNDO } else { 0 };
            let nowait = if op.wait { 0 } else { libc::IPC_NOWAIT };
            *slot = libc::sembuf { sem_num: op.sem, sem_op: op.delta, sem_flg: (undo | nowait) as i16 };
        }
        let timeout = timeout.map(|time| libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let timeout = timeout.as_ref().map_or(0, |time| &raw const *time as usize);
        // SAFETY: the kernel reads that many operations from `buffer`, and a timespec, both of which live on.
        unsafe {
            syscall(
                libc::SYS_semtimedop,
                [self.id as usize, buffer.as_ptr() as usize, ops.len().min(MOST), timeout, 0, 0],
            )
        }
        .map(drop)
        .map_err(SetError::new)
    }

    pub(crate) fn remove(self) -> Result<(), SetError> {
        self.control(0, libc::IPC_RMID, 0).map(drop)
    }
}
