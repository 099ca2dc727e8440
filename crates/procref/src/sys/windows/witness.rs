//! The second witness: a job, which ends what is in it when the last handle on it is closed.
//!
//! Every client holds one handle, and the service itself none. So when the last client has gone, in whatever way, the *kernel*
//! ends the service with all its descendants (`JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE`). It has no door, so it is
//! not the count; but whoever has been counted and holds it can rely on the service.

#![expect(unsafe_code, reason = "system calls")]

use super::job::end_with;
use super::object::{self, Kind};
use super::process::Process;
use super::set::Set;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::ptr;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_MORE_DATA};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, IsProcessInJob, JOBOBJECT_BASIC_PROCESS_ID_LIST, JobObjectBasicProcessIdList,
    QueryInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_QUERY_INFORMATION, PROCESS_SET_QUOTA, PROCESS_TERMINATE,
};

/// A handle on a set's job.
#[derive(Debug)]
pub(crate) struct Witness {
    job: OwnedHandle,
    set: Set,
}

impl Witness {
    /// The set's job, made where there is none.
    pub(super) fn create(set: Set) -> io::Result<Self> {
        let (job, _) = object::create(Kind::Job, &set.object_name("job"))?;
        end_with(&job)?;
        Ok(Self { job, set })
    }

    /// The set's job, if anybody holds it.
    pub(super) fn open(set: Set) -> io::Result<Option<Self>> {
        Ok(object::open(Kind::Job, &set.object_name("job"))?.map(|job| Self { job, set }))
    }

    /// The job that this guardian holds.
    pub(crate) fn of_guardian(set: Set, _: u32, guardian: &Process) -> io::Result<Self> {
        let gone = || io::Error::other("the guardian has gone");
        Self::open(set)?.filter(|_| !guardian.has_ended()).ok_or_else(gone)
    }

    /// The job that a service is in, for who comes while no guardian lives. Nobody can take back that the kernel has ended
    /// the service: [`Floor::Abandoned`].
    pub(crate) fn of_service(set: Set, _: u32, service: &Process, _: u32) -> io::Result<Floor> {
        // In this order: a service that lives while its job is held goes on living.
        Ok(match Self::open(set)? {
            Some(witness) if witness.has(service)? && !service.has_ended() => Floor::Held(witness),
            _ => Floor::Abandoned,
        })
    }

    /// The set's job, for who finds neither guardian nor service.
    pub(crate) fn of_anybody(set: Set, _: u32) -> io::Result<Option<Self>> {
        Self::open(set)
    }

    /// For who is about to be counted: there may be nobody else, from that instant on, who holds the service.
    pub(crate) fn of_comer(set: Set) -> io::Result<Option<Self>> {
        Self::create(set).map(Some)
    }

    /// Whether the service is in it. One that the kernel is ending is in a job that nobody holds, and this may be a newer one.
    pub(crate) fn holds(&self, service: &Process, _: u32) -> io::Result<bool> {
        self.has(service)
    }

    /// What a set records of the job: it is found by the set.
    pub(super) fn number(&self) -> u32 {
        self.set.id().unsigned_abs() & 0x3fff_ffff | 1
    }

    /// A handle for another process to keep.
    pub(crate) fn for_another(&self) -> io::Result<Self> {
        self.try_clone()
    }

