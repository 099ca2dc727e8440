//! A client for the soak: `member NAME FOLDER LOG forked|started LINGER READY PROGRAM ARGUMENT…` shares the declared service that
//! the program is. READY says how that becomes ready: `log TEXT`, `tcp`, or `exec PROGRAM ARGUMENT…`. One that has a port is used:
//! each time that it is held, it is connected to.
//!
//! It writes down what it holds, before anybody can see that it does, and what it gives back, before it does. Each line of its
//! input makes it acquire once more, and so recover a service that has died; at the end of its input it releases and ends.

use procref::blocking::{ServiceHandle, SharedService};
use procref::ready::Ready;
use procref::{Result, ServiceCommand, StopLadder, StopSignal};
use procref_tests::Events;
use procref_tests::sandbox::{MARK, PATIENCE};
use std::io::{BufRead as _, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.is_empty() || arguments.get(3).is_some_and(|way| way == "started") {
        procref::guardian::init();
    }
    let [name, folder, log, _, linger, ready, program, rest @ ..] = arguments.as_slice() else {
        return Err("NAME FOLDER LOG WAY LINGER READY PROGRAM".into());
    };
    let log = Events::new(log);
    let mark = std::env::var(MARK).map_err(procref::Error::other)?;
    let command = ServiceCommand::new(program).args(rest).port("port").env(MARK, mark).env("RUN", "{run}");
    let ready: Vec<_> = ready.split(' ').collect();
    let command = command.ready(match ready.as_slice() {
        ["log", text] => Ready::log(*text),
        ["exec", program, arguments @ ..] => Ready::exec(program, arguments),
        _ => Ready::tcp("{port}"),
    });
    let linger = Duration::from_millis(linger.parse().map_err(procref::Error::other)?);
    let mut builder = SharedService::builder(name).runtime_dir(folder).linger(linger);
    // PostgreSQL waits for its clients at SIGTERM.
    if ready.first() == Some(&"exec") {
        builder = builder.stop_ladder(StopLadder::new(StopSignal::Interrupt, Duration::from_secs(10)));
    }
    let service = builder.command(command).build()?;
    let serves = ready.first() != Some(&"log");
    let mut held = acquire(&service, &log, serves);
    for line in std::io::stdin().lock().lines() {
        line?;
        let again = acquire(&service, &log, serves);
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

fn acquire(service: &SharedService, log: &Events, serves: bool) -> Option<ServiceHandle> {
    match service.acquire() {
        Ok(handle) => {
            let pid = handle.info().pid().unwrap_or(0);
            log.add("holds", pid);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, handle.info().port()));
            // A server that was killed meanwhile refuses.
            if serves
                && let Err(error) = TcpStream::connect_timeout(&address, PATIENCE)
                && error.kind() == ErrorKind::ConnectionRefused
            {
                log.add("refused", pid);
            }
            Some(handle)
        }
        Err(error) => {
            log.add("error", format!("acquire {:?} {error}", error.kind()).replace('\n', " "));
            None
        }
    }
}
