//! The same without `async`: callbacks are closures, calls block. Needs no tokio.
//!
//! ```ignore-windows
//! use procref::{ServiceInfo, blocking::SharedService, process};
//!
//! # fn main() -> procref::Result<()> {
//! let service = SharedService::builder("doc-blocking")
//!     .on_first_acquire(|| {
//!         let child = std::process::Command::new("sleep").arg("60").spawn()?;
//!         Ok(ServiceInfo::from_pid(child.id()))
//!     })
//!     .on_last_release(|info| {
//!         process::terminate(info.pid());
//!         Ok(())
//!     })
//!     .build()?;
//!
//! let handle = service.acquire()?;
//! assert!(process::is_alive(handle.info().pid()));
//! handle.release()?;
//! # Ok(())
//! # }
//! ```

use crate::command::ServiceCommand;
use crate::engine::hooks::Hooks;
use crate::engine::status::{Status, count, status};
use crate::engine::{
    Answered, Begun, BegunRelease, Lease, Spec, acquire_timed_out, begin, callback_timed_out, check_ways, in_callback,
    let_go, panicked,
};
use crate::error::Result;
use crate::info::ServiceInfo;
use crate::name::ServiceName;
use crate::options::{Settings, setters};
use crate::sys::service::Need;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

type Start = dyn Fn() -> Result<ServiceInfo> + Send + Sync;
type HealthCheck = dyn Fn(ServiceInfo) -> bool + Send + Sync;
type Recover = dyn Fn(ServiceInfo) -> Result<ServiceInfo> + Send + Sync;
type Stop = dyn Fn(ServiceInfo) -> Result<()> + Send + Sync;

#[derive(Default)]
struct Callbacks {
    start: Option<Box<Start>>,
    health_check: Option<Arc<HealthCheck>>,
    recover: Option<Box<Recover>>,
    stop: Option<Arc<Stop>>,
}

/// The callbacks, with what they need to be called.
struct BlockingHooks {
    callbacks: Callbacks,
    spec: Arc<Spec>,
}

impl fmt::Debug for BlockingHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.callbacks.fmt(f)
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

/// Describes a [`SharedService`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: String,
    settings: Settings,
    command: Option<ServiceCommand>,
    callbacks: Callbacks,
}

impl Builder {
    /// Starts the service: called by the first client, while all others wait for it. It returns when the service is
    /// ready to be used.
    ///
    /// # Platform-specific behavior
    ///
    /// A closure cannot be interrupted: [`start_timeout`](Self::start_timeout) is compared when it returns. What it
    /// started too late is stopped again.
    pub fn on_first_acquire(mut self, start: impl Fn() -> Result<ServiceInfo> + Send + Sync + 'static) -> Self {
        self.callbacks.start = Some(Box::new(start));
        self
    }

    /// Stops the service: called by the client that lets go last. It need not wait until the service has ended.
    pub fn on_last_release(mut self, stop: impl Fn(ServiceInfo) -> Result<()> + Send + Sync + 'static) -> Self {
        self.callbacks.stop = Some(Arc::new(stop));
        self
    }

    /// Says whether the service is healthy: asked at every `acquire` of a service that runs. Without it, a service is
    /// healthy while its process lives.
    pub fn on_health_check(mut self, check: impl Fn(ServiceInfo) -> bool + Send + Sync + 'static) -> Self {
        self.callbacks.health_check = Some(Arc::new(check));
        self
    }

    /// Makes an unhealthy service healthy, or starts it anew: called once, however many clients notice. Without it,
    /// the service is stopped by its ladder and started by `on_first_acquire`.
    pub fn on_recover(mut self, recover: impl Fn(ServiceInfo) -> Result<ServiceInfo> + Send + Sync + 'static) -> Self {
        self.callbacks.recover = Some(Box::new(recover));
        self
    }

    setters!();

    /// The service. Nothing is touched yet.
    ///
    /// # Errors
    ///
    /// [`InvalidName`](crate::ErrorKind::InvalidName); [`InvalidInput`](crate::ErrorKind::InvalidInput): there is no
    /// `on_first_acquire` and no command, or both, or a setting cannot be.
    pub fn build(self) -> Result<SharedService> {
        let spec = Spec::new(&self.name, self.settings, self.command)?;
        let Callbacks { start, recover, stop, .. } = &self.callbacks;
        check_ways(&spec, start.is_some(), recover.is_some() || stop.is_some())?;
        let hooks = Arc::new(BlockingHooks { callbacks: self.callbacks, spec: Arc::clone(&spec) });
        Ok(SharedService { spec, hooks })
    }
}

