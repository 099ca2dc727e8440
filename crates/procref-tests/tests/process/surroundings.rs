//! Sets removed or changed, other namespaces, other users.

use crate::{ACTOR, SERVICE, World, await_end, both, kill};
use procref::ErrorKind;
use procref_tests::actor::Gate;
use procref_tests::sandbox::{has_ended, hold, remove_set, reuse_number, started};
use procref_tests::{Actor, Config};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

both! {
    fn a_number_that_is_a_strangers_now_is_no_service_and_is_left_alone(world) {
        let [mut starter, mut other] = world.actors();
        let first = starter.acquire();
        let tick = started(first.pid);
        kill(first.pid);
        // A number is not given away again in the same hundredth of a second.
        let mut stranger = loop {
            let mut stranger = world.sandbox.command("sleep").arg("1000").spawn().expect("it starts");
            if started(stranger.id()) != tick {
                break stranger;
            }
            stranger.kill().expect("it lives");
            stranger.wait().expect("it ends");
        };
        let (set, _) = world.sandbox.sets().remove(0);
        reuse_number(set, stranger.id());
        let second = other.acquire();
        assert_ne!(second.pid, stranger.id());
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(stranger.try_wait().expect("it is a child"), None, "nobody has signalled it");
        stranger.kill().expect("it lives");
        stranger.wait().expect("it ends");
    }

    fn a_set_removed_under_live_clients_is_counted_no_longer(world) {
        let [mut first, mut second, mut stranger] = world.actors();
        let pid = first.acquire().pid;
        assert_eq!(second.acquire().pid, pid);
        let (service, guardian) = (hold(pid), hold(world.guardian()));
        remove(&world);

        for client in [&mut first, &mut second] {
            assert_eq!(client.ask("alive").as_deref(), Ok("true"));
            let error = client.ask("count").expect_err("it is not 0");
            assert!(error.starts_with("SetRemoved: "), "{error}");
        }
        for _ in 0..2 {
            stranger.tell("acquire");
            let error = stranger.acquired().expect_err("no second instance beside the first");
            assert!(error.starts_with("SetRemoved: ") && error.contains(&world.config.name), "{error}");
            assert_eq!(world.observer().count().expect_err("it is not 0").kind(), ErrorKind::SetRemoved);
        }
        assert_eq!(world.events.count("start"), 1);

        let error = first.ask("release").expect_err("it was counted no longer");
        assert!(error.starts_with("SetRemoved: "), "{error}");
        assert_eq!(second.ask("alive").as_deref(), Ok("true"));
        assert!(!has_ended(&service), "somebody holds it");
        second.kill();
        await_end(&service);
        await_end(&guardian);
        assert_eq!(world.events.count("stop"), 0);

        let anew = stranger.acquire();
        assert_ne!(anew.pid, pid);
        assert_eq!(world.events.count("start"), 2);
        assert_eq!(stranger.ask("count").as_deref(), Ok("1"));
    }

    fn a_set_removed_in_the_middle_of_a_start_lets_no_second_one_begin(mut world) {
        let gate = Gate::closed(&world.sandbox, "start");
        world.config.start_gate = Some(gate.path().into());
        let [mut starter, mut other] = world.actors();
        starter.tell("acquire");
        world.events.wait_for("start", 1);
        remove(&world);
        other.tell("acquire");
        let error = other.acquired().expect_err("no second instance beside the first");
        assert!(error.starts_with("SetRemoved: "), "{error}");
        gate.open();
        // It may not keep what it has started, for nobody counts its clients.
        let error = starter.acquired().expect_err("nobody knows of it");
        assert!(error.starts_with("SetRemoved: "), "{error}");
        assert_eq!((world.events.count("birth"), world.events.count("death")), (1, 1));
        let service = other.acquire().pid;
        assert_eq!(starter.acquire().pid, service);
        assert_eq!(world.events.count("start"), 2);
    }

    fn who_releases_last_after_the_set_was_removed_lets_the_service_stop(world) {
        let mut actors: [_; 2] = world.actors();
        let service = hold(actors[0].acquire().pid);
        actors[1].acquire();
        remove(&world);
        for actor in &mut actors {
            assert!(!has_ended(&service), "somebody holds it");
            let error = actor.ask("release").expect_err("it was counted no longer");
            assert!(error.starts_with("SetRemoved: "), "{error}");
        }
        // The clients live on, and hold nothing.
        await_end(&service);
        let service = hold(actors[0].acquire().pid);
        assert_eq!(actors[0].ask("release").as_deref(), Ok(""));
        assert!(has_ended(&service));
    }
}

fn remove(world: &World) {
    let sets = world.sandbox.sets();
    assert_eq!(sets.len(), 1, "{sets:?}");
    remove_set(sets[0].0);
}

/// Two services of one name: neither knows of the other.
fn are_two(world: &World, mut here: Actor, mut there: Actor) {
    let ours = here.acquire();
    let theirs = there.acquire();
    assert_ne!(ours.pid, theirs.pid);
    assert_eq!(world.events.count("start"), 2);
    for actor in [&mut here, &mut there] {
        assert_eq!(actor.ask("count").as_deref(), Ok("1"));
    }
    let [ours, theirs] = [hold(ours.pid), hold(theirs.pid)];
    there.kill();
    await_end(&theirs);
    assert!(!has_ended(&ours));
    here.kill();
    await_end(&ours);
}

#[test]
fn two_ipc_namespaces_have_two_services() {
    let mut world = World::new(true);
    without_lock(&mut world.config);
    let mut options = vec!["--ipc"];
    if !rustix::process::geteuid().is_root() {
        options.extend(["--user", "--map-root-user"]);
    }
    if !Command::new("unshare").args(&options).arg("true").status().is_ok_and(|status| status.success()) {
        println!("not tested: this system gives {options:?} to nobody but root");
        return;
    }
    let mut command = world.sandbox.command("unshare");
    command.args(options).arg(ACTOR);
    let there = Actor::of(command, &world.config);
    are_two(&world, world.actor(), there);
}

#[test]
fn two_users_have_two_services() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can be another user");
        return;
    }
    const NOBODY: u32 = 65_534;
    let mut world = World::new(true);
    // Where they can be reached by anybody.
    let folder = world.sandbox.folder().join("everybody");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&world.config.log, fs::Permissions::from_mode(0o666)).expect("the log is ours");
    let [actor, service] = ["actor", "service"].map(|name| folder.join(name));
    // By a process that no other thread of this program forks in the middle of: who has a program open for writing keeps it
    // from being run.
    let copied = Command::new("cp").args([ACTOR, SERVICE]).arg(&folder).status();
    assert!(copied.expect("cp can be run").success());
    without_lock(&mut world.config);
    world.config.service[0] = service.display().to_string();
    let mut theirs = Config { runtime_dir: folder.join("run"), ..world.config.clone() };
    std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root can");
    let mut command = world.sandbox.command("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]).arg(&actor);
    theirs.note = "another user's".into();
    let there = Actor::of(command, &theirs);
    are_two(&world, world.actor(), there);
}

/// Two instances at once are as it should be.
fn without_lock(config: &mut Config) {
    config.service.retain(|argument| !argument.starts_with("lock="));
}
