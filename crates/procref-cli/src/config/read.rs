//! From a file's text to what it declares.
//!
//! Nothing stops at the first mistake: what is wrong is noted, and what can be understood is read on. What depends on
//! something wrong is not called wrong as well.

use super::address::{http_url, tcp_address};
use super::near::{list, nearest};
use super::report::{Problem, Source};
use super::starter::Known;
use super::template::{Allowed, Placeholder, Template, Values, port_name};
use super::types::{Ask, Origin, Place, Port, Probe, Ready, Scope, ServiceConfig, Stop};
use super::{Mistake, duration};
use crate::sys;
use clap::ValueEnum;
use procref::StopSignal;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every key of a service.
pub(super) const KEYS: [&str; 13] = [
    "preset",
    "command",
    "prepare",
    "ports",
    "ready",
    "stop",
    "linger",
    "env",
    "service_env",
    "dir",
    "log",
    "needs",
    "scope",
];

const PROBES: [&str; 6] = ["tcp", "unix", "http", "exec", "log", "notify"];

/// What other programs call it, and what it is here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["environment", "vars", "variables", "clientenv"],
        "`env` has the variables for the clients, `service_env` those for the service itself",
    ),
    (
        &["cmd", "exec", "run", "start", "program", "args", "argv", "entrypoint"],
        "the program and its arguments are `command`",
    ),
    (&["cwd", "workdir", "workingdir", "workingdirectory", "directory", "folder"], "the working directory is `dir`"),
    (&["dependson", "depends", "requires", "after", "deps", "dependencies"], "the services that it needs are `needs`"),
    (&["health", "healthcheck", "readiness", "probe", "wait"], "how to know that it is ready is `ready`"),
    (
        &["timeout", "starttimeout"],
        r#"the time that a start may take is in `ready`: ready = { tcp = "{port}", timeout = "30s" }"#,
    ),
    (&["tcp", "http", "unix", "notify"], r#"how to know that it is ready is `ready`: ready = { tcp = "{port}" }"#),
    (
        &["signal", "grace", "stopsignal", "stoptimeout"],
        r#"how to stop it is `stop`: stop = { signal = "SIGTERM", grace = "10s" }"#,
    ),
    (&["logfile", "stdout", "stderr", "output"], "the log file is `log`"),
    (&["init", "setup", "before"], "what has to be done once, before the first start, is `prepare`"),
    (&["keepalive", "ttl", "idle"], "how long it stays after its last client is `linger`"),
    (&["user", "group"], "a service always runs as the user who starts it"),
    (&["template", "kind", "type", "base", "extends", "image"], "a service that procref knows is `preset`"),
    (&["restart"], "a service is started when somebody wants it, not when it has ended"),
];

/// What a file says of one service.
#[derive(Debug)]
pub(super) struct Declared {
    /// `None` if something is wrong with it.
    pub(super) service: Option<ServiceConfig>,
    pub(super) scope: Option<Scope>,
    /// Each with its place in the file.
    pub(super) needs: Vec<(String, Range<usize>)>,
}

type Value<'a> = Spanned<DeValue<'a>>;

pub(super) fn read(source: &Source, place: Place, problems: &mut Vec<Problem>) -> BTreeMap<String, Declared> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        // What is left of such a document would only give rise to misleading errors.
        problems.extend(errors.iter().map(|error| {
            let span = error.span().unwrap_or(0..0);
            source.problem(span, format!("this is not TOML: {}", error.message()), toml_help(error.message()))
        }));
        return BTreeMap::new();
    }
    let mut reader = Reader { source, place, problems };
    reader.document(document.get_ref())
}

fn toml_help(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "each key and each table may come once"
    } else if message.contains("escaped value") || message.contains("unicode value") {
        r"backslashes stand for themselves in single quotes: 'C:\folder'; in others they are written twice"
    } else {
        ""
    }
}

