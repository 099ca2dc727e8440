//! A service that is declared on the command line: `procref run`. What its options say is read as a file's keys are.

use super::address::{http_url, tcp_address};
use super::read::{example_of, service_name, stop_signal};
use super::template::{Allowed, Placeholder, Template, port_name};
use super::types::{Ask, Origin, Place, Port, Probe, Ready, Scope, ServiceConfig, Stop};
use super::{Mistake, duration};
use crate::sys;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::time::Duration;

/// What `procref run` is told of the service.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long, value_name = "CMD", help = sys::help::SERVICE)]
    service: String,
    /// Its name. By default its program's, with digits that stand for the whole declaration.
    #[arg(long)]
    name: Option<String>,
    /// A port with a fixed number, or one more that is picked.
    #[arg(long = "port", value_name = "NAME[=NUMBER]")]
    ports: Vec<String>,
    #[arg(long, value_name = "KIND[:VALUE]", help = sys::help::READY)]
    ready: Option<String>,
    /// The longest time that a start may take: 60 seconds by default.
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    #[arg(long, value_name = "SIGNAL", help = sys::help::STOP)]
    stop: Option<String>,
    #[arg(long, value_name = "TIME", help = sys::help::GRACE)]
    grace: Option<String>,
    /// How long it stays when its last client has gone. Not at all by default.
    #[arg(long, value_name = "TIME")]
    linger: Option<String>,
    /// A command to be done once, before the first start; may be given several times.
    #[arg(long, value_name = "CMD")]
    prepare: Vec<String>,
    /// A variable for COMMAND, with placeholders; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A variable for the service, with placeholders; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    service_env: Vec<String>,
    #[arg(long, value_name = "PATH", help = sys::help::DIR)]
    dir: Option<String>,
    /// The file that gets the service's output. By default procref keeps one.
    #[arg(long, value_name = "PATH")]
    log: Option<String>,
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadOption {
    option: &'static str,
    mistake: Mistake,
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: {}", self.option, self.mistake.what)?;
        if self.mistake.help.is_empty() { Ok(()) } else { write!(f, "\n  = {}", self.mistake.help) }
    }
}

impl Error for BadOption {}

/// The service. `project` is the folder of those who share it; relative paths begin at `here`.
///
/// # Errors
///
/// The first option that cannot be.
pub(crate) fn declare(
    options: &Options,
    scope: Scope,
    project: &Path,
    here: &Path,
) -> Result<ServiceConfig, BadOption> {
    let of = |option: &'static str| move |mistake: Mistake| BadOption { option, mistake };
    let command = command(&options.service, Allowed::AnyPort).map_err(of("service"))?;
    let ports = ports(&command, &options.ports).map_err(of("port"))?;
    let names: Vec<String> = ports.iter().map(|port| port.name.clone()).collect();
    let allowed = Allowed::Ports(&names);
    let length = |option: &'static str, text: &Option<String>| {
        text.as_ref().map(|text| duration::parse(text).map_err(of(option))).transpose()
    };
    let prepare = options.prepare.iter().map(|line| {
        let words = self::command(line, allowed)?;
        words.iter().try_for_each(|word| lasts(word, &ports, false))?;
        Ok(words)
    });
    let path = |text: &String| {
        let begin = if Path::new(text).has_root() || text.starts_with("{state}") { None } else { here.to_str() };
        if text.is_empty() {
            return Err(Mistake::of("this is empty, and must be a path", ""));
        }
        let text = begin.map_or_else(|| text.clone(), |begin| format!("{}{MAIN_SEPARATOR}{text}", escaped(begin)));
        let path = Template::parse(&text, allowed)?;
        lasts(&path, &ports, true).map(|()| path)
    };
    let first = ports.first().map(|port| Probe::Tcp(Template::port(&port.name)));
    let probe = match &options.ready {
        Some(ready) => self::ready(ready, allowed).map_err(of("ready"))?,
        None => first.unwrap_or(Probe::Started),
    };
    let timeout = length("timeout", &options.timeout)?;
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(of("timeout")(Mistake::of("no service is ready in no time", "a minute is the default")));
    }
    let stop = Stop::default();
    let signal = options.stop.as_ref().map(|name| stop_signal(name).map_err(of("stop"))).transpose()?;
    let dir = match (&options.dir, scope) {
        (Some(dir), _) => Some(path(dir).map_err(of("dir"))?),
        // Who shares it comes from anywhere.
        (None, Scope::User) => Some(Template::parse(&escaped(&sys::root()), allowed).map_err(of("dir"))?),
        (None, _) => None,
    };
    let mut config = ServiceConfig {
        name: String::new(),
        origin: Origin { place: Place::Project, file: project.join("procref.toml"), line: 0 },
        command,
        prepare: prepare.collect::<Result<_, _>>().map_err(of("prepare"))?,
        ready: Ready { probe, timeout },
        stop: Stop {
            ask: signal.map_or(stop.ask, Ask::Signal),
            grace: length("grace", &options.grace)?.unwrap_or(stop.grace),
        },
        linger: length("linger", &options.linger)?.unwrap_or(Duration::ZERO),
        env: variables(&options.env, allowed).map_err(of("env"))?,
        service_env: variables(&options.service_env, allowed).map_err(of("service-env"))?,
        dir,
        log: options.log.as_ref().map(path).transpose().map_err(of("log"))?,
        needs: Vec::new(),
        scope,
        ports,
    };
    config.name = match &options.name {
        Some(name) => service_name(name).map_err(of("name")).map(|()| name.clone())?,
        None => default_name(&config),
    };
    Ok(config)
}

