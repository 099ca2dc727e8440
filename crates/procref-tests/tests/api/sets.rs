//! Semaphore sets as they are, and clients that are in no process.

use crate::kit::Bed;
use procref::protocol::set::Op;
use procref_tests::sys::own_way::sets;

impl Bed {
    /// The identifier of the service's set, which must be there.
    pub(crate) fn set(&self) -> i32 {
        let sets = self.sandbox.sets();
        sets.iter().find(|(_, name)| *name == self.name).expect("the service's set is there").0
    }

    /// The key of the service's set: looked up in a set that is there for a moment.
    pub(crate) fn key(&self) -> i32 {
        let handle = self.blocking_service().acquire().expect("it starts");
        let key = key_of(self.set());
        handle.release().expect("it stops");
        key
    }

    /// Starts the service and leaves it to a client that is in no process.
    pub(crate) fn run_for_phantom(&self) -> Phantom {
        let handle = self.blocking_service().acquire().expect("it starts");
        let set = self.set();
        let phantom = Phantom { set, pid: handle.info().pid().expect("it is a process") };
        phantom.add(procref::protocol::set::CLIENTS, 1);
        handle.release().expect("it is left");
        phantom
    }
}

/// A client and, where asked for, a transition that belong to no process: what this process sees of other ones.
pub(crate) struct Phantom {
    pub(crate) set: i32,
    pub(crate) pid: u32,
}

impl Phantom {
    /// Changes a semaphore without undo.
    pub(crate) fn add(&self, sem: u16, delta: i16) {
        apply(self.set, &[Op { sem, delta, undo: false, wait: false }]);
    }

    pub(crate) fn value(&self, sem: u16) -> i32 {
        control(self.set, sem, libc::GETVAL)
    }

    /// How many sleep until a semaphore is zero.
    pub(crate) fn waiting(&self, sem: u16) -> i32 {
        control(self.set, sem, libc::GETZCNT)
    }
}

pub(crate) fn key_of(set: i32) -> i32 {
    sets().into_iter().find(|&(_, id)| id == set).expect("the set is there").0
}

/// The set under a key, named or not.
pub(crate) fn set_under(key: i32) -> Option<i32> {
    sets().into_iter().find(|&(other, _)| other == key).map(|(_, id)| id)
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semget")]
pub(crate) fn make_set(key: i32, semaphores: usize, mode: i32) -> i32 {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL;
    // SAFETY: semget takes three numbers.
    let id = unsafe { libc::semget(key, semaphores as i32, flags | mode) };
    assert!(id >= 0, "the set can be made: {}", std::io::Error::last_os_error());
    id
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
pub(crate) fn control(set: i32, sem: u16, command: i32) -> i32 {
    // SAFETY: the commands that are used here take no argument.
    let value = unsafe { libc::semctl(set, sem.into(), command) };
    assert!(value >= 0, "the set is there: {}", std::io::Error::last_os_error());
    value
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semop")]
pub(crate) fn apply(set: i32, ops: &[Op]) {
    let mut raw: Vec<_> = ops
        .iter()
        .map(|op| {
            assert!(!op.undo && !op.wait, "what a test does to a set stays, at once");
            libc::sembuf { sem_num: op.sem, sem_op: op.delta, sem_flg: libc::IPC_NOWAIT as i16 }
        })
        .collect();
    // SAFETY: the kernel reads as many operations as there are.
    let result = unsafe { libc::semop(set, raw.as_mut_ptr(), raw.len()) };
    assert_eq!(result, 0, "the operations apply: {}", std::io::Error::last_os_error());
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
