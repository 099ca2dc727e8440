//! Jobs: what is in one ends with the last handle on it, and leaves it only where procref itself lets it.

#![expect(unsafe_code, reason = "system calls")]

use super::directory;
use super::object::{self, Kind, owned, wide};
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::ptr;
use windows_sys::Win32::System::JobObjects::{
    IsProcessInJob, JOB_OBJECT_LIMIT, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, OpenJobObjectW, QueryInformationJobObject,
    SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

/// A job without a name, which ends what is in it when it is closed.
pub(super) fn killing_job() -> io::Result<OwnedHandle> {
    let job = object::unnamed(Kind::Job)?;
    end_with(&job)?;
    Ok(job)
}

/// From here on what is in the job ends when the last handle on it is closed.
pub(super) fn end_with(job: &OwnedHandle) -> io::Result<()> {
    // So it is already, unless who has made it was killed before that; what else it allows just now is not for this to say.
    if limits(job).is_ok_and(|limits| limits & JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE != 0) {
        return Ok(());
    }
    set_limits(job, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE)
}

/// From here on what is in the job lives on when it is closed.
pub(super) fn let_live(job: &OwnedHandle) -> io::Result<()> {
    set_limits(job, 0)
}

/// Does something while what this process starts may leave the jobs of services that this process is in: a service that is
/// started from within another one belongs to all its clients, and does not end with that.
///
/// Nobody may leave them otherwise: programs of Cygwin's, as Git's bash is one, have all their children leave a job that allows it.
/// If this process is killed meanwhile, the next one that does this shuts the door.
pub(super) fn while_open<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let _one_at_a_time = object::lock(&format!("Local\\procref-doors-{:08x}", object::user_mark()))?;
    let jobs = around_this().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot see whether this process is in the job of a service");
        Vec::new()
    });
    let open = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_BREAKAWAY_OK;
    let result = jobs.iter().try_for_each(|job| set_limits(job, open)).and_then(|()| act());
    for job in &jobs {
        if let Err(error) = set_limits(job, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE) {
            tracing::warn!(%error, "cannot keep processes from leaving the job that they are in");
        }
    }
    result
}

/// The jobs of services that this process is in. Whoever has put it into one of such a name, it is in it.
fn around_this() -> io::Result<Vec<OwnedHandle>> {
    const RIGHTS: u32 = JOB_OBJECT_QUERY | JOB_OBJECT_SET_ATTRIBUTES;
    const JOB_OBJECT_QUERY: u32 = 4;
    const JOB_OBJECT_SET_ATTRIBUTES: u32 = 2;
    let names = directory::names()?.into_iter().filter(|name| name.starts_with("procref-") && name.ends_with(".job"));
    let open = |name: String| {
        let name = wide(format!("Local\\{name}"));
        // SAFETY: a name that ends with a zero and outlives the call.
        owned(unsafe { OpenJobObjectW(RIGHTS, 0, name.as_ptr()) }).ok()
    };
    let has_this = |job: &OwnedHandle| {
        let mut is_in = 0;
        // SAFETY: a number that is always the same.
        let this = unsafe { GetCurrentProcess() };
        // SAFETY: two handles, and a number that the kernel writes.
        let told = unsafe { IsProcessInJob(this, job.as_raw_handle(), &raw mut is_in) };
        told != 0 && is_in != 0
    };
    Ok(names.filter_map(open).filter(has_this).collect())
}

/// What the job does, and allows. Wine tells of nothing.
fn limits(job: &OwnedHandle) -> io::Result<JOB_OBJECT_LIMIT> {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    let (class, size) = (JobObjectExtendedLimitInformation, size_of_val(&limits) as u32);
    let written = (&raw mut limits).cast();
    // SAFETY: the kernel writes the structure that belongs to this class.
    let told = unsafe { QueryInformationJobObject(job.as_raw_handle(), class, written, size, ptr::null_mut()) };
    if told == 0 { Err(io::Error::last_os_error()) } else { Ok(limits.BasicLimitInformation.LimitFlags) }
}

fn set_limits(job: &OwnedHandle, flags: JOB_OBJECT_LIMIT) -> io::Result<()> {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = flags;
    let (class, size) = (JobObjectExtendedLimitInformation, size_of_val(&limits) as u32);
    // SAFETY: the structure that belongs to this class, with its size.
    let set = unsafe { SetInformationJobObject(job.as_raw_handle(), class, (&raw const limits).cast(), size) };
    if set == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
