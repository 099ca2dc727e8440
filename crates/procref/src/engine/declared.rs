//! Starting a declared service: what the client does, before and after the guardian starts it.

use super::Spec;
use crate::command::{ServiceCommand, expand_os, expand_text, find_program};
use crate::error::{Error, ErrorKind, Result};
use crate::info::ServiceInfo;
use crate::protocol::set::Instance;
use crate::ready::{self, Context, LogMark, NotReady};
use crate::sys::guardian::Launch;
use crate::sys::probe::NotifySocket;
use crate::sys::service::{Program, Reports, c_string};
use crate::sys::{Process, Set};
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

/// A start that is prepared: the guardian can be made.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) launch: Launch,
    command: ServiceCommand,
    ports: Vec<(String, u16)>,
    log: PathBuf,
    mark: LogMark,
    notify: Option<NotifySocket>,
}

impl Prepared {
    /// Picks ports, opens the log, and fills in what the command leaves open.
    pub(super) fn new(spec: &Spec, command: &ServiceCommand) -> Result<Self> {
        let name = spec.name.as_str();
        let (mut ports, mut keep) = (Vec::new(), Vec::new());
        for (port, fixed) in &command.ports {
            let (number, lock) = match fixed {
                Some(number) => (*number, lock_port(*number)?.ok_or_else(|| taken(*number))?),
                None => pick_port()?,
            };
            ports.push((port.clone(), number));
            keep.push(lock);
        }
        let command = ServiceCommand {
            arguments: expand_all(&command.arguments, name, &ports)?,
            environment: command
                .environment
                .iter()
                .map(|(variable, value)| Ok((variable.clone(), expand_os(value, name, &ports)?)))
                .collect::<Result<_>>()?,
            ready: command.ready.expand(|text| expand_text(text, name, &ports))?,
            ..command.clone()
        };
        if let Some(who) = command.ready.answered_already(command.directory.as_deref()) {
            return Err(Error::new(ErrorKind::StartFailed, who).help("nobody could tell it from the service"));
        }
        let log = command.log.clone().unwrap_or_else(|| spec.hints.beside("log"));
        let file = open_log(spec, &log)?;
        let notify = command.ready.needs_notify().then(|| NotifySocket::bind(&notify_address(spec))).transpose()?;
        let file_of = find_program(&command.program)?;
        let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(variable, _)| !command.environment.iter().any(|(own, _)| own == variable))
            .filter(|(variable, _)| !NOT_INHERITED.iter().any(|other| variable == other))
            .collect();
        environment.extend(command.environment.iter().cloned());
        if let Some(notify) = &notify {
            environment.push(("NOTIFY_SOCKET".into(), notify.address().to_owned()));
        }
        let first = spec.ladder.first().map_or(libc::SIGKILL, |step| step.signal);
        let program = Program {
            file: c_string(file_of.as_os_str())?,
            directory: c_string(command.directory.as_deref().unwrap_or_else(|| Path::new("/")).as_os_str())?,
            arguments: std::iter::once(&command.program)
                .chain(&command.arguments)
                .map(|argument| c_string(argument))
                .collect::<std::io::Result<_>>()?,
            environment: environment
                .iter()
                .map(|(variable, value)| Ok((c_string(variable)?, c_string(value)?)))
                .collect::<std::io::Result<_>>()?,
            floor_signal: first,
        };
        let mark = LogMark::before_start(&log);
        Ok(Self { launch: Launch { program, log: file, keep }, command, ports, log, mark, notify })
    }

    /// Waits until the service is ready.
    pub(super) fn await_ready(&self, spec: &Spec, set: Set, mut reports: Reports) -> Result<ServiceInfo> {
        let program = &self.command.program;
        let failed = |what: String| Error::new(ErrorKind::StartFailed, what);
        reports.started().map_err(|error| failed(format!("cannot start {program:?}")).source(error))?;
        let snapshot = set.snapshot().map_err(|error| Error::set(&spec.name, "read the semaphore set", error))?;
        let ended = |mut reports: Reports, log: &[String]| {
            let how = reports.ended().map_or_else(|| "ended".into(), in_words);
            let log = if log.is_empty() {
                String::new()
            } else {
                format!("; the last lines of its log:\n    {}", log.join("\n    "))
            };
            Err(failed(format!("{program:?} {how} before it was ready{log}")))
        };
        let Instance::Process { pid, start } = snapshot.record().instance else {
            return ended(reports, &ready::last_lines(&self.mark, LOG_LINES));
        };
        let Some(process) = Process::open_recorded(pid, start)? else {
            return ended(reports, &ready::last_lines(&self.mark, LOG_LINES));
        };
        let context = Context {
            process: &process,
            pid,
            guardian: snapshot.guardian_pid(),
            log: Some(&self.mark),
            notify: self.notify.as_ref(),
            directory: self.command.directory.as_deref(),
            environment: &self.command.environment,
        };
        let limit = spec.settings.start_timeout;
        let deadline = Instant::now() + limit;
        let mut progress = |saw: &str| tracing::debug!(service = %spec.name, saw, "waits until it is ready");
        match ready::wait(&self.command.ready, &context, deadline, &mut progress) {
            Ok(()) => {}
            Err(NotReady::Ended { log }) => return ended(reports, &log),
            Err(not_ready @ NotReady::TimedOut { .. }) => {
                let what = format!("{program:?}: {not_ready}, which is {limit:?}");
                return Err(Error::new(ErrorKind::TimedOut, what));
            }
            Err(NotReady::CannotProbe(what)) => return Err(failed(what)),
        }
        let mut info = ServiceInfo::new(pid, self.ports.first().map_or(0, |(_, number)| *number));
        for (name, number) in &self.ports {
            info = info.with_metadata(name, number.to_string());
        }
        Ok(info.with_metadata("log", self.log.to_string_lossy()))
    }
}

