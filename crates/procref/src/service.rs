//! The asynchronous API. It blocks no task: what blocks happens on threads.

use crate::command::ServiceCommand;
use crate::engine::hooks::Hooks;
use crate::engine::status::{Status, count, status};
use crate::engine::{
    Answered, Begun, BegunRelease, Lease, Pending, Spec, acquire_timed_out, begin, callback_timed_out, check_ways,
    in_callback, let_go, panicked,
};
use crate::error::Result;
use crate::info::ServiceInfo;
use crate::name::ServiceName;
use crate::options::{Settings, setters};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Start = dyn Fn() -> Boxed<Result<ServiceInfo>> + Send + Sync;
type HealthCheck = dyn Fn(ServiceInfo) -> Boxed<bool> + Send + Sync;
type Recover = dyn Fn(ServiceInfo) -> Boxed<Result<ServiceInfo>> + Send + Sync;
type Stop = dyn Fn(ServiceInfo) -> Boxed<Result<()>> + Send + Sync;

#[derive(Default)]
struct Callbacks {
    start: Option<Box<Start>>,
    health_check: Option<Box<HealthCheck>>,
    recover: Option<Box<Recover>>,
    stop: Option<Box<Stop>>,
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
    /// It runs as a task of its own, on the runtime of the `acquire` that called for it, and goes on when that
    /// `acquire` is dropped; when [`start_timeout`](Self::start_timeout) is over, the task is aborted. If the process
    /// is killed in the middle of it, procref does not know what it had started.
    pub fn on_first_acquire<F, Fut>(mut self, start: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ServiceInfo>> + Send + 'static,
    {
        self.callbacks.start = Some(Box::new(move || Box::pin(start())));
        self
    }

    /// Stops the service: called by the client that lets go last. It need not wait until the service has ended.
    ///
    /// In [`ServiceHandle::release`] it runs as a task on the caller's runtime; when a handle is dropped, on a small
    /// runtime of its own, for nobody may be able to run a task then. If the caller's runtime is shut down in the middle
    /// of it, it is called again, from its beginning, on such a small one.
    pub fn on_last_release<F, Fut>(mut self, stop: F) -> Self
    where
        F: Fn(ServiceInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.callbacks.stop = Some(Box::new(move |info| Box::pin(stop(info))));
        self
    }

    /// Says whether the service is healthy: asked at every `acquire` of a service that runs. Without it, a service is
    /// healthy while its process lives.
    pub fn on_health_check<F, Fut>(mut self, check: F) -> Self
    where
        F: Fn(ServiceInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        self.callbacks.health_check = Some(Box::new(move |info| Box::pin(check(info))));
        self
    }

    /// Makes an unhealthy service healthy, or starts it anew: called once, however many clients notice. Without it,
    /// the service is stopped by its ladder and started by `on_first_acquire`. Runs as `on_first_acquire` does.
    pub fn on_recover<F, Fut>(mut self, recover: F) -> Self
    where
        F: Fn(ServiceInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<ServiceInfo>> + Send + 'static,
    {
        self.callbacks.recover = Some(Box::new(move |info| Box::pin(recover(info))));
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
        let now = AsyncHooks { callbacks: Arc::new(self.callbacks), spec: Arc::clone(&spec), runtime: None };
        let later: Arc<dyn Hooks> = Arc::new(now.clone());
        Ok(SharedService { spec, now, later })
    }
}

/// A service that many processes share, as seen from one of them. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct SharedService {
    spec: Arc<Spec>,
    now: AsyncHooks,
    /// The callbacks for who has no runtime.
    later: Arc<dyn Hooks>,
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
    ///
    /// # Cancel safety
    ///
    /// Safe to drop at any point. Before the reference exists, nothing has happened; after, it is given back, by a
    /// thread that the dropping task does not wait for. A start once begun goes on without you, and what it started is
    /// released when it is done, if nobody else has come to want it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime; and in one without its time driver, if the service has an `on_health_check` or an
    /// [`acquire_timeout`](Builder::acquire_timeout).
    pub async fn acquire(&self) -> Result<ServiceHandle> {
        let acquire = self.acquire_with(Arc::new(self.now.on(Handle::current())));
        match self.spec.settings.acquire_timeout {
            None => acquire.await,
            Some(limit) => match tokio::time::timeout(limit, acquire).await {
                Ok(result) => result,
                Err(_) => Err(acquire_timed_out(&self.spec)),
            },
        }
    }

    async fn acquire_with(&self, hooks: Arc<dyn Hooks>) -> Result<ServiceHandle> {
        let begin = || begin(&self.spec, Arc::clone(&hooks), &self.later);
        let mut begun = begin()?;
        loop {
            begun = match begun {
                Begun::Holds(lease) => {
                    let held = Held(Some(lease));
                    if self.is_healthy(&held).await {
                        return Ok(held.into_handle(self));
                    }
                    match held.into_lease() {
                        Some(lease) => lease.reject(Arc::clone(&hooks))?,
                        None => begin()?,
                    }
                }
                Begun::Waits(pending) => match Waits(Some(pending)).answer().await? {
                    Answered::Holds(lease) => return Ok(Held(Some(lease)).into_handle(self)),
                    Answered::Unchecked(lease) => lease.recheck(Arc::clone(&hooks))?,
                    Answered::Again => begin()?,
                },
            };
        }
    }

    async fn is_healthy(&self, held: &Held) -> bool {
        let (Some(check), Some(lease)) = (&self.now.callbacks.health_check, &held.0) else { return true };
        let callback = "on_health_check";
        let Ok(check) = self.now.made(callback, || check(lease.info().clone())) else { return false };
        let check = caught(self.spec.name.clone(), callback, check);
        matches!(tokio::time::timeout(self.spec.settings.health_timeout, check).await, Ok(Ok(true)))
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

/// A reference in a future that may be dropped: given back without blocking the task.
struct Held(Option<Lease>);

impl Held {
    fn into_lease(mut self) -> Option<Lease> {
        self.0.take()
    }

    fn into_handle(mut self, service: &SharedService) -> ServiceHandle {
        ServiceHandle { lease: self.0.take(), now: service.now.clone() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            let_go(lease);
        }
    }
}

/// A wait in a future that may be dropped: a reference that has come in that instant is given back in the same way.
struct Waits(Option<Pending<Result<Answered>>>);

impl Waits {
    async fn answer(mut self) -> Result<Answered> {
        match &mut self.0 {
            Some(pending) => {
                let answer = pending.await;
                self.0 = None;
                answer
            }
            None => Ok(Answered::Again),
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(Ok(Answered::Holds(lease) | Answered::Unchecked(lease))) = self.0.take().and_then(Pending::cancel) {
            let_go(lease);
        }
    }
}

/// A reference to a service that runs. Dropping it releases the reference.
///
/// The process's last handle, when it is released in the last process, stops the service: dropping it then blocks the
/// thread for as long as that takes, [`stop_timeout`](Builder::stop_timeout) and the
/// [stop ladder](Builder::stop_ladder) at the most. In a task, [`release`](Self::release) it instead. Dropping never
/// panics: not outside of a runtime, not inside a current-thread one, not while the thread is panicking.
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
    lease: Option<Lease>,
    now: AsyncHooks,
}

impl ServiceHandle {
    fn lease(&self) -> &Lease {
        match &self.lease {
            Some(lease) => lease,
            None => unreachable!("taken only by `release`, which takes the handle"),
        }
    }

    /// The service as it was when this handle was acquired.
    #[must_use]
    pub fn info(&self) -> &ServiceInfo {
        self.lease().info()
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.lease().spec().name.as_str()
    }

    /// Whether the process that this handle was acquired for still runs. `true` for a service that is not one process.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.lease().is_alive()
    }

    /// Which instance this handle was acquired for: counts up with every start and recovery while the service is in
    /// use.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.lease().generation()
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
    pub fn keep(mut self) -> Result<()> {
        self.lease.take().map_or(Ok(()), Lease::keep)
    }

    /// Releases the reference, as dropping the handle does, without blocking the task; and says what went wrong.
    ///
    /// # Errors
    ///
    /// `on_last_release` failed or took too long, or the service's process does not end
    /// ([`StopFailed`](crate::ErrorKind::StopFailed), [`TimedOut`](crate::ErrorKind::TimedOut)); or the count was removed while the
    /// service was in use ([`SetRemoved`](crate::ErrorKind::SetRemoved)). The reference is released all the same.
    ///
    /// # Cancel safety
    ///
    /// Once it has been polled, it goes on without you; its error then goes to `tracing`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn release(mut self) -> Result<()> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        match lease.release(Arc::new(self.now.on(Handle::current()))) {
            BegunRelease::Over(result) => result,
            BegunRelease::Waits(pending) => pending.await,
        }
    }
}

