//! What the tests share: a service that only stays, with its callbacks counted, and other processes that hold it.

use procref::{Builder, Error, ServiceInfo, SharedService, blocking};
use procref_tests::actor::Stop;
use procref_tests::sandbox::{MARK, PATIENCE};
use procref_tests::sys::{self, Place};
use procref_tests::{Actor, Config, Sandbox};
use std::future::Future;
use std::io::Read as _;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

pub(crate) const STEPS: &str = env!("CARGO_BIN_EXE_steps");

/// A service of one test.
pub(crate) struct Bed {
    pub(crate) name: String,
    pub(crate) calls: Arc<Calls>,
    // Last: its drop looks at what the rest has left behind.
    pub(crate) sandbox: Sandbox,
}

/// What the callbacks have done.
pub(crate) struct Calls {
    mark: String,
    starts: AtomicUsize,
    stops: AtomicUsize,
    recoveries: AtomicUsize,
    /// Kept and not reaped, so that no number is given to somebody else.
    children: Mutex<Vec<Child>>,
}

impl Calls {
    /// The service's process: one that ends when it is asked to.
    pub(crate) fn spawn(&self) -> std::io::Result<u32> {
        self.spawn_command(Command::new(STEPS).args(["say=ready", "stay"]))
    }

    /// Returns when it has said something.
    pub(crate) fn spawn_command(&self, command: &mut Command) -> std::io::Result<u32> {
        let command = sys::alone(command).env(MARK, &self.mark);
        let mut child = sys::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let pid = child.id();
        child.stdout.take().expect("it is piped").read_exact(&mut [0])?;
        self.children.lock().expect("no panic while it is locked").push(child);
        Ok(pid)
    }

    pub(crate) fn start(&self) -> procref::Result<ServiceInfo> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        Ok(ServiceInfo::new(self.spawn()?, 4711))
    }

    pub(crate) fn stop(&self, info: &ServiceInfo) {
        self.stops.fetch_add(1, Ordering::SeqCst);
        procref::process::terminate(info.pid());
    }

    pub(crate) fn recover(&self) -> procref::Result<ServiceInfo> {
        self.recoveries.fetch_add(1, Ordering::SeqCst);
        Ok(ServiceInfo::new(self.spawn()?, 4712))
    }

    pub(crate) fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    pub(crate) fn stops(&self) -> usize {
        self.stops.load(Ordering::SeqCst)
    }

    pub(crate) fn recoveries(&self) -> usize {
        self.recoveries.load(Ordering::SeqCst)
    }
}

impl Bed {
    pub(crate) fn new() -> Self {
        sys::needs_way_in(env!("CARGO_BIN_EXE_actor"));
        let sandbox = Sandbox::new();
        let calls = Calls {
            mark: sandbox.mark().to_owned(),
            starts: AtomicUsize::new(0),
            stops: AtomicUsize::new(0),
            recoveries: AtomicUsize::new(0),
            children: Mutex::default(),
        };
        Self { name: sandbox.name("s"), calls: Arc::new(calls), sandbox }
    }

    /// Without callbacks.
    pub(crate) fn bare(&self) -> Builder {
        SharedService::builder(&self.name).runtime_dir(self.sandbox.runtime_dir())
    }

    pub(crate) fn builder(&self) -> Builder {
        let (start, stop) = (Arc::clone(&self.calls), Arc::clone(&self.calls));
        self.bare()
            .on_first_acquire(move || {
                let calls = Arc::clone(&start);
                async move { calls.start() }
            })
            .on_last_release(move |info| {
                let calls = Arc::clone(&stop);
                async move {
                    calls.stop(&info);
                    Ok(())
                }
            })
    }

    pub(crate) fn service(&self) -> SharedService {
        self.builder().build().expect("it can be described")
    }

    /// Without callbacks, and without tokio.
    pub(crate) fn bare_blocking(&self) -> blocking::Builder {
        blocking::SharedService::builder(&self.name).runtime_dir(self.sandbox.runtime_dir())
    }

    pub(crate) fn blocking_builder(&self) -> blocking::Builder {
        let (start, stop) = (Arc::clone(&self.calls), Arc::clone(&self.calls));
        self.bare_blocking().on_first_acquire(move || start.start()).on_last_release(move |info| {
            stop.stop(&info);
            Ok(())
        })
    }

    pub(crate) fn blocking_service(&self) -> blocking::SharedService {
        self.blocking_builder().build().expect("it can be described")
    }

    /// Where the service is found: looked up in one that is there for a moment.
    pub(crate) fn place(&self) -> Place {
        let handle = self.blocking_service().acquire().expect("it starts");
        let place = Place::of(&self.name);
        handle.release().expect("it stops");
        // Its guardian may take a moment longer.
        self.sandbox.assert_nothing_left();
        place
    }

    /// Another process that joins the service.
    pub(crate) fn other(&self) -> Actor {
        let config = Config { name: self.name.clone(), stop: Stop::None, ..Config::new(&self.sandbox, STEPS) };
        let mut other = Actor::new(&self.sandbox, env!("CARGO_BIN_EXE_actor"), &config);
        other.acquire();
        other
    }

    /// Starts the service and leaves it to another process: that one, and the service's.
    pub(crate) fn run_for_other(&self) -> (Actor, u32) {
        let handle = self.blocking_service().acquire().expect("it starts");
        let other = self.other();
        let pid = handle.info().pid().expect("it is a process");
        handle.release().expect("it is left");
        (other, pid)
    }

    pub(crate) fn assert_balanced(&self, started: usize) {
        // First, for it waits until all is over.
        self.sandbox.assert_nothing_left();
        assert_eq!((self.calls.starts(), self.calls.stops()), (started, started), "starts and stops");
    }
}

/// Waits for something that only the kernel or another thread can tell when asked.
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Receives what must come.
pub(crate) fn receive<T>(channel: &mpsc::Receiver<T>, what: &str) -> T {
    channel.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never came: {what}"))
}

/// A future that is polled by hand, so that it can be dropped anywhere.
pub(crate) struct Polled<F> {
    future: Pin<Box<F>>,
    waker: Waker,
    wakes: mpsc::Receiver<()>,
}

struct Wakes(mpsc::Sender<()>);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

impl<F: Future> Polled<F> {
    pub(crate) fn new(future: F) -> Self {
        let (sends, wakes) = mpsc::channel();
        Self { future: Box::pin(future), waker: Waker::from(Arc::new(Wakes(sends))), wakes }
    }

    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    pub(crate) fn assert_pending(&mut self) {
        assert!(self.poll().is_pending(), "it should wait");
    }

    /// Waits until it asks to be polled again.
    pub(crate) fn woken(&self) {
        receive(&self.wakes, "a wake-up");
    }

    /// Polls it to its end.
    pub(crate) fn finish(mut self) -> F::Output {
        loop {
            match self.poll() {
                Poll::Ready(output) => return output,
                Poll::Pending => self.woken(),
            }
        }
    }
}

/// What caused an error, as the type that it was.
pub(crate) fn cause<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        source = error.source();
    }
    None
}