/// How much of its log a service that failed shows.
const LOG_LINES: usize = 20;

/// What belongs to the process that happens to start the service, or to a service that this process is part of.
const NOT_INHERITED: [&str; 6] =
    ["PROCREF_INSTANCE", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"];

fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// A socket in the folder; one without a file where the path is too long for a socket (unix(7)). Whoever may send to that
/// one, only the service's own processes are heard.
fn notify_address(spec: &Spec) -> PathBuf {
    const MOST: usize = 107;
    let path = spec.hints.beside("notify");
    if path.as_os_str().len() <= MOST {
        return path;
    }
    PathBuf::from(format!("@procref-notify-{}-{}", spec.name, crate::sys::current_pid()))
}

fn expand_all(texts: &[OsString], name: &str, ports: &[(String, u16)]) -> Result<Vec<OsString>> {
    texts.iter().map(|text: &OsString| expand_os(OsStr::new(text), name, ports)).collect()
}

fn open_log(spec: &Spec, path: &Path) -> Result<OwnedFd> {
    let cannot = |error| {
        Error::new(ErrorKind::StartFailed, format!("cannot open the service's log {}", path.display())).source(error)
    };
    spec.hints.prepare_folder().map_err(cannot)?;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY);
    options.open(path).map(OwnedFd::from).map_err(cannot)
}

fn taken(number: u16) -> Error {
    let what = format!("another service of procref has the port {number}");
    Error::new(ErrorKind::StartFailed, what).help("leave the choice of the number to procref, or stop the other one")
}

/// A free port that no other service of procref has. The lock is kept for as long as the service may run.
///
/// Not one of those that the system gives to whoever connects to somewhere: such a one can be taken before the service
/// comes to it, and a probe of it can even connect to itself.
fn pick_port() -> Result<(u16, OwnedFd)> {
    const LOWEST: u16 = 10_240;
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768_u16);
    let span = end.saturating_sub(LOWEST);
    // Anywhere, so that two programs that know nothing of each other seldom meet.
    let begin = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) % u64::from(span.max(1));
    for number in (0..span).map(|step| LOWEST + ((begin + u64::from(step)) % u64::from(span)) as u16) {
        if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            && let Some(lock) = lock_port(number)?
        {
            return Ok((number, lock));
        }
    }
    Err(Error::new(ErrorKind::LimitReached, format!("no port from {LOWEST} to {end} is free")))
}

/// A name that only one socket in this network namespace can have, and that goes with it. `None`: somebody has it.
fn lock_port(number: u16) -> Result<Option<OwnedFd>> {
    let address = SocketAddr::from_abstract_name(format!("procref-port-{number}"))?;
    match UnixDatagram::bind_addr(&address) {
        Ok(socket) => Ok(Some(socket.into())),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error.into()),
    }
}
