//! When nobody holds it any more: the release of the last one, which waits for the guardian, and what is left of a start.

use crate::surroundings::shell;
use crate::{STEPS, builder, held, log_of};
use procref::ready::Ready;
use procref::{ErrorKind, ServiceState, StopLadder, StopSignal};
use procref_tests::Sandbox;
use procref_tests::actor::until;
use procref_tests::sandbox::{PATIENCE, has_ended, hold, remove_set, wait_for_end};
use procref_tests::trace::{Follow, Side, Then, trace};
use rustix::process::{Signal, pidfd_send_signal};
use std::time::{Duration, Instant};

/// The service's process may take as long as the ladder says. What comes then, the search for its descendants among all
/// processes, takes as long as it takes.
#[test]
fn it_waits_for_a_guardian_that_is_still_at_work() {
    const GRACE: Duration = Duration::from_millis(50);
    /// The time of all steps, with what SIGKILL is given, and more.
    const LADDER: Duration = Duration::from_secs(11);
    let sandbox = Sandbox::new();
    let command = shell(&sandbox, "echo done; exec sleep 1000").ready(Ready::log("done"));
    let ladder = StopLadder::new(StopSignal::Terminate, GRACE);
    let service = builder(&sandbox, "slow").stop_ladder(ladder).command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let guardian = hold(service.status().expect("it is known").guardian.expect("it is guarded"));
    let process = hold(handle.info().pid().expect("it is a process"));
    pidfd_send_signal(&guardian, Signal::STOP).expect("it lives");
    pidfd_send_signal(&process, Signal::KILL).expect("it lives");
    assert!(wait_for_end(&process, Instant::now() + PATIENCE));
    let release = std::thread::spawn(|| handle.release());
    until("nobody holds it", || (service.count().ok()? == 0).then_some(()));
    std::thread::sleep(LADDER);
    assert!(!release.is_finished(), "the guardian has not been at work yet");
    pidfd_send_signal(&guardian, Signal::CONT).expect("it lives");
    release.join().expect("no panic").expect("it is stopped");
    assert!(wait_for_end(&guardian, Instant::now() + PATIENCE));
}

#[test]
fn it_waits_for_the_next_guardian_where_one_is_killed_as_it_stops_the_service() {
    let sandbox = Sandbox::new();
    // The second signal ends it.
    let text = "trap 'echo once; trap - TERM' TERM; sleep 1001 & echo done; while :; do wait; done";
    let command = shell(&sandbox, text).ready(Ready::log("done"));
    let ladder = StopLadder::new(StopSignal::Terminate, Duration::from_secs(5));
    let service = builder(&sandbox, "alone").stop_ladder(ladder).command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let guardian = hold(service.status().expect("it is known").guardian.expect("it is guarded"));
    let log = handle.info().get("log").expect("it has a log").to_owned();
    let family = sandbox.processes();
    let release = std::thread::spawn(|| handle.release());
    until("the guardian has sent its signal", || std::fs::read_to_string(&log).ok()?.contains("once").then_some(()));
    pidfd_send_signal(&guardian, Signal::KILL).expect("it lives");
    release.join().expect("no panic").expect("it is stopped");
    for process in family.iter().filter(|process| !process.guardian) {
        assert!(has_ended(&process.pidfd), "{process:?}");
    }
    assert_eq!(service.status().expect("it is known").state, ServiceState::Stopped);
}

/// What /proc calls a zombie.
#[test]
fn no_descendant_stays_that_lives_without_its_main_thread() {
    let sandbox = Sandbox::new();
    let text = format!("{} headless & echo done; exec sleep 1000", env!("CARGO_BIN_EXE_holder"));
    let command = shell(&sandbox, &text).ready(Ready::log("done"));
    let service = builder(&sandbox, "headless").command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    assert_eq!(log_of(&handle), "done\n");
    let main = handle.info().pid().expect("it is a process");
    let child = until("a child without its main thread", || {
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).ok()?;
        let child: u32 = children.split_whitespace().next()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.contains(") Z ").then_some(child)
    });
    let child = hold(child);
    assert!(!has_ended(&child));
    handle.release().expect("it stops");
    assert!(has_ended(&child));
}

