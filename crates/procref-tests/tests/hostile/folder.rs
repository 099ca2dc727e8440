//! The runtime folder, where it is a file system's doing, and for declared services (callbacks: `api`).

use crate::world::{assert_error, await_end};
use crate::{Kind, Report, World, alone};
use procref_tests::Actor;
use procref_tests::sandbox::hold;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

fn with_note(kind: Kind) -> World {
    let mut world = World::new(kind);
    world.config.note = "somewhere".into();
    world
}

fn mount(options: &str, folder: &Path) {
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder).status();
    assert!(status.expect("mount").success());
}

fn remount(options: &str, folder: &Path) {
    let options = format!("remount,bind,{options}");
    assert!(Command::new("mount").args(["-o", &options]).arg(folder).status().expect("mount").success());
}

fn unmount(folder: &Path) {
    assert!(Command::new("umount").arg("--lazy").arg(folder).status().expect("umount").success());
}

/// The runtime folder in a file system of its own.
fn mounted(world: &World, options: &str) -> PathBuf {
    let folder = world.config.runtime_dir.clone();
    fs::create_dir(&folder).expect("it is not there yet");
    mount(&format!("mode=0700,{options}"), &folder);
    folder
}

fn fill(folder: &Path) {
    let mut file = fs::File::create(folder.join("ballast")).expect("there is an inode");
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
}

/// An acquire that works, or fails with a cause that names the folder; in any case nothing is left of it but what others hold.
fn works_or_says(world: &World, folder: &Path) -> bool {
    let mut actor = world.actor();
    actor.tell("acquire");
    match actor.acquired() {
        Ok(acquired) => {
            let service = hold(acquired.pid);
            assert_eq!(actor.ask("count").as_deref(), Ok("1"));
            actor.kill();
            await_end(&service);
            true
        }
        Err(error) => {
            assert!(error.contains(&folder.display().to_string()), "{error}");
            assert!(error.contains(&world.config.name), "{error}");
            // A service that cannot write its log says nothing there.
            let kind = if world.config.start_timeout > 0 && world.config.declared { "TimedOut" } else { "StartFailed" };
            assert_error::<()>(Err(error), kind, &[]);
            world.sandbox.assert_no_guardian();
            false
        }
    }
}

/// The folder goes bad under two clients.
fn held(kind: Kind, goes_bad: impl Fn(&Path)) {
    let world = with_note(kind);
    let folder = mounted(&world, "size=64k");
    let [mut first, mut second] = std::array::from_fn(|_| world.actor());
    let acquired = first.acquire();
    goes_bad(&folder);
    assert_eq!(second.acquire(), acquired, "the metadata, too");
    let service = hold(acquired.pid);
    assert_eq!(first.ask("release").as_deref(), Ok(""));
    assert_eq!(second.ask("release").as_deref(), Ok(""));
    await_end(&service);
    unmount(&folder);
}

#[test]
fn of_a_hostile_file_system() {
    alone("folder::of_a_hostile_file_system", &["--ipc", "--pid", "--mount", "--mount-proc"], || {
        let mut report = Report::new("runtime folder full or read-only");
        report.each(Kind::ALL, "full", |kind| {
            let mut world = with_note(kind);
            world.config.start_timeout = 1000;
            let folder = mounted(&world, "size=64k");
            fill(&folder);
            works_or_says(&world, &folder);
            fs::remove_file(folder.join("ballast")).expect("it is there");
            world.config.start_timeout = 0;
            assert!(works_or_says(&world, &folder), "there is room again");
            unmount(&folder);
        });
        report.each(Kind::ALL, "without an inode", |kind| {
            let world = with_note(kind);
            let folder = mounted(&world, "size=64k,nr_inodes=1");
            assert!(!works_or_says(&world, &folder), "no file can be made");
            unmount(&folder);
        });
        report.each(Kind::ALL, "read-only", |kind| {
            let world = with_note(kind);
            let folder = mounted(&world, "size=64k");
            remount("ro", &folder);
            assert!(!works_or_says(&world, &folder), "no file can be made");
            remount("rw", &folder);
            assert!(works_or_says(&world, &folder), "it can be written again");
            unmount(&folder);
        });
        report.each(Kind::ALL, "full while it is held", |kind| held(kind, fill));
        // A declared service has its log open there, so that the kernel refuses it: "busy".
        let callbacks = [Kind::CALLBACKS, Kind { declared: false, started: false }];
        report.each(callbacks, "read-only while it is held", |kind| held(kind, |folder| remount("ro", folder)));
        report.each(Kind::ALL, "mounted over while it is held", |kind| {
            let world = with_note(kind);
            let [mut first, mut second] = std::array::from_fn(|_| world.actor());
            let acquired = first.acquire();
            mount("mode=0700,size=64k", &world.config.runtime_dir);
            let joined = second.acquire();
            assert_eq!((joined.pid, joined.metadata_lost), (acquired.pid, true));
            let service = hold(acquired.pid);
            first.kill();
            second.kill();
            await_end(&service);
            world.sandbox.assert_no_process();
            unmount(&world.config.runtime_dir);
            // What the guardian could not reach it could not remove; the next one does.
            world.assert_works();
        });
    });
}

