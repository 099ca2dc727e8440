//! What `procref init` writes: a commented procref.toml for a known service.

use clap::ValueEnum;

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