/// A service that many processes share, as seen from one of them. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct SharedService {
    spec: Arc<Spec>,
    hooks: Arc<dyn Hooks>,
}

impl SharedService {
    /// Describes the service of this name: 1 to 64 letters, digits, `-`, `_` and `.`, no dot in front.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder { name: name.into(), settings: Settings::default(), command: None, callbacks: Callbacks::default() }
    }

    /// Takes a reference: joins the service if it runs, and else starts, recovers or finishes it first.
    ///
    /// # Errors
    ///
    /// The service cannot be started ([`StartFailed`](crate::ErrorKind::StartFailed), here or in the process that was waited
    /// for), recovered ([`RecoverFailed`](crate::ErrorKind::RecoverFailed)) or finished
    /// ([`StopFailed`](crate::ErrorKind::StopFailed)); it took too long ([`TimedOut`](crate::ErrorKind::TimedOut)); the system
    /// cannot count, or what lies under the name is not ours to use (the other kinds).
    pub fn acquire(&self) -> Result<ServiceHandle> {
        let deadline = self.spec.settings.acquire_timeout.and_then(|limit| Instant::now().checked_add(limit));
        let begin = || begin(&self.spec, Arc::clone(&self.hooks), &self.hooks);
        let mut begun = begin()?;
        loop {
            begun = match begun {
                Begun::Holds(lease) => match self.is_healthy(&lease, deadline) {
                    Some(true) => return Ok(ServiceHandle { lease }),
                    Some(false) => lease.reject(Arc::clone(&self.hooks))?,
                    None => {
                        let_go(lease);
                        return Err(acquire_timed_out(&self.spec));
                    }
                },
                Begun::Waits(pending) => match pending.wait(deadline) {
                    Some(Ok(Answered::Holds(lease))) => return Ok(ServiceHandle { lease }),
                    Some(Ok(Answered::Unchecked(lease))) => lease.recheck(Arc::clone(&self.hooks))?,
                    Some(Ok(Answered::Again)) => begin()?,
                    Some(Err(error)) => return Err(error),
                    None => return Err(acquire_timed_out(&self.spec)),
                },
            };
        }
    }

    /// `None`: the deadline has come before the answer.
    fn is_healthy(&self, lease: &Lease, deadline: Option<Instant>) -> Option<bool> {
        if !self.hooks.checks_health() {
            return Some(true);
        }
        let (hooks, info) = (Arc::clone(&self.hooks), lease.info().clone());
        let Some(deadline) = deadline else { return Some(hooks.is_healthy(info)) };
        let left = deadline.saturating_duration_since(Instant::now());
        on_thread(left, move || hooks.is_healthy(info)).ok()?
    }

    /// How many processes hold or await the service, as the kernel counts. 0 if there is no such service.
    ///
    /// # Errors
    ///
    /// What lies under the name is not ours to use; or the count was removed while the service was in use
    /// ([`SetRemoved`](crate::ErrorKind::SetRemoved)): then nobody knows, and it is not 0.
    pub fn count(&self) -> Result<u32> {
        count(&self.spec)
    }

    /// What the service is doing, and who is with it. Takes no part in it.
    ///
    /// # Errors
    ///
    /// As [`count`](Self::count).
    pub fn status(&self) -> Result<Status> {
        status(&self.spec)
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.spec.name.as_str()
    }
}

/// A reference to a service that runs. Dropping it releases the reference.
///
/// The process's last handle, when it is released in the last process, stops the service: dropping it then takes as
/// long as that takes, [`stop_timeout`](Builder::stop_timeout) and the [stop ladder](Builder::stop_ladder) at the most.
///
/// # Platform-specific behavior
///
/// A child that was forked while this handle existed has no reference: its copy of the handle does nothing. A reference
/// survives `execve(2)` and then is the new program's until it ends; see [`keep`](Self::keep).
///
/// On Windows, a handle in a `thread_local!` value that is dropped with its thread is released in the background: no other
/// thread can begin while that one ends. In the main thread that is at the process's end, which releases it in any case.
#[derive(Debug)]
#[must_use = "dropping the handle at once releases the service at once"]
pub struct ServiceHandle {
    lease: Lease,
}

impl ServiceHandle {
    /// The service as it was when this handle was acquired.
    #[must_use]
    pub fn info(&self) -> &ServiceInfo {
        self.lease.info()
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.lease.spec().name.as_str()
    }

