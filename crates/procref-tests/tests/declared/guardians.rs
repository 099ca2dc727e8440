//! Guardians that are killed, and the kernel's floor under them.

use crate::beside::{lines, stops_by_a_file};
use crate::{Client, builder, held, script, service_of};
use procref::ready::Ready;
use procref::{ServiceCommand, ServiceState, StopLadder, StopSignal};
use procref_tests::sandbox::{self, PATIENCE, Sandbox};
use procref_tests::sys;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn a_killed_guardian_stops_nothing_and_is_replaced() {
    let sandbox = Sandbox::new();
    let client = Client::new(&sandbox, "guarded", "forked");
    let (service, Some(guardian)) = service_of(&sandbox, "guarded") else { panic!("it is guarded") };
    let mut before = guardian;
    for _ in 0..3 {
        procref::process::kill(before);
        let next = loop {
            match held(&sandbox, "guarded").status().expect("it is known").guardian {
                Some(other) if other != before => break other,
                _ => std::thread::yield_now(),
            }
        };
        before = next;
        assert!(!sandbox::has_ended(&service));
    }
    // The one that is not its parent leaves nothing behind, either.
    client.kill();
    assert!(sandbox::wait_for_end(&service, Instant::now() + PATIENCE));
}

/// The kernel's own count: nobody of ours is left to do anything.
#[test]
fn guardian_and_clients_killed_in_the_same_instant() {
    let sandbox = Sandbox::new();
    for round in 0..20 {
        let name = format!("floor{round}");
        let clients = [Client::new(&sandbox, &name, "forked"), Client::new(&sandbox, &name, "started")];
        let (service, Some(guardian)) = service_of(&sandbox, &name) else { panic!("it is guarded") };
        let guardian = sandbox::hold(guardian);
        let everybody = [&guardian, &clients[0].process, &clients[1].process];
        for process in everybody {
            sys::freeze(process);
        }
        for turn in 0..3 {
            let process = everybody[(turn + round) % 3];
            sys::kill(process);
        }
        assert!(sandbox::wait_for_end(&service, Instant::now() + PATIENCE), "round {round}");
        // What is recorded of it is finished by whoever comes next.
        let handle = held(&sandbox, &name).acquire().expect("it is started anew");
        handle.release().expect("it stops");
    }
}

/// Found by the soak: one who comes while there is no guardian was counted, but held another pipe than the service's or none.
///
/// 1. The guardian is killed, and nobody can make a new one at once.
/// 2. A client comes, and makes one.
/// 3. All who were there before are killed, and that guardian: the kernel sees that nobody holds the service's pipe, and
///    tells it to stop.
#[test]
fn who_comes_while_there_is_no_guardian_keeps_the_service() {
    let sandbox = Sandbox::new();
    let first = Client::new(&sandbox, "between", "started");
    let (service, Some(guardian)) = service_of(&sandbox, "between") else { panic!("it is guarded") };
    // It cannot notice.
    sys::freeze(&first.process);
    let held_guardian = sandbox::hold(guardian);
    procref::process::kill(guardian);
    assert!(sandbox::wait_for_end(&held_guardian, Instant::now() + PATIENCE));
    let second = Client::new(&sandbox, "between", "forked");
    let (same, Some(guardian)) = service_of(&sandbox, "between") else { panic!("it is guarded") };
    assert!(!sandbox::has_ended(&same));
    sys::freeze(&second.process);
    let guardian = sandbox::hold(guardian);
    sys::kill(&guardian);
    assert!(sandbox::wait_for_end(&guardian, Instant::now() + PATIENCE));
    first.kill();
    assert!(sandbox::wait_for_end(&first.process, Instant::now() + PATIENCE));
    // What the kernel does when the last end is closed it has done by the time that its process has ended: the service
    // would be on its way out, as its next answer shows.
    let pid = held(&sandbox, "between").status().expect("it is known").info.and_then(|info| info.pid());
    let pending = std::fs::read_to_string(format!("/proc/{}/status", pid.expect("it runs"))).expect("it lives");
    assert!(pending.contains("ShdPnd:\t0000000000000000"), "it was told to stop: {pending}");
    sys::thaw(&second.process);
    assert!(!sandbox::has_ended(&service) && held(&sandbox, "between").acquire().is_ok());
    assert!(!sandbox::has_ended(&service), "it is in use");
    second.kill();
    assert!(sandbox::wait_for_end(&service, Instant::now() + PATIENCE));
}

