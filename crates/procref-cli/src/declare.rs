//! From what is declared to what procref starts: a [`ServiceConfig`] as a [`SharedService`].

use crate::config::{self, Ask, Placeholder, Probe, ServiceConfig, Template, Values};
use crate::folders::{self, Folders};
use crate::names::Identity;
use procref::blocking::SharedService;
use procref::ready::Ready;
use procref::{ServiceCommand, ServiceInfo, StopLadder, StopSignal};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::time::Duration;

/// What the command publishes beside what procref does.
pub(crate) mod key {
    pub(crate) const NAME: &str = "procref.name";
    pub(crate) const SCOPE: &str = "procref.scope";
    pub(crate) const FOLDER: &str = "procref.folder";
    pub(crate) const LINGER: &str = "procref.linger_ms";
    /// The signal that asks it to stop, and the grace in milliseconds: for who knows no declaration of it.
    pub(crate) const STOP: &str = "procref.stop";
    /// The names of the ports, the first one first.
    pub(crate) const PORTS: &str = "procref.ports";
    /// Procref's own.
    pub(crate) const LOG: &str = "log";
    pub(crate) const STATE: &str = "state";
    pub(crate) const RUN: &str = "run";
}

/// A service that a declared one needs.
#[derive(Debug)]
pub(crate) struct Need<'a> {
    pub(crate) config: &'a ServiceConfig,
    pub(crate) shared: SharedService,
}

/// # Errors
///
/// What is declared cannot be a service of procref, or there is nowhere to keep its files.
pub(crate) fn shared(
    config: &ServiceConfig,
    identity: &Identity,
    folders: &Folders,
    needs: &[Need<'_>],
) -> Result<SharedService, Box<dyn Error + Send + Sync>> {
    let paths = Paths::of(config, identity, folders)?;
    let mut builder = SharedService::builder(&identity.full)
        .command(command(config, identity, &paths, needs))
        .linger(config.linger)
        .stop_ladder(ladder(config));
    if let Some(limit) = config.ready.timeout {
        builder = builder.start_timeout(limit);
    }
    if let Some(folder) = &folders.runtime {
        builder = builder.runtime_dir(folder);
    }
    Ok(builder.build()?)
}

/// The command that stops it, if it has one, as a declaration of procref's.
///
/// # Errors
///
/// As [`shared`].
pub(crate) fn stopping(
    config: &ServiceConfig,
    identity: &Identity,
    folders: &Folders,
) -> Result<Option<ServiceCommand>, Box<dyn Error + Send + Sync>> {
    match &config.stop.ask {
        Ask::Signal(_) => Ok(None),
        Ask::Command(_) => Ok(Some(command(config, identity, &Paths::of(config, identity, folders)?, &[]))),
    }
}

/// How it is made to stop.
pub(crate) fn ladder(config: &ServiceConfig) -> StopLadder {
    match &config.stop.ask {
        Ask::Signal(_) if config.stop.grace.is_zero() => StopLadder::kill(),
        Ask::Signal(signal) => StopLadder::new(*signal, config.stop.grace),
        Ask::Command(_) => StopLadder::new(StopSignal::Terminate, config.stop.grace),
    }
}

/// The ladder in words, and what [`published_ladder`] makes a ladder of.
fn ladder_in_words(config: &ServiceConfig) -> String {
    let signal = match &config.stop.ask {
        Ask::Signal(signal) => *signal,
        Ask::Command(_) => StopSignal::Terminate,
    };
    format!("{} {}", config::signal_name(signal), config.stop.grace.as_millis())
}

/// How a service is made to stop that has published it.
pub(crate) fn published_ladder(info: &ServiceInfo) -> Option<StopLadder> {
    let (signal, grace) = info.get(key::STOP)?.split_once(' ')?;
    let (signal, grace) = (config::stop_signal(signal).ok()?, Duration::from_millis(grace.parse().ok()?));
    Some(if grace.is_zero() { StopLadder::kill() } else { StopLadder::new(signal, grace) })
}

/// Where the files of a service are.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) state: PathBuf,
    pub(crate) log: PathBuf,
    directory: PathBuf,
}

impl Paths {
    pub(crate) fn of(
        config: &ServiceConfig,
        identity: &Identity,
        folders: &Folders,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let own = folders.of_service(&identity.full)?;
        let state = own.join("state");
        let fixed = config.ports.iter().filter_map(|port| Some((port.name.clone(), port.number?))).collect();
        // What changes from run to run cannot stand in these.
        let values = Values { name: &config.name, state: &state, run: Path::new(""), ports: &fixed };
        let folder = config.origin.folder();
        let path = |text: &Template| text.render(&values).map(|path| folder.join(path));
        let directory = config.dir.as_ref().map_or_else(|| Ok(folder.to_owned()), path)?;
        let log = config.log.as_ref().map_or_else(|| Ok(own.join(folders::LOG)), path)?;
        Ok(Self { state, log, directory })
    }
}

