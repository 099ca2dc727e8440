//! A client for the soak: `member NAME FOLDER LOG forked|started LINGER PROGRAM ARGUMENT…` shares the declared service that the
//! program is. It writes down what it holds, before anybody can see that it does, and what it gives back, before it does.
//!
//! Each line of its input makes it acquire once more, and so recover a service that has died; at the end of its input it
//! releases and ends.

use procref::blocking::{ServiceHandle, SharedService};
use procref::ready::Ready;
use procref::{Result, ServiceCommand};
use procref_tests::Events;
use procref_tests::sandbox::MARK;
use std::io::BufRead as _;
use std::time::Duration;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.is_empty() || arguments.get(3).is_some_and(|way| way == "started") {
        procref::guardian::init();
    }
    let [name, folder, log, _, linger, program, rest @ ..] = arguments.as_slice() else {
        return Err("NAME FOLDER LOG WAY LINGER PROGRAM".into());
    };
    let log = Events::new(log);
    let mark = std::env::var(MARK).map_err(procref::Error::other)?;
    let command = ServiceCommand::new(program).args(rest).port("port").env(MARK, mark).env("RUN", "{run}");
    let command = if program.ends_with("redis-server") {
        command.ready(Ready::tcp("{port}"))
    } else {
        command.ready(Ready::log("ready"))
    };
    let linger = Duration::from_millis(linger.parse().map_err(procref::Error::other)?);
    let service = SharedService::builder(name).runtime_dir(folder).linger(linger).command(command).build()?;
    let mut held = acquire(&service, &log);
    for line in std::io::stdin().lock().lines() {
        line?;
        let again = acquire(&service, &log);
        // The older handle is of the same reference: nothing is given back but where the service has been recovered.
        held = again.or(held);
    }
    if let Some(handle) = held {
        log.add("releases", handle.info().pid().unwrap_or(0));
        if let Err(error) = handle.release() {
            log.add("error", format!("release {:?} {error}", error.kind()));
        }
    }
    Ok(())
}

fn acquire(service: &SharedService, log: &Events) -> Option<ServiceHandle> {
    match service.acquire() {
        Ok(handle) => {
            log.add("holds", handle.info().pid().unwrap_or(0));
            Some(handle)
        }
        Err(error) => {
            log.add("error", format!("acquire {:?} {error}", error.kind()));
            None
        }
    }
}
