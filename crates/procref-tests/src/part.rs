//! One who takes part in sharing a service: what the proof's programs and its tests do alike.
//!
//! A service that a callback starts is nobody's until its start has been published; it looks after itself until then: when its
//! starter is gone it stays if the semaphore set records it, and ends if not. So whatever stays is procref's to stop.

use crate::sandbox::{MARK, Sandbox};
use procref::blocking::{ServiceHandle, SharedService};
use procref::ready::Ready;
use procref::{Result, ServiceCommand, ServiceInfo};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How the service is started and stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By callbacks.
    Callback,
    /// By callbacks, and there is one that recovers it.
    Recovers,
    /// By a command.
    Declared,
}

/// What every participant says of the service.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// `runtime_dir`.
    pub folder: PathBuf,
    /// The program that it is.
    pub program: PathBuf,
    /// Where that writes down what happens to it.
    pub log: PathBuf,
    /// What it locks: two instances at once are found out.
    pub lock: PathBuf,
    /// How it is started and stopped.
    pub kind: Kind,
    /// `linger`.
    pub linger: Duration,
}

impl Part {
    /// The service of a sandbox.
    #[must_use]
    pub fn new(sandbox: &Sandbox, program: &str, kind: Kind, linger: Duration) -> Self {
        Self {
            name: sandbox.name("s"),
            folder: sandbox.runtime_dir(),
            program: program.into(),
            log: sandbox.folder().join("log"),
            lock: sandbox.folder().join("instance"),
            kind,
            linger,
        }
    }

    /// As the arguments of a program.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let kind = match self.kind {
            Kind::Callback => "callback",
            Kind::Recovers => "recovers",
            Kind::Declared => "declared",
        };
        let paths = [&self.folder, &self.program, &self.log, &self.lock].map(|path| path.display().to_string());
        let mut arguments = vec![kind.to_owned(), self.linger.as_millis().to_string(), self.name.clone()];
        arguments.extend(paths);
        arguments
    }

    /// What [`arguments`](Self::arguments) said.
    ///
    /// # Panics
    ///
    /// It did not say that.
    #[must_use]
    pub fn parse(arguments: &[String]) -> Self {
        let [kind, linger, name, folder, program, log, lock] = arguments else { panic!("not a part: {arguments:?}") };
        let kind = match &**kind {
            "callback" => Kind::Callback,
            "recovers" => Kind::Recovers,
            _ => Kind::Declared,
        };
        let linger = Duration::from_millis(linger.parse().expect("a number"));
        let [folder, program, log, lock] = [folder, program, log, lock].map(PathBuf::from);
        Self { name: name.clone(), folder, program, log, lock, kind, linger }
    }

    /// Takes part.
    ///
    /// # Errors
    ///
    /// The service cannot be described so.
    pub fn enter(&self) -> Result<Participant> {
        let children = Arc::new(Children { part: self.clone(), list: Mutex::default() });
        let builder = SharedService::builder(&self.name).runtime_dir(&self.folder).linger(self.linger);
        let builder = if self.kind == Kind::Declared {
            let [log, lock] =
                [("log", &self.log), ("lock", &self.lock)].map(|(key, path)| format!("{key}={}", path.display()));
            let command = ServiceCommand::new(&self.program).args([log, lock]).ready(Ready::log("ready"));
            // The sandbox finds by it what stays; a program has it in its environment, a test has not.
            let mark = self.name.strip_suffix("-s").unwrap_or(&self.name);
            builder.command(command.env(MARK, mark))
        } else {
            let [starter, recoverer] = std::array::from_fn(|_| Arc::clone(&children));
            let builder = builder.on_first_acquire(move || starter.start()).on_last_release(|info| {
                procref::process::terminate(info.pid());
                Ok(())
            });
            if self.kind == Kind::Recovers {
                builder.on_recover(move |old| {
                    procref::process::stop(old.pid(), Duration::from_secs(10))?;
                    recoverer.start()
                })
            } else {
                builder
            }
        };
        Ok(Participant { service: builder.build()?, children })
    }
}

/// Somebody who takes part.
#[derive(Debug)]
pub struct Participant {
    /// The service as this one sees it.
    pub service: SharedService,
    children: Arc<Children>,
}

impl Participant {
    /// Acquires the service; if this one has started it, it stays.
    ///
    /// # Errors
    ///
    /// As [`SharedService::acquire`].
    pub fn acquire(&self) -> Result<ServiceHandle> {
        let handle = self.service.acquire()?;
        self.children.keep();
        Ok(handle)
    }
}

#[derive(Debug)]
struct Children {
    part: Part,
    list: Mutex<Vec<Child>>,
}

impl Children {
    fn start(&self) -> Result<ServiceInfo> {
        let Part { name, folder, program, log, lock, .. } = &self.part;
        let mut command = Command::new(program);
        for (key, path) in [("log", log), ("lock", lock), ("folder", folder)] {
            command.arg(format!("{key}={}", path.display()));
        }
        command.args(["handed-over", &format!("recorded={name}")]);
        command.env(MARK, name.strip_suffix("-s").unwrap_or(name));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = [0; 6];
        child.stdout.take().ok_or("no pipe")?.read_exact(&mut said)?;
        let info = ServiceInfo::new(child.id(), 4711).with_metadata("note", "what is in it");
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        Ok(info)
    }

    fn keep(&self) {
        for child in self.list.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            // One that has ended does not hear it.
            let _ = child.stdin.take().map(|mut stdin| stdin.write_all(b"keep\n"));
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in self.list.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
