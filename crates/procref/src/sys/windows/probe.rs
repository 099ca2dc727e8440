//! What readiness probes need of the system. Every wait here is also a wait for the service's end, by its handle.

#![expect(unsafe_code, reason = "system calls")]

use super::job::killing_job;
use super::object::{self, Kind};
use super::process::{Process, wait_for_any};
use super::program;
use super::service::is_same_variable;
use super::spawn::Spawn;
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::{AsHandle, AsRawHandle, AsRawSocket, BorrowedHandle, FromRawSocket, OwnedHandle, RawSocket};
use std::os::windows::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use windows_sys::Win32::Foundation::ERROR_BROKEN_PIPE;
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, FD_CLOSE, FD_CONNECT, FD_CONNECT_BIT, FD_READ, FD_WRITE, INVALID_SOCKET, SIO_TCP_INITIAL_RTO,
    SOCK_STREAM, SOCKADDR_IN, SOCKADDR_IN6, SOCKET, TCP_INITIAL_RTO_PARAMETERS, WSA_FLAG_NO_HANDLE_INHERIT,
    WSA_FLAG_OVERLAPPED, WSADATA, WSAEVENT, WSAEnumNetworkEvents, WSAEventSelect, WSAGetLastError, WSAIoctl,
    WSANETWORKEVENTS, WSASocketW, WSAStartup, connect,
};
use windows_sys::Win32::System::JobObjects::TerminateJobObject;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken<T = ()> {
    /// The process has ended, whatever else has happened.
    Ended,
    /// What was waited for.
    Event(T),
    Time,
}

/// Something that tells of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Object(BorrowedHandle<'a>),
    /// Nothing tells of it: whoever waits looks every now and then.
    Looked,
}

/// How often somebody looks where nothing tells.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until the process has ended, one of the sources tells of an event, or the time has come.
pub(crate) fn wait(process: &Process, sources: &[Source<'_>], until: Instant) -> io::Result<Woken> {
    let objects = sources.iter().filter_map(|source| match source {
        Source::Object(object) => Some(*object),
        Source::Looked => None,
    });
    let objects: Vec<_> = std::iter::once(process.as_handle()).chain(objects).collect();
    let left = until.saturating_duration_since(Instant::now());
    let looks = objects.len() <= sources.len();
    let time = if looks { left.min(LOOK_AGAIN) } else { left };
    Ok(match wait_for_any(&objects, Some(time))? {
        Some(0) => Woken::Ended,
        Some(_) => Woken::Event(()),
        None if looks && time < left => Woken::Event(()),
        None => Woken::Time,
    })
}

/// Does work that knows no time limit and no process on a thread of its own, which may stay behind for a while.
pub(crate) fn aside<T: Send + 'static>(
    process: &Process,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Woken<T>> {
    let done = std::sync::Arc::new(object::unnamed(Kind::Event)?);
    let (send, receive) = std::sync::mpsc::channel();
    let says = std::sync::Arc::clone(&done);
    let work = move || {
        // Also when it panics.
        struct Says(std::sync::Arc<OwnedHandle>);
        impl Drop for Says {
            fn drop(&mut self) {
                let _ = object::set(&self.0);
            }
        }
        let _says = Says(says);
        let _ = send.send(work());
    };
    std::thread::Builder::new().name("procref-aside".into()).spawn(work)?;
    match wait(process, &[Source::Object(done.as_handle())], until)? {
        Woken::Event(()) => receive.try_recv().map(Woken::Event).map_err(|_| io::Error::other("a thread has panicked")),
        Woken::Ended => Ok(Woken::Ended),
        Woken::Time => Ok(Woken::Time),
    }
}

/// A TCP connection. Whatever it waits for ends with the process, and when the time has come; what comes of it otherwise is
/// the inner result. The outer one is an error where the system cannot wait.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    event: OwnedHandle,
}

impl Connection {
    /// Connects. Nothing is sent that would be sent again where nobody listens yet.
    pub(crate) fn open(address: SocketAddr, process: &Process, until: Instant) -> io::Result<Woken<io::Result<Self>>> {
        let connection = match Self::begin(address) {
            Ok(connection) => connection,
            Err(error) => return Ok(Woken::Event(Err(error))),
        };
        loop {
            match wait(process, &[Source::Object(connection.event.as_handle())], until)? {
                Woken::Event(()) => match connection.connected() {
                    Ok(true) => return Ok(Woken::Event(Ok(connection))),
                    Ok(false) => {}
                    Err(error) => return Ok(Woken::Event(Err(error))),
                },
                Woken::Ended => return Ok(Woken::Ended),
                Woken::Time => return Ok(Woken::Time),
            }
        }
    }

