//! When a service is ready: how that shows, and waiting for it.
//!
//! A service that has been started is not yet of use. [`Ready`] says how its readiness shows; procref waits for that
//! before it gives the service to anybody. Every such wait is also a wait for the service's end: one that ends before
//! it is ready has failed at that moment, not when the time is up.
//!
//! # Which one to take
//!
//! The service's own word is best: [`Ready::notify`], [`Ready::exec`] with the service's own tool (`pg_isready`), or
//! [`Ready::http`] with a health page. [`Ready::tcp`] and [`Ready::unix`] say only that somebody listens, and some
//! services listen before they can serve (etcd).
//!
//! # How often it is asked
//!
//! [`Ready::log`] and [`Ready::notify`] are told by the system. The others ask 5 ms after the first time, then after
//! twice that, and so on up to a quarter of a second.
//!
//! # What cannot be known
//!
//! *Who* answers at an address. If a stranger listens on the port that the service was given, the stranger answers.
//! The service then usually ends ("address already in use"), and that is reported if it happens before the probe has
//! succeeded. A port that procref picked is nobody's.
//!
//! *What happens next.* A service that is ready and ends a moment later was ready.

mod http;
mod log;
#[cfg(test)]
pub(crate) mod tests;

use crate::sys::probe::{self, Connection, Group, NotifySocket, Output, Source, Woken};
use crate::sys::{self, current_pid};
pub(crate) use log::{LogMark, last_lines};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The first pause between two probes. Each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The longest that one connection, and one answer, is waited for; then it is tried anew.
const LONGEST_CONNECTION: Duration = Duration::from_secs(10);
/// The same for a program.
const LONGEST_PROGRAM: Duration = Duration::from_secs(30);
/// How long somebody who listens already has to show it.
const LONGEST_CHECK: Duration = Duration::from_secs(1);
/// A probe that the deadline cut off sooner than this says nothing new.
const TELLING: Duration = Duration::from_secs(1);
/// How much of a program's output is kept.
const MOST_OUTPUT: usize = 4096;
/// How much of the log an error shows.
const SHOWN_LINES: usize = 20;

/// How a service shows that it is ready.
///
/// ```
/// use procref::ready::Ready;
///
/// let postgres = Ready::exec("pg_isready", ["-q", "-h", "127.0.0.1", "-p", "5432"]);
/// let redis = Ready::tcp(6379);
/// let etcd = Ready::http("http://127.0.0.1:2379/health");
/// let mysql = Ready::log("ready for connections");
/// # let _ = (postgres, redis, etcd, mysql);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready(Probe);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Probe {
    #[default]
    None,
    Tcp(String),
    Unix(PathBuf),
    Http {
        url: String,
        status: Option<u16>,
    },
    Exec {
        program: OsString,
        arguments: Vec<OsString>,
    },
    Log(String),
    Notify,
}

impl Ready {
    /// As soon as it runs.
    #[must_use]
    pub const fn none() -> Self {
        Self(Probe::None)
    }

    /// When somebody accepts TCP connections there: a port, or `host:port` (`[::1]:80` for IPv6).
    ///
    /// A port alone, and `localhost`, mean this host: 127.0.0.1, or else ::1. Another name is resolved by the system
    /// each time.
    ///
    /// The connection is closed without a word; some services note that in their log.
    pub fn tcp(address: impl fmt::Display) -> Self {
        Self(Probe::Tcp(address.to_string()))
    }

