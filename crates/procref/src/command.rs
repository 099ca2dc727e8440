//! Services that are declared by a command instead of callbacks.

use crate::blocking::SharedService;
use crate::error::{Error, ErrorKind, Result};
use crate::ready::Ready;
use crate::sys::program;
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The most ports that a service has: its guardian keeps a lock for each.
const MOST_PORTS: usize = 64;
/// The most services that a service needs: it inherits a descriptor for each.
const MOST_NEEDS: usize = 32;

/// A service as a command: what to start, and how it shows that it is ready.
///
/// The guardian starts it as its own child: in a session of its own, without any descriptor, terminal or signal mask of the
/// client that happened to be the first, and leaves none of its descendants behind when it stops.
///
/// # Platform-specific behavior
///
/// On Windows the first client starts it, in a job that ends with the last one and takes all descendants along, and with a
/// console of its own that nobody sees. A batch file cannot be one: name `cmd.exe` with `/c`.
///
/// # Placeholders
///
/// The service's texts (arguments, environment, readiness, metadata, the commands to prepare and to stop it) may say:
///
/// | | |
/// |---|---|
/// | `{port}` | the number of the port that was declared as `port`; any other port by its name |
/// | `{state}` | a private folder that lasts: the next start finds what this one leaves ([`state_dir`](Self::state_dir)) |
/// | `{run}` | a private folder for one run, empty at the start and removed when the service has stopped |
/// | `{name}` | the service's name |
/// | `{db.port}` | what the service that is [needed](Self::needs) as `db` publishes as `port` |
/// | `{{`, `}}` | braces |
///
/// ```no_run
/// use procref::ready::Ready;
/// use procref::{ServiceCommand, blocking::SharedService};
///
/// # fn main() -> procref::Result<()> {
/// let redis = ServiceCommand::new("redis-server")
///     .args(["--port", "{port}", "--save", "", "--appendonly", "no"])
///     .port("port")
///     .ready(Ready::tcp("{port}"));
/// let service = SharedService::builder("cache").command(redis).build()?;
/// let handle = service.acquire()?;
/// println!("redis listens on port {}", handle.info().port());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a command does nothing until a service is built with it"]
pub struct ServiceCommand {
    pub(crate) line: CommandLine,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) ports: Vec<(String, Option<u16>)>,
    pub(crate) ready: Ready,
    pub(crate) log: Option<PathBuf>,
    pub(crate) prepare: Vec<CommandLine>,
    pub(crate) stop: Option<CommandLine>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) needs: Vec<(String, SharedService)>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) display_name: Option<String>,
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct CommandLine {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

impl CommandLine {
    fn new<A: Into<OsString>>(program: impl Into<OsString>, arguments: impl IntoIterator<Item = A>) -> Self {
        Self { program: program.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// The same with its placeholders replaced.
    pub(crate) fn expand(&self, values: &Values) -> Result<Self> {
        let arguments = self.arguments.iter().map(|argument| values.expand_os(argument)).collect::<Result<_>>()?;
        Ok(Self { program: values.expand_os(&self.program)?, arguments })
    }
}

impl ServiceCommand {
    /// This program, without arguments: a path, or a name that is looked up in `PATH`, then where servers are that
    /// systems keep out of it: `/usr/local/sbin`, `/usr/sbin`, `/sbin`, and Debian's newest
    /// `/usr/lib/postgresql/VERSION/bin`. Never a shell's command line.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            line: CommandLine::new(program, [] as [OsString; 0]),
            environment: Vec::new(),
            directory: None,
            ports: Vec::new(),
            ready: Ready::none(),
            log: None,
            prepare: Vec::new(),
            stop: None,
            state: None,
            needs: Vec::new(),
            metadata: Vec::new(),
            display_name: None,
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.line.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.line.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable for the service's environment, which otherwise is that of the process that happens to start it.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The service's working directory. `/` by default: the one of the process that happens to start it means nothing to
    /// the others.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// A port of this name, picked at every start among those that are free on the loopback interface. No two services
    /// of procref get the same one. The first port is [`ServiceInfo::port`](crate::ServiceInfo::port); clients find all
    /// of them by name in the metadata.
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.ports.push((name.into(), None));
        self
    }

    /// A port of this name with a fixed number.
    pub fn fixed_port(mut self, name: impl Into<String>, number: u16) -> Self {
        self.ports.push((name.into(), Some(number)));
        self
    }

    /// How the service shows that it is ready. By default it is ready when it has been started.
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// Where the service's output goes, to the end of the file. By default a file in the
    /// [runtime folder](crate::blocking::Builder::runtime_dir), which stays when all else has gone.
    pub fn log_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// A command that has to succeed once, before the first start: one more, after those that were named before.
    ///
    /// It runs as the service itself does: as the guardian's child, with the service's environment and working
    /// directory, and its output in the service's log. If one fails, or is killed with the process that starts the
    /// service, the start has failed, and the next one does all of them again; what they have left in `{state}` is removed
    /// before, if the folder was empty when they were first begun. That they were done is noted beside the state folder,
    /// in a file whose name is the folder's with `.prepared` behind it; where the folder is missing, they are done anew. Each may
    /// take as long as a start may ([`start_timeout`](crate::blocking::Builder::start_timeout)).
    pub fn prepare<A: Into<OsString>>(
        mut self,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.prepare.push(CommandLine::new(program, arguments));
        self
    }

    /// A command that asks the service to stop, in place of the first signal of the
    /// [stop ladder](crate::blocking::Builder::stop_ladder), whose grace it has. What it does not achieve in that time
    /// the rest of the ladder does. It may name ports, `{state}`, `{run}` and `{name}`.
    pub fn stop_command<A: Into<OsString>>(
        mut self,
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        self.stop = Some(CommandLine::new(program, arguments));
        self
    }

    /// The folder that `{state}` stands for. It is made, for this user alone, where it is missing, and never removed. By
    /// default `procref/NAME/state` in `$XDG_STATE_HOME`, or in `~/.local/state`.
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
        self
    }

    /// Another service that this one needs, and what it is called in placeholders.
    ///
    /// It is acquired before this service is started. The service's own process then holds a reference, which the kernel
    /// takes back when that process ends: so what is needed stays until this service has stopped, whoever is killed.
    ///
    /// # Platform-specific behavior
    ///
    /// The service inherits a descriptor for each service that it needs. On Windows what it needs ends with it, without being
    /// asked, when its last client was killed or when it ends by itself; who releases it as the last one sees to both, and
    /// that takes as long as both take. What lingers is always asked.
    pub fn needs(mut self, label: impl Into<String>, service: &SharedService) -> Self {
        self.needs.push((label.into(), service.clone()));
        self
    }

    /// Something more that clients get to know of the running service, as [`ServiceInfo::get`](crate::ServiceInfo::get) has it.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.push((key.into(), value.into()));
        self
    }

    /// What `{name}` stands for, where it is not the service's own name.
    pub fn display_name(mut self, name: impl Into<String>) -> Self {
        self.display_name = Some(name.into());
        self
    }

    /// All of its texts but readiness.
    fn texts(&self) -> impl Iterator<Item = &OsStr> {
        let lines = std::iter::once(&self.line).chain(&self.prepare);
        let words = lines.flat_map(|line| std::iter::once(&line.program).chain(&line.arguments));
        let values = self.environment.iter().map(|(_, value)| value);
        let metadata = self.metadata.iter().map(|(_, value)| OsStr::new(value));
        words.chain(values).map(OsString::as_os_str).chain(metadata)
    }

    /// What is wrong with it, as far as that can be seen without trying.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
        let lines = std::iter::once(&self.line).chain(&self.prepare).chain(&self.stop);
        if lines.into_iter().any(|line| line.program.is_empty()) {
            return wrong("the command has no program".into());
        }
        if self.needs.len() > MOST_NEEDS {
            return wrong(format!("the command needs {} services, and may need {MOST_NEEDS}", self.needs.len()));
        }
        if self.ports.len() > MOST_PORTS {
            return wrong(format!("the command has {} ports, and may have {MOST_PORTS}", self.ports.len()));
        }
        for (index, (name, number)) in self.ports.iter().enumerate() {
            if !is_word(name) || RESERVED.contains(&name.as_str()) {
                return wrong(format!(
                    "a port cannot be named {name:?}: a name has letters, digits, '-' and '_', and is none of {RESERVED:?}"
                ));
            }
            if *number == Some(0) {
                return wrong(format!("the port {name:?} cannot have the number 0"));
            }
            if self.ports.iter().take(index).any(|(other, _)| other == name) {
                return wrong(format!("two ports are named {name:?}"));
            }
        }
        for (name, _) in &self.environment {
            if name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
                return wrong(format!("a variable of the environment cannot be named {name:?}"));
            }
        }
        for (index, (label, _)) in self.needs.iter().enumerate() {
            if label.is_empty() || label.contains(['{', '}']) {
                return wrong(format!("a service that is needed cannot be called {label:?}"));
            }
            if self.needs.iter().take(index).any(|(other, _)| other == label) {
                return wrong(format!("two services that are needed are called {label:?}"));
            }
        }
        for path in [&self.directory, &self.log, &self.state].into_iter().flatten() {
            if !path.is_absolute() {
                return wrong(format!(
                    "{} is not an absolute path, and would mean another one for every client",
                    path.display()
                ));
            }
        }
        // With any values: are all placeholders known?
        let mut values = Values::of_itself("x", "/x".as_ref(), "/x".as_ref());
        self.ports.iter().for_each(|(name, _)| values.add(name, "1"));
        if let Some(stop) = &self.stop {
            stop.expand(&values)?;
        }
        values.any_of = self.needs.iter().map(|(label, _)| format!("{label}.")).collect();
        self.texts().try_for_each(|text| values.expand_os(text).map(drop))?;
        self.ready.is_supported().map_err(|what| Error::new(ErrorKind::Unsupported, format!("readiness: {what}")))?;
        let ready = self.ready.expand(|text| values.expand(text))?;
        ready.check().map_err(|what| Error::new(ErrorKind::InvalidInput, format!("readiness: {what}")))
    }
}