struct Reader<'r> {
    source: &'r Source,
    place: Place,
    problems: &'r mut Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.source.problem(span, what, help));
    }

    fn mistake(&mut self, span: Range<usize>, mistake: Mistake) {
        self.wrong(span, mistake.what, mistake.help);
    }

    /// Notes that `value` has a wrong type.
    fn mismatch<T>(&mut self, value: &Value<'_>, what: &str, wanted: &str, help: impl Into<String>) -> Option<T> {
        let is = kind(value.get_ref());
        self.wrong(value.span(), format!("{what} is {is}, and must be {wanted}"), help);
        None
    }

    fn document(&mut self, document: &DeTable<'_>) -> BTreeMap<String, Declared> {
        for (key, value) in document.iter().filter(|(key, _)| key.get_ref() != "services") {
            let word = key.get_ref();
            let help = match nearest(word, ["services"]) {
                Some(near) => format!("did you mean `{near}`?"),
                None if value.get_ref().is_table() => format!("a service is declared as [services.{word}]"),
                None => "all there is at the top is [services.NAME]".to_owned(),
            };
            self.wrong(key.span(), format!("there is no key `{word}` here"), help);
        }
        let Some(services) = document.get("services") else { return BTreeMap::new() };
        let Some(services) = services.get_ref().as_table() else {
            let help = "a service is declared as [services.NAME], and its keys follow";
            self.mismatch::<()>(services, "`services`", "a table", help);
            return BTreeMap::new();
        };
        services
            .iter()
            .map(|(name, value)| (name.get_ref().to_string(), self.service(name.get_ref(), name.span(), value)))
            .collect()
    }

    fn service(&mut self, name: &str, at: Range<usize>, value: &Value<'_>) -> Declared {
        let before = self.problems.len();
        if let Err(mistake) = service_name(name) {
            self.mistake(at.clone(), mistake);
        }
        let Some(table) = value.get_ref().as_table() else {
            let help =
                format!("write [services.{name}] and below it, for instance, command = [\"program\", \"argument\"]");
            self.mismatch::<()>(value, &format!("`services.{name}`"), "a table", help);
            return Declared { service: None, scope: None, needs: Vec::new() };
        };
        let misspelt = self.service_keys(name, table);

        let preset = table.get("preset").map(|value| self.preset(value));
        // What depends on an unknown one is not called wrong as well.
        let unknown_preset = matches!(preset, Some(None));
        let base = preset.flatten();

        let ports = match (table.get("ports"), &base) {
            (Some(value), _) => self.ports(value),
            (None, Some(base)) => Some(base.ports.clone()),
            (None, None) if unknown_preset => None,
            (None, None) => Some(Vec::new()),
        };
        let names: Option<Vec<String>> =
            ports.as_ref().map(|ports| ports.iter().map(|port| port.name.clone()).collect());
        let free: Vec<&str> =
            ports.iter().flatten().filter(|port| port.number.is_none()).map(|port| port.name.as_str()).collect();
        let allowed = names.as_deref().map_or(Allowed::AnyPort, Allowed::Ports);
        let anywhere = Texts { allowed, lasting: &[] };
        let lasting = Texts { allowed, lasting: &free };

        let command = match (table.get("command"), &base) {
            (Some(value), _) => self.command(value, "command", anywhere),
            (None, Some(base)) => Some(base.command.clone()),
            // The one that is meant has been called wrong already.
            (None, None) if misspelt || unknown_preset => None,
            (None, None) => {
                let help = r#"write command = ["program", "argument"], or preset = "postgres" for a service that procref knows"#;
                self.wrong(at.clone(), format!("the service `{name}` has no `command`"), help);
                None
            }
        };
        let prepare = table.get("prepare").and_then(|value| self.prepare(value, lasting));
        let ready = table.get("ready").and_then(|value| self.ready(value, anywhere));
        let stop = table.get("stop").and_then(|value| self.stop(value, anywhere));
        let linger = table.get("linger").and_then(|value| self.duration(value, "linger"));
        let env = table.get("env").and_then(|value| self.env(value, "env", anywhere));
        let service_env = table.get("service_env").and_then(|value| self.env(value, "service_env", anywhere));
        let dir = table.get("dir").and_then(|value| self.lasting_path(value, "dir", lasting));
        let log = table.get("log").and_then(|value| self.lasting_path(value, "log", lasting));
        let needs = table.get("needs").map(|value| self.needs(value)).unwrap_or_default();
        let scope = match table.get("scope") {
            Some(value) => self.scope(value),
            None if self.place == Place::Project => Some(Scope::Project),
            None => Some(Scope::User),
        };

        let ports = ports.unwrap_or_default();
        let first = ports.first().map(|port| Probe::Tcp(Template::port(&port.name)));
        let default = Ready { probe: first.unwrap_or(Probe::Started), timeout: None };
        let given = |key: &str| table.contains_key(key);
        let service = command.zip(scope).map(|(command, scope)| {
            let base = base.as_ref();
            ServiceConfig {
                name: name.to_owned(),
                origin: Origin { place: self.place, file: self.source.path.clone(), line: self.source.line(at.start) },
                command,
                prepare: prepare.or_else(|| base.map(|base| base.prepare.clone())).unwrap_or_default(),
                ports,
                ready: ready.or_else(|| base.map(|base| base.ready.clone())).unwrap_or(default),
                stop: stop.or_else(|| base.map(|base| base.stop.clone())).unwrap_or_default(),
                linger: linger.or_else(|| base.map(|base| base.linger)).unwrap_or_default(),
                env: env.or_else(|| base.map(|base| base.env.clone())).unwrap_or_default(),
                service_env: service_env.or_else(|| base.map(|base| base.service_env.clone())).unwrap_or_default(),
                dir: dir.or_else(|| base.and_then(|base| base.dir.clone())),
                log: log.or_else(|| base.and_then(|base| base.log.clone())),
                needs: needs.iter().map(|(name, _)| name.clone()).collect(),
                scope,
            }
        });
        if let (Some(service), Some(base), true) = (&service, &base, before == self.problems.len()) {
            self.preset_has_its_ports(service, base, table, given);
        }
        if let (Some(service), true) = (&service, before == self.problems.len()) {
            self.ports_are_passed_on(service, table);
        }
        Declared { service: service.filter(|_| before == self.problems.len()), scope, needs }
    }

    /// The declaration that all keys which are not given are taken from.
    fn preset(&mut self, value: &Value<'_>) -> Option<ServiceConfig> {
        let names: Vec<String> = Known::value_variants().iter().map(|known| known.name()).collect();
        let names = || names.iter().map(String::as_str);
        let help = format!("there are {}", list(names()));
        let Some(word) = value.get_ref().as_str() else {
            return self.mismatch(value, "`preset`", "a string", help);
        };
        let known = Known::value_variants().iter().find(|known| known.name() == word);
        let declaration = known.and_then(|known| known.declaration());
        if declaration.is_none() {
            let near = nearest(word, names()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            self.wrong(value.span(), format!("there is no preset {word:?}"), format!("{near}{help}"));
        }
        declaration
    }

    /// What is left of a preset may name a port that is not among those which were given instead.
    fn preset_has_its_ports(
        &mut self,
        service: &ServiceConfig,
        base: &ServiceConfig,
        table: &DeTable<'_>,
        given: impl Fn(&str) -> bool,
    ) {
        let missing = |text: &Template| {
            text.placeholders().find_map(|used| match used {
                Placeholder::Port(name) if !service.ports.iter().any(|port| port.name == *name) => Some(name.clone()),
                _ => None,
            })
        };
        let of_its_own = base.texts().find(|(key, text)| !given(key) && missing(text).is_some());
        let Some((key, text)) = of_its_own else { return };
        let (port, preset) = (missing(text).unwrap_or_default(), self.written_at(table, "preset"));
        let what = format!("the preset {preset} names its port `{port}` in `{key}`, and `ports` has none of this name");
        let span = table.get("ports").map_or(0..0, Spanned::span);
        self.wrong(span, what, format!("keep the name `{port}`, or write `{key}` as well"));
    }

    fn written_at(&self, table: &DeTable<'_>, key: &str) -> String {
        table.get(key).map(|value| self.source.written(&value.span()).to_owned()).unwrap_or_default()
    }

    /// Whether one of the unknown keys may be meant as `command` or `preset`, or as a part of the name.
    fn service_keys(&mut self, name: &str, table: &DeTable<'_>) -> bool {
        let mut misspelt = false;
        for (key, value) in table.iter().filter(|(key, _)| !KEYS.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref();
            let folded = word.to_lowercase().replace(['-', '_'], "");
            let exact = ELSEWHERE.iter().find(|(words, _)| words.contains(&folded.as_str()));
            let similar = || ELSEWHERE.iter().find(|(words, _)| nearest(&folded, words.iter().copied()).is_some());
            let elsewhere = exact.or_else(similar);
            let same = KEYS.into_iter().find(|known| known.replace('_', "") == folded);
            let near = same.or_else(|| nearest(word, KEYS));
            misspelt |= matches!(near, Some("command" | "preset")) || near.is_none() && value.get_ref().is_table();
            let meant = |help: &str| help.ends_with("`command`") || help.ends_with("`preset`");
            misspelt |= near.is_none() && elsewhere.is_some_and(|(_, help)| meant(help));
            let help = match (near, elsewhere) {
                (None, Some((_, help))) => (*help).to_owned(),
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, None) if value.get_ref().is_table() => {
                    format!(
                        "the keys of a service are {}; a name with a dot is quoted: [services.\"{name}.{word}\"]",
                        list(KEYS)
                    )
                }
                (None, None) => format!("the keys of a service are {}", list(KEYS)),
            };
            self.wrong(key.span(), format!("a service has no key `{word}`"), help);
        }
        misspelt
    }

    /// A free port is picked by procref: a service that is not told its number cannot use it.
    fn ports_are_passed_on(&mut self, service: &ServiceConfig, table: &DeTable<'_>) {
        let texts = || service.command.iter().chain(service.service_env.values());
        for port in service.ports.iter().filter(|port| port.number.is_none()) {
            let wanted = Placeholder::Port(port.name.clone());
            if !texts().any(|text| text.placeholders().any(|used| *used == wanted)) {
                let Port { name, .. } = port;
                let what = format!("the service is never told the number of its port `{name}`");
                let help = format!(
                    "write {{{name}}} where `command` or `service_env` is to have it, or {{ {name} = 5432 }} for a fixed number"
                );
                let span = table.get("ports").and_then(|ports| {
                    let mut entries = ports.get_ref().as_array()?.iter();
                    entries.find(|entry| entry.get_ref().as_str() == Some(name)).map(Spanned::span)
                });
                // A preset's port that the preset's command was told.
                let instead = || table.get("command").or_else(|| table.get("service_env")).map(Spanned::span);
                self.wrong(span.or_else(instead).unwrap_or(0..0), what, help);
            }
        }
    }

    fn ports(&mut self, value: &Value<'_>) -> Option<Vec<Port>> {
        const HOW: &str = r#"write ports = ["port"] for a free one, ports = [{ port = 5432 }] for a fixed one"#;
        let Some(entries) = value.get_ref().as_array() else { return self.mismatch(value, "`ports`", "an array", HOW) };
        let mut ports: Vec<(Port, Range<usize>)> = Vec::new();
        let mut good = true;
        for entry in entries.iter() {
            match entry.get_ref() {
                DeValue::String(name) => ports.push((Port { name: name.to_string(), number: None }, entry.span())),
                DeValue::Table(table) if table.is_empty() => {
                    self.wrong(entry.span(), "this has no port", HOW);
                    good = false;
                }
                DeValue::Table(table) => {
                    for (name, number) in table.iter() {
                        let read = self.port_number(name.get_ref(), number);
                        good &= read.is_some();
                        ports.push((Port { name: name.get_ref().to_string(), number: read }, name.span()));
                    }
                }
                _ => {
                    let written = self.source.written(&entry.span());
                    let number =
                        entry.get_ref().as_integer().map(|_| format!("every port has a name: {{ port = {written} }}"));
                    let help = number.unwrap_or_else(|| HOW.to_owned());
                    self.mismatch::<()>(entry, "a port", "a name, or a table of a name and a number", help);
                    good = false;
                }
            }
        }
        for (index, (port, span)) in ports.iter().enumerate() {
            let earlier = || ports.iter().take(index).map(|(port, _)| port);
            let wrong = if let Err(mistake) = port_name(&port.name) {
                Some(mistake)
            } else if earlier().any(|other| other.name == port.name) {
                Some(Mistake::of(format!("there are two ports `{}`", port.name), "give each its own name"))
            } else {
                earlier().find(|other| port.number.is_some() && other.number == port.number).map(|other| {
                    let what = format!("the ports `{}` and `{}` have the same number", other.name, port.name);
                    Mistake::of(what, "give each its own number")
                })
            };
            if let Some(mistake) = wrong {
                self.mistake(span.clone(), mistake);
                good = false;
            }
        }
        good.then(|| ports.into_iter().map(|(port, _)| port).collect())
    }

    fn port_number(&mut self, name: &str, value: &Value<'_>) -> Option<u16> {
        let help = format!("write {{ {name} = 5432 }}, or \"{name}\" alone to have a free one picked");
        let Some(integer) = value.get_ref().as_integer() else {
            return self.mismatch(value, &format!("the port `{name}`"), "a number", help);
        };
        match u16::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if number > 0 => Some(number),
            _ => {
                let written = self.source.written(&value.span()).to_owned();
                self.wrong(value.span(), format!("{written} is no port: those go from 1 to 65535"), help);
                None
            }
        }
    }

    /// A program and its arguments.
    fn command(&mut self, value: &Value<'_>, key: &str, texts: Texts<'_>) -> Option<Vec<Template>> {
        let (what, name) = match key.split_once('.') {
            _ if key == "prepare" => ("a command of `prepare`".to_owned(), ""),
            Some((_, name)) => (format!("`{key}`"), name),
            None => (format!("`{key}`"), key),
        };
        let written_as =
            |command: &str| if name.is_empty() { command.to_owned() } else { format!("{name} = {command}") };
        let example = || format!("write {}", written_as(r#"["program", "argument"]"#));
        let Some(words) = value.get_ref().as_array() else {
            let help = value.get_ref().as_str().map(|line| instead_of_a_line(line, written_as));
            return self.mismatch(value, &what, "an array of strings", help.unwrap_or_else(example));
        };
        if words.is_empty() {
            self.wrong(value.span(), format!("{what} is empty, and must have a program"), example());
            return None;
        }
        let mut command = Some(Vec::new());
        for (index, word) in words.iter().enumerate() {
            let read = if word.get_ref().as_str() == Some("") && index == 0 {
                self.wrong(word.span(), format!("the program of {what} is empty"), "the first string is the program");
                None
            } else if word.get_ref().is_array() && key == "command" {
                self.mismatch(
                    word,
                    "an argument of `command`",
                    "a string",
                    "`command` is one command; `prepare` has several",
                )
            } else {
                self.text(word, &format!("an argument of `{key}`"), texts)
            };
            command = command.zip(read).map(|(mut command, word): (Vec<_>, _)| {
                command.push(word);
                command
            });
        }
        command
    }

    fn prepare(&mut self, value: &Value<'_>, texts: Texts<'_>) -> Option<Vec<Vec<Template>>> {
        const HOW: &str = r#"`prepare` is an array of commands: prepare = [["program", "argument"], ["another"]]"#;
        let Some(commands) = value.get_ref().as_array() else {
            let help = value
                .get_ref()
                .as_str()
                .map(|line| instead_of_a_line(line, |command| format!("prepare = [{command}]")));
            return self.mismatch(
                value,
                "`prepare`",
                "an array of arrays of strings",
                help.unwrap_or_else(|| HOW.into()),
            );
        };
        if let Some(first) = commands.first().filter(|first| first.get_ref().is_str()) {
            let written = self.source.written(&value.span()).to_owned();
            let one_line = !written.contains('\n') && commands.iter().all(|word| word.get_ref().is_str());
            let help = if one_line { format!("{HOW}; write prepare = [{written}]") } else { HOW.to_owned() };
            return self.mismatch(first, "a command of `prepare`", "an array of strings", help);
        }
        let mut read = Some(Vec::new());
        for command in commands.iter() {
            read = read.zip(self.command(command, "prepare", texts)).map(|(mut read, command): (Vec<_>, _)| {
                read.push(command);
                read
            });
        }
        read
    }

    fn ready(&mut self, value: &Value<'_>, texts: Texts<'_>) -> Option<Ready> {
        const HOW: &str = r#"write ready = { tcp = "{port}", timeout = "30s" }"#;
        let Some(table) = value.get_ref().as_table() else { return self.mismatch(value, "`ready`", "a table", HOW) };
        self.only(table, "ready", &["tcp", "unix", "http", "exec", "log", "notify", "timeout"]);
        let timeout = table.get("timeout").and_then(|value| {
            let timeout = self.duration(value, "ready.timeout")?;
            if timeout.is_zero() {
                self.wrong(
                    value.span(),
                    "`ready.timeout` is 0: no service is ready so soon",
                    "leave it out: a minute is the default",
                );
            }
            Some(timeout)
        });
        let probes: Vec<_> = PROBES
            .into_iter()
            .filter_map(|probe| table.get_key_value(probe).map(|(key, value)| (probe, key.span(), value)))
            .collect();
        let (probe, value) = match probes.as_slice() {
            [(probe, _, value)] => (*probe, *value),
            [] => {
                // A misspelt one has been called wrong already.
                if table.keys().all(|key| key.get_ref() == "timeout") {
                    self.wrong(
                        value.span(),
                        "`ready` does not say how to know that it is ready",
                        format!("it has one of {}: {HOW}", list(PROBES)),
                    );
                }
                return None;
            }
            [(first, ..), (second, span, _), ..] => {
                let what = format!("`ready` has both `{first}` and `{second}`");
                self.wrong(span.clone(), what, format!("it has exactly one of {}", list(PROBES)));
                return None;
            }
        };
        let probe = match probe {
            "tcp" => {
                let help = r#"write tcp = "{port}", or "HOST:PORT" for another address than 127.0.0.1"#;
                Probe::Tcp(self.address(value, "`ready.tcp`", help, texts, |text| tcp_address(text).map(drop))?)
            }
            "unix" => Probe::Unix(self.path(value, "ready.unix", texts)?),
            "http" => {
                let help = r#"write http = "http://127.0.0.1:{port}/health", for instance"#;
                Probe::Http(self.address(value, "`ready.http`", help, texts, |text| http_url(text).map(drop))?)
            }
            "exec" => Probe::Exec(self.command(value, "ready.exec", texts)?),
            "log" => {
                let text = self.text(value, "`ready.log`", texts)?;
                if text.is_empty() {
                    self.wrong(
                        value.span(),
                        "`ready.log` is empty",
                        "write what the line has in it that says that it is ready",
                    );
                    return None;
                }
                Probe::Log(text)
            }
            _ => match value.get_ref().as_bool() {
                Some(true) => Probe::Notify,
                Some(false) => {
                    let help = format!("leave it out, and name another one of {}", list(PROBES));
                    self.wrong(value.span(), "`ready.notify` is false, which says nothing", help);
                    return None;
                }
                None => return self.mismatch(value, "`ready.notify`", "true", "write ready = { notify = true }"),
            },
        };
        Some(Ready { probe, timeout })
    }

    /// A template that makes sense once it is filled in, whatever the values.
    fn address(
        &mut self,
        value: &Value<'_>,
        what: &str,
        help: &str,
        texts: Texts<'_>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Template> {
        if !value.get_ref().is_str() {
            return self.mismatch(value, what, "a string", help);
        }
        let template = self.text(value, what, texts)?;
        match check(&example_of(&template)) {
            Ok(()) => Some(template),
            Err(why) => {
                self.wrong(value.span(), format!("{what} cannot be asked: {why}"), help);
                None
            }
        }
    }

    fn stop(&mut self, value: &Value<'_>, texts: Texts<'_>) -> Option<Stop> {
        const HOW: &str = r#"write stop = { signal = "SIGTERM", grace = "10s" }"#;
        let Some(table) = value.get_ref().as_table() else { return self.mismatch(value, "`stop`", "a table", HOW) };
        self.only(table, "stop", &["signal", "command", "grace"]);
        if let (Some(_), Some((key, _))) = (table.get("signal"), table.get_key_value("command")) {
            let help = "it is asked to stop by one of them; SIGKILL comes after the grace in any case";
            self.wrong(key.span(), "`stop` has both `signal` and `command`", help);
        }
        let signal = table.get("signal").map(|value| self.signal(value).map(Ask::Signal));
        let command = table.get("command").map(|value| self.command(value, "stop.command", texts).map(Ask::Command));
        let grace = table.get("grace").map(|value| self.duration(value, "stop.grace"));
        let Stop { ask, grace: default } = Stop::default();
        Some(Stop { ask: signal.or(command).unwrap_or(Some(ask))?, grace: grace.unwrap_or(Some(default))? })
    }

    fn signal(&mut self, value: &Value<'_>) -> Option<StopSignal> {
        let Some(name) = value.get_ref().as_str() else {
            let help = format!("write \"SIGTERM\", for instance; {}", all_signals());
            return self.mismatch(value, "`stop.signal`", "a signal's name", help);
        };
        stop_signal(name).map_err(|mistake| self.mistake(value.span(), mistake)).ok()
    }

    fn duration(&mut self, value: &Value<'_>, key: &str) -> Option<Duration> {
        match value.get_ref() {
            DeValue::String(text) => match duration::parse(text) {
                Ok(duration) => Some(duration),
                Err(mistake) => {
                    self.mistake(value.span(), mistake);
                    None
                }
            },
            DeValue::Integer(_) | DeValue::Float(_) => {
                let written = self.source.written(&value.span()).to_owned();
                let digits = written.bytes().all(|byte| byte.is_ascii_digit());
                let number = if digits { &written } else { "30" };
                let help = format!("write \"{number}s\" for seconds, \"{number}ms\" for milliseconds");
                self.mismatch(value, &format!("`{key}`"), "a string with a unit", help)
            }
            _ => self.mismatch(
                value,
                &format!("`{key}`"),
                "a string, such as \"30s\"",
                "the units are d, h, m, s and ms",
            ),
        }
    }

    fn env(&mut self, value: &Value<'_>, key: &str, texts: Texts<'_>) -> Option<BTreeMap<String, Template>> {
        let Some(table) = value.get_ref().as_table() else {
            return self.mismatch(
                value,
                &format!("`{key}`"),
                "a table",
                format!("write {key} = {{ NAME = \"value\" }}"),
            );
        };
        let mut env = BTreeMap::new();
        for (name, value) in table.iter() {
            let word = name.get_ref();
            if word.is_empty() || word.contains(['=', '\0']) {
                let help = "it has at least one character, and neither '=' nor NUL";
                self.wrong(name.span(), format!("a variable cannot be called {word:?}"), help);
            } else if let Some(text) = self.text(value, &format!("`{key}.{word}`"), texts) {
                env.insert(word.to_string(), text);
            }
        }
        Some(env)
    }

    fn needs(&mut self, value: &Value<'_>) -> Vec<(String, Range<usize>)> {
        const HOW: &str = r#"write needs = ["other"]"#;
        let Some(names) = value.get_ref().as_array() else {
            self.mismatch::<()>(value, "`needs`", "an array of services' names", HOW);
            return Vec::new();
        };
        let mut needs: Vec<(String, Range<usize>)> = Vec::new();
        for name in names.iter() {
            let Some(word) = name.get_ref().as_str() else {
                self.mismatch::<()>(name, "an entry of `needs`", "a service's name", HOW);
                continue;
            };
            if needs.iter().any(|(other, _)| other == word) {
                self.wrong(name.span(), format!("`{word}` is listed twice"), "once is enough");
            } else {
                needs.push((word.to_owned(), name.span()));
            }
        }
        needs
    }

    fn scope(&mut self, value: &Value<'_>) -> Option<Scope> {
        let help = format!("there are {}", list(Scope::ALL.map(Scope::as_str)));
        let Some(word) = value.get_ref().as_str() else {
            return self.mismatch(value, "`scope`", "a string", help);
        };
        match Scope::ALL.into_iter().find(|scope| scope.as_str() == word) {
            Some(Scope::Project) if self.place == Place::User => {
                let help = "write \"user\" or \"run\", or declare the service in the project's procref.toml";
                self.wrong(value.span(), "the user's own file belongs to no project", help);
                None
            }
            Some(scope) => Some(scope),
            None => {
                let near = nearest(word, Scope::ALL.map(Scope::as_str));
                let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                self.wrong(value.span(), format!("there is no scope {word:?}"), format!("{near}{help}"));
                None
            }
        }
    }

    /// A path that is the same at each start.
    fn lasting_path(&mut self, value: &Value<'_>, key: &str, texts: Texts<'_>) -> Option<Template> {
        let path = self.path(value, key, texts)?;
        if path.placeholders().any(|used| *used == Placeholder::Run) {
            let what = "`{run}` is removed when the service has stopped, and what stands here outlasts that";
            let text = value.get_ref().as_str().unwrap_or_default();
            let at = text.find("{run}").map(|at| at..at + "{run}".len());
            self.wrong(self.within(value, text, at), what, "write {state}, or another path");
            return None;
        }
        Some(path)
    }

    fn path(&mut self, value: &Value<'_>, key: &str, texts: Texts<'_>) -> Option<Template> {
        let text = self.text(value, &format!("`{key}`"), texts)?;
        if text.is_empty() {
            self.wrong(value.span(), format!("`{key}` is empty, and must be a path"), "leave it out, or write a path");
            return None;
        }
        Some(text)
    }

    fn text(&mut self, value: &Value<'_>, what: &str, texts: Texts<'_>) -> Option<Template> {
        let Some(text) = value.get_ref().as_str() else {
            let written = self.source.written(&value.span());
            let scalar = !matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_) | DeValue::String(_));
            let help = if scalar { format!("write \"{written}\"") } else { String::new() };
            return self.mismatch(value, what, "a string", help);
        };
        match Template::parse(text, texts.allowed) {
            Ok(template) => {
                let changes = |used: &&Placeholder| matches!(used, Placeholder::Port(name) if texts.lasting.contains(&name.as_str()));
                if let Some(Placeholder::Port(name)) = template.placeholders().find(changes) {
                    let what =
                        format!("`{{{name}}}` is another number at each start, and what stands here outlasts a start");
                    let help = format!(
                        "write it into `command` or `service_env`, or fix the number: ports = [{{ {name} = 5432 }}]"
                    );
                    let at = text.find(&format!("{{{name}}}")).map(|at| at..at + name.len() + 2);
                    self.wrong(self.within(value, text, at), what, help);
                    return None;
                }
                Some(template)
            }
            Err(Mistake { at, what, help }) => {
                self.wrong(self.within(value, text, at), what, help);
                None
            }
        }
    }

    /// The place in the file of a part of a string; the whole string if it is written with escapes.
    fn within(&self, value: &Value<'_>, text: &str, part: Option<Range<usize>>) -> Range<usize> {
        let span = value.span();
        let written = self.source.written(&span);
        let quotes = if written.starts_with("\"\"\"") || written.starts_with("'''") { 3 } else { 1 };
        let inner = written.get(quotes..written.len().saturating_sub(quotes)).unwrap_or_default();
        let newline = if quotes == 3 { inner.len() - inner.trim_start_matches('\n').len() } else { 0 }.min(1);
        match part {
            Some(part) if inner.get(newline..) == Some(text) => {
                let start = span.start + quotes + newline;
                start + part.start..start + part.end
            }
            _ => span,
        }
    }

    fn only(&mut self, table: &DeTable<'_>, of: &str, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref();
            let near = nearest(word, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| format!("it has {}", list(known.iter().copied())));
            self.wrong(key.span(), format!("`{of}` has no key `{word}`"), help);
        }
    }
}

