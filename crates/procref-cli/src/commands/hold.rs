//! `procref hold`: services that are wanted for as long as this process is.

use crate::cli::Outcome;
use crate::out;
use crate::progress;
use crate::services::{ScopeOption, Service, Services};
use crate::text;
use procref::blocking::ServiceHandle;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::error::Error;
use std::io::{self, PipeReader, Read};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Services of procref.toml, as they are called there.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    scope: ScopeOption,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let services = Services::here(args.scope)?;
    let wanted: Vec<Service> = args.names.iter().map(|name| services.service(name)).collect::<Result<_, _>>()?;
    let mut held = Vec::new();
    // Who is asked to end meanwhile ends, and the kernel takes back what there is.
    for service in &wanted {
        held.push((service, service.acquire()?));
    }
    let asked = Asked::listen()?;
    if progress::is_shown() {
        held.iter().for_each(|(service, handle)| out::say(&text::line(&holds(service, handle))));
    }
    asked.wait()?;
    asked.end_at_the_next_signal();
    let mut failed = Vec::new();
    // Who needs others goes first.
    for (service, handle) in held.into_iter().rev() {
        let released = progress::while_waiting(&service.identity.name, "stop", || handle.release());
        failed.extend(released.err().map(|error| error.to_string()));
    }
    if failed.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(failed.join("\nprocref: ").into()) }
}

fn holds(service: &Service, handle: &ServiceHandle) -> String {
    let ports = service.ports(handle.info()).unwrap_or_default();
    let ports: String = ports.iter().map(|(name, number)| format!(", {name} {number}")).collect();
    let pid = handle.info().pid().map(|pid| format!(", pid {pid}")).unwrap_or_default();
    format!("holds {}{pid}{ports}", service.identity.name)
}

/// Whether this process has been asked to end.
#[derive(Debug)]
struct Asked {
    signals: PipeReader,
    once: Arc<AtomicBool>,
}

impl Asked {
    fn listen() -> io::Result<Self> {
        let (signals, writes) = io::pipe()?;
        let once = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Comes first, so that the first signal does not end the process.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&once))?;
            signal_hook::low_level::pipe::register(signal, writes.try_clone()?)?;
        }
        Ok(Self { signals, once })
    }

    /// Waits for a signal, or for the end of standard input.
    fn wait(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let stdin = io::stdin();
        let mut buffer = [0; 4096];
        loop {
            let mut sources = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            match poll(&mut sources, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(format!("cannot wait: {}", io::Error::from(error)).into()),
            }
            let [input, signal] = sources.map(|source| !source.revents().is_empty());
            // What cannot be read has ended.
            if signal || input && stdin.lock().read(&mut buffer).unwrap_or(0) == 0 {
                return Ok(());
            }
        }
    }

    /// Who is in a hurry asks twice: the kernel and the guardian do the rest.
    fn end_at_the_next_signal(&self) {
        self.once.store(true, Ordering::SeqCst);
    }
}
