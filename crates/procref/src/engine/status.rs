//! What is known of a service, without taking part in it.

use super::{Phase, Spec, entry};
use crate::error::{Error, Result};
use crate::info::ServiceInfo;
use crate::protocol::set::{Instance, Record, Snapshot};
use crate::sys::words::SET;
use crate::sys::{self, Process, Set, SetError};
use std::fmt;
use std::time::{Duration, SystemTime};

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServiceState {
    /// Nothing runs, and nobody waits for it.
    Stopped,
    /// It is being started, recovered or stopped.
    Changing,
    /// It runs.
    Up,
    /// It runs, nobody holds it, and the guardian gives it its linger time.
    Lingering,
    /// It was up, and its process has ended, or it was stopped though processes hold it; the next `acquire` recovers it or
    /// starts it anew.
    Dead,
    /// It was killed half-way through a start or a stop, or its guardian and all clients were killed in the same
    /// instant; the next `acquire` adopts or finishes what is left.
    Orphaned,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stopped => "stopped",
            Self::Changing => "changing",
            Self::Up => "up",
            Self::Lingering => "lingering",
            Self::Dead => "dead",
            Self::Orphaned => "orphaned",
        })
    }
}

/// A service as it was at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub state: ServiceState,
    /// How many processes hold or await it, as the kernel counts.
    pub clients: u32,
    /// How many of them wait for the end of a start, recovery or stop.
    pub waiting: u32,
    /// The guardian's process.
    pub guardian: Option<u32>,
    /// What runs, or has to be finished.
    pub info: Option<ServiceInfo>,
    /// Which instance it is: counts up with every start and recovery for as long as the service is in use.
    pub generation: u32,
    /// What is left of the linger time, while the service is [`Lingering`](ServiceState::Lingering); `None` also in the
    /// instant in which that begins or ends.
    pub linger_left: Option<Duration>,
    /// When the service's process started. `None` if it has ended.
    pub started: Option<SystemTime>,
}

impl Status {
    const STOPPED: Self = Self {
        state: ServiceState::Stopped,
        clients: 0,
        waiting: 0,
        guardian: None,
        info: None,
        generation: 0,
        linger_left: None,
        started: None,
    };
}

/// The set that counts this process, or the one under the name.
pub(super) fn look(spec: &Spec) -> Result<Option<(Set, Snapshot)>> {
    let entry = entry(&spec.name);
    let phase = entry.lock();
    let held = match &*phase {
        Phase::Held { member, .. } => Some((member.set, false)),
        Phase::Busy { member: Some(member), handles, .. } => Some((member.set, *handles == 0)),
        _ => None,
    };
    // With the phase locked, this process releases nothing meanwhile.
    if let Some((set, may_be_released)) = held {
        match set.snapshot() {
            Ok(snapshot) => return Ok(Some((set, snapshot))),
            // By this very process, which is about to know.
            Err(SetError::Gone) if may_be_released => {}
            Err(error) => return Err(Error::set(&spec.name, &format!("look at the {SET}"), error)),
        }
    }
    drop(phase);
    Set::open(&spec.name)
}

/// The same, and an error where there is none though the service lives.
pub(super) fn find(spec: &Spec) -> Result<Option<(Set, Snapshot)>> {
    if let Some(found) = look(spec)? {
        return Ok(Some(found));
    }
    // No set, but a live service: "counted no longer" is not "count is 0".
    if spec.hints.live().is_none() {
        return Ok(None);
    }
    // Unless it has been started since the set was looked for, or stopped.
    if let Some(found) = Set::open(&spec.name)? {
        return Ok(Some(found));
    }
    match spec.hints.live() {
        Some(live) => Err(super::driver::set_removed_under(spec, &live)),
        None => Ok(None),
    }
}

/// Whether what is recorded runs. What is not a process is believed to.
pub(super) fn is_alive(record: &Record) -> bool {
    match record.instance {
        Instance::None => false,
        Instance::Other => true,
        Instance::Process { pid, start } => {
            Process::open_recorded(pid, start).ok().flatten().is_some_and(|process| !process.has_ended())
        }
    }
}

pub(crate) fn count(spec: &Spec) -> Result<u32> {
    Ok(find(spec)?.map_or(0, |(_, snapshot)| snapshot.view().clients.into()))
}

pub(crate) fn status(spec: &Spec) -> Result<Status> {
    let Some((set, snapshot)) = find(spec)? else { return Ok(Status::STOPPED) };
    let view = snapshot.view();
    let waiting = match set.waiting() {
        // The guardian sleeps until nobody is left, not for the lock; but who looks on may wait for it, too.
        Ok(waiting) => waiting.try_into().unwrap_or(u32::MAX).min(view.clients.into()),
        Err(SetError::Gone) => return Ok(Status::STOPPED),
        Err(error) => return Err(Error::set(&spec.name, &format!("look at the {SET}"), error)),
    };
    let record = snapshot.record();
    let alive = is_alive(&record);
    let guardian = snapshot.guardian_pid();
    let state = match (view.locked, view.up, view.instance) {
        (true, ..) => ServiceState::Changing,
        (false, true, _) if !alive => ServiceState::Dead,
        (false, true, _) if view.clients > 0 => ServiceState::Up,
        (false, true, _) if guardian.is_some() => ServiceState::Lingering,
        (false, true, _) | (false, false, true) => ServiceState::Orphaned,
        (false, false, false) if view.clients > 0 && view.generation > 0 => ServiceState::Dead,
        (false, false, false) if view.clients > 0 => ServiceState::Changing,
        (false, false, false) => ServiceState::Stopped,
    };
    let linger_left = match state {
        ServiceState::Lingering => snapshot.linger_until().map(sys::time_until).filter(|left| !left.is_zero()),
        _ => None,
    };
    let started = match record.instance {
        Instance::Process { start, .. } if alive => Some(sys::start_time(start)),
        _ => None,
    };
    let info = view.instance.then(|| super::driver::recorded_info(spec, set, &record));
    let (clients, generation) = (view.clients.into(), record.generation);
    Ok(Status { state, clients, waiting, guardian, info, generation, linger_left, started })
}