/// Which placeholders a text may have.
#[derive(Clone, Copy, Debug)]
struct Texts<'a> {
    allowed: Allowed<'a>,
    /// These ports it may not have, because it outlasts a start and they do not.
    lasting: &'a [&'a str],
}

const SIGNALS: [(&str, StopSignal); 6] = [
    ("SIGTERM", StopSignal::Terminate),
    ("SIGINT", StopSignal::Interrupt),
    ("SIGQUIT", StopSignal::Quit),
    ("SIGHUP", StopSignal::Hangup),
    ("SIGUSR1", StopSignal::User1),
    ("SIGUSR2", StopSignal::User2),
];

fn all_signals() -> String {
    format!("there are {}", list(SIGNALS.map(|(name, _)| name)))
}

/// The signal of this name, with or without SIG.
pub(crate) fn stop_signal(name: &str) -> Result<StopSignal, Mistake> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    if let Some((_, signal)) = SIGNALS.iter().find(|(name, _)| name.strip_prefix("SIG") == Some(short)) {
        return Ok(*signal);
    }
    let folded = format!("SIG{}", short.to_uppercase().trim_start_matches("SIG"));
    if folded == "SIGKILL" {
        let what = "SIGKILL always comes last, when the grace is over";
        return Err(Mistake::of(what, r#"leave it out, or write stop = { grace = "0s" } to have it come at once"#));
    }
    let near = nearest(&folded, SIGNALS.map(|(name, _)| name));
    let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let what = format!("a service cannot be asked to stop by the signal {name:?}");
    Err(Mistake::of(what, format!("{near}{}", all_signals())))
}

/// As [`stop_signal`] reads it.
pub(crate) fn signal_name(signal: StopSignal) -> &'static str {
    SIGNALS.iter().find(|(_, known)| *known == signal).map_or("SIGTERM", |(name, _)| name)
}

