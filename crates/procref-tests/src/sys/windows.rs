//! Windows.

mod requests;

pub use requests::{Requests, end_on_request, ignore_requests, prepare};

use super::{End, Look};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::os::windows::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::ptr;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};
use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{NtOpenDirectoryObject, NtQueryDirectoryObject};
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::{
    ERROR_INTERNAL_ERROR, HANDLE, INVALID_HANDLE_VALUE, STATUS_ACCESS_VIOLATION, STATUS_CONTROL_C_EXIT,
    STATUS_STACK_BUFFER_OVERRUN, UNICODE_STRING, WAIT_OBJECT_0,
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
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
use windows_sys::Win32::System::ProcessStatus::EnumProcesses;
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, ExitThread, GetCurrentThreadId, OpenProcess, OpenThread,
    PROCESS_BASIC_INFORMATION, PROCESS_QUERY_INFORMATION, PROCESS_SUSPEND_RESUME, PROCESS_SYNCHRONIZE,
    PROCESS_TERMINATE, PROCESS_VM_READ, ResumeThread, SuspendThread, THREAD_SUSPEND_RESUME, TerminateProcess,
    WaitForSingleObject,
};

/// A process that stays the same one.
pub type Held = OwnedHandle;

/// Whether a service whose last client was killed is asked to end: the kernel ends it.
pub const ASKS: bool = false;

/// A test program cannot be started as a guardian: the harness has its `main`. A companion can.
///
/// # Panics
///
/// There is no such program.
pub fn needs_way_in(companion: &str) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // What was built on another system has no drive in front.
        let companion = std::path::absolute(companion).expect("a path");
        procref::guardian::use_companion(companion).expect("it is there");
    });
}

/// Whether a file of procref's may stay when the last client was killed: the kernel ends the service, and knows of no files. A
/// hint that is left is about nothing, and goes with the next instance.
#[must_use]
pub fn may_stay(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["log", "info", "run"].iter().any(|may| extension == *may))
}

/// How an error says of a process that it was killed.
pub const KILLED_IN_WORDS: &str = "exited with status 137";

/// Whether a guardian can be forked, where the program gives no way to start one.
pub const FORKS: bool = false;

/// How often each of a few clients comes and goes: a process takes its time to start, above all under Wine.
pub const ROUNDS: u64 = 20;

/// How many processes are a storm.
pub const MANY: usize = 50;

/// Whether this is Wine, for what it does not do, or in another way.
#[expect(unsafe_code, reason = "it is what ntdll exports")]
fn is_wine() -> bool {
    // SAFETY: a name that ends with a zero.
    let ntdll = unsafe { GetModuleHandleA(c"ntdll.dll".as_ptr().cast()) };
    // SAFETY: a module that stays, and a name that ends with a zero.
    unsafe { GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()) }.is_some()
}

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

/// A command whose process leads a group that Ctrl-Break can be sent to, on a console of its own that nobody sees.
pub fn alone(command: &mut Command) -> &mut Command {
    command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW)
}

/// Ends this process as a broken program ends.
#[expect(unsafe_code, reason = "what is safe does not do that")]
pub fn crash() -> ! {
    // SAFETY: there is nothing at this address, and that is what it is for.
    unsafe { ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
    unreachable!("there is nothing to write to");
}

/// Takes a file for as long as this process lives, however it ends; `None` if another one has it. The kernel closes it before
/// anybody can see that its owner has ended; a lock may last longer.
///
/// # Panics
///
/// There can be no such file.
#[must_use]
pub fn own(path: &Path) -> Option<File> {
    const ERROR_SHARING_VIOLATION: i32 = 32;
    match OpenOptions::new().create(true).append(true).share_mode(0).open(path) {
        Ok(file) => Some(file),
        Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => None,
        Err(error) => panic!("the file can be opened: {error}"),
    }
}

/// Adds to a file. Wine looks for its end and writes there in two steps, so this is done under a lock.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let lock = OpenOptions::new().append(true).create(true).open(path.with_added_extension("lock"))?;
    lock.lock()?;
    OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
}

/// Says when a file changes.
#[derive(Debug)]
pub struct Changes;

impl Changes {
    /// Changes from now on.
    #[must_use]
    pub fn of(_: &Path) -> Self {
        Self
    }

    /// Waits for a change for so long: the system tells of changes late, so this is a short sleep.
    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time.min(Duration::from_millis(2)));
    }
}

/// What follows `procref-` and a number in the name of an object, if it is of a service whose name begins so.
fn of_service<'a>(object: &'a str, prefix: &str) -> Option<&'a str> {
    let (_, name) = object.strip_prefix("procref-")?.split_once('-')?;
    name.starts_with(prefix).then_some(name)
}

/// The names of services that begin so and whose records are there.
#[must_use]
pub fn objects(prefix: &str) -> Vec<String> {
    let of = |name: &String| Some(of_service(name, prefix)?.strip_suffix(".record")?.to_owned());
    names().iter().filter_map(of).collect()
}

