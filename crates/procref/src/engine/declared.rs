//! Starting a declared service: what the client does, before and after the guardian starts it.

use super::Spec;
use super::status::ServiceState;
use crate::blocking::{ServiceHandle, SharedService};
use crate::command::{CommandLine, ServiceCommand, Values, find_program};
use crate::error::{Error, ErrorKind, Result};
use crate::info::ServiceInfo;
use crate::ready::{self, Context, LogMark, NotReady, Ready};
use crate::sys::guardian::{Launch, Stopper};
use crate::sys::probe::{Group, NotifySocket};
use crate::sys::service::{self, Need, Program, Reports};
use crate::sys::{self, FORCE, Process, files, folder, port};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Where the kernel itself is the guardian, what a service needs ends with it, and is not asked to. Whoever stops the service
/// holds that meanwhile, so that the one stops as orderly as the other.
pub(super) fn hold_needs(spec: &Spec) -> Vec<ServiceHandle> {
    let needs = spec.declared.iter().flat_map(|command| &command.needs);
    let up = needs.filter(|(_, need)| need.status().is_ok_and(|status| status.state == ServiceState::Up));
    let hold = |(_, need): &(String, SharedService)| match need.acquire() {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::warn!(service = %spec.name, %error, "what it needs cannot be held, and the kernel ends it");
            None
        }
    };
    up.filter_map(hold).collect()
}

/// What a guardian has started, as it says.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: u32,
    pub(super) start: u64,
    reports: Reports,
}

impl Spawned {
    /// What comes of waiting for it; `None`: another one came in between.
    pub(super) fn from_reports(mut reports: Reports) -> io::Result<Option<Self>> {
        Ok(reports.started()?.map(|(pid, start)| Self { pid, start, reports }))
    }
}

/// A start whose choices are made: ports are picked, texts filled in, what is needed is held.
#[derive(Debug)]
pub(super) struct Prepared {
    line: CommandLine,
    prepare: Vec<CommandLine>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    ready: Ready,
    metadata: Vec<(String, String)>,
    ports: Vec<(String, u16)>,
    /// The locks of the ports.
    locks: Vec<port::Lock>,
    state: Option<State>,
    run: Option<PathBuf>,
    log: PathBuf,
    notify: Option<NotifySocket>,
    stopper: Option<Stopper>,
    /// What this process holds until the service holds it itself.
    needs: Vec<ServiceHandle>,
}

impl Prepared {
    /// Acquires what is needed, picks ports, makes folders and fills in what the command leaves open.
    pub(super) fn new(spec: &Spec, command: &ServiceCommand) -> Result<Self> {
        let needs: Vec<_> = command.needs.iter().map(|(_, service)| service.acquire()).collect::<Result<_>>()?;
        let (mut ports, mut locks) = (Vec::new(), Vec::new());
        for (port, fixed) in &command.ports {
            let (number, lock) = match fixed {
                Some(number) => (*number, port::Lock::take(*number)?.ok_or_else(|| taken(*number))?),
                None => pick_port()?,
            };
            ports.push((port.clone(), number));
            locks.push(lock);
        }
        let state = state_folder(spec, command);
        let run = spec.hints.beside("run");
        let mut values = Values::of_itself(name(spec, command), state.as_deref().unwrap_or(Path::new("")), &run);
        ports.iter().for_each(|(port, number)| values.add(port, number.to_string()));
        for ((label, _), handle) in command.needs.iter().zip(&needs) {
            let info = handle.info();
            if info.get("port").is_none() && info.port() != 0 {
                values.add(&format!("{label}.port"), info.port().to_string());
            }
            info.metadata().iter().for_each(|(key, value)| values.add(&format!("{label}.{key}"), value));
        }
        let line = command.line.expand(&values)?;
        let prepare = command.prepare.iter().map(|line| line.expand(&values)).collect::<Result<Vec<_>>>()?;
        let stop = command.stop.as_ref().map(|line| line.expand(&values)).transpose()?;
        let environment = expand_pairs(&command.environment, |value| values.expand_os(value))?;
        let metadata = expand_pairs(&command.metadata, |value| values.expand(value))?;
        let ready = command.ready.expand(|text| values.expand(text))?;
        if let Some(who) = ready.answered_already(command.directory.as_deref()) {
            return Err(Error::new(ErrorKind::StartFailed, who).help("nobody could tell it from the service"));
        }

        let keeps_state = values.is_used("state") || !prepare.is_empty();
        let state = keeps_state.then(|| state.map_err(no_state).and_then(State::make)).transpose()?;
        let log = command.log.clone().unwrap_or_else(|| spec.hints.beside("log"));
        if command.log.is_none() {
            keep_short(&log);
        }
        // Makes the folder for hints, too.
        drop(open_log(spec, &log)?);
        let run = values.is_used("run").then(|| fresh_folder(run)).transpose()?;
        let notify = ready.needs_notify().then(|| bind_notify(spec)).transpose()?;
        let directory = command.directory.clone();
        let stopper = match stop {
            None => None,
            Some(line) => Some(Stopper {
                program: program(&line, &environment, directory.as_deref(), 0)?,
                log: open_log(spec, &log)?,
            }),
        };
        Ok(Self {
            line,
            prepare,
            environment,
            directory,
            ready,
            metadata,
            ports,
            locks,
            state,
            run,
            log,
            notify,
            stopper,
            needs,
        })
    }

