//! Processes: started, held, looked at, frozen and ended, alone or as a group.

use super::super::{End, Look};
use super::is_wine;
use std::io;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::process::{Child, Command, ExitStatus};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::{
    ERROR_INTERNAL_ERROR, HANDLE, INVALID_HANDLE_VALUE, STATUS_ACCESS_VIOLATION, STATUS_CONTROL_C_EXIT,
    STATUS_STACK_BUFFER_OVERRUN, WAIT_OBJECT_0,
};
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::ProcessStatus::EnumProcesses;
use windows_sys::Win32::System::Threading::{
    OpenProcess, OpenThread, PROCESS_BASIC_INFORMATION, PROCESS_QUERY_INFORMATION, PROCESS_SUSPEND_RESUME,
    PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, PROCESS_VM_READ, ResumeThread, SuspendThread, THREAD_SUSPEND_RESUME,
    TerminateProcess, WaitForSingleObject,
};

/// A process that stays the same one.
pub type Held = OwnedHandle;

/// What a process that was killed has for a status: what a shell on Unix says of it.
const KILLED: u32 = 128 + 9;

#[link(name = "ntdll")]
unsafe extern "system" {
    fn NtSuspendProcess(process: HANDLE) -> i32;
    fn NtResumeProcess(process: HANDLE) -> i32;
}

/// Holds a process; `None` if there is none of this number.
#[must_use]
#[expect(unsafe_code, reason = "the standard library opens no processes")]
pub fn open(pid: u32) -> Option<Held> {
    const RIGHTS: u32 =
        PROCESS_QUERY_INFORMATION | PROCESS_VM_READ | PROCESS_SYNCHRONIZE | PROCESS_TERMINATE | PROCESS_SUSPEND_RESUME;
    // SAFETY: it takes numbers.
    let handle = unsafe { OpenProcess(RIGHTS, 0, pid) };
    // SAFETY: it has just been opened, and belongs to nobody else.
    (!handle.is_null()).then(|| unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Waits for so long until a process has ended; says whether it has.
#[must_use]
#[expect(unsafe_code, reason = "the standard library waits for children alone")]
pub fn wait(process: &Held, time: Duration) -> bool {
    let milliseconds = u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX - 1);
    // SAFETY: a handle to a process.
    unsafe { WaitForSingleObject(process.as_raw_handle(), milliseconds) == WAIT_OBJECT_0 }
}

/// Ends a process at once. One that has ended already is left alone.
#[expect(unsafe_code, reason = "the standard library ends children alone")]
pub fn kill(process: &Held) {
    // SAFETY: a handle to a process.
    unsafe { TerminateProcess(process.as_raw_handle(), KILLED) };
}

/// Makes a process stand still.
#[expect(unsafe_code, reason = "the standard library does not")]
pub fn freeze(process: &Held) {
    // SAFETY: a handle to a process.
    unsafe { NtSuspendProcess(process.as_raw_handle()) };
}

/// Lets it go on.
#[expect(unsafe_code, reason = "the standard library does not")]
pub fn thaw(process: &Held) {
    // SAFETY: a handle to a process.
    unsafe { NtResumeProcess(process.as_raw_handle()) };
}

/// Processes that are killed by one call: a job, which their own children are not in.
#[derive(Clone, Debug, Default)]
pub struct Group(Option<Arc<OwnedHandle>>);

impl Group {
    /// Prepares a command for its process to be a member.
    pub fn prepare(&self, _: &mut Command) {}

    /// Takes the process in.
    ///
    /// # Panics
    ///
    /// It cannot be.
    #[expect(unsafe_code, reason = "the standard library has no jobs")]
    pub fn add(&mut self, child: &Child) {
        let job = self.0.get_or_insert_with(|| Arc::new(job()));
        // SAFETY: handles to a job and to a process.
        let added = unsafe { AssignProcessToJobObject(job.as_raw_handle(), child.as_raw_handle()) };
        assert_ne!(added, 0, "it can be added: {}", io::Error::last_os_error());
    }

    /// Kills all members in one call.
    ///
    /// # Panics
    ///
    /// There are none.
    #[expect(unsafe_code, reason = "the standard library has no jobs")]
    pub fn kill(&self) {
        let job = self.0.as_ref().expect("it has members");
        // SAFETY: a handle to a job.
        let killed = unsafe { TerminateJobObject(job.as_raw_handle(), KILLED) };
        assert_ne!(killed, 0, "they can be killed: {}", io::Error::last_os_error());
    }
}

#[expect(unsafe_code, reason = "the standard library has no jobs")]
fn job() -> OwnedHandle {
    // SAFETY: neither attributes nor a name.
    let job = unsafe { CreateJobObjectW(ptr::null(), ptr::null()) };
    assert!(!job.is_null(), "a job can be made: {}", io::Error::last_os_error());
    // SAFETY: it has just been made, and belongs to nobody else.
    let job = unsafe { OwnedHandle::from_raw_handle(job) };
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK;
    // SAFETY: the kernel reads a structure of this size.
    let set = unsafe {
        SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            (&raw const limits).cast(),
            size_of_val(&limits) as u32,
        )
    };
    assert_ne!(set, 0, "its limits can be set: {}", io::Error::last_os_error());
    job
}

/// How that was.
#[must_use]
pub fn end_of(status: ExitStatus) -> End {
    match status.code() {
        Some(code) if code == KILLED as i32 => End::Killed,
        Some(STATUS_CONTROL_C_EXIT) => End::Asked,
        // What `abort` ends with, as all that fails fast.
        Some(STATUS_STACK_BUFFER_OVERRUN) => End::Aborted,
        Some(STATUS_ACCESS_VIOLATION) => End::Crashed,
        Some(code) => End::Exit(code),
        None => End::Otherwise(status),
    }
}

