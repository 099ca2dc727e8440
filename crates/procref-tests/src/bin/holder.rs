//! Holds a declared service until it is killed: `holder NAME FOLDER forked|started|never-ready|prepares|run-folder|ignores-signals`. Or
//! keeps it and becomes a program: `holder NAME FOLDER forked|started PROGRAM ARGUMENT…`. Or is a service that says by
//! itself that it is ready: `holder notify`.

use procref::blocking::SharedService;
use procref::ready::Ready;
use procref::{Result, ServiceCommand};
use procref_tests::sys;
use std::io::Write as _;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.len() == 1 || arguments.get(3).is_some_and(|way| way == "started") {
        procref::guardian::init();
    }
    if arguments.get(1).is_some_and(|word| word == "notify") {
        return notify();
    }
    let [_, name, folder, way, program @ ..] = arguments.as_slice() else { return Err("NAME FOLDER WAY".into()) };
    let ready = if way == "never-ready" { "never" } else { "done" };
    let command =
        ServiceCommand::new("sh").args(["-c", "sleep 1001 & echo done; exec sleep 1000"]).ready(Ready::log(ready));
    let command = match way.as_str() {
        "prepares" => command.prepare("sh", ["-c", "mkdir {state}/half && exec sleep 1000"]),
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
        return Err(sys::become_program(std::process::Command::new(program).args(arguments)).into());
    }
    println!("holds");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

fn notify() -> Result<()> {
    sys::notify_ready()?;
    loop {
        std::thread::park();
    }
}