    /// What stops the service in place of a signal.
    pub(super) const fn stopper(&self) -> Option<&Stopper> {
        self.stopper.as_ref()
    }

    /// Has the commands done that come before the first start, by `run`, which has a guardian start one.
    pub(super) fn prepare_once(
        &self,
        spec: &Spec,
        mut run: impl FnMut(&mut Launch) -> Result<io::Result<Spawned>>,
    ) -> Result<()> {
        let Some(state) = self.state.as_ref().filter(|_| !self.prepare.is_empty()) else { return Ok(()) };
        if !state.begin_preparing()? {
            return Ok(());
        }
        for line in &self.prepare {
            tracing::debug!(service = %spec.name, program = ?line.program, "prepares");
            let mark = LogMark::before_start(&self.log);
            let program = program(line, &self.environment, self.directory.as_deref(), FORCE)?;
            let mut launch = Launch { program, log: open_log(spec, &self.log)?, keep: Vec::new(), needs: Vec::new() };
            let failed = |what: String| Error::new(ErrorKind::StartFailed, what);
            let name = sys::program::quoted(&line.program);
            let Spawned { mut reports, .. } =
                run(&mut launch)?.map_err(|error| self.cannot_start(&format!("{name}, which prepares it"), error))?;
            let limit = spec.settings.start_timeout;
            match reports.ended(limit.as_millis().try_into().unwrap_or(u64::MAX)) {
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => {
                    let log = log_in_words(&ready::last_lines(&mark, LOG_LINES));
                    return Err(failed(format!("{name}, which prepares it, {}{log}", sys::program::ended(status))));
                }
                Ok(None) => return Err(failed(format!("{name}, which prepares it: nobody knows how it ended"))),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    let what = format!("{name}, which prepares it, took longer than {limit:?}");
                    return Err(Error::new(ErrorKind::TimedOut, what));
                }
                Err(error) => return Err(failed(format!("{name}, which prepares it")).source(error)),
            }
        }
        state.prepared()
    }

    /// The system does not say which of the two is missing, the program or the folder that it is to work in.
    fn cannot_start(&self, program: &str, error: io::Error) -> Error {
        let failed = Error::new(ErrorKind::StartFailed, format!("cannot start {program}")).source(error);
        match &self.directory {
            Some(directory) if !directory.is_dir() => {
                failed.help(format!("there is no folder {}, which is to be its working directory", directory.display()))
            }
            _ => failed,
        }
    }

    /// The service itself, for the guardian to start.
    pub(super) fn launch(&self, spec: &Spec) -> Result<(Launch, LogMark)> {
        let first = spec.ladder.first().map_or(FORCE, |step| step.signal);
        let mark = LogMark::before_start(&self.log);
        let keep = self.locks.iter().map(port::Lock::try_clone).collect::<io::Result<_>>()?;
        let needs = self.needs.iter().map(ServiceHandle::need).collect::<Result<Vec<Need>>>()?;
        let mut environment = self.environment.clone();
        if let Some(notify) = &self.notify {
            environment.push(("NOTIFY_SOCKET".into(), notify.address().to_owned()));
        }
        let program = program(&self.line, &environment, self.directory.as_deref(), first)?;
        Ok((Launch { program, log: open_log(spec, &self.log)?, keep, needs }, mark))
    }

    /// Waits until the service is ready.
    pub(super) fn await_ready(
        &self,
        spec: &Spec,
        guardian: Option<u32>,
        mark: &LogMark,
        started: io::Result<Spawned>,
    ) -> Result<ServiceInfo> {
        let program = sys::program::quoted(&self.line.program);
        let failed = |what: String| Error::new(ErrorKind::StartFailed, what);
        let Spawned { pid, start, reports } = started.map_err(|error| self.cannot_start(&program, error))?;
        let ended = |mut reports: Reports, log: &[String]| {
            /// The guardian reaps at once.
            const REAPING: u64 = 5000;
            let how = reports.ended(REAPING).ok().flatten().map_or_else(|| "ended".into(), sys::program::ended);
            Err(failed(format!("{program} {how} before it was ready{}", log_in_words(log))))
        };
        let Some(process) = Process::open_recorded(pid, start)? else {
            return ended(reports, &ready::last_lines(mark, LOG_LINES));
        };
        let context = Context {
            process: &process,
            pid,
            guardian,
            log: Some(mark),
            notify: self.notify.as_ref(),
            directory: self.directory.as_deref(),
            environment: &self.environment,
        };
        let limit = spec.settings.start_timeout;
        let deadline = Instant::now() + limit;
        let mut progress = |saw: &str| tracing::debug!(service = %spec.name, saw, "waits until it is ready");
        match ready::wait(&self.ready, &context, deadline, &mut progress) {
            Ok(()) => {}
            Err(NotReady::Ended { log }) => return ended(reports, &log),
            Err(not_ready @ NotReady::TimedOut { .. }) => {
                let what = format!("{program} had {limit:?}, and {not_ready}");
                return Err(Error::new(ErrorKind::TimedOut, what));
            }
            Err(NotReady::CannotProbe(what)) => return Err(failed(what)),
        }
        let mut info = ServiceInfo::new(pid, self.ports.first().map_or(0, |(_, number)| *number));
        for (name, number) in &self.ports {
            info = info.with_metadata(name, number.to_string());
        }
        let state = self.state.as_ref().map(|state| ("state", state.folder.as_path()));
        let run = self.run.as_deref().map(|run| ("run", run));
        for (key, folder) in [state, run, Some(("log", self.log.as_path()))].into_iter().flatten() {
            info = info.with_metadata(key, folder.to_string_lossy());
        }
        Ok(self.metadata.iter().fold(info, |info, (key, value)| info.with_metadata(key, value)))
    }
}

