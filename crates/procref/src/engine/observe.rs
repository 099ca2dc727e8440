//! What somebody does who takes no part in a service: wait for it, ask who holds it, stop it, clear away what is left.

use super::Spec;
use super::driver::{hold_guardian, stop_from_outside};
use super::status::{find, is_alive, look};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::release::{Door, Outcome};
use crate::protocol::set::{AWAIT_UNLOCKED, AWAIT_UP, HEIRS, Instance, Op};
use crate::sys::hints::Watch;
use crate::sys::{self, Holder, Process, Set, SetError};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When a wait is over; never, if it has no limit.
#[derive(Clone, Copy, Debug)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn new(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Rounded up: nobody looks too early.
    fn milliseconds(self) -> Option<u64> {
        self.left().map(|left| left.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX))
    }

    fn is_over(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// Sleeps until the array applies, or it is clear that something has changed. `Ok(false)`: the time was up.
fn sleep(spec: &Spec, set: Set, ops: &[Op], deadline: Deadline) -> Result<bool> {
    loop {
        match set.apply_within(ops, deadline.left()) {
            Ok(()) | Err(SetError::Gone) => return Ok(true),
            // The same number says "the time is up" and "an operation that does not wait is refused".
            Err(SetError::Refused) => return Ok(!deadline.is_over()),
            Err(SetError::Interrupted) => {}
            Err(error) => return Err(Error::set(&spec.name, "wait for the service", error)),
        }
    }
}

fn watch(spec: &Spec) -> Result<Watch> {
    spec.hints.watch().map_err(|error| cannot_watch(spec, error))
}

/// Waits until the files may tell something else, or the process has ended. `Ok(false)`: the time was up.
fn await_files(spec: &Spec, watch: &Watch, process: Option<&Process>, deadline: Deadline) -> Result<bool> {
    loop {
        if watch.wait(process, deadline.milliseconds()).map_err(|error| cannot_watch(spec, error))? {
            return Ok(true);
        }
        if deadline.is_over() {
            return Ok(false);
        }
    }
}

fn cannot_watch(spec: &Spec, error: io::Error) -> Error {
    let kind = if sys::is_limit(&error) { ErrorKind::LimitReached } else { ErrorKind::System };
    let what = format!("cannot watch the folder {} for the service to come or go", spec.hints.location().0.display());
    Error::new(kind, what).service(&spec.name).source(error)
}

pub(crate) fn wait_until_up(spec: &Spec, limit: Option<Duration>) -> Result<bool> {
    let deadline = Deadline::new(limit);
    // Whoever starts it writes a hint when the set is there. The watch comes before the look.
    let mut watching = None;
    loop {
        let goes_on = match (find(spec)?, watching.take()) {
            (Some((set, snapshot)), _) => {
                let view = snapshot.view();
                match view.up && !view.locked {
                    true if is_alive(&snapshot.record()) => return Ok(true),
                    true => sleep(spec, set, &snapshot.next_change(), deadline)?,
                    false => sleep(spec, set, &AWAIT_UP, deadline)?,
                }
            }
            (None, None) => {
                watching = Some(watch(spec)?);
                true
            }
            (None, Some(watch)) => await_files(spec, &watch, None, deadline)?,
        };
        if !goes_on {
            return Ok(false);
        }
    }
}

pub(crate) fn wait_until_gone(spec: &Spec, limit: Option<Duration>) -> Result<bool> {
    let deadline = Deadline::new(limit);
    let mut watching = None;
    loop {
        let goes_on = match look(spec)? {
            Some((set, snapshot)) => {
                let (view, record) = (snapshot.view(), snapshot.record());
                let cared_for = view.clients > 0 || view.guarded || snapshot.value(HEIRS) > 0;
                match record.instance {
                    _ if view.locked => sleep(spec, set, &AWAIT_UNLOCKED, deadline)?,
                    Instance::None => return Ok(true),
                    Instance::Process { pid, start } if is_alive(&record) => {
                        let held = Process::open_recorded(pid, start);
                        let ended =
                            held.and_then(|held| held.map_or(Ok(true), |held| held.wait(deadline.milliseconds())));
                        ended.map_err(|error| {
                            let what = format!("cannot wait for the end of its process {pid}");
                            Error::new(ErrorKind::System, what).service(&spec.name).source(error)
                        })?
                    }
                    // It has ended, and nobody will do anything about that.
                    Instance::Process { .. } if !cared_for => return Ok(true),
                    Instance::Process { .. } | Instance::Other => sleep(spec, set, &snapshot.next_change(), deadline)?,
                }
            }
            None => match (spec.hints.live_process(), watching.take()) {
                (None, _) => return Ok(true),
                (Some(_), None) => {
                    watching = Some(watch(spec)?);
                    true
                }
                (Some(process), Some(watch)) => await_files(spec, &watch, Some(&process), deadline)?,
            },
        };
        if !goes_on {
            return Ok(false);
        }
    }
}

/// How many hold or await it, as the kernel counts, and those of them that can be seen.
pub(crate) fn clients(spec: &Spec) -> Result<(u32, Vec<Holder>)> {
    let Some((set, snapshot)) = find(spec)? else { return Ok((0, Vec::new())) };
    let guardian = hold_guardian(set, Some(snapshot));
    let guardian = guardian.as_ref().map(|(pid, guardian)| (*pid, guardian));
    let holders = sys::holders(set, guardian).unwrap_or_else(|error| {
        tracing::debug!(service = %spec.name, %error, "cannot see who holds it");
        Vec::new()
    });
    Ok((snapshot.view().clients.into(), holders))
}

/// Whether there was something to stop.
pub(crate) fn stop(spec: &Arc<Spec>, force: bool) -> Result<bool> {
    let door = if force { Door::Forced } else { Door::Unheld };
    loop {
        // None, though it lives, is an error.
        let Some((set, _)) = find(spec)? else { return Ok(false) };
        match stop_from_outside(spec, set, door)? {
            Outcome::Refused => match clients(spec) {
                // They have gone since.
                Ok((0, _)) => {}
                held => return Err(in_use(spec, held?)),
            },
            Outcome::SetRemoved => {}
            outcome => return Ok(outcome == Outcome::Stopped),
        }
    }
}

fn in_use(spec: &Spec, (count, known): (u32, Vec<Holder>)) -> Error {
    let mut what = match count {
        1 => "1 process holds or awaits it".to_owned(),
        count => format!("{count} processes hold or await it"),
    };
    let known: Vec<_> = known.iter().map(|holder| format!("{} ({})", holder.pid, holder.name)).collect();
    if !known.is_empty() {
        what = format!("{what}, known are {}", known.join(", "));
    }
    let help = "it stops by itself when they have let go; stopped by force, it is dead to them";
    Error::new(ErrorKind::InUse, what).service(&spec.name).help(help)
}

/// Whether something was left.
pub(crate) fn finish_leftovers(spec: &Arc<Spec>) -> Result<bool> {
    loop {
        let Some((set, _)) = Set::open(&spec.name)? else {
            let unused = || matches!(Set::open(&spec.name), Ok(None));
            return spec.hints.remove_stale(unused).map_err(|error| {
                let what = format!("cannot remove stale files in {}", spec.hints.location().0.display());
                Error::new(ErrorKind::System, what).service(&spec.name).source(error)
            });
        };
        match stop_from_outside(spec, set, Door::Left)? {
            Outcome::Refused => return Ok(false),
            Outcome::SetRemoved => {}
            _ => return Ok(true),
        }
    }
}