    /// A socket that connects without being waited for.
    fn begin(address: SocketAddr) -> io::Result<Self> {
        start_sockets()?;
        let (family, name, length) = match address {
            SocketAddr::V4(address) => {
                let mut name =
                    SOCKADDR_IN { sin_family: AF_INET, sin_port: address.port().to_be(), ..Default::default() };
                name.sin_addr.S_un.S_addr = u32::from_ne_bytes(address.ip().octets());
                let length = size_of_val(&name);
                (AF_INET, Name { v4: name }, length)
            }
            SocketAddr::V6(address) => {
                let mut name = SOCKADDR_IN6 {
                    sin6_family: AF_INET6,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    ..Default::default()
                };
                name.sin6_addr.u.Byte = address.ip().octets();
                name.Anonymous.sin6_scope_id = address.scope_id();
                let length = size_of_val(&name);
                (AF_INET6, Name { v6: name }, length)
            }
        };
        let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
        // SAFETY: takes numbers.
        let socket = unsafe { WSASocketW(family.into(), SOCK_STREAM, 0, ptr::null(), 0, flags) };
        if socket == INVALID_SOCKET {
            return Err(socket_error());
        }
        // SAFETY: it has been made for this alone.
        let stream = unsafe { TcpStream::from_raw_socket(socket as RawSocket) };
        refuse_at_once(&stream);
        let event = object::unnamed(Kind::Event)?;
        let what = (FD_CONNECT | FD_READ | FD_WRITE | FD_CLOSE) as i32;
        // SAFETY: a socket and an event, both ours. From here on the socket does not wait.
        if unsafe { WSAEventSelect(socket, event.as_raw_handle() as WSAEVENT, what) } != 0 {
            return Err(socket_error());
        }
        // SAFETY: an address of that length, of the socket's family.
        if unsafe { connect(socket, (&raw const name).cast(), length as i32) } != 0 {
            let error = socket_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
        }
        Ok(Self { stream, event })
    }

    /// Whether it is, when the system has told of something.
    fn connected(&self) -> io::Result<bool> {
        let mut events = WSANETWORKEVENTS::default();
        // SAFETY: a socket; the system writes one structure. The event it has reset already.
        if unsafe { WSAEnumNetworkEvents(self.stream.as_raw_socket() as SOCKET, 0, &raw mut events) } != 0 {
            return Err(socket_error());
        }
        if events.lNetworkEvents & FD_CONNECT as i32 == 0 {
            return Ok(false);
        }
        match events.iErrorCode[FD_CONNECT_BIT as usize] {
            0 => {}
            code => return Err(io::Error::from_raw_os_error(code)),
        }
        // Nobody listens, and the system has given the service's port to this very socket.
        if self.stream.local_addr()? == self.stream.peer_addr()? {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        // It may be readable or writable, of which the event then told.
        object::set(&self.event)?;
        Ok(true)
    }

    /// Reads what comes first. 0: the other side has closed.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        process: &Process,
        until: Instant,
    ) -> io::Result<Woken<io::Result<usize>>> {
        self.transfer(process, until, |stream| stream.read(buffer))
    }

    /// Writes as much as can be written at a time.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        process: &Process,
        until: Instant,
    ) -> io::Result<Woken<io::Result<usize>>> {
        self.transfer(process, until, |stream| stream.write(bytes))
    }

    fn transfer(
        &mut self,
        process: &Process,
        until: Instant,
        mut transfer: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<Woken<io::Result<usize>>> {
        loop {
            match transfer(&mut self.stream) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return Ok(Woken::Event(result)),
            }
            match wait(process, &[Source::Object(self.event.as_handle())], until)? {
                Woken::Event(()) => {}
                Woken::Ended => return Ok(Woken::Ended),
                Woken::Time => return Ok(Woken::Time),
            }
        }
    }
}

/// An address of either family.
#[repr(C)]
union Name {
    v4: SOCKADDR_IN,
    v6: SOCKADDR_IN6,
}

fn socket_error() -> io::Error {
    // SAFETY: reads a number of this thread's.
    io::Error::from_raw_os_error(unsafe { WSAGetLastError() })
}