/// One that takes its time to stop is not joined when nobody has held it for a moment: it is on its way out.
#[test]
fn what_the_kernel_has_told_to_stop_is_not_joined() {
    let sandbox = Sandbox::new();
    let client = Client::new(&sandbox, "leaving", "ignores-signals");
    let (service, Some(guardian)) = service_of(&sandbox, "leaving") else { panic!("it is guarded") };
    let guardian = sandbox::hold(guardian);
    for process in [&guardian, &client.process] {
        sys::freeze(process);
    }
    for process in [&guardian, &client.process] {
        sys::kill(process);
        assert!(sandbox::wait_for_end(process, Instant::now() + PATIENCE));
    }
    assert!(!sandbox::has_ended(&service));
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_millis(50));
    let command = script(&sandbox, &["say=done", "stay"]).ready(Ready::log("done"));
    let next = builder(&sandbox, "leaving").stop_ladder(ladder).command(command).build().expect("it can be described");
    let handle = next.acquire().expect("another one is started");
    assert!(sandbox::has_ended(&service), "the first one was finished before");
    handle.release().expect("it stops");
}

#[test]
fn a_command_stops_it_by_a_guardian_that_did_not_start_it() {
    let sandbox = Sandbox::new();
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_secs(1000));
    let builder = builder(&sandbox, "replaced").stop_ladder(ladder);
    let service = builder.command(stops_by_a_file(&sandbox)).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let log = PathBuf::from(handle.info().get("log").expect("it has one"));
    let guardian = service.status().expect("it is known").guardian.expect("it is guarded");
    procref::process::kill(guardian);
    while service.status().expect("it is known").guardian.is_none_or(|other| other == guardian) {
        std::thread::yield_now();
    }
    handle.release().expect("it stops");
    sandbox.assert_nothing_left();
    assert!(lines(&log).last().is_some_and(|line| line.starts_with("stopped by it")), "{:?}", lines(&log));
}

/// Its reference is its process's own, so it goes when that is killed, and not before.
#[test]
fn what_it_needs_stays_while_it_lingers() {
    let sandbox = Sandbox::new();
    let need = script(&sandbox, &["say=done", "stay"]).ready(Ready::log("done"));
    let need = builder(&sandbox, "need").command(need).build().expect("it can be described");
    let command = script(&sandbox, &["say=done", "stay"]).ready(Ready::log("done")).needs("db", &need);
    let service =
        builder(&sandbox, "lingers").linger(Duration::from_secs(1000)).command(command).build().expect("good");
    let handle = service.acquire().expect("both start");
    let pid = handle.info().pid().expect("it is a process");
    handle.release().expect("it lingers");
    let status = need.status().expect("it is known");
    assert_eq!((status.state, status.clients), (ServiceState::Up, 1));
    let needed = sandbox::hold(status.info.and_then(|info| info.pid()).expect("it runs"));
    // With its guardian gone it is the kernel's floor that could fail: the service holds an end of that, too.
    let guardian = sandbox::hold(status.guardian.expect("it is guarded"));
    procref::process::kill(status.guardian);
    assert!(sandbox::wait_for_end(&guardian, Instant::now() + PATIENCE));
    assert!(!sandbox::has_ended(&needed), "it is in use");
    procref::process::kill(pid);
    assert!(sandbox::wait_for_end(&needed, Instant::now() + PATIENCE), "the kernel stops it");
    // The lingering guardian of the one that was killed is waked by somebody who comes and goes; so are the leavings finished.
    need.acquire().expect("it is started anew").release().expect("it stops");
    service.acquire().expect("it is started anew").release().expect("it lingers");
    let killed = service.status().expect("it is known").guardian.expect("it is guarded");
    procref::process::kill(service.status().expect("it is known").info.and_then(|info| info.pid()));
    procref::process::kill(killed);
    let without = builder(&sandbox, "lingers").command(script(&sandbox, &["stay"])).build().expect("good");
    without.acquire().expect("it is started anew").release().expect("it stops");
}

/// Whoever is killed: the guardian removes the folder of the run, too.
#[test]
fn the_runs_folder_goes_with_the_last_client() {
    let sandbox = Sandbox::new();
    let client = Client::new(&sandbox, "run", "run-folder");
    let status = builder(&sandbox, "run").command(ServiceCommand::new(crate::STEPS)).build().expect("good").status();
    let run = PathBuf::from(status.expect("it is known").info.expect("it runs").get("run").expect("it has one"));
    assert!(run.exists());
    client.kill();
    sandbox.assert_nothing_left();
    assert!(!run.exists());
}
