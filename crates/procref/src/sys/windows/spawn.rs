//! Making processes with just the handles that they are to have, born in a job, and asleep until they are known, if anybody is
//! to know them.

#![expect(unsafe_code, reason = "system calls")]

use super::job;
use super::object::{owned, wide};
use super::process::Process;
use std::ffi::{OsStr, OsString, c_void};
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::path::Path;
use std::ptr;
use windows_sys::Win32::Foundation::{DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ACCESS_DENIED, HANDLE};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW, CREATE_SUSPENDED,
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DeleteProcThreadAttributeList, EXTENDED_STARTUPINFO_PRESENT,
    GetCurrentProcess, InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST,
    PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROC_THREAD_ATTRIBUTE_JOB_LIST, PROCESS_INFORMATION, ResumeThread,
    STARTF_USESTDHANDLES, STARTUPINFOEXW, UpdateProcThreadAttribute,
};

/// What is to be made. It has a console of its own that nobody sees, and leads a group that Ctrl-Break can be sent to.
#[derive(Debug)]
pub(super) struct Spawn<'a> {
    pub(super) program: &'a Path,
    /// With the name by which it is called.
    pub(super) arguments: &'a [OsString],
    pub(super) directory: Option<&'a Path>,
    /// All of it; `None` for this process's own.
    pub(super) environment: Option<&'a [(OsString, OsString)]>,
    /// Its input, output and error output.
    pub(super) standard: [BorrowedHandle<'a>; 3],
    pub(super) job: Option<BorrowedHandle<'a>>,
    /// It must not end with a job that this process may be in.
    pub(super) apart: bool,
}

/// A process that does not run yet. Dropped without having been let go, it is ended.
#[derive(Debug)]
pub(super) struct Asleep {
    process: Option<Process>,
    thread: OwnedHandle,
}

impl Spawn<'_> {
    /// Makes the process, which then sleeps. It has to be in a job: if this process is killed before it lets it run, only that
    /// ends it.
    pub(super) fn asleep(&self) -> io::Result<Asleep> {
        let (process, thread) = self.make(CREATE_SUSPENDED)?;
        Ok(Asleep { process: Some(process), thread })
    }

    /// Makes the process, which runs.
    pub(super) fn run(&self) -> io::Result<Process> {
        self.make(0).map(|(process, _)| process)
    }

    fn make(&self, flags: u32) -> io::Result<(Process, OwnedHandle)> {
        const FLAGS: u32 =
            CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP | CREATE_UNICODE_ENVIRONMENT | EXTENDED_STARTUPINFO_PRESENT;
        refuse_scripts(self.program)?;
        if !self.apart {
            return self.create(flags | FLAGS);
        }
        // Where the job does not allow that, it ends with it all the same.
        let outside = || self.create(flags | FLAGS | CREATE_BREAKAWAY_FROM_JOB);
        let denied = |error: &io::Error| error.raw_os_error() == Some(ERROR_ACCESS_DENIED as i32);
        match outside() {
            Err(error) if denied(&error) => match job::while_open(outside) {
                Err(error) if denied(&error) => self.create(flags | FLAGS),
                result => result,
            },
            result => result,
        }
    }

    fn create(&self, flags: u32) -> io::Result<(Process, OwnedHandle)> {
        let program = wide(self.program);
        let mut line = command_line(self.arguments)?;
        let directory = self.directory.map(wide);
        let environment = self.environment.map(block).transpose()?;
        let standard = self.standard.map(inheritable).into_iter().collect::<io::Result<Vec<_>>>()?;
        let mut handles: Vec<HANDLE> = standard.iter().map(AsRawHandle::as_raw_handle).collect();
        let mut jobs: Vec<HANDLE> = self.job.iter().map(AsRawHandle::as_raw_handle).collect();
        let mut attributes = Attributes::new(2)?;
        attributes.add(PROC_THREAD_ATTRIBUTE_HANDLE_LIST, &mut handles)?;
        if !jobs.is_empty() {
            attributes.add(PROC_THREAD_ATTRIBUTE_JOB_LIST, &mut jobs)?;
        }
        let mut startup = STARTUPINFOEXW::default();
        startup.StartupInfo.cb = size_of::<STARTUPINFOEXW>() as u32;
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        let [input, output, errors] = handles.as_slice() else { return Err(io::ErrorKind::Other.into()) };
        startup.StartupInfo.hStdInput = *input;
        startup.StartupInfo.hStdOutput = *output;
        startup.StartupInfo.hStdError = *errors;
        startup.lpAttributeList = attributes.list();
        let mut made = PROCESS_INFORMATION::default();
        // SAFETY: all texts end with a zero, and everything that is pointed to outlives the call.
        let created = unsafe {
            CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                ptr::null(),
                ptr::null(),
                1,
                flags,
                environment.as_ref().map_or(ptr::null(), |block| block.as_ptr().cast::<c_void>()),
                directory.as_ref().map_or(ptr::null(), |directory| directory.as_ptr()),
                (&raw const startup).cast(),
                &raw mut made,
            )
        };
        if created == 0 {
            return Err(io::Error::last_os_error());
        }
        let (process, thread) = (owned(made.hProcess)?, owned(made.hThread)?);
        Ok((Process::of_handle(process, made.dwProcessId)?, thread))
    }
}

