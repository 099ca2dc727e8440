//! One PostgreSQL for all test processes; one database in it for each test.

use procref::blocking::{ServiceHandle, SharedService};
use procref::ready::Ready;
use procref::{ServiceCommand, StopLadder, StopSignal};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::process::Command;
use std::time::Duration;

/// A database for one test, for as long as it is held.
pub struct Database {
    name: String,
    // Dropped at the test's end, and also if it is killed: the kernel counts.
    server: ServiceHandle,
}

impl Database {
    pub fn new(name: &str) -> Self {
        let database = Self { name: name.into(), server: server().expect("PostgreSQL starts, or has been started") };
        database.recipe_notes_the_server();
        database.ask("postgres", &format!("DROP DATABASE IF EXISTS {name}"));
        database.ask("postgres", &format!("CREATE DATABASE {name}"));
        database
    }

    pub fn sql(&self, question: &str) -> String {
        self.ask(&self.name, question)
    }

    fn ask(&self, database: &str, question: &str) -> String {
        let port = self.server.info().port().to_string();
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
            .args(["-p", &port, "-d", database, "-c", question])
            .output()
            .expect("there is psql");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// For `recipes/run`, which checks that there was only one.
    fn recipe_notes_the_server(&self) {
        let Ok(file) = std::env::var("RECIPE_SEEN") else { return };
        let server = self.ask("postgres", "SELECT pg_postmaster_start_time()");
        let line = format!("{} {server}\n", std::process::id());
        let mut file = std::fs::File::options().append(true).create(true).open(file).expect("a file");
        std::io::Write::write_all(&mut file, line.as_bytes()).expect("one line");
    }
}

/// A name for the kernel: one for each checkout.
fn name() -> String {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
    format!("nextest-each-{:x}", hasher.finish())
}

fn server() -> procref::Result<ServiceHandle> {
    let postgres = ServiceCommand::new("postgres")
        // No Unix socket, whose path might be too long.
        .args(["-D", "{state}/data", "-p", "{port}", "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
        .prepare("initdb", ["-D", "{state}/data", "-A", "trust", "-U", "postgres", "-N"])
        .port("port")
        .ready(Ready::exec("pg_isready", ["-q", "-h", "127.0.0.1", "-p", "{port}"]));
    SharedService::builder(name())
        .command(postgres)
        // Processes come one after the other: it must not go in the moment between two of them.
        .linger(Duration::from_secs(10))
        // SIGTERM would wait for clients that stay connected.
        .stop_ladder(StopLadder::new(StopSignal::Interrupt, Duration::from_secs(10)))
        .build()?
        .acquire()
}