/// The numbers of all processes.
#[must_use]
#[expect(unsafe_code, reason = "the standard library does not list processes")]
pub fn pids() -> Vec<u32> {
    let mut pids = vec![0_u32; 1 << 14];
    let mut bytes = 0;
    // SAFETY: the kernel writes no more than the buffer's size.
    let listed = unsafe { EnumProcesses(pids.as_mut_ptr(), size_of_val(&*pids) as u32, &raw mut bytes) };
    pids.truncate(if listed == 0 { 0 } else { bytes as usize / size_of::<u32>() });
    pids
}

/// What a process was started with; `None` if it has ended.
#[must_use]
pub fn look(pid: u32) -> Option<Look> {
    let held = open(pid)?;
    let (title, environment) = started_with(&held).unwrap_or_default();
    (!wait(&held, Duration::ZERO)).then_some(Look { held, title, environment })
}

/// Its command line and its environment, which lie in its memory: PEB, RTL_USER_PROCESS_PARAMETERS.
fn started_with(process: &Held) -> Option<(String, Vec<String>)> {
    const PARAMETERS: usize = 0x20;
    const COMMAND_LINE: usize = 0x70;
    const ENVIRONMENT: usize = 0x80;
    const ENVIRONMENT_SIZE: usize = 0x3f0;
    let basic = basic(process)?;
    let number = |address: usize| {
        let bytes = read(process, address, size_of::<usize>())?;
        Some(usize::from_ne_bytes(bytes.try_into().ok()?))
    };
    let text = |bytes: Vec<u8>| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_ne_bytes([unit[0], unit[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    let parameters = number(basic.PebBaseAddress.addr() + PARAMETERS)?;
    // A UNICODE_STRING: two lengths and, aligned, where the text is.
    let length = number(parameters + COMMAND_LINE)? & 0xffff;
    let title = text(read(process, number(parameters + COMMAND_LINE + size_of::<usize>())?, length)?);
    let size = number(parameters + ENVIRONMENT_SIZE)?.min(1 << 20);
    let environment = text(read(process, number(parameters + ENVIRONMENT)?, size)?);
    Some((title, environment.split('\0').map(str::to_owned).collect()))
}

/// Starts a program. At a high load Wine loses a process now and then (`ERROR_INTERNAL_ERROR`) before anything of it has run; it
/// is started anew then.
///
/// # Errors
///
/// It cannot be started.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    const ATTEMPTS: usize = 5;
    let is_lost = |error: &io::Error| is_wine() && error.raw_os_error() == Some(ERROR_INTERNAL_ERROR as i32);
    for _ in 1..ATTEMPTS {
        match command.spawn() {
            Err(error) if is_lost(&error) => {}
            result => return result,
        }
    }
    command.spawn()
}

/// Whether a process will never begin: its maker was killed in the middle of `CreateProcess`, which makes it asleep and wakes it.
/// Only the process itself could end it then, or whoever it is in a job of.
#[must_use]
pub fn never_begins(process: &Held) -> bool {
    let Some(basic) = basic(process) else { return false };
    let maker = u32::try_from(basic.InheritedFromUniqueProcessId).ok().and_then(open);
    // Whoever has its number now and lives is taken for the maker: it is looked again later.
    maker.is_none_or(|maker| wait(&maker, Duration::ZERO)) && is_asleep(basic.UniqueProcessId as u32)
}

/// Whether the only thread of a process has not begun.
#[expect(unsafe_code, reason = "the standard library knows no other process's threads")]
fn is_asleep(pid: u32) -> bool {
    // SAFETY: it takes numbers.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return false;
    }
    // SAFETY: it has just been made, and belongs to nobody else.
    let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
    let mut entry = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..THREADENTRY32::default() };
    let mut threads = Vec::new();
    // SAFETY: the entry says how long it is.
    let mut more = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) } != 0;
    while more {
        threads.extend((entry.th32OwnerProcessID == pid).then_some(entry.th32ThreadID));
        // SAFETY: the same.
        more = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) } != 0;
    }
    let [thread] = threads[..] else { return false };
    // SAFETY: it takes numbers.
    let thread = unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread) };
    if thread.is_null() {
        return false;
    }
    // SAFETY: it has just been opened, and belongs to nobody else.
    let thread = unsafe { OwnedHandle::from_raw_handle(thread) };
    // SAFETY: a handle to a thread. What is said is how often it had been made to sleep before.
    let before = unsafe { SuspendThread(thread.as_raw_handle()) };
    // SAFETY: the same thread, which sleeps as often as before then.
    unsafe { ResumeThread(thread.as_raw_handle()) };
    before != u32::MAX && before > 0
}

#[expect(unsafe_code, reason = "what the kernel says of another process")]
fn basic(process: &Held) -> Option<PROCESS_BASIC_INFORMATION> {
    let mut basic = PROCESS_BASIC_INFORMATION::default();
    // SAFETY: the kernel writes a structure of this size.
    let status = unsafe {
        NtQueryInformationProcess(
            process.as_raw_handle(),
            ProcessBasicInformation,
            (&raw mut basic).cast(),
            size_of_val(&basic) as u32,
            ptr::null_mut(),
        )
    };
    (status >= 0).then_some(basic)
}

#[expect(unsafe_code, reason = "another process's memory")]
fn read(process: &Held, address: usize, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut count = 0;
    let from = ptr::without_provenance(address);
    // SAFETY: the kernel writes no more than the buffer's size.
    let read =
        unsafe { ReadProcessMemory(process.as_raw_handle(), from, bytes.as_mut_ptr().cast(), length, &raw mut count) };
    (read != 0 && count == length).then_some(bytes)
}