/// A command of a service, for the guardian to start.
fn program(
    line: &CommandLine,
    own: &[(OsString, OsString)],
    directory: Option<&Path>,
    floor_signal: i32,
) -> Result<Program> {
    let inherited = std::env::vars_os().filter(|(variable, _)| {
        let is = |other: &OsStr| service::is_same_variable(variable, other);
        !own.iter().any(|(own, _)| is(own)) && !NOT_INHERITED.iter().any(|other| is(other.as_ref()))
    });
    let environment = inherited.chain(own.iter().cloned());
    let arguments = std::iter::once(&line.program).chain(&line.arguments);
    let directory = directory.map_or_else(folder::root, Path::to_owned);
    Ok(Program::new(&find_program(&line.program)?, &directory, arguments, environment, floor_signal)?)
}

fn name<'a>(spec: &'a Spec, command: &'a ServiceCommand) -> &'a str {
    command.display_name.as_deref().unwrap_or(spec.name.as_str())
}

/// The command that stops a service which runs already, filled in with what that one has published, and its environment.
/// `None`: it has none, or what it has published is lost.
fn stop_line(spec: &Spec, info: &ServiceInfo) -> Option<(CommandLine, Vec<(OsString, OsString)>)> {
    let command = spec.declared.as_ref()?;
    let stop = command.stop.as_ref()?;
    let folder = |key: &str| info.get(key).map(PathBuf::from);
    let state = folder("state").or_else(|| state_folder(spec, command).ok()).unwrap_or_default();
    let run = folder("run").unwrap_or_else(|| spec.hints.beside("run"));
    let mut values = Values::of_itself(name(spec, command), &state, &run);
    for (port, _) in &command.ports {
        values.add(port, info.get(port)?);
    }
    // What came from a service that is needed is not known any more.
    let known = |(name, value): &(OsString, OsString)| Some((name.clone(), values.expand_os(value).ok()?));
    Some((stop.expand(&values).ok()?, command.environment.iter().filter_map(known).collect()))
}

/// The same for a guardian.
pub(super) fn stopper(spec: &Spec, info: &ServiceInfo) -> Option<Stopper> {
    let (line, environment) = stop_line(spec, info)?;
    let log = info.get("log").map_or_else(|| spec.hints.beside("log"), PathBuf::from);
    let made = program(&line, &environment, spec.declared.as_ref()?.directory.as_deref(), 0)
        .and_then(|program| Ok(Stopper { program, log: open_log(spec, &log)? }));
    let warn =
        |error: &Error| tracing::warn!(service = %spec.name, %error, "no guardian can run the command that stops it");
    made.inspect_err(warn).ok()
}