/// A command in one string.
fn command(line: &str, allowed: Allowed<'_>) -> Result<Vec<Template>, Mistake> {
    let Some(words) = sys::words(line) else {
        return Err(Mistake::of(format!("a quote in {line:?} has no partner"), sys::SPLIT));
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(Mistake::of("there is no program in it", "write 'PROGRAM ARGUMENT…', in quotes"));
    }
    words.iter().map(|word| Template::parse(word, allowed)).collect()
}

/// Those that the command names, in their order, and those that are named beside it.
fn ports(command: &[Template], more: &[String]) -> Result<Vec<Port>, Mistake> {
    let mut ports: Vec<Port> = Vec::new();
    for used in command.iter().flat_map(Template::placeholders) {
        if let Placeholder::Port(name) = used
            && !ports.iter().any(|port| port.name == *name)
        {
            port_name(name)?;
            ports.push(Port { name: name.clone(), number: None });
        }
    }
    for text in more {
        let (name, number) = match text.split_once('=') {
            None => (text.as_str(), None),
            Some((name, number)) => match number.parse::<u16>() {
                Ok(number) if number > 0 => (name, Some(number)),
                _ => {
                    let what = format!("{number:?} is no port: those go from 1 to 65535");
                    return Err(Mistake::of(what, "write NAME=NUMBER, or NAME alone to have a free one picked"));
                }
            },
        };
        port_name(name)?;
        let taken = |port: &Port| port.name != name && number.is_some() && port.number == number;
        if let Some(other) = ports.iter().find(|port| taken(port)) {
            let what = format!("the ports `{}` and `{name}` have the same number", other.name);
            return Err(Mistake::of(what, "give each its own number"));
        }
        match ports.iter_mut().find(|port| port.name == name) {
            Some(port) => port.number = number,
            None => ports.push(Port { name: name.to_owned(), number }),
        }
    }
    Ok(ports)
}

fn ready(text: &str, allowed: Allowed<'_>) -> Result<Probe, Mistake> {
    const KINDS: &str = "there are tcp:[HOST:]PORT, unix:PATH, http:URL, exec:CMD, log:TEXT, notify and started";
    let (kind, value) = text.split_once(':').map_or((text, None), |(kind, value)| (kind, Some(value)));
    let wrong = |what: String| Err(Mistake::of(what, KINDS));
    let asks = |value: &str, good: fn(&str) -> Result<(), String>| {
        let template = Template::parse(value, allowed)?;
        let why = good(&example_of(&template)).err();
        why.map_or(Ok(template), |why| Err(Mistake::of(format!("{value:?} cannot be asked: {why}"), KINDS)))
    };
    Ok(match (kind, value) {
        ("notify", None) => Probe::Notify,
        ("started", None) => Probe::Started,
        ("notify" | "started", Some(_)) => return wrong(format!("`{kind}` has no value")),
        ("tcp" | "unix" | "http" | "exec" | "log", None | Some("")) => return wrong(format!("`{kind}` has no value")),
        ("tcp", Some(value)) => Probe::Tcp(asks(value, |text| tcp_address(text).map(drop))?),
        ("http", Some(value)) => Probe::Http(asks(value, |text| http_url(text).map(drop))?),
        ("unix", Some(value)) => Probe::Unix(Template::parse(value, allowed)?),
        ("exec", Some(value)) => Probe::Exec(command(value, allowed)?),
        ("log", Some(value)) => Probe::Log(Template::parse(value, allowed)?),
        _ => return wrong(format!("there is no kind {kind:?} of readiness")),
    })
}

fn variables(texts: &[String], allowed: Allowed<'_>) -> Result<BTreeMap<String, Template>, Mistake> {
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), Template::parse(value, allowed)?)),
        _ => Err(Mistake::of(format!("{text:?} is no variable"), "write NAME=VALUE")),
    };
    texts.iter().map(variable).collect()
}

/// What outlasts a start cannot have in it what does not.
fn lasts(text: &Template, ports: &[Port], is_path: bool) -> Result<(), Mistake> {
    let changes = |used: &&Placeholder| match used {
        Placeholder::Port(name) => ports.iter().any(|port| port.name == *name && port.number.is_none()),
        Placeholder::Run => is_path,
        _ => false,
    };
    text.placeholders().find(changes).map_or(Ok(()), |used| {
        let used = match used {
            Placeholder::Port(name) => name,
            _ => "run",
        };
        let what = format!("`{{{used}}}` is another one at each start, and what stands here outlasts a start");
        Err(Mistake::of(what, "only --service, --ready, --env and --service-env can have it"))
    })
}

/// The program's name, and digits that stand for everything that is declared: who declares the same shares it.
fn default_name(config: &ServiceConfig) -> String {
    // Where it is declared, and for whom, is the scope's affair.
    let all = ServiceConfig {
        name: String::new(),
        origin: Origin { place: Place::Project, file: PathBuf::new(), line: 0 },
        scope: Scope::Project,
        ..config.clone()
    };
    let program = config.command.first().map(ToString::to_string).unwrap_or_default();
    let program = program.rsplit(std::path::is_separator).next().unwrap_or_default().replace(['{', '}'], "");
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let program: String = program.chars().map(good).take(40).collect();
    let program = program.trim_start_matches('.');
    let digits = crate::names::short_hash(format!("{all:?}").as_bytes());
    if program.is_empty() { format!("service-{digits}") } else { format!("{program}-{digits}") }
}

fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}