/// Sockets have to be started, once in a process.
fn start_sockets() -> io::Result<()> {
    static STARTED: OnceLock<i32> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        /// 2.2
        const VERSION: u16 = 0x0202;
        let mut about = WSADATA::default();
        // SAFETY: the system writes one structure.
        unsafe { WSAStartup(VERSION, &raw mut about) }
    });
    match *started {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Elsewhere than on Windows a port where nobody listens is refused at once; Windows asks again for two seconds, every half.
/// Old versions cannot do otherwise.
fn refuse_at_once(stream: &TcpStream) {
    /// TCP_INITIAL_RTO_UNSPECIFIED_RTT
    const UNSPECIFIED: u16 = u16::MAX;
    /// TCP_INITIAL_RTO_NO_SYN_RETRANSMISSIONS
    const ONCE: u8 = u8::MAX - 1;
    let parameters = TCP_INITIAL_RTO_PARAMETERS { Rtt: UNSPECIFIED, MaxSynRetransmissions: ONCE };
    let mut returned = 0;
    // SAFETY: a socket, and the structure that belongs to this request, with its size.
    unsafe {
        WSAIoctl(
            stream.as_raw_socket() as SOCKET,
            SIO_TCP_INITIAL_RTO,
            (&raw const parameters).cast(),
            size_of_val(&parameters) as u32,
            ptr::null_mut(),
            0,
            &raw mut returned,
            ptr::null_mut(),
            None,
        );
    }
}

/// Whether this system has Unix sockets that can be connected to; if not, what to say.
pub(crate) const fn has_unix_sockets() -> Result<(), &'static str> {
    Err("a Unix socket cannot be asked on Windows: take a TCP port, a page or a line of the log")
}

/// Whether a service can say by itself that it is ready, to a [`NotifySocket`]; if not, what to say.
pub(crate) const fn has_notify_sockets() -> Result<(), &'static str> {
    Err(
        "READY=1 is not heard on Windows, where there is no NOTIFY_SOCKET: take a TCP port, a page or a line of the log",
    )
}

/// What is wrong with this as the address of a Unix socket.
pub(crate) fn check_unix(_: &Path) -> Result<(), String> {
    has_unix_sockets().map_err(str::to_owned)
}

/// There are none.
pub(crate) fn connect_unix(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a program writes, to its standard output and its standard error. Reading never waits: `WouldBlock`.
#[derive(Debug)]
pub(crate) struct Output(io::PipeReader);

impl Output {
    /// Nothing tells when such a pipe has something.
    #[expect(clippy::unused_self, reason = "on other systems the pipe tells")]
    pub(crate) const fn source(&self) -> Source<'_> {
        Source::Looked
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut there = 0;
        // SAFETY: a pipe; the kernel writes one number.
        let looked = unsafe {
            PeekNamedPipe(self.0.as_raw_handle(), ptr::null_mut(), 0, ptr::null_mut(), &raw mut there, ptr::null_mut())
        };
        if looked == 0 {
            let error = io::Error::last_os_error();
            let over = error.raw_os_error() == Some(ERROR_BROKEN_PIPE as i32);
            return if over { Ok(0) } else { Err(error) };
        }
        if there == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read(buffer)
    }
}

/// A program in a job of its own, all of which goes when this is dropped, or this process ends.
#[derive(Debug)]
pub(crate) struct Group {
    job: OwnedHandle,
    leader: Process,
}

impl Group {
    /// Starts a program, which reads nothing and whose output nobody reads.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let nothing = OpenOptions::new().read(true).write(true).open("NUL")?;
        Self::spawn(command, nothing.as_handle(), nothing.as_handle())
    }

    /// Starts a program, which reads nothing, and its output.
    pub(crate) fn start_heard(command: &mut Command) -> io::Result<(Self, Output)> {
        let (reads, writes) = io::pipe()?;
        let nothing = OpenOptions::new().read(true).open("NUL")?;
        Ok((Self::spawn(command, nothing.as_handle(), writes.as_handle())?, Output(reads)))
    }

    /// The command says what to start; the standard library cannot start it in a job.
    fn spawn(command: &Command, input: BorrowedHandle<'_>, output: BorrowedHandle<'_>) -> io::Result<Self> {
        let job = killing_job()?;
        let arguments: Vec<_> =
            std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_owned).collect();
        let changes: Vec<_> = command.get_envs().collect();
        let path = changes.iter().find(|(name, _)| is_same_variable(name, "PATH".as_ref())).and_then(|(_, path)| *path);
        let spawn = Spawn {
            program: &program::find(command.get_program(), path)?,
            arguments: &arguments,
            directory: command.get_current_dir(),
            environment: Some(&changed(std::env::vars_os(), &changes)),
            standard: [input, output, output],
            job: Some(job.as_handle()),
            apart: false,
        };
        let leader = spawn.run()?;
        Ok(Self { job, leader })
    }

    /// Tells when the program has ended; others of its job may go on.
    pub(crate) fn source(&self) -> Source<'_> {
        Source::Object(self.leader.as_handle())
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.leader.has_ended()
    }

    /// How the program ended, once it has. What is left of its job is ended.
    pub(crate) fn status(&mut self) -> io::Result<ExitStatus> {
        self.leader.wait(None)?;
        // SAFETY: a handle to a job.
        unsafe { TerminateJobObject(self.job.as_raw_handle(), 1) };
        self.leader.exit_code().map(ExitStatus::from_raw)
    }
}