fn command(config: &ServiceConfig, identity: &Identity, paths: &Paths, needs: &[Need<'_>]) -> ServiceCommand {
    let line = |words: &[Template]| {
        let program = words.first().map(|program| program_text(program, &paths.directory)).unwrap_or_default();
        (program, words.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>())
    };
    let (program, arguments) = line(&config.command);
    let mut command = ServiceCommand::new(program)
        .args(arguments)
        .display_name(&config.name)
        .state_dir(&paths.state)
        .current_dir(&paths.directory)
        .log_file(&paths.log);
    for port in &config.ports {
        command = match port.number {
            Some(number) => command.fixed_port(&port.name, number),
            None => command.port(&port.name),
        };
    }
    for words in &config.prepare {
        let (program, arguments) = line(words);
        command = command.prepare(program, arguments);
    }
    if let Ask::Command(words) = &config.stop.ask {
        let (program, arguments) = line(words);
        command = command.stop_command(program, arguments);
    }
    for need in needs {
        command = command.needs(&need.config.name, &need.shared);
    }
    for (variable, value) in environment(config, needs) {
        command = command.env(variable, value);
    }
    command = command.ready(match &config.ready.probe {
        Probe::Started => Ready::none(),
        Probe::Tcp(address) => Ready::tcp(address),
        Probe::Unix(path) => Ready::unix(anchored(path, config.origin.folder())),
        Probe::Http(url) => Ready::http(url.to_string()),
        Probe::Exec(words) => {
            let (program, arguments) = line(words);
            Ready::exec(program, arguments)
        }
        Probe::Log(text) => Ready::log(text.to_string()),
        Probe::Notify => Ready::notify(),
    });
    metadata(command, config, identity)
}

fn metadata(mut command: ServiceCommand, config: &ServiceConfig, identity: &Identity) -> ServiceCommand {
    let ports: Vec<_> = config.ports.iter().map(|port| port.name.as_str()).collect();
    command = command
        .metadata(key::NAME, escaped(&config.name))
        .metadata(key::SCOPE, identity.scope.as_str())
        .metadata(key::PORTS, ports.join(","))
        .metadata(key::STOP, ladder_in_words(config))
        .metadata(key::LINGER, config.linger.as_millis().to_string());
    if let Some(folder) = &identity.folder {
        command = command.metadata(key::FOLDER, escaped(&folder.to_string_lossy()));
    }
    // A folder is made, and told to the clients, where a text names it: also one that only concerns clients, or a path.
    let named = |folder: &Placeholder| config.texts().any(|(_, text)| text.placeholders().any(|used| used == folder));
    for (key, folder) in [(key::STATE, Placeholder::State), (key::RUN, Placeholder::Run)] {
        if named(&folder) {
            command = command.metadata(key, format!("{{{key}}}"));
        }
    }
    command
}

/// The service's own variables, and in front of them what the services say that it needs: `{port}` of the need `db` is
/// `{db.port}` here.
fn environment(config: &ServiceConfig, needs: &[Need<'_>]) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for Need { config: need, .. } in needs {
        for (variable, value) in &need.env {
            let rewritten = value.written_with(|used| match used {
                Placeholder::Port(port) => format!("{{{}.{port}}}", need.name),
                Placeholder::State => format!("{{{}.{}}}", need.name, key::STATE),
                Placeholder::Run => format!("{{{}.{}}}", need.name, key::RUN),
                Placeholder::Name => escaped(&need.name),
            });
            environment.insert(variable.clone(), rewritten);
        }
    }
    environment.extend(config.service_env.iter().map(|(variable, value)| (variable.clone(), value.to_string())));
    environment
}

/// A program with a separator in its name begins at the service's working directory, whoever starts it.
fn program_text(program: &Template, directory: &Path) -> String {
    let text = program.to_string();
    if text.contains(std::path::is_separator) { anchored(program, directory) } else { text }
}

/// A relative path begins at `folder`. An abstract socket's name is none.
fn anchored(path: &Template, folder: &Path) -> String {
    let text = path.to_string();
    let begins = ["@", "{state}", "{run}"].iter().any(|begin| text.starts_with(begin));
    if begins || Path::new(&text).has_root() {
        text
    } else {
        format!("{}{MAIN_SEPARATOR}{text}", escaped(&folder.to_string_lossy()))
    }
}

fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Allowed;

    fn template(text: &str) -> Template {
        Template::parse(text, Allowed::AnyPort).expect("it is one")
    }

    #[test]
    fn paths_begin_somewhere() {
        let folder = Path::new("/p{x}");
        let cases = [
            ("sh", "sh"),
            ("./server", "/p{{x}}/./server"),
            ("bin/{name}", "/p{{x}}/bin/{name}"),
            ("/bin/sh", "/bin/sh"),
            ("{state}/bin/x", "{state}/bin/x"),
        ];
        let joined = |text: &str| text.replace("}}/", &format!("}}}}{MAIN_SEPARATOR}"));
        for (text, program) in cases {
            assert_eq!(program_text(&template(text), folder), joined(program));
        }
        assert_eq!(anchored(&template("socket"), folder), joined("/p{{x}}/socket"));
        assert_eq!(anchored(&template("@abstract"), folder), "@abstract");
    }
}
