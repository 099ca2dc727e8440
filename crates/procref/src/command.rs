//! Services that are declared by a command instead of callbacks.

use crate::error::{Error, ErrorKind, Result};
use crate::ready::Ready;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The most ports that a service has: its guardian keeps a lock for each.
const MOST_PORTS: usize = 64;

/// A service as a command: what to start, and how it shows that it is ready.
///
/// The guardian starts it as its own child: in a session of its own, without any descriptor, terminal or signal mask of the
/// client that happened to be the first, and leaves none of its descendants behind when it stops. Arguments,
/// environment and readiness may name the service's ports: `{port}` stands for the number of the port that was declared
/// as `port`, `{name}` for the service's name, and `{{` and `}}` for braces.
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
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a command does nothing until a service is built with it"]
pub struct ServiceCommand {
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) ports: Vec<(String, Option<u16>)>,
    pub(crate) ready: Ready,
    pub(crate) log: Option<PathBuf>,
}

impl ServiceCommand {
    /// This program, without arguments: a path, or a name that is looked up in `PATH`. Never a shell's command line.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            ports: Vec::new(),
            ready: Ready::none(),
            log: None,
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
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

    /// What is wrong with it, as far as that can be seen without trying.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
        if self.program.is_empty() {
            return wrong("the command has no program".into());
        }
        if self.ports.len() > MOST_PORTS {
            return wrong(format!("the command has {} ports, and may have {MOST_PORTS}", self.ports.len()));
        }
        for (index, (name, number)) in self.ports.iter().enumerate() {
            let good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if !good || name == "name" {
                return wrong(format!(
                    "a port cannot be named {name:?}: a name has letters, digits, '-' and '_', and is not \"name\""
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
        for path in [self.directory.as_deref(), self.log.as_deref()].into_iter().flatten() {
            if !path.is_absolute() {
                return wrong(format!(
                    "{} is not an absolute path, and would mean another one for every client",
                    path.display()
                ));
            }
        }
        // With any numbers: are all placeholders known?
        let ports: Vec<_> = self.ports.iter().map(|(name, _)| (name.clone(), 1)).collect();
        let expand = |text: &OsStr| expand_os(text, "x", &ports);
        self.arguments
            .iter()
            .chain(self.environment.iter().map(|(_, value)| value))
            .try_for_each(|text| expand(text).map(drop))?;
        let ready = self.ready.expand(|text| expand_text(text, "x", &ports))?;
        ready.check().map_err(|what| Error::new(ErrorKind::InvalidInput, format!("readiness: {what}")))
    }
}

/// The program's file: itself where it is a path, else the first of that name in `PATH`.
pub(crate) fn find_program(program: &OsStr) -> Result<PathBuf> {
    let path = Path::new(program);
    if path.components().count() > 1 {
        return std::path::absolute(path).map_err(Error::from);
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let candidates = std::env::split_paths(&folders).map(|folder| folder.join(path));
    candidates.into_iter().find(|candidate| is_program(candidate)).ok_or_else(|| {
        Error::new(ErrorKind::StartFailed, format!("there is no program {program:?} in PATH"))
            .help("install it, or name its path")
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// The text with its placeholders replaced. What is not UTF-8 has none.
pub(crate) fn expand_os(text: &OsStr, name: &str, ports: &[(String, u16)]) -> Result<OsString> {
    match text.to_str() {
        Some(text) => expand_text(text, name, ports).map(OsString::from),
        None => Ok(text.to_owned()),
    }
}

pub(crate) fn expand_text(text: &str, name: &str, ports: &[(String, u16)]) -> Result<String> {
    let wrong = |what: String| {
        let known: Vec<_> = ports.iter().map(|(name, _)| format!("{{{name}}}")).collect();
        Error::new(ErrorKind::InvalidInput, what)
            .help(format!("known are {{name}} {}; a brace itself is {{{{ or }}}}", known.join(" ")))
    };
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        expanded.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            expanded.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            expanded.push('}');
            rest = after;
        } else if let Some((placeholder, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) {
            match ports.iter().find(|(name, _)| name == placeholder) {
                Some((_, number)) => expanded.push_str(&number.to_string()),
                None if placeholder == "name" => expanded.push_str(name),
                None => return Err(wrong(format!("there is no placeholder {{{placeholder}}} in {text:?}"))),
            }
            rest = after;
        } else {
            return Err(wrong(format!("a brace in {text:?} has no partner")));
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        let ports = [("port".to_owned(), 5432), ("web-ui".to_owned(), 80)];
        let good = [
            ("", ""),
            ("--port={port}", "--port=5432"),
            ("{port}{web-ui}{name}", "543280db"),
            ("{{port}} }}{{", "{port} }{"),
            ("{{{port}}}", "{5432}"),
            ("ü{port}ü", "ü5432ü"),
        ];
        for (text, expanded) in good {
            assert_eq!(expand_text(text, "db", &ports).expect("it can be expanded"), expanded);
        }
        for bad in ["{", "}", "{port", "port}", "{}", "{ports}", "{{port}"] {
            let error = expand_text(bad, "db", &ports).expect_err("it cannot be expanded");
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