    /// When somebody listens on that Unix socket, of whatever type. `@name` is an abstract one. A relative path begins
    /// at the service's working directory.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self(Probe::Unix(path.into()))
    }

    /// When `GET` of that page gives a status of 200 to 299. Redirections are not followed.
    ///
    /// Only `http:`; for `https:`, take [`exec`](Self::exec) with a program that knows whom to trust. Of the host, what
    /// [`tcp`](Self::tcp) says is true. One answer is waited for 10 seconds, then it is asked again.
    pub fn http(url: impl Into<String>) -> Self {
        Self(Probe::Http { url: url.into(), status: None })
    }

    /// As [`http`](Self::http), with this very status.
    pub fn http_status(url: impl Into<String>, status: u16) -> Self {
        Self(Probe::Http { url: url.into(), status: Some(status) })
    }

    /// When that program exits with 0. It is no line for a shell: a program, looked for in `PATH`, and its arguments.
    ///
    /// It has the service's environment and working directory, an empty standard input, and a process group of its
    /// own. All that is in the group is killed when the program has ended, when 30 seconds are over (then it is
    /// started again), and when the service ends; what has left it, by `setsid`, stays. If the process that waits is
    /// killed, so is the program, but not what it has started. The last line of its output, standard or error, is in
    /// the error if the service does not get ready.
    ///
    /// It is a child of the process that waits. In a program that ignores `SIGCHLD`, or that reaps children it did not
    /// start, its exit code cannot be known.
    pub fn exec<A: Into<OsString>>(program: impl Into<OsString>, arguments: impl IntoIterator<Item = A>) -> Self {
        Self(Probe::Exec { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() })
    }

    /// When a line with that text is in the service's log file, below what was there before the service was started.
    ///
    /// The text is compared as it is, and part of a line is enough, also of one that does not end yet. Colours and
    /// other escape sequences in the log are passed over. A log that is cut off is read from its beginning, one that is
    /// moved away and begun anew in both places; but one that is made and moved away before the first look is not
    /// found. What is written and cut off between two looks is missed, and so is
    /// what is written if it is, between two looks, as long as what was cut off: a service that rewrites its log while it
    /// starts shows its readiness better otherwise.
    pub fn log(text: impl Into<String>) -> Self {
        Self(Probe::Log(text.into()))
    }

    /// When the service says `READY=1`, as `sd_notify` does, to the socket that the variable `NOTIFY_SOCKET` names.
    ///
    /// Only the service itself and its descendants can say so, by the kernel's word about who sent it; what is in the
    /// service's session is taken for a descendant, too. As with systemd, a descendant must still be there when the
    /// message is read: `systemd-notify` waits for that. `STATUS=` is shown as progress.
    #[must_use]
    pub const fn notify() -> Self {
        Self(Probe::Notify)
    }

    /// The same with all of its texts replaced. Those that are not UTF-8 stay.
    pub(crate) fn expand<E>(&self, mut expand: impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        let mut os = |text: &OsStr| match text.to_str() {
            Some(text) => expand(text).map(OsString::from),
            None => Ok(text.to_owned()),
        };
        Ok(Self(match &self.0 {
            Probe::None => Probe::None,
            Probe::Tcp(address) => Probe::Tcp(expand(address)?),
            Probe::Unix(path) => Probe::Unix(os(path.as_os_str())?.into()),
            Probe::Http { url, status } => Probe::Http { url: expand(url)?, status: *status },
            Probe::Exec { program, arguments } => Probe::Exec {
                program: os(program)?,
                arguments: arguments.iter().map(|argument| os(argument)).collect::<Result<_, _>>()?,
            },
            Probe::Log(text) => Probe::Log(expand(text)?),
            Probe::Notify => Probe::Notify,
        }))
    }

    /// Whether the service must have a socket for its messages.
    pub(crate) const fn needs_notify(&self) -> bool {
        matches!(self.0, Probe::Notify)
    }

    /// Whether this system has what it needs; if not, what to say.
    pub(crate) const fn is_supported(&self) -> Result<(), &'static str> {
        match &self.0 {
            Probe::Unix(_) => probe::has_unix_sockets(),
            Probe::Notify => probe::has_notify_sockets(),
            _ => Ok(()),
        }
    }

    /// What is wrong with it, as far as that can be seen without trying.
    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.0 {
            Probe::None | Probe::Notify => Ok(()),
            Probe::Tcp(address) => Target::parse(address).map(drop),
            Probe::Unix(path) => probe::check_unix(path),
            Probe::Http { url, status } => match status {
                Some(status) if !(200..=599).contains(status) => Err(format!("no answer has the HTTP status {status}")),
                _ => http::Url::parse(url).map(drop),
            },
            Probe::Exec { program, .. } if program.is_empty() => Err("the program has no name".into()),
            Probe::Exec { .. } => Ok(()),
            Probe::Log(text) if text.is_empty() => Err("the text to find in the log is empty".into()),
            Probe::Log(text) if text.chars().any(|c| c.is_control() && c != '\t') => {
                Err(format!("the text to find in the log, {text:?}, cannot be in one line"))
            }
            Probe::Log(_) => Ok(()),
        }
    }

    /// Says who answers already, before the service is started: from then on nobody can tell them apart. It asks
    /// addresses only.
    pub(crate) fn answered_already(&self, directory: Option<&Path>) -> Option<String> {
        let this_process = sys::Process::hold(current_pid()).ok()??;
        let attempt = Attempt { process: &this_process, until: Instant::now() + LONGEST_CHECK };
        let (result, place) = match &self.0 {
            Probe::Tcp(address) => (tcp(address, &attempt), address.clone()),
            Probe::Http { url, .. } => {
                let url = http::Url::parse(url).ok()?;
                (url.target.connect(&attempt).map(drop), url.target.to_string())
            }
            Probe::Unix(path) => (unix(path, directory), path.display().to_string()),
            _ => return None,
        };
        result.ok().map(|()| format!("somebody else listens on {place} already"))
    }
}

