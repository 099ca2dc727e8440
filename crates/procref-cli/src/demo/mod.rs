//! `procref demo`: several processes share one service; some of them are killed, and nothing is left.
//!
//! Every client and the service are processes of this same executable, told apart by hidden subcommands. The demo
//! itself holds no reference. It drives the clients over pipes, and whatever becomes of it, they come to the end of
//! their standard input and let go; so it leaves nothing, not even when it is killed. They are out of the reach of
//! Ctrl-C: it would kill them all in one instant, perhaps the one in which the demo has killed the guardian.

mod client;
mod server;
mod stage;
mod story;
mod timeline;
mod wire;

use crate::cli::Outcome;
use crate::exit;
use procref::blocking::{Builder, SharedService};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long anything may take that must happen. Nothing waits for it where a fact says that it has happened.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Share a redis-server instead of the demonstration's own small server.
    #[arg(long)]
    redis: bool,
    /// The service's name; by default one of this run's own.
    #[arg(long, hide = true)]
    name: Option<String>,
    /// How long to pause before each scene, in milliseconds, so that people can read along.
    #[arg(long, hide = true, value_name = "MS", default_value_t = 250)]
    pause: u64,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the processes of a demonstration are.
#[derive(Debug, clap::Subcommand)]
enum Part {
    #[command(hide = true)]
    Client(client::Args),
    #[command(hide = true)]
    Server,
}

pub(crate) fn run(args: Args) -> Outcome {
    match args.part {
        Some(Part::Client(args)) => client::run(&args),
        Some(Part::Server) => server::run(),
        None => show(args),
    }
}

fn show(args: Args) -> Outcome {
    let kind = if args.redis { server::Kind::Redis } else { server::Kind::Own };
    let shared = Shared { name: args.name.unwrap_or_else(own_name), folder: own_folder()?, kind };
    let Err(error) = story::tell(&shared, Duration::from_millis(args.pause)) else { return Ok(ExitCode::SUCCESS) };
    if let Some(broken) = error.downcast_ref::<Broken>() {
        let loud = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
        anstream::eprintln!("{loud}procref: A PROMISE WAS BROKEN: {broken}{loud:#}");
        return Ok(exit::BROKEN.into());
    }
    match error.downcast_ref::<io::Error>() {
        // Who read the timeline has seen enough.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit::FAILED.into()),
        _ => Err(error),
    }
}

/// What all processes of a demonstration must agree on.
#[derive(Clone, Debug)]
struct Shared {
    name: String,
    /// Where procref's hints go: a folder that exists only while the service does.
    folder: PathBuf,
    kind: server::Kind,
}

impl Shared {
    fn service(&self) -> Builder {
        SharedService::builder(&self.name).runtime_dir(&self.folder)
    }
}

/// Two demonstrations at the same time share nothing.
fn own_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("demo-{}-{:x}", std::process::id(), now.subsec_micros())
}

fn own_folder() -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let folder = format!("procref-demo-{}-{:x}", std::process::id(), now.as_micros());
    std::path::absolute(std::env::temp_dir().join(folder))
}

/// A promise that was not kept.
#[derive(Debug)]
struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Says so if a promise is broken.
fn promised(kept: bool, broken: impl FnOnce() -> String) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken(broken())) }
}
