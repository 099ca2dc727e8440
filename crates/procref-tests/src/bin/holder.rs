//! Holds a declared service until it is killed: `holder NAME FOLDER forked|started|never-ready|strays|prepares|run-folder|ignores-signals`.
//! Or keeps it and becomes a program: `holder NAME FOLDER forked|started PROGRAM ARGUMENT…`. Or is a service that says by
//! itself that it is ready: `holder notify`. Or starts a service by a callback that leaves no descriptor: `holder NAME FOLDER fills`.
//! Or lives on without its main thread: `holder headless`.

use procref::blocking::SharedService;
use procref::ready::Ready;
use procref::{Result, ServiceCommand, ServiceInfo};
use rustix::process::{Resource, Rlimit};
use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.len() == 1 || arguments.get(3).is_some_and(|way| way == "started") {
        procref::guardian::init();
    }
    if arguments.get(1).is_some_and(|word| word == "notify") {
        return notify();
    }
    if arguments.get(1).is_some_and(|word| word == "headless") {
        end_main_thread();
    }
    let [_, name, folder, way, program @ ..] = arguments.as_slice() else { return Err("NAME FOLDER WAY".into()) };
    if way == "fills" {
        return fill(name, folder);
    }
    let ready = if matches!(way.as_str(), "never-ready" | "strays") { "never" } else { "done" };
    let command =
        ServiceCommand::new("sh").args(["-c", "sleep 1001 & echo done; exec sleep 1000"]).ready(Ready::log(ready));
    let command = match way.as_str() {
        "prepares" => command.prepare("sh", ["-c", "mkdir {state}/half && exec sleep 1000"]),
        // Where no signal to its group comes.
        "strays" => {
            ServiceCommand::new("sh").args(["-c", "setsid sleep 1001 & exec sleep 1000"]).ready(Ready::log(ready))
        }
        "run-folder" => command.env("RUN", "{run}"),
        "ignores-signals" => {
            let deaf = "trap '' TERM; echo done; while :; do sleep 1000; done";
            ServiceCommand::new("sh").args(["-c", deaf]).ready(Ready::log(ready))
        }
        _ => command,
    };
    let service = SharedService::builder(name).runtime_dir(folder).command(command).build()?;
    let handle = service.acquire()?;
    if let [program, arguments @ ..] = program {
        handle.keep()?;
        println!("holds");
        return Err(std::process::Command::new(program).args(arguments).exec().into());
    }
    println!("holds");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn fill(name: &str, folder: &str) -> Result<()> {
    let service = SharedService::builder(name).runtime_dir(folder).on_first_acquire(|| {
        let limit = rustix::process::getrlimit(Resource::Nofile);
        let lower = Rlimit { current: Some(64), ..limit };
        rustix::process::setrlimit(Resource::Nofile, lower).map_err(std::io::Error::from)?;
        let [input, output, errors] = std::array::from_fn(|_| Stdio::null());
        let mut sleep = std::process::Command::new("sleep");
        let pid = sleep.arg("1000").stdin(input).stdout(output).stderr(errors).spawn()?.id();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            std::mem::forget(file);
        }
        Ok(ServiceInfo::new(pid, 0))
    });
    service.build()?.acquire().map(drop)
}

fn notify() -> Result<()> {
    let name = std::env::var("NOTIFY_SOCKET").map_err(procref::Error::other)?;
    let socket = UnixDatagram::unbound()?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    socket.send_to_addr(b"READY=1", &address)?;
    loop {
        std::thread::park();
    }
}

#[expect(unsafe_code, reason = "the standard library does not end the main thread alone")]
fn end_main_thread() -> ! {
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    // SAFETY: ends this thread, which owns nothing that another one uses.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("it has ended")
}
