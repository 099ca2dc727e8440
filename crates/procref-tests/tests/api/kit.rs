//! What the tests share: a service that is `sleep`, with its callbacks counted, and the kernel's sets as they are.

use procref::protocol::set::Op;
use procref::{Builder, Error, ServiceInfo, SharedService, blocking};
use procref_tests::Sandbox;
use procref_tests::sandbox::{MARK, PATIENCE};
use std::future::Future;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

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
    /// The service's process: one that ends by SIGTERM.
    pub(crate) fn spawn(&self) -> std::io::Result<u32> {
        self.spawn_command(Command::new("sleep").arg("1000"))
    }

    pub(crate) fn spawn_command(&self, command: &mut Command) -> std::io::Result<u32> {
        let child =
            command.env(MARK, &self.mark).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pid = child.id();
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

    /// The identifier of the service's set, which must be there.
    pub(crate) fn set(&self) -> i32 {
        let sets = self.sandbox.sets();
        sets.iter().find(|(_, name)| *name == self.name).expect("the service's set is there").0
    }

    /// The key of the service's set: looked up in a set that is there for a moment.
    pub(crate) fn key(&self) -> i32 {
        let handle = self.blocking_service().acquire().expect("it starts");
        let key = key_of(self.set());
        handle.release().expect("it stops");
        key
    }

    /// Starts the service and leaves it to a client that is in no process.
    pub(crate) fn run_for_phantom(&self) -> Phantom {
        let handle = self.blocking_service().acquire().expect("it starts");
        let set = self.set();
        let phantom = Phantom { set, pid: handle.info().pid().expect("it is a process") };
        phantom.add(procref::protocol::set::CLIENTS, 1);
        handle.release().expect("it is left");
        phantom
    }

    pub(crate) fn assert_balanced(&self, started: usize) {
        // First, for it waits until all is over.
        self.sandbox.assert_nothing_left();
        assert_eq!((self.calls.starts(), self.calls.stops()), (started, started), "starts and stops");
    }
}

/// A client and, where asked for, a transition that belong to no process: what this process sees of other ones.
pub(crate) struct Phantom {
    pub(crate) set: i32,
    pub(crate) pid: u32,
}

impl Phantom {
    /// Changes a semaphore without undo.
    pub(crate) fn add(&self, sem: u16, delta: i16) {
        apply(self.set, &[Op { sem, delta, undo: false, wait: false }]);
    }

    pub(crate) fn value(&self, sem: u16) -> i32 {
        control(self.set, sem, libc::GETVAL)
    }

    /// How many sleep until a semaphore is zero.
    pub(crate) fn waiting(&self, sem: u16) -> i32 {
        control(self.set, sem, libc::GETZCNT)
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

fn rows() -> Vec<(i32, i32)> {
    let list = std::fs::read_to_string("/proc/sysvipc/sem").expect("the kernel lists the sets");
    let numbers = |row: &str| {
        let mut words = row.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    list.lines().skip(1).filter_map(numbers).collect()
}

pub(crate) fn key_of(set: i32) -> i32 {
    rows().into_iter().find(|&(_, id)| id == set).expect("the set is there").0
}

/// The set under a key, named or not.
pub(crate) fn set_under(key: i32) -> Option<i32> {
    rows().into_iter().find(|&(other, _)| other == key).map(|(_, id)| id)
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semget")]
pub(crate) fn make_set(key: i32, semaphores: usize, mode: i32) -> i32 {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL;
    // SAFETY: semget takes three numbers.
    let id = unsafe { libc::semget(key, semaphores as i32, flags | mode) };
    assert!(id >= 0, "the set can be made: {}", std::io::Error::last_os_error());
    id
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semctl")]
pub(crate) fn control(set: i32, sem: u16, command: i32) -> i32 {
    // SAFETY: the commands that are used here take no argument.
    let value = unsafe { libc::semctl(set, sem.into(), command) };
    assert!(value >= 0, "the set is there: {}", std::io::Error::last_os_error());
    value
}

#[expect(unsafe_code, reason = "there is no safe wrapper for semop")]
pub(crate) fn apply(set: i32, ops: &[Op]) {
    let mut raw: Vec<_> = ops
        .iter()
        .map(|op| {
            assert!(!op.undo && !op.wait, "what a test does to a set stays, at once");
            libc::sembuf { sem_num: op.sem, sem_op: op.delta, sem_flg: libc::IPC_NOWAIT as i16 }
        })
        .collect();
    // SAFETY: the kernel reads as many operations as there are.
    let result = unsafe { libc::semop(set, raw.as_mut_ptr(), raw.len()) };
    assert_eq!(result, 0, "the operations apply: {}", std::io::Error::last_os_error());
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