/// The callbacks, called from a thread that may block, on a runtime.
#[derive(Clone, Debug)]
struct AsyncHooks {
    callbacks: Arc<Callbacks>,
    spec: Arc<Spec>,
    /// `None`: on a small one of their own.
    runtime: Option<Handle>,
}

/// The runtime was shut down under the task.
struct ShutDown;

impl AsyncHooks {
    fn on(&self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self.clone() }
    }

    /// Making the future is the program's code, too.
    fn made<T>(&self, callback: &'static str, make: impl FnOnce() -> Boxed<T>) -> Result<Boxed<T>> {
        catch_unwind(AssertUnwindSafe(|| in_callback(&self.spec.name, make)))
            .map_err(|panic| panicked(callback, &*panic))
    }

    fn run<T: Send + 'static>(&self, callback: &'static str, limit: Duration, future: Boxed<Result<T>>) -> Result<T> {
        let result = match &self.runtime {
            Some(runtime) => self.run_on(runtime, callback, limit, future),
            None => Ok(self.run_alone(callback, limit, future)),
        };
        result.unwrap_or_else(|ShutDown| Err(format!("the tokio runtime was shut down while {callback} ran").into()))
    }

    fn run_on<T: Send + 'static>(
        &self,
        runtime: &Handle,
        callback: &'static str,
        limit: Duration,
        future: Boxed<Result<T>>,
    ) -> Result<Result<T>, ShutDown> {
        let (sends, receives) = mpsc::sync_channel(1);
        let future = caught(self.spec.name.clone(), callback, future);
        let task = runtime.spawn(async move {
            let result = future.await;
            let _ = sends.send(result.and_then(|result| result));
        });
        match receives.recv_timeout(limit) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Disconnected) => Err(ShutDown),
            Err(RecvTimeoutError::Timeout) => {
                task.abort();
                // Until the task has been dropped its code may run; one that never yields is not waited for for ever.
                match receives.recv_timeout(limit.max(Duration::from_secs(1))) {
                    Ok(result) => Ok(result),
                    Err(_) => Ok(Err(callback_timed_out(callback, limit))),
                }
            }
        }
    }

    fn run_alone<T>(&self, callback: &'static str, limit: Duration, future: Boxed<Result<T>>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let future = caught(self.spec.name.clone(), callback, future);
        let limited = runtime.block_on(async { tokio::time::timeout(limit, future).await });
        // What the callback has left running is not waited for.
        runtime.shutdown_background();
        match limited {
            Ok(result) => result.and_then(|result| result),
            Err(_) => Err(callback_timed_out(callback, limit)),
        }
    }
}

