//! What readiness probes need of the system. Every wait here is also a wait for the service's end, by its pidfd.

#![expect(unsafe_code, reason = "recvmsg for credentials, and a hook before exec")]

use super::process::{Process, Stat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags, inotify};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, Signal};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

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
pub(crate) struct Source<'a>(BorrowedFd<'a>);

/// Waits until the process has ended, one of the sources tells of an event, or the time has come.
pub(crate) fn wait(process: &Process, sources: &[Source<'_>], until: Instant) -> io::Result<Woken> {
    wait_for(process, sources.iter().map(|source| (source.0, PollFlags::IN)), until)
}

fn wait_for<'a>(
    process: &'a Process,
    fds: impl Iterator<Item = (BorrowedFd<'a>, PollFlags)>,
    until: Instant,
) -> io::Result<Woken> {
    let fds = std::iter::once((process.as_fd(), PollFlags::IN)).chain(fds);
    let mut polled: Vec<_> = fds.map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)).collect();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()) as _,
        };
        match poll(&mut polled, Some(&time)) {
            Ok(0) => return Ok(Woken::Time),
            Ok(_) => {
                let ended = polled.first().is_some_and(|process| !process.revents().is_empty());
                return Ok(if ended { Woken::Ended } else { Woken::Event(()) });
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Does work that knows no time limit and no process on a thread of its own, which may stay behind for a while.
pub(crate) fn aside<T: Send + 'static>(
    process: &Process,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Woken<T>> {
    let (reads, writes) = io::pipe()?;
    let (send, receive) = std::sync::mpsc::channel();
    let work = move || {
        let _ = send.send(work());
        drop(writes);
    };
    std::thread::Builder::new().name("procref-aside".into()).spawn(work)?;
    match wait(process, &[Source(reads.as_fd())], until)? {
        Woken::Event(()) => receive.try_recv().map(Woken::Event).map_err(|_| io::Error::other("a thread has panicked")),
        Woken::Ended => Ok(Woken::Ended),
        Woken::Time => Ok(Woken::Time),
    }
}

fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// A TCP connection. Whatever it waits for ends with the process, and when the time has come; what comes of it otherwise is
/// the inner result. The outer one is an error where the system cannot wait.
#[derive(Debug)]
pub(crate) struct Connection(TcpStream);

impl Connection {
    /// Connects.
    ///
    /// A port of the ephemeral range on which nobody listens can be connected *from itself*: the kernel may choose it as our
    /// own port, and then we are our own peer. That is nobody's readiness; the reset leaves no TIME_WAIT on the service's
    /// port.
    pub(crate) fn open(address: SocketAddr, process: &Process, until: Instant) -> io::Result<Woken<io::Result<Self>>> {
        let socket = match begin_to_connect(address) {
            Ok(socket) => socket,
            Err(error) => return Ok(Woken::Event(Err(error))),
        };
        match wait_for(process, std::iter::once((socket.as_fd(), PollFlags::OUT)), until)? {
            Woken::Event(()) => Ok(Woken::Event(connected(socket).map(Self))),
            Woken::Ended => Ok(Woken::Ended),
            Woken::Time => Ok(Woken::Time),
        }
    }

    /// Reads what comes first. 0: the other side has closed.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        process: &Process,
        until: Instant,
    ) -> io::Result<Woken<io::Result<usize>>> {
        self.transfer(PollFlags::IN, process, until, |stream| stream.read(buffer))
    }

    /// Writes as much as can be written at a time.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        process: &Process,
        until: Instant,
    ) -> io::Result<Woken<io::Result<usize>>> {
        self.transfer(PollFlags::OUT, process, until, |stream| stream.write(bytes))
    }

    fn transfer(
        &mut self,
        flags: PollFlags,
        process: &Process,
        until: Instant,
        mut transfer: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> io::Result<Woken<io::Result<usize>>> {
        loop {
            match wait_for(process, std::iter::once((self.0.as_fd(), flags)), until)? {
                Woken::Event(()) => {}
                Woken::Ended => return Ok(Woken::Ended),
                Woken::Time => return Ok(Woken::Time),
            }
            match transfer(&mut self.0) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return Ok(Woken::Event(result)),
            }
        }
    }
}

fn begin_to_connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}

/// How a connection that was begun came out.
fn connected(socket: OwnedFd) -> io::Result<TcpStream> {
    sockopt::socket_error(&socket)??;
    let stream = TcpStream::from(socket);
    if stream.local_addr()? == stream.peer_addr()? {
        let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        return Err(Errno::CONNREFUSED.into());
    }
    Ok(stream)
}

/// Whether this system has Unix sockets that can be connected to; if not, what to say.
pub(crate) const fn has_unix_sockets() -> Result<(), &'static str> {
    Ok(())
}

/// Whether a service can say by itself that it is ready, to a [`NotifySocket`]; if not, what to say.
pub(crate) const fn has_notify_sockets() -> Result<(), &'static str> {
    Ok(())
}

