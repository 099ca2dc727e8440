//! One client: does what it is ordered to on standard input, and says on standard output what came of it.

use super::server::Kind;
use super::wire::{Line, News};
use super::{PATIENCE, Shared};
use crate::cli::Outcome;
use procref::blocking::ServiceHandle;
use procref::process;
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    number: usize,
    kind: Kind,
    name: String,
    folder: PathBuf,
}

impl Args {
    /// The arguments that make a process this client.
    pub(super) fn of(number: usize, shared: &Shared) -> [std::ffi::OsString; 6] {
        let Shared { name, folder, kind } = shared;
        let number = number.to_string();
        ["demo".into(), "client".into(), number.into(), kind.to_string().into(), name.into(), folder.into()]
    }
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (client, kind) = (args.number, args.kind);
    // Who nobody listens to any more lets go: the service's handle is dropped on the way out.
    let say = move |news: News| io::stdout().write_all(format!("{}\n", Line { client, news }).as_bytes());
    let shared = Shared { name: args.name.clone(), folder: args.folder.clone(), kind };
    let service = shared
        .service()
        .acquire_timeout(PATIENCE)
        .on_first_acquire(move || {
            say(News::Starts)?;
            kind.start()
        })
        .on_last_release(|info| {
            process::terminate(info.pid());
            Ok(())
        })
        .build()?;
    let mut handle: Option<ServiceHandle> = None;
    say(News::Ready)?;
    for order in io::stdin().lock().lines() {
        let done: Result<News, Box<dyn Error + Send + Sync>> = match order?.as_str() {
            "acquire" => service.acquire().map_err(Into::into).map(|acquired| {
                let info = handle.insert(acquired).info();
                News::Holds { pid: info.pid().unwrap_or_default(), port: info.port() }
            }),
            "talk" => match &handle {
                Some(handle) => kind.visit(handle.info().port()).map_err(Into::into),
                None => Err("it holds nothing".into()),
            },
            "release" => {
                let released = handle.take().map_or(Ok(()), ServiceHandle::release);
                released.map(|()| News::Released).map_err(Into::into)
            }
            order => Err(format!("{order:?} is no order").into()),
        };
        say(done.unwrap_or_else(|error| News::Failed(error.to_string())))?;
    }
    Ok(ExitCode::SUCCESS)
}