/// A declared service has its log there, so it does not start without.
#[test]
fn of_a_declared_service() {
    let mut report = Report::new("runtime folder of a declared service");
    let said = |what: &str, report: &mut Report, prepare: &dyn Fn(&Path)| {
        report.case(what, || {
            let mut world = World::new(Kind::DECLARED);
            world.config.runtime_dir = world.sandbox.folder().join("there");
            let folder = world.config.runtime_dir.clone();
            prepare(&folder);
            assert!(!works_or_says(&world, &folder), "{what}");
            assert_eq!(world.events.count("birth"), 0);
        });
    };
    let folder = |folder: &Path, mode| {
        fs::create_dir(folder).expect("it can be made");
        fs::set_permissions(folder, Permissions::from_mode(mode)).expect("it is ours");
    };
    said("a symlink", &mut report, &|path| {
        let target = path.with_extension("target");
        folder(&target, 0o700);
        symlink(&target, path).expect("it can be made");
    });
    said("a symlink to nowhere", &mut report, &|path| symlink("/nowhere/at/all", path).expect("it can be made"));
    said("a file", &mut report, &|path| fs::write(path, "mine").expect("it can be written"));
    said("everybody's", &mut report, &|path| folder(path, 0o777));
    if rustix::process::geteuid().is_root() {
        said("another user's", &mut report, &|path| {
            folder(path, 0o700);
            chown(path, Some(65534), Some(65534)).expect("root may");
        });
        report.not_tested("read-only by its mode", "root writes everywhere");
    } else {
        said("read-only by its mode", &mut report, &|path| {
            folder(path, 0o700);
            fs::write(path.join("other"), "mine").expect("it can be written");
            fs::set_permissions(path, Permissions::from_mode(0o500)).expect("it is ours");
        });
        report.not_tested("another user's", "only root can give a folder away");
    }
}

fn info_file(world: &World) -> PathBuf {
    let entries = fs::read_dir(&world.config.runtime_dir).expect("it is there");
    let mut paths = entries.map(|entry| entry.expect("one").path());
    let is_ours = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "info")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&world.config.name))
    };
    paths.find(is_ours).expect("the metadata is written")
}

/// Damaged, and for another service: what a client of its own reads in another process.
#[test]
fn files() {
    let mut report = Report::new("files truncated, with garbage, swapped for other services'");
    report.each(Kind::ALL, "truncated and with garbage", |kind| {
        let world = with_note(kind);
        let mut holder = world.actor();
        let acquired = holder.acquire();
        let file = info_file(&world);
        let whole = fs::read(&file).expect("it can be read");
        let damaged = [
            Vec::new(),
            whole[..1].to_vec(),
            whole[..whole.len() / 2].to_vec(),
            whole[..whole.len() - 1].to_vec(),
            vec![0xff; whole.len()],
            vec![b'\n'; 1 << 20],
            [whole.as_slice(), &whole].concat(),
        ];
        let mut actor = world.actor();
        for bytes in damaged {
            fs::write(&file, &bytes).expect("it can be written");
            let joined = actor.acquire();
            assert_eq!((joined.pid, joined.port, joined.metadata_lost), (acquired.pid, acquired.port, true));
            assert_eq!(actor.ask("release").as_deref(), Ok(""));
        }
        fs::write(&file, &whole).expect("it can be written");
        assert_eq!(actor.acquire(), acquired);
        holder.kill();
    });
    report.each(Kind::ALL, "swapped", |kind| {
        let one = with_note(kind);
        let mut two = with_note(kind);
        two.config.runtime_dir.clone_from(&one.config.runtime_dir);
        two.config.note = "elsewhere".into();
        let [mut first, mut second] = [one.actor(), two.actor()];
        let (a, b) = (first.acquire(), second.acquire());
        let (here, there) = (info_file(&one), info_file(&two));
        rustix::fs::renameat_with(rustix::fs::CWD, &here, rustix::fs::CWD, &there, rustix::fs::RenameFlags::EXCHANGE)
            .expect("they can be swapped");
        for (world, own) in [(&one, &a), (&two, &b)] {
            let mut actor = world.actor();
            let joined = actor.acquire();
            assert_eq!((joined.pid, joined.metadata_lost, joined.note.as_str()), (own.pid, true, ""));
        }
        let services = [hold(a.pid), hold(b.pid)];
        drop::<[Actor; 2]>([first, second]);
        services.iter().for_each(await_end);
        // One folder for both: it is empty when the guardians of both have gone.
        two.sandbox.assert_no_process();
        one.sandbox.assert_nothing_left();
    });
    report.each(Kind::ALL, "swapped, and the set removed", |kind| {
        let one = with_note(kind);
        let mut two = with_note(kind);
        two.config.runtime_dir.clone_from(&one.config.runtime_dir);
        let [mut first, mut second] = [one.actor(), two.actor()];
        let (a, b) = (first.acquire(), second.acquire());
        let services = [hold(a.pid), hold(b.pid)];
        fs::copy(info_file(&two), info_file(&one)).expect("it can be copied");
        procref_tests::sandbox::remove_set(one.set());
        // Its guardian must not take the other service for its own. It does not know its own any more, see ARCHITECTURE.md:
        // that ends by the kernel's doing, or by an administrator's.
        first.kill();
        if !kind.declared {
            crate::world::send(&services[0], rustix::process::Signal::TERM);
        }
        one.sandbox.assert_no_process();
        assert_eq!(second.ask("alive").as_deref(), Ok("true"));
        assert_eq!(second.ask("count").as_deref(), Ok("1"));
        drop(second);
        services.iter().for_each(await_end);
        let _ = fs::remove_dir_all(&one.config.runtime_dir);
    });
}