/// What is wrong with this as the address of a Unix socket: a path, or `@` and an abstract name.
pub(crate) fn check_unix(path: &Path) -> Result<(), String> {
    match path.as_os_str().as_bytes() {
        b"" | b"@" => Err("the Unix socket's path is empty".into()),
        _ => unix_address(path).map(drop).map_err(|_| {
            format!("\"{}\" is too long for a Unix socket, whose path has at most 107 bytes", path.display())
        }),
    }
}

fn unix_address(path: &Path) -> io::Result<SocketAddrUnix> {
    match path.as_os_str().as_bytes() {
        [b'@', name @ ..] => Ok(SocketAddrUnix::new_abstract_name(name)?),
        _ => Ok(SocketAddrUnix::new(path)?),
    }
}

/// Connects to a Unix socket of whatever kind. This does not wait: a full queue is an error.
pub(crate) fn connect_unix(path: &Path) -> io::Result<()> {
    let address = unix_address(path)?;
    let mut result = Err(Errno::PROTOTYPE);
    for kind in [SocketType::STREAM, SocketType::SEQPACKET, SocketType::DGRAM] {
        // For an abstract name of another type the kernel says that there is none.
        if matches!(result, Err(Errno::PROTOTYPE | Errno::CONNREFUSED)) {
            result = rustix::net::connect(socket(AddressFamily::UNIX, kind)?, &address);
        }
    }
    Ok(result?)
}

/// What a program writes, to its standard output and its standard error. Reading never waits: `WouldBlock`.
#[derive(Debug)]
pub(crate) struct Output(io::PipeReader);

impl Output {
    /// Tells when there is something to read, or the end.
    pub(crate) fn source(&self) -> Source<'_> {
        Source(self.0.as_fd())
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A program that leads a process group of its own, all of which goes when this is dropped. The program itself goes
/// when the thread that started it ends.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    leader: Process,
    reaped: bool,
}

impl Group {
    /// Starts a program, which reads nothing and whose output nobody reads.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        Self::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Starts a program, which reads nothing, and its output.
    pub(crate) fn start_heard(command: &mut Command) -> io::Result<(Self, Output)> {
        let (reads, writes) = io::pipe()?;
        rustix::fs::fcntl_setfl(&reads, rustix::fs::fcntl_getfl(&reads)? | OFlags::NONBLOCK)?;
        let group = Self::spawn(command.stdin(Stdio::null()).stdout(writes.try_clone()?).stderr(writes))?;
        // The command has an end, too.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok((group, Output(reads)))
    }

    fn spawn(command: &mut Command) -> io::Result<Self> {
        let parent = rustix::process::getpid();
        let die_with_parent = move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have ended before that.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(Errno::SRCH.into()) }
        };
        // SAFETY: between fork and exec this makes two system calls, without the C library and without allocation.
        let command = unsafe { command.pre_exec(die_with_parent) };
        let mut child = command.process_group(0).spawn()?;
        match Process::hold(child.id()) {
            Ok(Some(leader)) => Ok(Self { child, leader, reaped: false }),
            Ok(None) => Err(io::Error::other("its exit code was lost (does this program ignore SIGCHLD?)")),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Tells when the program has ended; others of its group may go on.
    pub(crate) fn source(&self) -> Source<'_> {
        Source(self.leader.as_fd())
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.leader.has_ended()
    }

    /// How the program ended, once it has. What is left of its group is killed.
    pub(crate) fn status(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.reaped = true;
        self.child.wait()
    }

    /// The number cannot be another group's yet, for its leader has not been reaped.
    fn kill(&self) {
        if let Ok(Some(group)) = i32::try_from(self.child.id()).map(Pid::from_raw)
            && self.leader.signal(Signal::KILL).unwrap_or(false)
        {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.kill();
        // Whom not even SIGKILL ends soon, in an uninterruptible sleep, is not waited for.
        if self.leader.wait(Some(2000)).unwrap_or(false) {
            let _ = self.child.wait();
        }
    }
}

/// Says when files change.
#[derive(Debug)]
pub(crate) struct Changes(OwnedFd);

impl Changes {
    /// Watches which files come into a folder.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        let changes = Self(inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?);
        let flags = inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&changes.0, folder, flags)?;
        Ok(changes)
    }

    /// Watches this very file, too, whatever it is called by now.
    pub(crate) fn add(&self, file: &File) -> io::Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(&self.0, path, inotify::WatchFlags::MODIFY)?;
        Ok(())
    }

    /// Tells when there are changes that have not been forgotten.
    pub(crate) fn source(&self) -> Source<'_> {
        Source(self.0.as_fd())
    }

    /// Forgets the changes so far. What changes from here on is a new event.
    pub(crate) fn forget(&self) {
        let mut buffer = [0_u8; 4096];
        while matches!(rustix::io::read(&self.0, &mut buffer), Ok(1..) | Err(Errno::INTR)) {}
    }
}

