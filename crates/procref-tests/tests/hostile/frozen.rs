//! Processes in a frozen control group, of either version.

use crate::world::await_end;
use crate::{Kind, Promise, Report, World};
use procref::ServiceState;
use procref_tests::actor::until;
use procref_tests::sandbox::{PATIENCE, has_ended, hold};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};

/// A control group of the test's own. Dropped, it goes on and is removed.
struct Freezer {
    folder: PathBuf,
    second: bool,
}

impl Freezer {
    /// `None`: this system has none of this version, or gives it to nobody but root.
    fn new(world: &World, second: bool) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let is_ours = |mount: &Vec<&str>| match mount.as_slice() {
            [_, _, "cgroup2", ..] => second,
            [_, _, "cgroup", options, ..] => !second && options.split(',').any(|option| option == "freezer"),
            _ => false,
        };
        let root = PathBuf::from(mounts.find(is_ours)?.get(1)?);
        let folder = root.join(world.sandbox.name("frozen"));
        fs::create_dir(&folder).ok()?;
        Some(Self { folder, second })
    }

    fn take(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
    }

    fn set(&self, frozen: bool) {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).expect("it is there");
        if self.second {
            fs::write(self.folder.join("cgroup.freeze"), if frozen { "1" } else { "0" }).expect("it can be told");
            let word = format!("frozen {}", u8::from(frozen));
            until("it is so", || read("cgroup.events").contains(&word).then_some(()));
        } else {
            let word = if frozen { "FROZEN" } else { "THAWED" };
            fs::write(self.folder.join("freezer.state"), word).expect("it can be told");
            until("it is so", || (read("freezer.state").trim() == word).then_some(()));
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever is in it belongs to a test that has failed.
            let name = if self.second { "cgroup.freeze" } else { "freezer.state" };
            let _ = fs::write(self.folder.join(name), if self.second { "0" } else { "THAWED" });
            let members = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
            for process in members.lines().filter_map(|pid| procref_tests::sys::open(pid.parse().ok()?)) {
                let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
                let _ = procref_tests::sandbox::wait_for_end(&process, std::time::Instant::now() + PATIENCE);
            }
            let _ = fs::remove_dir(&self.folder);
            return;
        }
        self.set(false);
        until("nobody is in it", || remove(&self.folder));
    }
}

fn remove(folder: &Path) -> Option<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => None,
        _ => Some(()),
    }
}

#[test]
fn control_groups() {
    let mut report = Report::new(
        "frozen control groups",
        &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks],
    );
    for second in [false, true] {
        let what = if second { "version 2" } else { "version 1" };
        if Freezer::new(&World::new(Kind::DECLARED), second).is_none() {
            report.not_tested(what, "there is none, or it is root's");
            continue;
        }
        report.each(Kind::ALL, &format!("{what}: a client"), |kind| {
            let world = World::new(kind);
            let freezer = Freezer::new(&world, second).expect("there was one");
            let [mut client, mut other] = std::array::from_fn(|_| world.actor());
            let pid = client.acquire().pid;
            let service = hold(pid);
            freezer.take(client.pid());
            freezer.set(true);
            assert_eq!(other.acquire().pid, pid);
            assert_eq!(other.ask("release").as_deref(), Ok(""));
            assert!(!has_ended(&service), "somebody holds it");
            client.signal(Signal::KILL);
            if !second {
                // It dies when it goes on.
                assert_eq!(world.status().clients, 1);
                assert!(!has_ended(&service), "somebody holds it");
                freezer.set(false);
            }
            await_end(&service);
            drop((client, freezer));
        });
        report.each(Kind::ALL, &format!("{what}: the guardian"), |kind| {
            let world = World::new(kind);
            let freezer = Freezer::new(&world, second).expect("there was one");
            let [mut client, mut other] = std::array::from_fn(|_| world.actor());
            let pid = client.acquire().pid;
            let service = hold(pid);
            freezer.take(world.guardian());
            freezer.set(true);
            assert_eq!(other.acquire().pid, pid, "nobody needs it for that");
            assert_eq!(other.ask("release").as_deref(), Ok(""));
            client.kill();
            assert!(!has_ended(&service), "nobody stops it now");
            assert_eq!(other.acquire().pid, pid, "it is there for who comes");
            freezer.set(false);
            assert_eq!(other.ask("alive").as_deref(), Ok("true"));
            other.kill();
            await_end(&service);
            drop(freezer);
        });
        report.each(Kind::ALL, &format!("{what}: the service"), |kind| {
            let mut world = World::new(kind);
            world.config.ladder = "TERM:100".into();
            let freezer = Freezer::new(&world, second).expect("there was one");
            let mut client = world.actor();
            let service = hold(client.acquire().pid);
            freezer.take(world.status().info.and_then(|info| info.pid()).expect("it runs"));
            freezer.set(true);
            client.kill();
            if !second {
                until("it was told to go", || (world.state() != ServiceState::Up).then_some(()));
                freezer.set(false);
            }
            await_end(&service);
            world.sandbox.assert_no_process();
            drop(freezer);
        });
    }
}
