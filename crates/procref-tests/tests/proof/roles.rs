//! The roles: who does what, when, and who of them is attacked.

use procref_tests::part::Kind;
use std::time::Duration;

/// A test for each of these roles, under that attack.
macro_rules! roles {
    ($attack:ident: $($test:ident: $role:ident)+) => { $(
        #[test]
        fn $test() {
            $attack(&crate::roles::$role);
        }
    )+ };
}
pub(crate) use roles;

/// A test for every role.
macro_rules! each_role {
    ($attack:ident) => {
        crate::roles::roles! {
            $attack:
            starter: STARTER
            starter_with_way_in: STARTER_WITH_WAY_IN
            declared_starter: DECLARED_STARTER
            declared_starter_with_way_in: DECLARED_STARTER_WITH_WAY_IN
            joiner: JOINER
            declared_joiner: DECLARED_JOINER
            leaver: LEAVER
            last_leaver: LAST_LEAVER
            last_leaver_lingering: LAST_LEAVER_LINGERING
            declared_last_leaver: DECLARED_LAST_LEAVER
            recoverer: RECOVERER
            restarter: RESTARTER
            declared_restarter: DECLARED_RESTARTER
            guardian: GUARDIAN
            started_guardian: STARTED_GUARDIAN
            stopping_guardian: STOPPING_GUARDIAN
            started_stopping_guardian: STARTED_STOPPING_GUARDIAN
            lingering_guardian: LINGERING_GUARDIAN
            started_lingering_guardian: STARTED_LINGERING_GUARDIAN
            parent: PARENT
            started_parent: STARTED_PARENT
            stopping_parent: STOPPING_PARENT
            started_stopping_parent: STARTED_STOPPING_PARENT
        }
    };
}
pub(crate) use each_role;

/// What there is before the program begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// No service.
    Nothing,
    /// It runs, and the test holds it.
    Held,
    /// The test holds it, and its process was killed.
    Dead,
}

/// Whose calls are attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// The program that acquires and releases.
    Program,
    /// All that comes of it and is not the service: the process that probes the kernel, those that make the guardian, and the
    /// guardian for as long as it lives; and what becomes a declared service, until it is one.
    Guardian,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) name: &'static str,
    /// What `role` does.
    pub(crate) mode: &'static str,
    pub(crate) kind: Kind,
    /// Whether guardians are started, or forked.
    pub(crate) started: bool,
    pub(crate) linger: Duration,
    pub(crate) before: Before,
    pub(crate) whom: Whom,
}

const fn role(name: &'static str, mode: &'static str, kind: Kind, before: Before) -> Role {
    Role { name, mode, kind, started: false, linger: Duration::ZERO, before, whom: Whom::Program }
}

impl Role {
    const fn started(self) -> Self {
        Self { started: true, ..self }
    }

    const fn lingers(self) -> Self {
        Self { linger: Duration::from_millis(10), ..self }
    }

    const fn guardian(name: &'static str, mode: &'static str, kind: Kind) -> Self {
        Self { whom: Whom::Guardian, ..role(name, mode, kind, Nothing) }
    }
}

use Before::{Dead, Held, Nothing};
use Kind::{Callback, Declared, Recovers};

pub(crate) const STARTER: Role = role("starter", "acquire", Callback, Nothing);
pub(crate) const STARTER_WITH_WAY_IN: Role = role("starter with a way in", "acquire", Callback, Nothing).started();
pub(crate) const DECLARED_STARTER: Role = role("starter of a declared service", "acquire", Declared, Nothing);
pub(crate) const DECLARED_STARTER_WITH_WAY_IN: Role =
    role("starter of a declared service with a way in", "acquire", Declared, Nothing).started();
pub(crate) const JOINER: Role = role("joiner", "acquire", Callback, Held);
pub(crate) const DECLARED_JOINER: Role = role("joiner of a declared service", "acquire", Declared, Held);
pub(crate) const LEAVER: Role = role("leaver that is not the last", "release", Callback, Held);
pub(crate) const LAST_LEAVER: Role = role("last leaver", "release", Callback, Nothing);
pub(crate) const LAST_LEAVER_LINGERING: Role =
    role("last leaver of a service that lingers", "release", Callback, Nothing).lingers();
pub(crate) const DECLARED_LAST_LEAVER: Role = role("last leaver of a declared service", "release", Declared, Nothing);
pub(crate) const RECOVERER: Role = role("recoverer", "acquire", Recovers, Dead);
pub(crate) const RESTARTER: Role = role("recoverer by a new start", "acquire", Callback, Dead);
pub(crate) const DECLARED_RESTARTER: Role = role("recoverer of a declared service", "acquire", Declared, Dead);

pub(crate) const GUARDIAN: Role = Role::guardian("guardian, forked", "hold", Callback);
pub(crate) const STARTED_GUARDIAN: Role = Role::guardian("guardian, started", "hold", Callback).started();
pub(crate) const STOPPING_GUARDIAN: Role = Role::guardian("guardian that stops, forked", "acquire", Callback);
pub(crate) const STARTED_STOPPING_GUARDIAN: Role =
    Role::guardian("guardian that stops, started", "acquire", Callback).started();
pub(crate) const LINGERING_GUARDIAN: Role =
    Role::guardian("guardian that lingers, forked", "acquire", Callback).lingers();
pub(crate) const STARTED_LINGERING_GUARDIAN: Role =
    Role::guardian("guardian that lingers, started", "acquire", Callback).started().lingers();
pub(crate) const PARENT: Role = Role::guardian("guardian of a declared service, forked", "hold", Declared);
pub(crate) const STARTED_PARENT: Role =
    Role::guardian("guardian of a declared service, started", "hold", Declared).started();
pub(crate) const STOPPING_PARENT: Role =
    Role::guardian("guardian that stops a declared service, forked", "acquire", Declared);
pub(crate) const STARTED_STOPPING_PARENT: Role =
    Role::guardian("guardian that stops a declared service, started", "acquire", Declared).started();