/// An environment with some variables set, or, where there is no value, taken out.
fn changed(
    variables: impl Iterator<Item = (OsString, OsString)>,
    changes: &[(&OsStr, Option<&OsStr>)],
) -> Vec<(OsString, OsString)> {
    let kept = variables.filter(|(variable, _)| !changes.iter().any(|(name, _)| is_same_variable(name, variable)));
    let set = changes.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
    kept.chain(set).collect()
}

/// Says when files change. The file system tells of a file's growth only when it is closed, so there is none of this.
#[derive(Debug)]
pub(crate) enum Changes {}

impl Changes {
    pub(crate) fn in_folder(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) const fn add(&self, _: &std::fs::File) -> io::Result<()> {
        match *self {}
    }

    pub(crate) const fn source(&self) -> Source<'_> {
        match *self {}
    }

    pub(crate) const fn forget(&self) {
        match *self {}
    }
}

/// The socket that a service sends its messages to: there is none.
#[derive(Debug)]
pub(crate) enum NotifySocket {}

/// A message, and the process that sent it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) pid: u32,
    pub(crate) text: Vec<u8>,
}

impl NotifySocket {
    pub(crate) fn bind(_: &Path, _: &str) -> io::Result<Self> {
        has_notify_sockets().map_err(|what| io::Error::new(io::ErrorKind::Unsupported, what)).map(|()| unreachable!())
    }

    pub(crate) const fn address(&self) -> &OsStr {
        match *self {}
    }

    pub(crate) const fn source(&self) -> Source<'_> {
        match *self {}
    }

    pub(crate) const fn receive(&self) -> io::Result<Option<Message>> {
        match *self {}
    }
}

/// Whether a message's sender is of the service: nobody sends any.
pub(crate) const fn is_of_service(_: u32, _: u32, _: Option<u32>) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const HELPER: &str = "sys::windows::probe::tests::helper_that_tells";

    /// Not a test of anything where it is not started by one.
    #[test]
    fn helper_that_tells() {
        if std::env::args().any(|argument| argument == HELPER) {
            let told = (std::env::args_os().collect::<Vec<_>>(), std::env::current_dir(), io::stdin().lines().count());
            let variable = |name| std::env::vars_os().filter(|(variable, _)| variable == name).collect::<Vec<_>>();
            println!("{told:?} {:?} {:?}", variable("PROCREF_A"), variable("PROCREF_B"));
            let [mut names] = [std::env::vars_os().map(|(name, _)| name).collect::<Vec<_>>()];
            names.sort();
            eprintln!("{names:?}");
        }
    }

    fn this_program() -> PathBuf {
        std::env::current_exe().expect("it has a path")
    }

    fn command() -> Command {
        let mut command = Command::new(this_program());
        command.args(["--nocapture", "--exact", HELPER]);
        command.args([
            "",
            "a b",
            "a\tb",
            r#"say "hi""#,
            r"a\",
            r"a b\",
            r#"\\""#,
            r#"a\\"b"#,
            "%PATH%",
            "^&|<>",
            "ключ",
        ]);
        command.env("PROCREF_A", "1 = 2").env("procref_b", "3").env_remove("TEMP");
        command.current_dir(std::env::temp_dir());
        command
    }

    #[test]
    fn a_program_gets_what_the_standard_library_gives_it() {
        let expected = command().stdin(std::process::Stdio::null()).output().expect("it starts");
        let (mut group, mut output) = Group::start_heard(&mut command()).expect("it starts");
        let mut all = Vec::new();
        loop {
            let ended = group.has_ended();
            match output.read_to_end(&mut all) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => _ = result.expect("it can be read"),
            }
            if ended {
                break;
            }
            wait(&group.leader, &[], Instant::now() + Duration::from_millis(20)).expect("it can be awaited");
        }
        assert!(group.status().expect("it has ended").success());
        let sorted = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            // What the runner of tests says of the time.
            let mut lines: Vec<_> =
                text.lines().filter(|line| !line.contains("finished in")).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&all), sorted(&[expected.stdout, expected.stderr].concat()));
    }

    #[test]
    fn what_a_program_has_started_goes_with_it() {
        let file = std::env::temp_dir().join(format!("procref-group-{}", std::process::id()));
        let mut command = Command::new(this_program());
        let step = format!("leave-one|{}", file.display());
        command.args(["--nocapture", "--exact", "ready::tests::helper_that_does", &step, "sleep"]);
        let group = Group::start(&mut command).expect("it starts");
        let left = loop {
            assert!(!group.has_ended());
            match std::fs::read_to_string(&file) {
                Ok(left) => break left.parse().expect("a number"),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        std::fs::remove_file(&file).expect("it is there");
        let left = Process::open(left).expect("it can be opened").expect("it lives");
        assert!(!left.has_ended());
        drop(group);
        assert!(left.wait(Some(300_000)).expect("it can be awaited"));
    }
}