/// The socket that a service sends its messages to (sd_notify(3)).
#[derive(Debug)]
pub(crate) struct NotifySocket {
    socket: OwnedFd,
    address: OsString,
    /// The socket's file, to be removed, and which one it is.
    file: Option<(PathBuf, (u64, u64))>,
}

/// A message, and the process that sent it; 0 for one that cannot be seen from here.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) pid: u32,
    pub(crate) text: Vec<u8>,
}

impl NotifySocket {
    /// A socket at this path, or, where that is too long for a socket (unix(7)), with this abstract name. A socket's file
    /// that is there already is replaced.
    pub(crate) fn bind(path: &Path, name: &str) -> io::Result<Self> {
        match unix_address(path) {
            Ok(_) => Self::bind_at(path),
            Err(_) => Self::bind_at(Path::new(&format!("@{name}"))),
        }
    }

    /// At this path, or with an abstract name where the path begins with `@`.
    pub(crate) fn bind_at(path: &Path) -> io::Result<Self> {
        let address = unix_address(path)?;
        let file = address.path_bytes().is_some();
        if file && rustix::fs::lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket) {
            rustix::fs::unlink(path)?;
        }
        let socket = socket(AddressFamily::UNIX, SocketType::DGRAM)?;
        // Before there is an address to send to: from the first message on the kernel says who sent it.
        sockopt::set_socket_passcred(&socket, true)?;
        rustix::net::bind(&socket, &address)?;
        let mut bound = Self { socket, address: path.as_os_str().to_owned(), file: None };
        if file {
            let stat = rustix::fs::lstat(path)?;
            bound.file = Some((path.to_owned(), (stat.st_dev, stat.st_ino)));
        }
        Ok(bound)
    }

    /// What the service must find in the variable `NOTIFY_SOCKET`.
    pub(crate) fn address(&self) -> &OsStr {
        &self.address
    }

    /// Tells when there is a message.
    pub(crate) fn source(&self) -> Source<'_> {
        Source(self.socket.as_fd())
    }

    /// The next message; `None` if there is none now. One that is too long, as with systemd, is as good as empty.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        // The credentials come first, and there is no room for descriptors after them: the kernel closes those, which
        // is what a sender of BARRIER=1 waits for. rustix takes a sender's pid for one that is never 0, so this is
        // made without it.
        const SPACE: usize = 32;
        #[repr(align(8))]
        struct Control([u8; SPACE]);
        // SAFETY: a computation without side effects.
        debug_assert_eq!(SPACE, unsafe { libc::CMSG_SPACE(size_of::<libc::ucred>() as u32) } as usize);
        let mut text = vec![0_u8; 4096];
        let mut control = Control([0; SPACE]);
        let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
        // SAFETY: all zeros are a valid msghdr, which is integers and null pointers.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = SPACE as _;
        let received = loop {
            let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
            // SAFETY: the header names two buffers that live longer than the call, with their lengths.
            let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut header, flags) };
            if let Ok(received) = usize::try_from(received) {
                break received;
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            }
        };
        text.truncate(if header.msg_flags & libc::MSG_TRUNC == 0 { received } else { 0 });
        // SAFETY: the kernel has filled in the header and as much of the control buffer as that says.
        let first = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        let mut pid = 0;
        // SAFETY: null, or a whole header within the control buffer, which is aligned for it.
        if let Some(head) = unsafe { first.as_ref() }
            && (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS)
            // SAFETY: a computation without side effects.
            && head.cmsg_len >= unsafe { libc::CMSG_LEN(size_of::<libc::ucred>() as u32) } as _
        {
            // SAFETY: a message of this kind and length was found, so its data lie within the control buffer.
            let data = unsafe { libc::CMSG_DATA(first) };
            // SAFETY: the data are a ucred, perhaps not aligned.
            let credentials = unsafe { data.cast::<libc::ucred>().read_unaligned() };
            pid = credentials.pid.try_into().unwrap_or(0);
        }
        Ok(Some(Message { pid, text }))
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some((path, file)) = &self.file
            && rustix::fs::lstat(path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == *file)
        {
            let _ = rustix::fs::unlink(path);
        }
    }
}

/// Whether a process is a service's: the service itself, one of its descendants or of its guardian's, or one in its session.
pub(crate) fn is_of_service(pid: u32, service: u32, guardian: Option<u32>) -> bool {
    let mut at = pid;
    // A tree that changes while it is climbed could lead anywhere, but not for ever.
    for _ in 0..1000 {
        if at == service || Some(at) == guardian {
            return true;
        }
        match Stat::of(at) {
            Ok(stat) if stat.session == service => return true,
            Ok(Stat { parent, .. }) if parent > 1 => at = parent,
            _ => return false,
        }
    }
    false
}
