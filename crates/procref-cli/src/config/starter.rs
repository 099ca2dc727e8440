//! The services that procref knows: what `procref init` writes, a commented procref.toml, and what `preset` stands for,
//! the same declaration.

use super::Place;
use super::read::read;
use super::report::Source;
use super::types::ServiceConfig;
use clap::ValueEnum;
use std::path::Path;

/// A service that procref knows how to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Known {
    Postgres,
    Redis,
    Nats,
    Nginx,
    Memcached,
    Mariadb,
    Etcd,
    Mosquitto,
}

impl Known {
    /// As it is written: `postgres`.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What its procref.toml declares.
    pub(super) fn declaration(self) -> Option<ServiceConfig> {
        let mut problems = Vec::new();
        let declared =
            read(&Source::new(Path::new("procref.toml"), template(self).to_owned()), Place::Project, &mut problems);
        declared.into_values().find_map(|declared| declared.service)
    }
}

/// The commented procref.toml for it.
pub(crate) const fn template(kind: Known) -> &'static str {
    match kind {
        Known::Postgres => include_str!("starters/postgres.toml"),
        Known::Redis => include_str!("starters/redis.toml"),
        Known::Nats => include_str!("starters/nats.toml"),
        Known::Nginx => include_str!("starters/nginx.toml"),
        Known::Memcached => include_str!("starters/memcached.toml"),
        Known::Mariadb => include_str!("starters/mariadb.toml"),
        Known::Etcd => include_str!("starters/etcd.toml"),
        Known::Mosquitto => include_str!("starters/mosquitto.toml"),
    }
}
