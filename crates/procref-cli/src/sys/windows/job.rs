//! Jobs: processes that end together.

use super::succeeded;
use std::io;
use std::mem::size_of;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::process::Child;
use std::ptr::null;
use windows_sys::Win32::Foundation::{ERROR_NOT_FOUND, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{OpenThread, ResumeThread, THREAD_SUSPEND_RESUME};

/// A job that only this process knows of: when it ends, however it ends, so does all that is in the job.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: a job without a name and with the default protection, whose handle nobody inherits.
        let job = unsafe { CreateJobObjectW(null(), null()) };
        succeeded(i32::from(!job.is_null()))?;
        // SAFETY: the handle is a new one.
        let job = Self(unsafe { OwnedHandle::from_raw_handle(job) });
        // Services that are started in it belong to all their clients: procref has them leave it.
        job.limit(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_BREAKAWAY_OK)?;
        Ok(job)
    }

    fn limit(&self, flags: u32) -> io::Result<()> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = flags;
        let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
        // SAFETY: the limits are as long as is said.
        succeeded(unsafe {
            SetInformationJobObject(
                self.0.as_raw_handle(),
                JobObjectExtendedLimitInformation,
                (&raw const limits).cast(),
                size,
            )
        })
    }

    /// Takes in a process that was started suspended, and all that comes of it.
    pub(super) fn take_in(&self, child: &Child) -> io::Result<()> {
        // SAFETY: both handles are open.
        succeeded(unsafe { AssignProcessToJobObject(self.0.as_raw_handle(), child.as_raw_handle()) })
    }

    /// What is in it may outlive this process.
    pub(super) fn let_live(&self) -> io::Result<()> {
        self.limit(JOB_OBJECT_LIMIT_BREAKAWAY_OK)
    }
}

/// Has a process begin that was started suspended. std keeps the handle of its only thread to itself.
pub(super) fn resume(child: &Child) -> io::Result<()> {
    // SAFETY: a snapshot is a handle.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    succeeded(i32::from(snapshot != INVALID_HANDLE_VALUE))?;
    // SAFETY: the handle is a new one.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..THREADENTRY32::default() };
    // SAFETY: the entry says how long it is.
    let mut found = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) } != 0;
    while found {
        if entry.th32OwnerProcessID == child.id() {
            return resume_thread(entry.th32ThreadID);
        }
        // SAFETY: as above.
        found = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) } != 0;
    }
    Err(io::Error::from_raw_os_error(ERROR_NOT_FOUND as i32))
}

fn resume_thread(thread: u32) -> io::Result<()> {
    // SAFETY: a number that is no thread's any more gives no handle.
    let thread = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread) };
    succeeded(i32::from(!thread.is_null()))?;
    // SAFETY: the handle is a new one.
    let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
    // SAFETY: the handle is open.
    let before = unsafe { ResumeThread(thread.as_raw_handle()) };
    succeeded(i32::from(before != u32::MAX))
}