/// The placeholders that every service has.
const RESERVED: [&str; 3] = ["name", "state", "run"];

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The program's file: itself where it is a path, else the first of that name in `PATH`.
pub(crate) fn find_program(name: &OsStr) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.components().count() > 1 {
        let path = std::path::absolute(path).map_err(Error::from)?;
        return Ok(program::file(&path).unwrap_or(path));
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| program::DEFAULT_PATH.into());
    let mut folders = std::env::split_paths(&folders).chain(program::more_folders());
    folders.find_map(|folder| program::file(&folder.join(path))).ok_or_else(|| {
        Error::new(ErrorKind::StartFailed, format!("there is no program {} in PATH", program::quoted(name)))
            .help("install it, or name its path")
    })
}

/// What placeholders stand for.
#[derive(Debug, Default)]
pub(crate) struct Values {
    entries: Vec<(String, OsString, Cell<bool>)>,
    /// Whatever begins so will do, for who only wants to know whether a text can be right.
    any_of: Vec<String>,
}

impl Values {
    /// What every service has.
    pub(crate) fn of_itself(name: &str, state: &Path, run: &Path) -> Self {
        let mut values = Self::default();
        values.add("name", name);
        values.add("state", state);
        values.add("run", run);
        values
    }

    pub(crate) fn add(&mut self, name: &str, value: impl Into<OsString>) {
        self.entries.push((name.to_owned(), value.into(), Cell::new(false)));
    }

