//! Holds a declared service until it is killed: `holder NAME FOLDER forked|started|never-ready`.

use procref::blocking::SharedService;
use procref::ready::Ready;
use procref::{Result, ServiceCommand};
use std::io::Write as _;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    // A program that was started with nothing but a title is a guardian.
    if arguments.len() == 1 || arguments.get(3).is_some_and(|way| way == "started") {
        procref::guardian::init();
    }
    let [_, name, folder, way] = arguments.as_slice() else { return Err("NAME FOLDER WAY".into()) };
    let ready = if way == "never-ready" { "never" } else { "done" };
    let command =
        ServiceCommand::new("sh").args(["-c", "sleep 1001 & echo done; exec sleep 1000"]).ready(Ready::log(ready));
    let service = SharedService::builder(name).runtime_dir(folder).command(command).build()?;
    let _handle = service.acquire()?;
    println!("holds");
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