impl Asleep {
    /// The process; `None` only once it has been let go.
    pub(super) const fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Lets it run.
    pub(super) fn wake(mut self) -> io::Result<Process> {
        // SAFETY: a handle to a thread.
        if unsafe { ResumeThread(self.thread.as_raw_handle()) } == u32::MAX {
            return Err(io::Error::last_os_error());
        }
        self.process.take().ok_or_else(|| io::ErrorKind::Other.into())
    }

    /// Gives it a handle of its own, which it does not know, and its children do not inherit.
    pub(super) fn give(&self, handle: BorrowedHandle<'_>) -> io::Result<()> {
        self.give_with(handle, false)
    }

    /// The same with a handle that its children have, too, and theirs: those that inherit what can be inherited, as most do.
    pub(super) fn give_to_all(&self, handle: BorrowedHandle<'_>) -> io::Result<()> {
        self.give_with(handle, true)
    }

    fn give_with(&self, handle: BorrowedHandle<'_>, inherited: bool) -> io::Result<()> {
        let process = self.process.as_ref().ok_or(io::ErrorKind::Other)?;
        duplicate(handle, process.as_handle().as_raw_handle(), inherited)?;
        // It may have been closed with all others already.
        if process.has_ended() { Err(io::Error::other("the process has ended")) } else { Ok(()) }
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = process.terminate();
        }
    }
}

/// A copy that a child can inherit. Others who start a process at this moment may give it to theirs: so never one that
/// is counted.
fn inheritable(handle: BorrowedHandle<'_>) -> io::Result<OwnedHandle> {
    owned(duplicate(handle, this_process(), true)?)
}

/// Makes a copy of a handle in a process, of which this has all rights, and says its number there.
fn duplicate(handle: BorrowedHandle<'_>, to: HANDLE, inherited: bool) -> io::Result<HANDLE> {
    let (this, handle, mut copy) = (this_process(), handle.as_raw_handle(), ptr::null_mut());
    // SAFETY: handles to two processes and to the object; the kernel writes a number.
    let made = unsafe { DuplicateHandle(this, handle, to, &raw mut copy, 0, inherited.into(), DUPLICATE_SAME_ACCESS) };
    if made == 0 { Err(io::Error::last_os_error()) } else { Ok(copy) }
}

fn this_process() -> HANDLE {
    // SAFETY: a number that is always the same.
    unsafe { GetCurrentProcess() }
}

/// A list of attributes for a new process.
struct Attributes {
    buffer: Vec<usize>,
}

impl Attributes {
    fn new(count: u32) -> io::Result<Self> {
        let mut size = 0;
        // SAFETY: asks for the size only.
        unsafe { InitializeProcThreadAttributeList(ptr::null_mut(), count, 0, &raw mut size) };
        let mut buffer = vec![0_usize; size.div_ceil(size_of::<usize>())];
        // SAFETY: a buffer of the size that was asked for.
        let made = unsafe { InitializeProcThreadAttributeList(buffer.as_mut_ptr().cast(), count, 0, &raw mut size) };
        if made == 0 { Err(io::Error::last_os_error()) } else { Ok(Self { buffer }) }
    }

    fn list(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.buffer.as_mut_ptr().cast()
    }