/// What is known of a service whose readiness is waited for.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) process: &'a sys::Process,
    pub(crate) pid: u32,
    /// Its parent, which also becomes the parent of its orphans: all descendants of this one are the service's.
    pub(crate) guardian: Option<u32>,
    pub(crate) log: Option<&'a LogMark>,
    /// To be closed when the service is ready: a queue that nobody reads makes its senders wait.
    pub(crate) notify: Option<&'a NotifySocket>,
    /// The service's working directory, if it is not this process's.
    pub(crate) directory: Option<&'a Path>,
    /// What the service's environment has beside this process's.
    pub(crate) environment: &'a [(OsString, OsString)],
}

/// Why a service is not ready. The first line of the text is complete; the lines of the log follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotReady {
    /// The service has ended.
    Ended { log: Vec<String> },
    /// The time is up. What the last probe saw.
    TimedOut { saw: String, log: Vec<String> },
    /// This probe can never succeed.
    CannotProbe(String),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = match self {
            Self::Ended { log } => {
                f.write_str("it ended before it was ready")?;
                log.as_slice()
            }
            Self::TimedOut { saw, log } => {
                write!(f, "it was not ready in time")?;
                if !saw.is_empty() {
                    write!(f, ": {saw}")?;
                }
                log
            }
            Self::CannotProbe(what) => {
                write!(f, "whether it is ready cannot be found out: {what}")?;
                &[]
            }
        };
        if !log.is_empty() {
            f.write_str("; the last lines of its log:")?;
        }
        log.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl std::error::Error for NotReady {}

/// Why a probe has not succeeded.
#[derive(Debug)]
enum Miss {
    Ended,
    /// The attempt's time is up.
    Slow,
    NotYet(String),
    Never(String),
}

impl Miss {
    fn system(error: io::Error) -> Self {
        Self::Never(format!("the system cannot wait: {}", plain(&error)))
    }
}

/// The error's text without its number, as a part of a sentence.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().trim_end_matches('.');
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => text.into(),
    }
}

/// What the probes saw last, told when it changes.
struct Report<'a> {
    saw: String,
    progress: &'a mut dyn FnMut(&str),
}

impl Report<'_> {
    fn saw(&mut self, text: String) {
        if text != self.saw {
            (self.progress)(&text);
            self.saw = text;
        }
    }
}

/// One probe: it ends when the service does, and when its time is up.
struct Attempt<'a> {
    process: &'a sys::Process,
    until: Instant,
}

impl Attempt<'_> {
    fn wait(&self, sources: &[Source<'_>]) -> Result<(), Miss> {
        event(probe::wait(self.process, sources, self.until))
    }
}

/// What was waited for.
fn event<T>(woken: io::Result<Woken<T>>) -> Result<T, Miss> {
    match woken.map_err(Miss::system)? {
        Woken::Event(event) => Ok(event),
        Woken::Ended => Err(Miss::Ended),
        Woken::Time => Err(Miss::Slow),
    }
}

/// Waits until the service is ready, has ended, or the deadline has come. `progress` is told what the probes see
/// whenever that changes.
///
/// This blocks.
pub(crate) fn wait(
    ready: &Ready,
    context: &Context<'_>,
    deadline: Instant,
    progress: &mut dyn FnMut(&str),
) -> Result<(), NotReady> {
    ready.check().map_err(NotReady::CannotProbe)?;
    let mut report = Report { saw: String::new(), progress };
    let mut repeat = |longest, once: &mut dyn FnMut(&Attempt<'_>) -> Result<(), Miss>| {
        again(context, deadline, longest, &mut report, once)
    };
    let result = match &ready.0 {
        Probe::None => Ok(()),
        Probe::Tcp(address) => repeat(LONGEST_CONNECTION, &mut |attempt| tcp(address, attempt)),
        Probe::Unix(path) => repeat(LONGEST_CONNECTION, &mut |_| unix(path, context.directory)),
        Probe::Http { url, status } => match http::Url::parse(url) {
            Ok(url) => repeat(LONGEST_CONNECTION, &mut |attempt| http::get(&url, *status, attempt)),
            Err(text) => Err(Miss::Never(text)),
        },
        Probe::Exec { program, arguments } => {
            repeat(LONGEST_PROGRAM, &mut |attempt| exec(program, arguments, context, attempt))
        }
        Probe::Log(text) => match context.log {
            Some(mark) => log::wait(text, mark, context.process, deadline, &mut report),
            None => Err(Miss::Never("the service has no log file".into())),
        },
        Probe::Notify => match context.notify {
            Some(socket) => notify(socket, context, deadline, &mut report),
            None => Err(Miss::Never("the service has no socket for its messages".into())),
        },
    };
    let result = match result {
        // Somebody else may have answered in its place.
        Ok(()) if context.process.has_ended() => Err(Miss::Ended),
        result => result,
    };
    let lines = || context.log.map(|mark| last_lines(mark, SHOWN_LINES)).unwrap_or_default();
    result.map_err(|miss| match miss {
        Miss::Ended => NotReady::Ended { log: lines() },
        Miss::Slow | Miss::NotYet(_) => NotReady::TimedOut { saw: report.saw, log: lines() },
        Miss::Never(what) => NotReady::CannotProbe(what),
    })
}

