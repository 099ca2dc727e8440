//! What is done once before PostgreSQL's first start, and killed half-way: initdb refuses a folder in which it has begun.

use crate::world::{World, await_end, session_of, text};
use procref_tests::sandbox::{Found, PATIENCE};
use rustix::process::{Signal, pidfd_send_signal};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A client that has the server prepared, and initdb when it has made the first of its files.
fn half_way(world: &World) -> (Child, Found) {
    let mut command = world.procref();
    command.args(["with", &world.name, "--", "true"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let client = command.spawn().expect("it runs");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut processes = world.sandbox.processes();
        // Not a child that it has just forked, whose end it would get over.
        processes.retain(|process| session_of(process.pid) == Some(process.pid));
        processes.retain(|process| folder_of_initdb(process).is_some_and(|folder| folder.join("PG_VERSION").exists()));
        if let Some(initdb) = processes.pop() {
            return (client, initdb);
        }
        std::thread::yield_now();
    }
    panic!("initdb was not started: {}", text(&client.wait_with_output().expect("it ends").stderr));
}

fn folder_of_initdb(process: &Found) -> Option<&Path> {
    let mut words = process.title.split(' ');
    let is_initdb = words.next().is_some_and(|program| Path::new(program).ends_with("initdb"));
    is_initdb.then(|| words.skip_while(|word| *word != "-D").nth(1))?.map(Path::new)
}

/// What a PostgreSQL that was killed leaves behind where no next one finds the same folder.
struct SharedMemory {
    key: u64,
}

impl SharedMemory {
    /// Its key is the folder's number.
    fn of(initdb: &Found) -> Self {
        let folder = folder_of_initdb(initdb).expect("it is one");
        Self { key: folder.metadata().expect("it is there").ino() }
    }

    fn remove(self) {
        // There need not be any.
        let key = format!("{:#x}", self.key as u32);
        Command::new("ipcrm").args(["-M", &key]).stderr(Stdio::null()).status().expect("it runs");
    }
}

fn starts_all_the_same(world: &World) {
    let holder = world.hold();
    assert_eq!(holder.client("psql -X -A -t -d \"$DATABASE_URL\" -c 'SELECT 1'"), "1");
    holder.kill();
}

#[test]
fn initdb_is_killed() {
    let world = World::of("postgres");
    let (client, initdb) = half_way(&world);
    let memory = SharedMemory::of(&initdb);
    pidfd_send_signal(&initdb.pidfd, Signal::KILL).expect("it lives");
    let output = client.wait_with_output().expect("it ends");
    let error = text(&output.stderr);
    assert!(!output.status.success() && error.contains("initdb") && error.contains("signal 9"), "{error}");
    world.sandbox.assert_nothing_left();
    memory.remove();
    starts_all_the_same(&world);
}

/// The kernel and the guardian end initdb then.
#[test]
fn the_client_is_killed() {
    let world = World::of("postgres");
    let (mut client, initdb) = half_way(&world);
    let memory = SharedMemory::of(&initdb);
    client.kill().expect("it lives");
    client.wait().expect("it ends");
    await_end(&initdb.pidfd);
    world.sandbox.assert_no_process();
    memory.remove();
    starts_all_the_same(&world);
}