/// Asks a service to stop by its command. What is left of the command ends when this is dropped. `None`: it has no command,
/// or that cannot be run.
pub(super) fn ask_to_stop(spec: &Spec, info: &ServiceInfo) -> Option<Group> {
    let (line, environment) = stop_line(spec, info)?;
    let directory = spec.declared.as_ref()?.directory.clone().unwrap_or_else(folder::root);
    let run = || {
        let mut command = std::process::Command::new(find_program(&line.program)?);
        command.args(&line.arguments).envs(environment).current_dir(directory);
        Ok::<_, Error>(Group::start(&mut command)?)
    };
    run().inspect_err(|error| tracing::warn!(service = %spec.name, %error, "cannot run the command that stops it")).ok()
}

fn expand_pairs<K: Clone, V, W>(pairs: &[(K, V)], expand: impl Fn(&V) -> Result<W>) -> Result<Vec<(K, W)>> {
    pairs.iter().map(|(key, value)| Ok((key.clone(), expand(value)?))).collect()
}

/// A private folder that lasts, and beside it the note whether the service's data have been prepared in it.
#[derive(Debug)]
struct State {
    folder: PathBuf,
    note: PathBuf,
}

/// What the note says: that all is done; that it was begun in an empty folder, so whatever is there is of no use; or that it
/// was begun in one that somebody had filled.
const DONE: &str = "prepared\n";
const BEGUN_EMPTY: &str = "begun in an empty folder\n";
const BEGUN_FILLED: &str = "begun in a folder with something in it\n";

impl State {
    fn make(folder: PathBuf) -> Result<Self> {
        let mut note = folder.clone().into_os_string();
        note.push(".prepared");
        let state = Self { folder, note: note.into() };
        if !state.folder.exists() {
            state.forget().map_err(|error| state.cannot("make", error))?;
        }
        folder::make_private(&state.folder).map_err(|error| state.cannot("make", error))?;
        Ok(state)
    }

    fn cannot(&self, verb: &str, error: io::Error) -> Error {
        let what = format!("cannot {verb} the service's folder {}", self.folder.display());
        Error::new(ErrorKind::StartFailed, what).source(error)
    }

    fn forget(&self) -> io::Result<()> {
        match files::patiently(|| std::fs::remove_file(&self.note)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, what: &str) -> Result<()> {
        // Whole or not at all: a note that is cut off would say that nothing was begun.
        let new = self.note.with_extension("new");
        files::patiently(|| std::fs::write(&new, what))
            .and_then(|()| files::patiently(|| std::fs::rename(&new, &self.note)))
            .map_err(|error| self.cannot("write down what has been prepared beside", error))
    }

    /// Notes that it is begun, in a folder without leavings of an earlier attempt. `Ok(false)`: it has been done.
    fn begin_preparing(&self) -> Result<bool> {
        let note = match files::patiently(|| std::fs::read_to_string(&self.note)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            // What is done may not be done again.
            note => note.map_err(|error| self.cannot("read what has been prepared beside", error))?,
        };
        match note.as_str() {
            DONE => return Ok(false),
            BEGUN_FILLED => return Ok(true),
            BEGUN_EMPTY => folder::empty(&self.folder).map_err(|error| self.cannot("empty", error))?,
            _ => {}
        }
        let mut entries = std::fs::read_dir(&self.folder).map_err(|error| self.cannot("read", error))?;
        self.write(if entries.next().is_none() { BEGUN_EMPTY } else { BEGUN_FILLED })?;
        Ok(true)
    }

    fn prepared(&self) -> Result<()> {
        self.write(DONE)
    }
}

/// An error says why nobody knows where it is.
fn state_folder(spec: &Spec, command: &ServiceCommand) -> Result<PathBuf, &'static str> {
    let own = || Ok(folder::state_home()?.join("procref").join(spec.name.as_str()).join("state"));
    command.state.clone().map_or_else(own, Ok)
}

fn no_state(why: &str) -> Error {
    Error::new(ErrorKind::StartFailed, format!("there is no place for {{state}}: {why}"))
        .help("set that, or name a folder by `state_dir`")
}

