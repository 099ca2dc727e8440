//! A program to be killed, or whose system calls fail, at every one of them: `role MODE forked|started PART…`. What is
//! looked at lies between the marks 1 and 2. It prints what came of it.

use procref::Result;
use procref::blocking::ServiceHandle;
use procref_tests::actor::until;
use procref_tests::part::{Part, Participant};
use procref_tests::trace::mark;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::PathBuf;

pub(crate) fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.len() == 1 || arguments[2] == "started" {
        procref::guardian::init();
    }
    let [_, mode, _, part @ ..] = &arguments[..] else { panic!("usage: role MODE forked|started PART") };
    let part = Part::parse(part).enter().expect("a good description");
    match mode.as_str() {
        "acquire" => say("holds", marked(|| part.acquire()).map(std::mem::forget)),
        "release" => {
            let handle = part.acquire().expect("nothing stands in the way");
            say("released", marked(|| handle.release()));
        }
        // Acquires, and acquires again if that fails; and leaves in order.
        "acquire-anyway" => {
            let first = marked(|| part.acquire());
            let failed = first.is_err();
            say("holds", first.as_ref().map(drop).map_err(Clone::clone));
            if failed {
                say("then", part.acquire().and_then(ServiceHandle::release));
            } else if let Ok(handle) = first {
                say("then", handle.release());
            }
            println!("descriptors {}", descriptors());
        }
        // Holds it until a guardian watches, whoever was killed before.
        "hold" => {
            let held = marked(|| part.acquire());
            say("holds", held.as_ref().map(drop).map_err(Clone::clone));
            if let Ok(handle) = held {
                guarded(&part);
                println!("alive {}", handle.is_alive());
                say("released", handle.release());
            }
        }
        _ => panic!("no such mode: {mode}"),
    }
    // What comes of its end is the kernel's doing.
    std::mem::forget(part);
}

fn say(word: &str, result: Result<()>) {
    match result {
        Ok(()) => println!("{word}"),
        Err(error) => println!("error {:?}: {}", error.kind(), error.to_string().replace('\n', " ")),
    }
}

fn marked<T>(look: impl FnOnce() -> T) -> T {
    let free = std::env::var("FREE_DESCRIPTORS").ok().and_then(|free| free.parse::<u64>().ok());
    let before = getrlimit(Resource::Nofile);
    if let Some(free) = free {
        // What is open has the lowest numbers.
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64 - 1;
        limit_descriptors(Rlimit { current: Some(open + free), ..before });
    }
    mark(1);
    let result = look();
    mark(2);
    limit_descriptors(before);
    result
}

fn limit_descriptors(limit: Rlimit) {
    setrlimit(Resource::Nofile, limit).expect("a lower limit, or the one that was there");
}

fn guarded(part: &Participant) {
    until("a guardian watches", || part.service.status().ok()?.guardian);
}

/// When no thread of procref's is there any more but the one that watches for guardians' deaths.
fn descriptors() -> usize {
    until("the threads are done", || {
        let mut threads = std::fs::read_dir("/proc/self/task").ok()?;
        let works = |path: PathBuf| {
            std::fs::read_to_string(path.join("comm"))
                .is_ok_and(|name| name.starts_with("procref") && name != "procref-watch\n")
        };
        (!threads.any(|thread| thread.is_ok_and(|thread| works(thread.path())))).then_some(())
    });
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
