//! What `procref doctor` checks on Windows.

use super::files::{everybody_may_add_files, stranger};
use super::job::Job;
use super::succeeded;
use crate::commands::doctor::{Finding, may_write, undo};
use crate::folders::Folders;
use std::fs;
use std::io;
use std::mem::size_of;
use std::ptr::null_mut;
use windows_sys::Win32::System::Console::GetConsoleProcessList;
use windows_sys::Win32::System::JobObjects::{
    IsProcessInJob, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK, JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation,
    QueryInformationJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

pub(crate) fn checks(folders: &Folders) -> Vec<Finding> {
    // What surrounds this process is looked at before it is in a job of its own.
    vec![undo(), own_session(), surrounding_job(), jobs(), console(), runtime_folder(folders)]
}

/// Who is logged on twice has two worlds.
fn own_session() -> Finding {
    const CHECK: &str = "session";
    match super::session() {
        Ok(session) => Finding::ok(CHECK, format!("{session}: services are shared within it")),
        Err(error) => Finding::warning(CHECK, format!("cannot tell which it is: {error}"), "report this"),
    }
}

/// Whether there can be a job of procref's, also within another one. This process is in it from then on.
fn jobs() -> Finding {
    const CHECK: &str = "jobs";
    match Job::enter().and_then(|job| job.let_live()) {
        Ok(()) => Finding::ok(CHECK, "the kernel ends what is in a job when nobody holds it any more"),
        Err(error) => {
            let help = "procref needs Windows 10 or later, and a surrounding job that allows others within it";
            Finding::wrong(CHECK, format!("cannot put a process into a job: {error}"), help)
        }
    }
}

/// A job around this process is around the services that it starts, too.
fn surrounding_job() -> Finding {
    const CHECK: &str = "surrounding job";
    let mut inside = 0;
    // SAFETY: it always succeeds.
    let this = unsafe { GetCurrentProcess() };
    // SAFETY: the handle is this process's, no job means any, and the answer is written to where it is kept.
    if let Err(error) = succeeded(unsafe { IsProcessInJob(this, null_mut(), &raw mut inside) }) {
        return Finding::warning(CHECK, format!("cannot tell whether there is one: {error}"), "report this");
    }
    if inside == 0 {
        return Finding::ok(CHECK, "none: services are their clients' alone");
    }
    match limits() {
        Ok(flags) if flags & JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE == 0 => {
            Finding::ok(CHECK, "there is one, which ends nothing when it is closed")
        }
        Ok(flags) if flags & (JOB_OBJECT_LIMIT_BREAKAWAY_OK | JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK) != 0 => {
            Finding::ok(CHECK, "there is one, which can be left")
        }
        Ok(_) => Finding::warning(
            CHECK,
            "this process is in a job that ends all that is in it when it is closed, also services that others share",
            "only matters if clients outside of it are to share what is started in it: have one of those start it",
        ),
        Err(error) => Finding::warning(CHECK, format!("cannot tell what it does: {error}"), "report this"),
    }
}

/// What the innermost job does.
fn limits() -> io::Result<u32> {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    let size = size_of::<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>() as u32;
    // SAFETY: no job means the one that this process is in; the limits are as long as is said.
    succeeded(unsafe {
        QueryInformationJobObject(
            null_mut(),
            JobObjectExtendedLimitInformation,
            (&raw mut limits).cast(),
            size,
            null_mut(),
        )
    })?;
    Ok(limits.BasicLimitInformation.LimitFlags)
}

/// Ctrl-Break goes by a console.
fn console() -> Finding {
    const CHECK: &str = "console";
    let mut first = 0;
    // SAFETY: there is room for one number; without a console there are none.
    let processes = unsafe { GetConsoleProcessList(&raw mut first, 1) };
    if processes == 0 {
        return Finding::ok(CHECK, "this process has none: Ctrl-C and Ctrl-Break do not reach it");
    }
    Finding::ok(CHECK, format!("{processes} processes share it"))
}

fn runtime_folder(folders: &Folders) -> Finding {
    const CHECK: &str = "runtime folder";
    let path = folders.hints();
    let shown = path.display();
    match fs::symlink_metadata(&path) {
        Ok(metadata) if !metadata.is_dir() => {
            Finding::wrong(CHECK, format!("{shown} is not a folder"), "move it away: procref makes its own")
        }
        Ok(_) => {
            if let Some(who) = stranger(&path) {
                let found = format!("{shown} belongs to {who}");
                return Finding::wrong(CHECK, found, "have it removed: what clients are told would be another user's");
            }
            if everybody_may_add_files(&path) {
                let help = "take that right from Users and Everyone, in its properties or with icacls";
                return Finding::wrong(CHECK, format!("others may write to {shown}"), help);
            }
            may_write(CHECK, &path, "it is in use")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            may_write(CHECK, &path, "it is made when it is needed")
        }
        Err(error) => Finding::wrong(CHECK, format!("cannot look at {shown}: {error}"), "procref cannot write there"),
    }
}