/// A template filled in somehow, to see whether it makes sense whatever the values are.
pub(super) fn example_of(template: &Template) -> String {
    let example = |used: &Placeholder| match used {
        Placeholder::Port(name) => Some((name.clone(), 65535)),
        _ => None,
    };
    let ports = template.placeholders().filter_map(example).collect();
    let values = Values { name: "name", state: Path::new("/state"), run: Path::new("/run"), ports: &ports };
    template.render(&values).unwrap_or_default().to_string_lossy().into_owned()
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// How to write a command that was written as one line.
fn instead_of_a_line(line: &str, written_as: impl Fn(&str) -> String) -> String {
    let plain = |c: char| !c.is_control() && !"|&;<>()$`\\\"'*?[]#~%!".contains(c);
    let words: Vec<_> = line.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    let command = match words.as_slice() {
        [] => r#"["program", "argument"]"#.to_owned(),
        _ if !line.chars().all(plain) => r#"["program", "argument"]"#.to_owned(),
        words => format!("[{}]", words.join(", ")),
    };
    format!("write {}; only with {} does a shell read it", written_as(&command), sys::SHELL)
}

/// procref's own rules.
pub(super) fn service_name(name: &str) -> Result<(), Mistake> {
    let help = "a name has 1 to 64 letters (a-z, A-Z), digits, '-', '_' and '.', and does not begin with '.'";
    let wrong = |what| Err(Mistake::of(what, help));
    if name.is_empty() {
        return wrong("a service needs a name, and this one is empty".to_owned());
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return wrong(format!("a service's name cannot have the character {bad:?}"));
    }
    if name.len() > 64 {
        return wrong(format!("a service's name cannot have {} characters", name.len()));
    }
    if name.starts_with('.') {
        return wrong("a service's name cannot begin with a dot".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use procref::blocking::SharedService;

    #[test]
    fn the_rules_for_names_are_procrefs() {
        let long = ["x".repeat(64), "x".repeat(65)];
        let names =
            ["", "a", "my-database", "v1.2_x", "0", "-", ".", "..", ".a", "a..b", "a/b", "a b", "a\0", "ä", "a\n"];
        for name in names.into_iter().chain(long.iter().map(String::as_str)) {
            let built = SharedService::builder(name).on_first_acquire(|| Err("it is not to start".into())).build();
            assert_eq!(service_name(name).is_ok(), built.is_ok(), "{name:?}");
        }
    }

    #[test]
    fn words_from_elsewhere_are_none_of_ours() {
        for (words, _) in ELSEWHERE {
            assert!(words.iter().all(|word| !KEYS.contains(word)), "{words:?}");
        }
    }
}