/// Probes that have to ask again and again. The pauses, too, end with the service.
fn again(
    context: &Context<'_>,
    deadline: Instant,
    longest: Duration,
    report: &mut Report<'_>,
    once: &mut dyn FnMut(&Attempt<'_>) -> Result<(), Miss>,
) -> Result<(), Miss> {
    let mut pause = FIRST_PAUSE;
    loop {
        let begin = Instant::now();
        let attempt = Attempt { process: context.process, until: deadline.min(begin + longest) };
        match once(&attempt) {
            Ok(()) => return Ok(()),
            Err(Miss::NotYet(saw)) => {
                // "No answer" of a probe that had no time for one would hide what the one before saw.
                let cut_off = Instant::now() >= deadline && begin.elapsed() < TELLING;
                if !cut_off || report.saw.is_empty() {
                    report.saw(saw);
                }
            }
            Err(miss) => return Err(miss),
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(Miss::Slow);
        }
        let until = deadline.min(now + pause);
        if probe::wait(context.process, &[], until).map_err(Miss::system)? == Woken::Ended {
            return Err(Miss::Ended);
        }
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// 127.0.0.1, or else ::1.
    This,
    Address(IpAddr),
    Name(String),
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    host: Host,
    port: u16,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::This => write!(f, "localhost:{port}"),
            Host::Address(address) => SocketAddr::new(*address, port).fmt(f),
            Host::Name(name) => write!(f, "{name}:{port}"),
        }
    }
}

impl Target {
    /// A port, or a host and a port.
    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        match (Host::parse(host), port.parse()) {
            (Some(host), Ok(port @ 1..)) if digits => Ok(Self { host, port }),
            _ => Err(format!("\"{text}\" is neither a port nor host:port (IPv6 is written [::1]:80)")),
        }
    }

    fn addresses(&self, attempt: &Attempt<'_>) -> Result<Vec<SocketAddr>, Miss> {
        let port = self.port;
        match &self.host {
            Host::This => Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]),
            Host::Address(address) => Ok(vec![(*address, port).into()]),
            Host::Name(name) => resolve(name, port, attempt),
        }
    }

    /// The first of its addresses that accepts.
    fn connect(&self, attempt: &Attempt<'_>) -> Result<Connection, Miss> {
        let addresses = self.addresses(attempt)?;
        let mut first = None;
        for (index, &address) in addresses.iter().enumerate() {
            // The time is divided among those that are left.
            let now = Instant::now();
            let left = attempt.until.saturating_duration_since(now);
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            match connect(address, &Attempt { process: attempt.process, until: now + share }) {
                Err(Miss::NotYet(saw)) => _ = first.get_or_insert(saw),
                result => return result,
            }
        }
        Err(Miss::NotYet(first.unwrap_or_else(|| format!("{self} has no address"))))
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if text == "localhost" {
            return Some(Self::This);
        }
        if let Some(address) = text.strip_prefix('[') {
            return Some(Self::Address(IpAddr::V6(address.strip_suffix(']')?.parse().ok()?)));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!text.is_empty() && text.bytes().all(good)).then(|| Self::Name(text.into()))
    }
}

/// The system's resolver knows no time limit and no service.
fn resolve(name: &str, port: u16, attempt: &Attempt<'_>) -> Result<Vec<SocketAddr>, Miss> {
    let host = name.to_owned();
    let look_up = move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    match event(probe::aside(attempt.process, attempt.until, look_up)) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(Miss::NotYet(format!("the address of {name}: {}", plain(&error)))),
        Err(Miss::Slow) => Err(Miss::NotYet(format!("the address of {name} is not found out"))),
        Err(miss) => Err(miss),
    }
}