/// Waits until no object is there whose service's name begins so. They go with the processes that have them.
#[must_use]
pub fn objects_that_stay(prefix: &str, time: Duration) -> Vec<String> {
    let deadline = Instant::now() + time;
    loop {
        let mut names = names();
        // Under Wine a job's name stays for as long as anybody has a handle on a process that was in it.
        names.retain(|name| of_service(name, prefix).is_some_and(|name| !is_wine() || !name.ends_with(".job")));
        if names.is_empty() || Instant::now() >= deadline {
            return names;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Objects go with the processes that have them.
pub fn remove_objects(_: &str) {}

/// Where a service is found: its name.
#[derive(Debug)]
pub struct Place(String);

impl Place {
    /// The place of a service that is there.
    ///
    /// # Panics
    ///
    /// It is not.
    #[must_use]
    pub fn of(name: &str) -> Self {
        assert!(objects(name).iter().any(|other| other == name), "its record is there");
        Self(name.to_owned())
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        objects(&self.0).is_empty()
    }
}

/// Whether one of these services is somebody's.
#[must_use]
pub fn in_use(prefix: &str) -> bool {
    !objects(prefix).is_empty()
}

/// What the kernel tells of an entry.
#[repr(C)]
struct Entry {
    name: UNICODE_STRING,
    kind: UNICODE_STRING,
}

/// The names of this session's objects.
#[expect(unsafe_code, reason = "the standard library does not list objects")]
fn names() -> Vec<String> {
    let mut session = 0;
    // SAFETY: the kernel writes one number.
    unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) };
    let folder = folder(&format!("\\Sessions\\{session}\\BaseNamedObjects"));
    let Some(folder) = folder.or_else(|| self::folder("\\BaseNamedObjects")) else { return Vec::new() };
    let (mut names, mut context, mut restart) = (Vec::new(), 0_u32, true);
    // One entry and its two texts, each of 64 KiB at the most.
    let mut buffer = vec![0_u64; 17 << 10];
    loop {
        let mut length = 0;
        // SAFETY: the kernel writes no more than the buffer's size.
        let status = unsafe {
            NtQueryDirectoryObject(
                folder.as_raw_handle(),
                buffer.as_mut_ptr().cast(),
                size_of_val(&*buffer) as u32,
                true,
                restart,
                &raw mut context,
                &raw mut length,
            )
        };
        restart = false;
        if status != 0 {
            return names;
        }
        // SAFETY: the buffer, which is aligned for it, begins with an entry that the kernel has filled.
        let entry = unsafe { &*buffer.as_ptr().cast::<Entry>() };
        // SAFETY: the text lies in the buffer, behind the entry.
        let text = unsafe { std::slice::from_raw_parts(entry.name.Buffer, usize::from(entry.name.Length) / 2) };
        names.push(String::from_utf16_lossy(text));
    }
}

#[expect(unsafe_code, reason = "the standard library does not list objects")]
fn folder(path: &str) -> Option<OwnedHandle> {
    const DIRECTORY_QUERY: u32 = 1;
    let mut wide: Vec<u16> = path.encode_utf16().collect();
    let bytes = size_of_val(&*wide) as u16;
    let name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: wide.as_mut_ptr() };
    let attributes = OBJECT_ATTRIBUTES {
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        ObjectName: &raw const name,
        ..OBJECT_ATTRIBUTES::default()
    };
    let mut handle: HANDLE = ptr::null_mut();
    // SAFETY: all that it points to outlives the call.
    let status = unsafe { NtOpenDirectoryObject(&raw mut handle, DIRECTORY_QUERY, &raw const attributes) };
    // SAFETY: it has just been opened, and belongs to nobody else.
    (status >= 0).then(|| unsafe { OwnedHandle::from_raw_handle(handle) })
}

/// Whether a file or a folder is there: who may do what with it follows from the folder of this user that it lies in.
#[must_use]
pub fn is_private(path: &Path) -> bool {
    path.exists()
}

/// Makes a folder, for which the same goes.
///
/// # Panics
///
/// It cannot be made.
pub fn make_private(folder: &Path) {
    fs::create_dir(folder).expect("it can be made");
}

/// This thread, for [`sleeps`].
#[must_use]
#[expect(unsafe_code, reason = "the standard library has other numbers")]
pub fn thread() -> u32 {
    // SAFETY: it takes nothing.
    unsafe { GetCurrentThreadId() }
}

/// Whether a thread sleeps, nobody says: after a moment it will. If it does not, it has less to be woken from, and the test sees
/// less; it fails for nothing.
#[must_use]
pub fn sleeps(_: u32) -> bool {
    std::thread::sleep(Duration::from_millis(50));
    true
}

fn only_elsewhere<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no fork.
///
/// # Errors
///
/// Always.
pub fn fork(_: impl FnOnce() -> i32) -> io::Result<i32> {
    only_elsewhere()
}

/// There is no fork.
///
/// # Errors
///
/// Always.
pub fn fork_and_stay() -> io::Result<u32> {
    only_elsewhere()
}

/// There is no fork.
///
/// # Errors
///
/// Always.
pub fn crowd(_: usize, _: impl FnMut() -> u8) -> io::Result<Vec<u8>> {
    only_elsewhere()
}

/// Handles have no limit that a program could set itself.
///
/// # Errors
///
/// Always.
pub fn with_no_descriptor_left<T>(_: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    only_elsewhere()
}

/// No process becomes another program.
///
/// # Errors
///
/// Always.
pub fn own_as_program(_: &Path) -> io::Result<bool> {
    only_elsewhere()
}

/// No process becomes another program.
#[must_use]
pub fn become_program(_: &mut Command) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// There is no `NOTIFY_SOCKET`.
///
/// # Errors
///
/// Always.
pub fn notify_ready() -> io::Result<()> {
    only_elsewhere()
}

/// What this is for is an affair of descriptors' numbers.
///
/// # Errors
///
/// Always.
pub fn close_stdio() -> io::Result<[File; 2]> {
    only_elsewhere()
}

/// What an actor can be told on this system alone: nothing.
#[must_use]
pub fn obey(_: &[&str]) -> Option<io::Result<String>> {
    None
}

/// Ends this thread, and the process only if it is the only one.
#[expect(unsafe_code, reason = "the standard library ends a process with its first thread")]
pub fn end_thread() -> ! {
    // SAFETY: nothing of this thread is used by others.
    unsafe { ExitThread(0) }
}