    /// Whether a text had this placeholder.
    pub(crate) fn is_used(&self, name: &str) -> bool {
        self.entries.iter().any(|(known, _, used)| known == name && used.get())
    }

    /// The text with its placeholders replaced. What is not UTF-8 has none.
    pub(crate) fn expand_os(&self, text: &OsStr) -> Result<OsString> {
        let Some(text) = text.to_str() else { return Ok(text.to_owned()) };
        let wrong = |what: String| {
            let known: Vec<_> = self.entries.iter().map(|(name, ..)| format!("{{{name}}}")).collect();
            Error::new(ErrorKind::InvalidInput, what)
                .help(format!("known are {}; a brace itself is {{{{ or }}}}", known.join(" ")))
        };
        let mut expanded = OsString::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            expanded.push(before);
            if let Some(after) = from.strip_prefix("{{") {
                expanded.push("{");
                rest = after;
            } else if let Some(after) = from.strip_prefix("}}") {
                expanded.push("}");
                rest = after;
            } else if let Some((placeholder, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) {
                match self.entries.iter().find(|(name, ..)| name == placeholder) {
                    Some((_, value, used)) => {
                        used.set(true);
                        expanded.push(value);
                    }
                    None if self.any_of.iter().any(|label| placeholder.starts_with(label)) => expanded.push("1"),
                    None => return Err(wrong(format!("there is no placeholder {{{placeholder}}} in {text:?}"))),
                }
                rest = after;
            } else {
                return Err(wrong(format!("a brace in {text:?} has no partner")));
            }
        }
        expanded.push(rest);
        Ok(expanded)
    }

    pub(crate) fn expand(&self, text: &str) -> Result<String> {
        self.expand_os(OsStr::new(text))?.into_string().map_err(|text| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("{} is not UTF-8, and has to be, in this place", text.display()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        let mut values = Values::of_itself("db", "/s".as_ref(), "/r".as_ref());
        values.add("port", "5432");
        values.add("web-ui", "80");
        values.add("queue.v2.port", "4222");
        let good = [
            ("{queue.v2.port}{state}{run}", "4222/s/r"),
            ("", ""),
            ("--port={port}", "--port=5432"),
            ("{port}{web-ui}{name}", "543280db"),
            ("{{port}} }}{{", "{port} }{"),
            ("{{{port}}}", "{5432}"),
            ("ü{port}ü", "ü5432ü"),
        ];
        for (text, expanded) in good {
            assert_eq!(values.expand(text).expect("it can be expanded"), expanded);
        }
        for bad in ["{", "}", "{port", "port}", "{}", "{ports}", "{{port}"] {
            let error = values.expand(bad).expect_err("it cannot be expanded");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}");
        }
    }

    #[test]
    fn commands_that_cannot_be() {
        let command = || ServiceCommand::new("true");
        assert!(command().check().is_ok());
        let bad = [
            ServiceCommand::new(""),
            command().port(""),
            command().port("a b"),
            command().port("name"),
            command().port("run"),
            command().prepare("", ["x"]),
            command().prepare("x", ["{nope}"]),
            command().stop_command("x", ["{nope}"]),
            command().metadata("x", "{nope}"),
            command().state_dir("relative"),
            command().arg("{db.port}"),
            command().port("a").port("a"),
            command().fixed_port("a", 0),
            command().arg("{nope}"),
            command().env("a", "{"),
            command().env("a=b", ""),
            command().current_dir("relative"),
            command().log_file("relative"),
            command().ready(Ready::tcp("{nope}")),
        ];
        for command in bad {
            assert_eq!(command.check().expect_err("it cannot be").kind(), ErrorKind::InvalidInput, "{command:?}");
        }
    }
}
