//! Sets that are removed under a declared service: whoever then knows of it leaves nothing of it behind.

use crate::surroundings::shell;
use crate::{Client, STEPS, builder, does, held, service_of};
use procref::ErrorKind;
use procref::ready::Ready;
use procref_tests::sandbox::{self, Found, PATIENCE, Sandbox, has_ended, wait_for_end};
use std::time::Instant;

fn remove_set(sandbox: &Sandbox, name: &str) {
    let sets = sandbox.sets();
    sandbox::remove_set(sets.iter().find(|(_, other)| *other == sandbox.name(name)).expect("the set is there").0);
}

/// The process that is made of just this, when it is there.
fn find(sandbox: &Sandbox, title: &str) -> Found {
    loop {
        match sandbox.processes().into_iter().find(|process| does(process, title)) {
            Some(process) => break process,
            None => std::thread::yield_now(),
        }
    }
}

/// Found by the model: what had been started ran on, or what it had forked, and the program that had started it was told for
/// ever that somebody starts it.
#[test]
fn while_it_becomes_ready() {
    let sandbox = Sandbox::new();
    for (name, end) in [("ready", "echo done; exec sleep 1000"), ("fails", "exit 3")] {
        let go = sandbox.folder().join(name);
        let text = format!("setsid sleep 1001 & until test -e {}; do sleep 0.01; done; {end}", go.display());
        let command = shell(&sandbox, &text).ready(Ready::log("done"));
        let service = builder(&sandbox, name).command(command).build().expect("it can be described");
        let descendant = std::thread::scope(|scope| {
            let starter = scope.spawn(|| service.acquire());
            let descendant = find(&sandbox, "sleep 1001");
            remove_set(&sandbox, name);
            std::fs::write(&go, "").expect("it is our folder");
            let error = starter.join().expect("no panic").expect_err("it is counted no longer");
            assert_eq!(error.kind(), ErrorKind::SetRemoved, "{error}");
            descendant
        });
        assert!(has_ended(&descendant.pidfd), "{name}: what it has forked");
        sandbox.assert_no_service();
        match service.acquire() {
            Ok(handle) => handle.release().expect("it stops"),
            Err(error) => assert_eq!((error.kind(), name), (ErrorKind::StartFailed, "fails"), "{error}"),
        }
    }
}

/// The guardian alone knows of it then.
#[test]
fn while_it_becomes_ready_and_the_starter_is_killed() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([sandbox.name("strays")]).arg(sandbox.runtime_dir()).args([STEPS, "strays"]);
    let mut starter = command.spawn().expect("it starts");
    let processes = ["sleep 1000", "sleep 1001"].map(|title| find(&sandbox, title));
    remove_set(&sandbox, "strays");
    starter.kill().expect("it lives");
    starter.wait().expect("it ends");
    for process in processes {
        assert!(wait_for_end(&process.pidfd, Instant::now() + PATIENCE), "{process:?}");
    }
    // What stays is a file, which says who was starting it.
    held(&sandbox, "strays").acquire().expect("it starts").release().expect("it stops");
}

/// Found by the model: the next one was started beside what the one before had forked.
#[test]
fn and_then_its_process_dies() {
    let sandbox = Sandbox::new();
    let _client = Client::new(&sandbox, "dies", "forked");
    let (service, _) = service_of(&sandbox, "dies");
    let descendant = find(&sandbox, &format!("{STEPS} stay"));
    remove_set(&sandbox, "dies");
    rustix::process::pidfd_send_signal(&service, rustix::process::Signal::KILL).expect("it lives");
    assert!(wait_for_end(&service, Instant::now() + PATIENCE));
    assert!(!has_ended(&descendant.pidfd), "nobody has noticed yet");
    let handle = held(&sandbox, "dies").acquire().expect("a new one is started");
    assert!(has_ended(&descendant.pidfd));
    handle.release().expect("it stops");
}