/// An empty folder for one run.
fn fresh_folder(path: PathBuf) -> Result<PathBuf> {
    let cannot = |error| {
        Error::new(ErrorKind::StartFailed, format!("cannot make the folder {} for this run", path.display()))
            .source(error)
    };
    folder::make_private(&path).and_then(|()| folder::empty(&path)).map_err(cannot)?;
    Ok(path)
}

/// A log of procref's own does not grow for ever: what is long is put aside when the service is started anew.
fn keep_short(log: &Path) {
    const LONG: u64 = 1 << 20;
    if std::fs::symlink_metadata(log).is_ok_and(|metadata| metadata.is_file() && metadata.len() > LONG) {
        let _ = std::fs::rename(log, log.with_extension("old.log"));
    }
}

fn log_in_words(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    format!("; the last lines of its log:\n    {}", log.join("\n    "))
}

/// How much of its log a service that failed shows.
const LOG_LINES: usize = 20;

/// What belongs to the process that happens to start the service, or to a service that this process is part of.
const NOT_INHERITED: [&str; 6] =
    ["PROCREF_INSTANCE", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"];

/// A socket in the folder; one without a file where the path is too long for a socket. Whoever may send to that one, only
/// the service's own processes are heard.
fn bind_notify(spec: &Spec) -> io::Result<NotifySocket> {
    let name = format!("procref-notify-{}-{}", spec.name, sys::current_pid());
    NotifySocket::bind(&spec.hints.beside("notify"), &name)
}

fn open_log(spec: &Spec, path: &Path) -> Result<File> {
    let cannot = |error: io::Error| {
        Error::new(ErrorKind::StartFailed, format!("cannot open the service's log {}", path.display())).source(error)
    };
    spec.hints.prepare_folder().and_then(|()| files::open_log(path)).map_err(cannot)
}

fn taken(number: u16) -> Error {
    let what = format!("another service of procref has the port {number}");
    Error::new(ErrorKind::StartFailed, what).help("leave the choice of the number to procref, or stop the other one")
}

/// A free port that no other service of procref has. The lock is kept for as long as the service may run.
///
/// Not one of those that the system gives to whoever connects to somewhere: such a one can be taken before the service
/// comes to it, and a probe of it can even connect to itself.
fn pick_port() -> Result<(u16, port::Lock)> {
    const LOWEST: u16 = 10_240;
    let end = port::first_ephemeral();
    let span = end.saturating_sub(LOWEST);
    // Anywhere, so that two programs that know nothing of each other seldom meet.
    let begin = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) % u64::from(span.max(1));
    let mut numbers = (0..span).map(|step| LOWEST + ((begin + u64::from(step)) % u64::from(span)) as u16);
    let bind = |number| TcpListener::bind((Ipv4Addr::LOCALHOST, number));
    while let Some(number) = next_free(&mut numbers, bind)? {
        if let Some(lock) = port::Lock::take(number)? {
            return Ok((number, lock));
        }
    }
    Err(Error::new(ErrorKind::LimitReached, format!("no port from {LOWEST} to {end} is free")))
}

/// The next of these ports that nobody has. What has nothing to do with the port is an error.
fn next_free<T>(
    numbers: &mut impl Iterator<Item = u16>,
    mut bind: impl FnMut(u16) -> io::Result<T>,
) -> Result<Option<u16>> {
    for number in numbers {
        match bind(number).map_err(|error| (error.kind(), error)) {
            Ok(_) => return Ok(Some(number)),
            Err((io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied, _)) => {}
            Err((_, error)) => {
                return Err(Error::new(ErrorKind::StartFailed, "cannot look for a free port").source(error));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_passed_over_and_anything_else_is_said_at_once() {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, Other, OutOfMemory, PermissionDenied};
        let bind = |kinds: Vec<io::ErrorKind>| {
            let mut kinds = kinds.into_iter();
            move |_| kinds.next().map_or(Ok(()), |kind| Err(io::Error::from(kind)))
        };
        let free = next_free(&mut (1..4), bind(vec![AddrInUse, PermissionDenied])).expect("there is one");
        assert_eq!(free, Some(3));
        assert_eq!(next_free(&mut (1..3), bind(vec![AddrInUse; 2])).expect("no error"), None);
        for kind in [Other, OutOfMemory, AddrNotAvailable] {
            let mut numbers = 1..4;
            let error = next_free(&mut numbers, bind(vec![AddrInUse, kind, kind])).map(drop);
            let error = error.expect_err("no other port would do").to_string();
            assert!(error.contains(&kind.to_string()), "{error}");
            assert_eq!(numbers, 3..4, "it is not tried again");
        }
    }
}
