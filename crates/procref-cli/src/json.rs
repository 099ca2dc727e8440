//! What `--json` prints. It is a contract: fields are added, never renamed, and none is left out; what is not known or not there
//! is null. Times are in milliseconds.

use crate::declare::key;
use procref::observe::Observed;
use procref::{ServiceState, Status};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// One document on one line.
pub(crate) fn line(document: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(document)? + "\n")
}

/// `procref status --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) services: Vec<Service>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Service {
    /// As it is declared, or its full name where it is not known to be declared.
    pub(crate) name: String,
    /// As the kernel has it.
    pub(crate) full_name: String,
    pub(crate) scope: Option<String>,
    pub(crate) folder: Option<String>,
    /// `unknown` where it cannot be looked at: see `error`.
    pub(crate) state: String,
    /// How many processes hold or await it, as the kernel counts.
    pub(crate) clients: Option<u32>,
    pub(crate) waiting: Option<u32>,
    /// Those of the clients that are known: there may be fewer of them than `clients`.
    pub(crate) known_clients: Vec<Client>,
    pub(crate) guardian: Option<u32>,
    pub(crate) pid: Option<u32>,
    /// The first one.
    pub(crate) port: Option<u16>,
    pub(crate) ports: BTreeMap<String, u16>,
    pub(crate) generation: Option<u32>,
    pub(crate) started_ms: Option<u64>,
    pub(crate) uptime_ms: Option<u64>,
    pub(crate) linger_ms: Option<u64>,
    pub(crate) linger_left_ms: Option<u64>,
    pub(crate) log: Option<String>,
    pub(crate) error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Client {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

impl Service {
    pub(crate) fn look(observed: &Observed) -> Self {
        let unknown = Self {
            name: observed.name().to_owned(),
            full_name: observed.name().to_owned(),
            scope: None,
            folder: None,
            state: "unknown".to_owned(),
            clients: None,
            waiting: None,
            known_clients: Vec::new(),
            guardian: None,
            pid: None,
            port: None,
            ports: BTreeMap::new(),
            generation: None,
            started_ms: None,
            uptime_ms: None,
            linger_ms: None,
            linger_left_ms: None,
            log: None,
            error: None,
        };
        match observed.status() {
            Ok(status) => unknown.seen(&status, observed),
            Err(error) => Self { error: Some(error.to_string()), ..unknown },
        }
    }

    fn seen(self, status: &Status, observed: &Observed) -> Self {
        let info = status.info.as_ref();
        let get = |key| info.and_then(|info| info.get(key)).map(str::to_owned);
        let known = if status.clients > 0 { observed.clients().ok() } else { None };
        let names = get(key::PORTS).unwrap_or_default();
        let number = |name: &str| Some((name.to_owned(), info?.get(name)?.parse().ok()?));
        let started = status.started.and_then(|started| started.duration_since(UNIX_EPOCH).ok());
        let uptime = status.started.and_then(|started| SystemTime::now().duration_since(started).ok());
        let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            name: get(key::NAME).unwrap_or(self.name),
            scope: get(key::SCOPE),
            folder: get(key::FOLDER),
            state: status.state.to_string(),
            clients: Some(status.clients),
            waiting: Some(status.waiting),
            known_clients: known
                .map(|clients| clients.known.into_iter().map(|c| Client { pid: c.pid, name: c.name }).collect())
                .unwrap_or_default(),
            guardian: status.guardian,
            pid: info.and_then(|info| info.pid()),
            port: info.map(|info| info.port()).filter(|port| *port != 0),
            ports: names.split(',').filter_map(number).collect(),
            generation: Some(status.generation).filter(|_| status.state != ServiceState::Stopped),
            started_ms: started.map(milliseconds),
            uptime_ms: uptime.map(milliseconds),
            linger_ms: get(key::LINGER).and_then(|linger| linger.parse().ok()),
            linger_left_ms: status.linger_left.map(milliseconds),
            log: get(key::LOG),
            ..self
        }
    }

    /// The same without what changes with every look.
    pub(crate) fn lasting(&self) -> Self {
        Self { uptime_ms: None, linger_left_ms: None, ..self.clone() }
    }
}