    /// The handles have to outlive the list.
    fn add(&mut self, attribute: u32, handles: &mut [HANDLE]) -> io::Result<()> {
        // SAFETY: the list is made for it, and the handles outlive the process's creation.
        let added = unsafe {
            UpdateProcThreadAttribute(
                self.list(),
                0,
                attribute as usize,
                handles.as_mut_ptr().cast(),
                size_of_val(handles),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if added == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: it was initialised.
        unsafe { DeleteProcThreadAttributeList(self.list()) };
    }
}

/// A batch file is run by a shell whose quoting nobody can foresee.
fn refuse_scripts(program: &Path) -> io::Result<()> {
    // The system does not see dots and spaces at the end of a name.
    let bytes = program.as_os_str().as_encoded_bytes();
    let end = bytes.iter().rposition(|byte| !b" .".contains(byte)).map_or(0, |last| last + 1);
    let ends_with = |kind: &[u8]| {
        bytes.get(end.saturating_sub(kind.len())..end).is_some_and(|tail| tail.eq_ignore_ascii_case(kind))
    };
    let script = ends_with(b".bat") || ends_with(b".cmd");
    if !script {
        return Ok(());
    }
    let what = format!("{} is a batch file, and arguments cannot be given to one safely", program.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: name `cmd.exe` with `/c` and the file")))
}

/// Arguments as one line, by the rules by which programs take it apart again (CommandLineToArgvW).
fn command_line(arguments: &[OsString]) -> io::Result<Vec<u16>> {
    const SPACE: u16 = b' ' as u16;
    const TAB: u16 = b'\t' as u16;
    const QUOTE: u16 = b'"' as u16;
    const BACKSLASH: u16 = b'\\' as u16;
    let mut line = Vec::new();
    for (at, argument) in arguments.iter().enumerate() {
        if at > 0 {
            line.push(SPACE);
        }
        let units = units(argument)?;
        let quoted = units.is_empty() || at == 0 || units.iter().any(|unit| [SPACE, TAB].contains(unit));
        if quoted {
            line.push(QUOTE);
        }
        let mut backslashes = 0;
        for unit in units {
            match unit {
                BACKSLASH => backslashes += 1,
                QUOTE => {
                    // Those before a quotation mark are taken twice, and the mark itself has one.
                    line.extend(std::iter::repeat_n(BACKSLASH, backslashes + 1));
                    backslashes = 0;
                }
                _ => backslashes = 0,
            }
            line.push(unit);
        }
        if quoted {
            line.extend(std::iter::repeat_n(BACKSLASH, backslashes));
            line.push(QUOTE);
        }
    }
    line.push(0);
    Ok(line)
}

/// An environment as the system takes it: sorted without regard to case.
fn block(environment: &[(OsString, OsString)]) -> io::Result<Vec<u16>> {
    let mut sorted: Vec<_> = environment.iter().collect();
    sorted.sort_by_key(|(name, _)| name.to_ascii_uppercase());
    let mut block = Vec::new();
    for (name, value) in sorted {
        block.extend(units(name)?);
        block.push(u16::from(b'='));
        block.extend(units(value)?);
        block.push(0);
    }
    // An empty one, too, ends with two zeros.
    if block.is_empty() {
        block.push(0);
    }
    block.push(0);
    Ok(block)
}

fn units(text: &OsStr) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = text.encode_wide().collect();
    if units.contains(&0) {
        let what = format!("{text:?} has a NUL, which no argument can have");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let line = command_line(&arguments).expect("no NUL");
        String::from_utf16(line.strip_suffix(&[0]).expect("it ends with a zero")).expect("text")
    }

    #[test]
    fn arguments_are_quoted_so_that_programs_get_them_back() {
        assert_eq!(line(&["a"]), r#""a""#);
        assert_eq!(line(&["a b", "c", "", "d e", "f\tg"]), "\"a b\" c \"\" \"d e\" \"f\tg\"");
        assert_eq!(line(&["p", r"a\b", r"a b\", r#"say "hi""#, r#"a\"b"#]), r#""p" a\b "a b\\" "say \"hi\"" a\\\"b"#);
    }

    #[test]
    fn what_no_process_can_have_is_refused() {
        assert!(command_line(&["a\0b".into()]).is_err());
        assert!(block(&[("a".into(), "\0".into())]).is_err());
        for name in ["x.bat", "x.CMD", "x.bat.", "x.cmd . .", r"C:\x y\z.bat "] {
            assert!(refuse_scripts(Path::new(name)).is_err(), "{name:?}");
        }
        for name in ["x.exe", "bat", "cmd", ".", "", "x.batch"] {
            assert!(refuse_scripts(Path::new(name)).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn an_environment_is_sorted_and_ends_with_two_zeros() {
        let block = block(&[("b".into(), "2".into()), ("A".into(), "1".into())]).expect("no NUL");
        assert_eq!(String::from_utf16(&block).expect("text"), "A=1\0b=2\0\0");
    }
}