/// A callback's panic is its failure.
async fn caught<T>(name: ServiceName, callback: &'static str, mut future: Boxed<T>) -> Result<T> {
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| in_callback(&name, || future.as_mut().poll(context)))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(panicked(callback, &*panic))),
        }
    })
    .await
}

impl Hooks for AsyncHooks {
    fn start(&self) -> Result<ServiceInfo> {
        let Some(start) = &self.callbacks.start else { return Err("there is no on_first_acquire".into()) };
        let callback = "on_first_acquire";
        self.run(callback, self.spec.settings.start_timeout, self.made(callback, start)?)
    }

    fn checks_health(&self) -> bool {
        self.callbacks.health_check.is_some()
    }

    fn is_healthy(&self, info: ServiceInfo) -> bool {
        let Some(check) = &self.callbacks.health_check else { return true };
        let callback = "on_health_check";
        let result = self.made(callback, || check(info)).and_then(|check| {
            self.run(callback, self.spec.settings.health_timeout, Box::pin(async { Ok(check.await) }))
        });
        result.unwrap_or(false)
    }

    fn recovers(&self) -> bool {
        self.callbacks.recover.is_some()
    }

    fn recover(&self, old: ServiceInfo) -> Result<ServiceInfo> {
        let Some(recover) = &self.callbacks.recover else { return Err("there is no on_recover".into()) };
        let callback = "on_recover";
        self.run(callback, self.spec.settings.start_timeout, self.made(callback, || recover(old))?)
    }

    fn stops(&self) -> bool {
        self.callbacks.stop.is_some()
    }

    fn stop(&self, info: ServiceInfo) -> Result<()> {
        let Some(stop) = &self.callbacks.stop else { return Ok(()) };
        let (callback, limit) = ("on_last_release", self.spec.settings.stop_timeout);
        // A runtime that is shut down under the callback is not its failure: then it is called where it can run.
        if let Some(runtime) = &self.runtime
            && let Ok(result) = self.run_on(runtime, callback, limit, self.made(callback, || stop(info.clone()))?)
        {
            return result;
        }
        self.run_alone(callback, limit, self.made(callback, || stop(info))?)
    }
}
