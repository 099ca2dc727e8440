//! Holds a declared service until it is killed: `holder NAME FOLDER STEPS
//! forked|started|never-ready|strays|prepares|run-folder|ignores-signals`, where STEPS is the program of that name. Or keeps it and
//! becomes a program: `holder NAME FOLDER STEPS forked|started PROGRAM ARGUMENT…`. Or is a service that says by itself that it is
//! ready: `holder notify`. Or starts a service by a callback that leaves no descriptor: `holder NAME FOLDER STEPS fills`. Or lives
//! on without its main thread: `holder headless`.

use procref::blocking::SharedService;
use procref::ready::Ready;
use procref::{Result, ServiceCommand, ServiceInfo};
use procref_tests::sys;
use std::io::Write as _;
use std::process::Stdio;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.len() == 1 || arguments.get(4).is_some_and(|way| way == "started") {
        procref::guardian::init();
    }
    if arguments.get(1).is_some_and(|word| word == "notify") {
        return notify();
    }
    if arguments.get(1).is_some_and(|word| word == "headless") {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
        sys::end_thread();
    }
    let [_, name, folder, steps, way, program @ ..] = arguments.as_slice() else {
        return Err("NAME FOLDER STEPS WAY".into());
    };
    if way == "fills" {
        return fill(name, folder, steps);
    }
    let ready = if matches!(way.as_str(), "never-ready" | "strays") { "never" } else { "done" };
    let taken: &[&str] =
        if way == "ignores-signals" { &["deaf", "say=done", "stay"] } else { &["child=stay", "say=done", "stay"] };
    let command = ServiceCommand::new(steps).args(taken).ready(Ready::log(ready));
    let command = match way.as_str() {
        "prepares" => {
            let state = std::env::var("STATE").map_err(procref::Error::other)?;
            command.state_dir(state).prepare(steps, ["new-folder={state}/half", "stay"])
        }
        // Where no signal to its group comes.
        "strays" => {
            ServiceCommand::new("sh").args(["-c", "setsid sleep 1001 & exec sleep 1000"]).ready(Ready::log(ready))
        }
        "run-folder" => command.env("RUN", "{run}"),
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

fn fill(name: &str, folder: &str, steps: &str) -> Result<()> {
    let steps = steps.to_owned();
    let service = SharedService::builder(name).runtime_dir(folder).on_first_acquire(move || {
        let started = sys::with_no_descriptor_left(|| {
            let [input, output, errors] = std::array::from_fn(|_| Stdio::null());
            std::process::Command::new(&steps).arg("stay").stdin(input).stdout(output).stderr(errors).spawn()
        });
        Ok(ServiceInfo::new(started?.id(), 0))
    });
    service.build()?.acquire().map(drop)
}

fn notify() -> Result<()> {
    sys::notify_ready()?;
    loop {
        std::thread::park();
    }
}
