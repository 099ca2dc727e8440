//! The program whose system calls are looked at: `traced MODE NAME FOLDER`. What is looked at lies between the marks
//! 1 and 2. It prints what came of it.

use procref::blocking::{ServiceHandle, SharedService};
use procref::{PlatformRefCounter, RefCounter, Result, ServiceInfo};
use procref_tests::trace::mark;
use std::process::{Command, Stdio};

pub(crate) fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.len() == 1 || arguments[1].ends_with("with-way-in") {
        procref::guardian::init();
    }
    let [_, mode, name, folder] = &arguments[..] else { panic!("usage: traced MODE NAME FOLDER") };
    match run(mode, name, folder) {
        Ok(said) => println!("{said}"),
        Err(error) => println!("{:?}: {error}", error.kind()),
    }
}

fn run(mode: &str, name: &str, folder: &str) -> Result<String> {
    if mode == "count" {
        let counter = PlatformRefCounter::new(name)?;
        return Ok(format!("{:?}", counter.acquire()?));
    }
    let mut builder = SharedService::builder(name).runtime_dir(folder).on_first_acquire(start);
    if mode == "release-with-callback" {
        builder = builder.on_last_release(|info| {
            procref::process::terminate(info.pid());
            Ok(())
        });
    }
    let service = builder.build()?;
    match mode {
        "acquire" | "acquire-later" | "acquire-with-way-in" => {
            if mode == "acquire-later" {
                service.acquire()?.release()?;
            }
            let handle = marked(|| service.acquire())?;
            let metadata = handle.info().metadata().iter().map(|(key, value)| format!(" {key}={value}"));
            let said = format!("holds{}", metadata.collect::<String>());
            // What comes of its end is the kernel's doing.
            std::mem::forget(handle);
            Ok(said)
        }
        "acquire-again" => {
            let first = service.acquire()?;
            marked(|| service.acquire().and_then(ServiceHandle::release))?;
            std::mem::forget(first);
            Ok("holds".into())
        }
        "release" | "release-with-callback" => {
            let handle = service.acquire()?;
            marked(|| handle.release())?;
            Ok("released".into())
        }
        _ => panic!("no such mode: {mode}"),
    }
}

fn marked<T>(look: impl FnOnce() -> T) -> T {
    mark(1);
    let result = look();
    mark(2);
    result
}

fn start() -> Result<ServiceInfo> {
    println!("starts");
    let mut sleep = Command::new("sleep");
    let child = sleep.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(ServiceInfo::new(child.id(), 4711))
}
