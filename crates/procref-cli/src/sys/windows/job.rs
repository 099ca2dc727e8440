//! A job: processes that end together.

use super::succeeded;
use std::io;
use std::mem::{ManuallyDrop, size_of};
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// A job that this process is in, and that only it knows of: when it ends, however it ends, so does all that it has started
/// since. Those are born in it, so there is no moment in which they could outlive this process. Nothing leaves a job, so this
/// is for who does nothing else any more.
///
/// Its handle is closed by this process's end alone: that would be the end of this process, too.
#[derive(Debug)]
pub(super) struct Job(ManuallyDrop<OwnedHandle>);

impl Job {
    pub(super) fn enter() -> io::Result<Self> {
        // SAFETY: a job without a name and with the default protection, whose handle nobody inherits.
        let job = unsafe { CreateJobObjectW(null(), null()) };
        succeeded(i32::from(!job.is_null()))?;
        // SAFETY: the handle is a new one.
        let job = unsafe { OwnedHandle::from_raw_handle(job) };
        // Services that are started in it belong to all their clients: procref has them leave it.
        limit(&job, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_BREAKAWAY_OK)?;
        // SAFETY: it takes nothing.
        let this = unsafe { GetCurrentProcess() };
        // SAFETY: both handles are open.
        succeeded(unsafe { AssignProcessToJobObject(job.as_raw_handle(), this) })?;
        Ok(Self(ManuallyDrop::new(job)))
    }

    /// What is in it may outlive this process.
    pub(super) fn let_live(&self) -> io::Result<()> {
        limit(&self.0, JOB_OBJECT_LIMIT_BREAKAWAY_OK)
    }
}

fn limit(job: &OwnedHandle, flags: u32) -> io::Result<()> {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = flags;
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    let limits = (&raw const limits).cast();
    // SAFETY: the limits are as long as is said.
    succeeded(unsafe { SetInformationJobObject(job.as_raw_handle(), JobObjectExtendedLimitInformation, limits, size) })
}