fn connect(address: SocketAddr, attempt: &Attempt<'_>) -> Result<Connection, Miss> {
    match event(Connection::open(address, attempt.process, attempt.until)) {
        Ok(connected) => connected.map_err(|error| Miss::NotYet(format!("{address}: {}", plain(&error)))),
        Err(Miss::Slow) => Err(Miss::NotYet(format!("{address}: the connection is not accepted"))),
        Err(miss) => Err(miss),
    }
}

fn tcp(address: &str, attempt: &Attempt<'_>) -> Result<(), Miss> {
    Target::parse(address).map_err(Miss::Never)?.connect(attempt).map(drop)
}

fn unix(path: &Path, directory: Option<&Path>) -> Result<(), Miss> {
    let path = match directory {
        Some(directory) if path.as_os_str().as_encoded_bytes().first() != Some(&b'@') => &directory.join(path),
        _ => path,
    };
    probe::check_unix(path).map_err(Miss::Never)?;
    probe::connect_unix(path).map_err(|error| Miss::NotYet(format!("{}: {}", path.display(), plain(&error))))
}

/// Runs the program once.
fn exec(program: &OsStr, arguments: &[OsString], context: &Context<'_>, attempt: &Attempt<'_>) -> Result<(), Miss> {
    let name = program.display();
    let mut command = Command::new(program);
    command.args(arguments);
    command.envs(context.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = context.directory {
        command.current_dir(directory);
    }
    let (mut group, mut output) =
        Group::start_heard(&mut command).map_err(|error| cannot_start(program, context, &error))?;
    let mut kept = Vec::new();
    let mut open = true;
    loop {
        let both = [group.source(), output.source()];
        let result = attempt.wait(if open { &both } else { both.get(..1).unwrap_or(&both) });
        open = open && keep_output(&mut output, &mut kept);
        let slow = match result {
            Err(Miss::Slow) => true,
            result => result.map(|()| Instant::now() >= attempt.until)?,
        };
        if group.has_ended() {
            break;
        }
        // Also where it writes without end, so that there always is an event.
        if slow {
            return Err(Miss::NotYet(format!("{name} has not ended{}", last_line(&kept))));
        }
    }
    // All that it has written; what others of its group write on is of no interest.
    if open {
        keep_output(&mut output, &mut kept);
    }
    let status = group.status().map_err(|error| {
        Miss::Never(format!("the exit code of {name} was lost (does this program ignore SIGCHLD?): {}", plain(&error)))
    })?;
    if status.success() {
        return Ok(());
    }
    Err(Miss::NotYet(format!("{name} {}{}", sys::program::ended(status), last_line(&kept))))
}

fn cannot_start(program: &OsStr, context: &Context<'_>, error: &io::Error) -> Miss {
    let text = format!("{} cannot be started: {}", program.display(), plain(error));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            if context.directory.is_some_and(|directory| !directory.is_dir()) =>
        {
            Miss::Never(format!("{text} (its working directory does not exist)"))
        }
        // It is being written, or the system has no process or memory to spare.
        io::ErrorKind::ExecutableFileBusy | io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            Miss::NotYet(text)
        }
        _ => Miss::Never(text),
    }
}

/// Reads what is there, at most what a pipe holds, and keeps the end of it. Says whether more may come.
fn keep_output(output: &mut Output, kept: &mut Vec<u8>) -> bool {
    let mut buffer = [0; MOST_OUTPUT];
    for _ in 0..(64 << 10) / MOST_OUTPUT {
        match output.read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => {
                kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
                kept.drain(..kept.len().saturating_sub(MOST_OUTPUT));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

/// The last line that says anything, after a colon.
fn last_line(output: &[u8]) -> String {
    log::lines(output, 1).pop().map(|line| format!(": {line}")).unwrap_or_default()
}

/// Waits for READY=1.
fn notify(
    socket: &NotifySocket,
    context: &Context<'_>,
    deadline: Instant,
    report: &mut Report<'_>,
) -> Result<(), Miss> {
    report.saw("it has not said READY=1".into());
    let attempt = Attempt { process: context.process, until: deadline };
    loop {
        attempt.wait(&[socket.source()])?;
        let Some(message) = socket.receive().map_err(Miss::system)? else { continue };
        let ready = message.text.split(|&byte| byte == b'\n').any(|line| line == b"READY=1");
        if !probe::is_of_service(message.pid, context.pid, context.guardian) {
            if ready {
                report.saw(format!("the process {} said READY=1, but is not the service's", message.pid));
            }
            continue;
        }
        let status = message.text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"STATUS="));
        if let Some(status) = status.and_then(|status| log::lines(status, 1).pop()) {
            report.saw(status);
        }
        if ready {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Miss::Slow);
        }
    }
}