/// Neither a set nor a starter tells of it then: what it has noted itself does.
#[test]
fn a_set_removed_and_a_starter_killed_before_it_is_published_let_no_second_one_begin() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([&sandbox.name("s")]).arg(sandbox.runtime_dir()).args([STEPS, "forked"]);
    let next = held(&sandbox, "s");
    let (mut starter, mut killed, mut seen) = (0, None, None);
    trace(&sandbox, command, Follow::Forks, |stop| {
        if stop.index == 0 {
            starter = stop.process;
            return Then::Go;
        }
        // It is about to note itself, under a lock: that call is interrupted until the starter has been buried.
        if stop.number == libc::SYS_flock && stop.side == Side::Entry {
            let starter = killed.get_or_insert_with(|| {
                sandbox.sets().into_iter().for_each(|(set, _)| remove_set(set));
                let process = hold(starter);
                procref::process::kill(starter);
                (process, Instant::now() + PATIENCE)
            });
            let waits = !has_ended(&starter.0) && Instant::now() < starter.1;
            return if waits { Then::Answer(-i64::from(libc::EINTR)) } else { Then::Go };
        }
        let becomes_service = stop.number == libc::SYS_execve
            && stop.side == Side::Entry
            && stop.read_text(stop.args[0]).is_ok_and(|path| path == STEPS);
        if !becomes_service || seen.is_some() {
            return Then::Go;
        }
        assert!(killed.as_ref().is_some_and(|(starter, _)| has_ended(starter)), "the starter was killed");
        seen = Some((stop.process, hold(stop.process), next.acquire().map(drop)));
        Then::LetGo
    });
    let (pid, service, acquired) = seen.expect("it was about to become the service");
    let error = acquired.expect_err("no second instance beside the first");
    assert_eq!(error.kind(), ErrorKind::SetRemoved, "{error}");
    assert!(error.to_string().contains(&format!("its process {pid} runs")), "{error}");
    assert!(wait_for_end(&service, Instant::now() + PATIENCE), "nobody holds it");
    next.acquire().expect("it is started anew").release().expect("it stops");
}

/// Its session is its own, its environment is empty, and its parent and the guardian have been killed in one instant: as a server's
/// children are that write their titles where the environment was. What it has inherited is left.
#[test]
fn no_descendant_stays_that_only_the_pipe_tells() {
    let sandbox = Sandbox::new();
    let text = "setsid env -i sleep 1002 & echo stray $!; exec sleep 1000";
    let command = shell(&sandbox, text).ready(Ready::log("stray"));
    let service = builder(&sandbox, "alone").command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let stray: u32 = log_of(&handle).trim().strip_prefix("stray ").and_then(|it| it.parse().ok()).expect("a number");
    until("it is alone", || {
        let environment = std::fs::read(format!("/proc/{stray}/environ")).ok()?;
        let title = std::fs::read(format!("/proc/{stray}/cmdline")).ok()?;
        (environment.is_empty() && title.starts_with(b"sleep")).then_some(())
    });
    let stray = hold(stray);
    let main = hold(handle.info().pid().expect("it is a process"));
    let guardian = hold(service.status().expect("it is known").guardian.expect("it is guarded"));
    for process in [&guardian, &main] {
        pidfd_send_signal(process, Signal::KILL).expect("it lives");
    }
    assert!(wait_for_end(&main, Instant::now() + PATIENCE) && wait_for_end(&guardian, Instant::now() + PATIENCE));
    assert!(!has_ended(&stray));
    drop(service.acquire().expect("it is started anew"));
    assert!(has_ended(&stray), "the next one runs beside it");
    handle.release().expect("it stops");
}
