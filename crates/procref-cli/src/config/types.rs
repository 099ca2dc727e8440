//! What a service is, as declared. Nothing here is looked up or started yet.

use super::template::Template;
use procref::StopSignal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One `[services.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceConfig {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    /// The program and its arguments: at least the program.
    pub(crate) command: Vec<Template>,
    /// Commands that have to succeed once before the first start.
    pub(crate) prepare: Vec<Vec<Template>>,
    pub(crate) ports: Vec<Port>,
    pub(crate) ready: Ready,
    pub(crate) stop: Stop,
    /// How long the service stays after its last client.
    pub(crate) linger: Duration,
    /// For the clients.
    pub(crate) env: BTreeMap<String, Template>,
    /// For the service itself, its `prepare` and its other commands.
    pub(crate) service_env: BTreeMap<String, Template>,
    /// The working directory. A relative one, and none, begin at [`Origin::folder`].
    pub(crate) dir: Option<Template>,
    /// The log file. A relative one begins at [`Origin::folder`], too.
    pub(crate) log: Option<Template>,
    /// The services that this one holds while it runs, in the order in which they are listed.
    pub(crate) needs: Vec<String>,
    pub(crate) scope: Scope,
}

impl ServiceConfig {
    /// Every text with placeholders, and the key that it stands under.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        fn under<'a>(
            key: &'static str,
            texts: impl IntoIterator<Item = &'a Template>,
        ) -> impl Iterator<Item = (&'static str, &'a Template)> {
            texts.into_iter().map(move |text| (key, text))
        }
        let ready: Vec<&Template> = match &self.ready.probe {
            Probe::Started | Probe::Notify => Vec::new(),
            Probe::Tcp(text) | Probe::Unix(text) | Probe::Http(text) | Probe::Log(text) => vec![text],
            Probe::Exec(command) => command.iter().collect(),
        };
        let stop = match &self.stop.ask {
            Ask::Signal(_) => [].as_slice(),
            Ask::Command(command) => command,
        };
        under("command", &self.command)
            .chain(under("prepare", self.prepare.iter().flatten()))
            .chain(under("ready", ready))
            .chain(under("stop", stop))
            .chain(under("env", self.env.values()))
            .chain(under("service_env", self.service_env.values()))
            .chain(under("dir", &self.dir))
            .chain(under("log", &self.log))
    }
}

/// Where a service is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) place: Place,
    pub(crate) file: PathBuf,
    /// From 1.
    pub(crate) line: usize,
}

impl Origin {
    /// The file's folder: the project's, if it is a project's file.
    pub(crate) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("/"))
    }
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The nearest `procref.toml` upwards.
    Project,
    /// The user's own.
    User,
}

/// A port and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// Without one, a free port is picked.
    pub(crate) number: Option<u16>,
}

/// When the service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) probe: Probe,
    /// `None`: as long as a start may take.
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// As soon as it has been started.
    Started,
    /// Somebody accepts at `[HOST:]PORT`.
    Tcp(Template),
    /// Somebody accepts at this Unix socket.
    Unix(Template),
    /// A GET of `http://HOST[:PORT][/PATH]` is answered with 2xx.
    Http(Template),
    /// This command exits with 0.
    Exec(Vec<Template>),
    /// A line with this text is written to the log.
    Log(Template),
    /// The service says `READY=1` to `$NOTIFY_SOCKET`.
    Notify,
}

/// How the service is asked to stop, and how long it has until SIGKILL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) ask: Ask,
    pub(crate) grace: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Signal(StopSignal),
    Command(Vec<Template>),
}

impl Default for Stop {
    /// As [`procref::StopLadder`] has it.
    fn default() -> Self {
        Self { ask: Ask::Signal(StopSignal::Terminate), grace: Duration::from_secs(10) }
    }
}

/// Who shares a service; the wider one is the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Scope {
    /// The processes of one test run.
    Run,
    /// All within the project's folder.
    Project,
    /// All of the user's processes.
    User,
}

impl Scope {
    pub(crate) const ALL: [Self; 3] = [Self::Project, Self::User, Self::Run];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Project => "project",
            Self::User => "user",
        }
    }
}