    /// Another handle.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { job: self.job.try_clone()?, set: self.set })
    }

    /// A process never becomes another program here: it holds what it holds until it ends.
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "on other systems there is something to do")]
    pub(crate) fn keep_on_exec(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether this process is in the job.
    pub(super) fn has(&self, process: &Process) -> io::Result<bool> {
        let ask = |process: BorrowedHandle<'_>| {
            let mut is_in = 0;
            // SAFETY: two handles, and a number that the kernel writes.
            let told = unsafe { IsProcessInJob(process.as_raw_handle(), self.job.as_raw_handle(), &raw mut is_in) };
            if told == 0 { Err(io::Error::last_os_error()) } else { Ok(is_in != 0) }
        };
        match ask(process.as_handle()) {
            // Wine asks for more rights than Windows, where one that runs as administrator does not give them to others.
            Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32) => {
                // SAFETY: takes three numbers. As long as `process` is open, nobody else has its number.
                let asked = unsafe { OpenProcess(PROCESS_QUERY_INFORMATION, 0, process.pid()) };
                ask(object::owned(asked)?.as_handle())
            }
            answer => answer,
        }
    }

    /// From here on the kernel ends this process, which a callback has started, when nobody holds the job any more. What it
    /// had started before stays outside.
    pub(crate) fn adopt(&self, service: &Process) -> io::Result<u32> {
        if !self.has(service)? {
            // SAFETY: takes three numbers.
            let handle =
                object::owned(unsafe { OpenProcess(PROCESS_SET_QUOTA | PROCESS_TERMINATE, 0, service.pid()) })?;
            // SAFETY: two handles.
            if unsafe { AssignProcessToJobObject(self.job.as_raw_handle(), handle.as_raw_handle()) } == 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(self.number())
    }

    /// Ends all that is in the job, and waits until it has ended.
    pub(super) fn end_all(&self) -> io::Result<()> {
        /// How long the kernel may take.
        const ENDING: Duration = Duration::from_secs(10);
        /// What a shell on Unix says of a process that SIGKILL ended.
        const KILLED: u32 = 128 + 9;
        /// How often those are looked for who cannot be waited for: nothing tells of them.
        const LOOK_AGAIN: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + ENDING;
        loop {
            let numbers = self.processes()?;
            if numbers.is_empty() {
                return Ok(());
            }
            // Opened before they are told to end: one leaves the job a little before its end, while it has files and ports still.
            let opened = numbers.iter().filter_map(|&pid| Process::open(pid).ok().flatten());
            // Numbers are given anew at once, and a stranger's end is not waited for.
            let processes: Vec<_> = opened.filter(|process| self.has(process).unwrap_or(false)).collect();
            // Each time: what one of them was just starting is in the job as well.
            // SAFETY: a handle to a job.
            if unsafe { TerminateJobObject(self.job.as_raw_handle(), KILLED) } == 0 {
                return Err(io::Error::last_os_error());
            }
            for process in &processes {
                let left = deadline.saturating_duration_since(Instant::now());
                if !process.wait(Some(left.as_millis() as u64))? {
                    return Err(does_not_end(process.pid()));
                }
            }
            if let (true, [pid, ..]) = (processes.is_empty(), &*numbers) {
                if Instant::now() >= deadline {
                    return Err(does_not_end(*pid));
                }
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    }

    /// Some of those that are in the job, if there are any.
    fn processes(&self) -> io::Result<Vec<u32>> {
        /// The structure's array, longer.
        #[repr(C)]
        struct List {
            list: JOBOBJECT_BASIC_PROCESS_ID_LIST,
            more: [usize; 63],
        }
        // SAFETY: numbers.
        let mut list: List = unsafe { std::mem::zeroed() };
        let size = size_of_val(&list) as u32;
        let class = JobObjectBasicProcessIdList;
        // SAFETY: the kernel writes no more than that size.
        let told = unsafe {
            let list = (&raw mut list).cast();
            QueryInformationJobObject(self.job.as_raw_handle(), class, list, size, ptr::null_mut())
        };
        if told == 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(ERROR_MORE_DATA as i32) {
                return Err(error);
            }
        }
        let numbers = list.list.ProcessIdList.iter().chain(&list.more);
        Ok(numbers.take(list.list.NumberOfProcessIdsInList as usize).map(|&pid| pid as u32).collect())
    }
}

fn does_not_end(pid: u32) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("process {pid} does not end"))
}

impl AsHandle for Witness {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.job.as_handle()
    }
}

/// What there is between a service and the kernel's word that nobody holds it.
#[derive(Debug)]
pub(crate) enum Floor {
    /// From here on this process is among those who hold it.
    Held(Witness),
    /// Nobody holds it, so the kernel has ended it.
    Abandoned,
    /// Does not happen here: a process cannot leave its job.
    #[expect(dead_code, reason = "on other systems a service can close its end")]
    None,
}

/// A process that holds the service.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    /// The name of its program.
    pub(crate) name: String,
}

/// Who holds or awaits it.
pub(crate) fn holders(set: Set, _: Option<(u32, &Process)>) -> io::Result<Vec<Holder>> {
    let processes = set.client_processes()?;
    let mut holders: Vec<_> =
        processes.iter().map(|process| Holder { pid: process.pid(), name: process.name() }).collect();
    holders.sort_by_key(|holder| holder.pid);
    holders.dedup_by_key(|holder| holder.pid);
    Ok(holders)
}
