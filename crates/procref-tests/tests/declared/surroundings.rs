//! What a service is born with, sessions, and `NOTIFY_SOCKET`.

use crate::{builder, log_of};
use procref::ServiceCommand;
use procref::ready::Ready;
use procref_tests::sandbox::{self, Sandbox};

/// A shell script as a service: marked, too.
pub(crate) fn shell(sandbox: &Sandbox, text: &str) -> ServiceCommand {
    ServiceCommand::new("sh").args(["-c", text]).env(sandbox::MARK, sandbox.mark())
}

#[test]
fn it_has_nothing_of_the_client() {
    let sandbox = Sandbox::new();
    let told =
        "ls -l /proc/self/fd; cat /proc/self/status; cut -d' ' -f4-7 /proc/$$/stat; pwd; echo done; exec sleep 1000";
    let command = shell(&sandbox, told).ready(Ready::log("done"));
    let service = builder(&sandbox, "bare").command(command).build().expect("it can be described");
    let (_reads, _writes) = rustix::pipe::pipe().expect("a pipe that is not closed on exec");
    let handle = service.acquire().expect("it starts");
    let log = log_of(&handle);
    let descriptors: Vec<_> = log.lines().filter_map(|line| line.split(" -> ").nth(1)).collect();
    let strange = descriptors.iter().filter(|target| {
        **target != "/dev/null"
            && !target.ends_with(".log")
            && !target.starts_with("pipe:")
            && !target.starts_with("/proc/")
    });
    assert_eq!(strange.count(), 0, "{log}");
    assert_eq!(descriptors.iter().filter(|target| target.starts_with("pipe:")).count(), 1, "the floor: {log}");
    for line in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
        assert!(log.contains(line), "{log}");
    }
    let pid = handle.info().pid().expect("it is a process");
    let family: Vec<u32> = log
        .lines()
        .find_map(|line| {
            line.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<u32>>>().filter(|n| n.len() == 4)
        })
        .expect("parent, group, session and terminal");
    let guardian = service.status().expect("it is known").guardian.expect("it is guarded");
    assert_eq!(family, [guardian, pid, pid, 0], "{log}");
    assert!(log.lines().any(|line| line == "/"), "{log}");
    handle.release().expect("it stops");
}

#[test]
fn its_own_word() {
    let sandbox = Sandbox::new();
    // A path that a socket can have, and one that is too long for that.
    for folder in [sandbox.runtime_dir(), sandbox.runtime_dir().join("x".repeat(100))] {
        std::fs::create_dir_all(folder.parent().expect("it has one")).expect("it can be made");
        // Who says it must still be there when it is read.
        let command =
            ServiceCommand::new(env!("CARGO_BIN_EXE_holder")).arg("notify").env(sandbox::MARK, sandbox.mark());
        let service = builder(&sandbox, "notify").runtime_dir(&folder).command(command.ready(Ready::notify()));
        let handle = service.build().expect("it can be described").acquire().expect("it says that it is ready");
        handle.release().expect("it stops");
    }
    std::fs::remove_dir_all(sandbox.runtime_dir()).expect("there is a log");
}

#[test]
fn no_descendant_stays_whatever_its_session() {
    let sandbox = Sandbox::new();
    // One in another group, one in another session, and one that has lost its parent.
    let text =
        "sleep 1004 & setsid sleep 1001 & (setsid sh -c 'sleep 1002 & echo done; exec sleep 1003' &); exec sleep 1000";
    let command = shell(&sandbox, text).ready(Ready::log("done"));
    let service = builder(&sandbox, "tree").command(command).build().expect("it can be described");
    let handle = service.acquire().expect("it starts");
    let family: Vec<_> = sandbox.processes().into_iter().filter(|process| !process.guardian).collect();
    assert!(family.len() >= 4, "{family:?}");
    handle.release().expect("it stops");
    for process in family {
        assert!(sandbox::has_ended(&process.pidfd), "{process:?}");
    }
}