    /// Whether the process that this handle was acquired for still runs. `true` for a service that is not one process.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.lease.is_alive()
    }

    /// Which instance this handle was acquired for: counts up with every start and recovery while the service is in
    /// use.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.lease.generation()
    }

    /// What another process needs in order to hold the service by itself.
    pub(crate) fn need(&self) -> Result<Need> {
        self.lease.for_another()
    }

    /// Keeps the reference for as long as this process lives, also when it becomes another program by `execve(2)`. Nothing
    /// is released any more, neither by this handle nor by others of the process: the last one does not count.
    ///
    /// The process is then a client like any other: when it ends, however it ends, and was the last one, the guardian stops
    /// the service by the [stop ladder](crate::StopLadder).
    ///
    /// # Platform-specific behavior
    ///
    /// The pipe by which clients are counted when the semaphore set is removed stays open across `execve`, and so the
    /// process's children inherit it: whoever of them outlives it delays what is done in that case, and what the kernel does
    /// when the guardian is killed besides all clients.
    ///
    /// On Windows no process becomes another program. When this one ends as the last client, the kernel ends the service at
    /// once, unless it lingers.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput): this is a forked child's copy, which has no reference. The
    /// [system](crate::ErrorKind::System) refuses: then the reference is released.
    pub fn keep(self) -> Result<()> {
        self.lease.keep()
    }

    /// Releases the reference, as dropping the handle does, and says what went wrong.
    ///
    /// # Errors
    ///
    /// `on_last_release` failed or took too long, or the service's process does not end
    /// ([`StopFailed`](crate::ErrorKind::StopFailed), [`TimedOut`](crate::ErrorKind::TimedOut)); or the count was removed while the
    /// service was in use ([`SetRemoved`](crate::ErrorKind::SetRemoved)). The reference is released all the same.
    pub fn release(self) -> Result<()> {
        let hooks = self.lease.hooks();
        match self.lease.release(hooks) {
            BegunRelease::Over(result) => result,
            BegunRelease::Waits(pending) => pending.wait(None).unwrap_or(Ok(())),
        }
    }
}

impl BlockingHooks {
    /// A callback's panic is its failure.
    fn call<T>(&self, callback: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        caught(&self.spec.name, callback, call)
    }

    /// Calls on a thread of its own, which is left behind when the time is up.
    fn call_within<T: Send + 'static>(
        &self,
        callback: &'static str,
        limit: Duration,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let name = self.spec.name.clone();
        on_thread(limit, move || caught(&name, callback, call))?
            .unwrap_or_else(|| Err(callback_timed_out(callback, limit)))
    }
}

/// Calls on a thread of its own, which is left behind when the time is up: then `None`.
fn on_thread<T: Send + 'static>(limit: Duration, call: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>> {
    let (sends, receives) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("procref-callback".into());
    thread.spawn(move || sends.send(call()))?;
    Ok(receives.recv_timeout(limit).ok())
}

fn caught<T>(name: &ServiceName, callback: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| in_callback(name, call))).unwrap_or_else(|panic| Err(panicked(callback, &*panic)))
}

impl Hooks for BlockingHooks {
    fn start(&self) -> Result<ServiceInfo> {
        match &self.callbacks.start {
            Some(start) => self.call("on_first_acquire", start),
            None => Err("there is no on_first_acquire".into()),
        }
    }

    fn checks_health(&self) -> bool {
        self.callbacks.health_check.is_some()
    }

    fn is_healthy(&self, info: ServiceInfo) -> bool {
        let Some(check) = self.callbacks.health_check.clone() else { return true };
        let limit = self.spec.settings.health_timeout;
        self.call_within("on_health_check", limit, move || Ok(check(info))).unwrap_or(false)
    }

    fn recovers(&self) -> bool {
        self.callbacks.recover.is_some()
    }

    fn recover(&self, old: ServiceInfo) -> Result<ServiceInfo> {
        match &self.callbacks.recover {
            Some(recover) => self.call("on_recover", || recover(old)),
            None => Err("there is no on_recover".into()),
        }
    }

    fn stops(&self) -> bool {
        self.callbacks.stop.is_some()
    }

    fn stop(&self, info: ServiceInfo) -> Result<()> {
        let Some(stop) = self.callbacks.stop.clone() else { return Ok(()) };
        self.call_within("on_last_release", self.spec.settings.stop_timeout, move || stop(info))
    }
}
