//! Kernels and sandboxes that cannot count, or not now: found out, said, and nothing left.

use procref_tests::Sandbox;
use procref_tests::trace::{Follow, Side, Stop, Then, trace};

const STEPS: &str = env!("CARGO_BIN_EXE_steps");

/// Acquires as the first client while `kernel` answers, and says what came of it. Nothing may be started or left.
fn acquire_under(mode: &str, mut kernel: impl FnMut(&Stop) -> Then + Send) -> String {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_traced"));
    command.args([mode, &sandbox.name("s")]).arg(sandbox.runtime_dir());
    // A set that nobody has named yet does not show whose it is.
    let mut sets = Vec::new();
    let traced = trace(&sandbox, command, Follow::Forks, |stop| match stop.side {
        Side::Entry => kernel(stop),
        Side::Exit(set) => {
            sets.extend((stop.number == libc::SYS_semget && set >= 0).then(|| set.to_string()));
            Then::Go
        }
    });
    assert!(traced.status.success(), "{:?}: {}", traced.status, traced.output);
    assert!(!traced.output.contains("starts"), "{}", traced.output);
    sandbox.assert_nothing_left();
    let list = std::fs::read_to_string("/proc/sysvipc/sem").unwrap_or_default();
    let mut ids = list.lines().filter_map(|line| line.split_whitespace().nth(1));
    assert!(!ids.any(|id| sets.iter().any(|set| set == id)), "a set is left after {}{list}", traced.output);
    traced.output
}

fn fails(number: i64, errno: i32) -> impl FnMut(&Stop) -> Then + Send {
    move |stop| if stop.number == number { Then::Answer(-i64::from(errno)) } else { Then::Go }
}

#[track_caller]
fn assert_says(output: &str, kind: &str, words: &[&str]) {
    assert!(output.starts_with(&format!("{kind}: ")), "not {kind}: {output}");
    for word in words {
        assert!(output.contains(word), "nothing about {word:?}: {output}");
    }
}

#[test]
fn no_semaphores_in_the_kernel() {
    let output = acquire_under("acquire", fails(libc::SYS_semget, libc::ENOSYS));
    assert_says(&output, "Unsupported", &["no System V semaphores", "os error 38"]);
}

#[test]
fn a_sandbox_that_forbids_semaphores() {
    let output = acquire_under("acquire", fails(libc::SYS_semget, libc::EPERM));
    assert_says(&output, "Unsupported", &["sandbox", "allow semget", "os error 1"]);
}

#[test]
fn a_sandbox_that_forbids_operations_on_semaphores() {
    for mode in ["acquire", "count"] {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let output = acquire_under(mode, fails(libc::SYS_semtimedop, errno));
            assert_says(&output, "Unsupported", &["sandbox", "semtimedop"]);
        }
    }
}

#[test]
fn undo_that_is_accepted_and_ignored() {
    for mode in ["acquire", "count"] {
        ignore_undo(mode);
    }
}

fn ignore_undo(mode: &str) {
    let mut cleared = 0;
    let output = acquire_under(mode, |stop| {
        let mut operations = stop.operations().expect("the operations");
        if !operations.is_empty() {
            for (_, _, flags) in &mut operations {
                cleared += i32::from(*flags & libc::SEM_UNDO as i16 != 0);
                *flags &= !(libc::SEM_UNDO as i16);
            }
            stop.set_operations(&operations).expect("they can be changed");
        }
        Then::Go
    });
    assert!(cleared > 0, "no undo was asked for");
    assert_says(&output, "Unsupported", &["undo", "sandbox"]);
}

#[test]
fn no_room_for_another_set() {
    let output = acquire_under("acquire", fails(libc::SYS_semget, libc::ENOSPC));
    assert_says(&output, "LimitReached", &["SEMMNI", "os error 28"]);
}

#[test]
fn no_memory_for_another_set() {
    let output = acquire_under("acquire", fails(libc::SYS_semget, libc::ENOMEM));
    assert_says(&output, "LimitReached", &["memory", "os error 12"]);
}

#[test]
fn as_many_clients_as_the_kernel_counts() {
    let output = acquire_under("acquire", |stop| {
        let announces = stop.operations().expect("the operations") == [announce()];
        if announces { Then::Answer(-i64::from(libc::ERANGE)) } else { Then::Go }
    });
    assert_says(&output, "LimitReached", &["32767"]);
}

fn announce() -> (u16, i16, i16) {
    (procref::protocol::set::CLIENTS, 1, (libc::SEM_UNDO | libc::IPC_NOWAIT) as i16)
}

#[test]
fn no_room_for_a_forked_guardian() {
    let output = acquire_under("acquire", |stop| {
        let forks = stop.number == libc::SYS_clone && stop.args[0] & libc::CLONE_VM as u64 == 0;
        if forks { Then::Answer(-i64::from(libc::EAGAIN)) } else { Then::Go }
    });
    assert_says(&output, "GuardianFailed", &["guardian", "os error 11"]);
}

/// Neither started nor, instead of that, forked.
#[test]
fn no_room_for_a_started_guardian() {
    let mut made = 0;
    let output = acquire_under("acquire-with-way-in", |stop| {
        // The first process is the one that finds out whether the kernel undoes.
        made += u32::from(stop.number == libc::SYS_clone);
        if stop.number == libc::SYS_clone && made > 1 { Then::Answer(-i64::from(libc::EAGAIN)) } else { Then::Go }
    });
    assert!(made > 2, "it was started or forked at once");
    assert_says(&output, "GuardianFailed", &["guardian", "os error 11"]);
}

#[test]
fn no_room_for_the_process_that_probes_the_kernel() {
    let output = acquire_under("acquire", fails(libc::SYS_clone, libc::EAGAIN));
    assert_says(&output, "LimitReached", &["short-lived process", "os error 11"]);
}

/// A sandbox may forbid the question which threads share an undo list: then a thread that does has all of it to do.
#[test]
fn the_kernel_does_not_compare_threads() {
    for (mode, says) in [("acquire-later", "starts\nstarts\nholds\n"), ("release", "starts\nreleased\n")] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(env!("CARGO_BIN_EXE_traced"));
        command.args([mode, &sandbox.name("s")]).arg(sandbox.runtime_dir());
        let mut asked = 0;
        let traced = trace(&sandbox, command, Follow::Threads, |stop| {
            asked += usize::from(stop.number == libc::SYS_kcmp);
            fails(libc::SYS_kcmp, libc::EPERM)(stop)
        });
        assert!(traced.status.success() && asked > 0, "{traced:?}");
        assert_eq!(traced.output, says);
    }
}

#[test]
fn no_room_for_a_thread() {
    // glibc tries clone only where the kernel says that it does not know clone3.
    let output = acquire_under("acquire", fails(libc::SYS_clone3, libc::EAGAIN));
    assert_says(&output, "LimitReached", &["thread", "os error 11"]);
}

/// What the kernel says for a moment (RLIMIT_NPROC, execve(2)) is an error, and not what a guardian says who was overtaken.
#[test]
fn a_service_that_cannot_be_made_now_is_tried_once() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    command.args([&sandbox.name("s")]).arg(sandbox.runtime_dir()).args([STEPS, "forked"]);
    command.stderr(std::fs::File::create(sandbox.folder().join("stderr")).expect("a file"));
    let mut tried = 0;
    let traced = trace(&sandbox, command, Follow::Forks, |stop| {
        let becomes_service = stop.number == libc::SYS_execve
            && stop.index > 0
            && stop.side == Side::Entry
            && stop.read_text(stop.args[0]).is_ok_and(|path| path == STEPS);
        tried += usize::from(becomes_service);
        if becomes_service { Then::Answer(-i64::from(libc::EAGAIN)) } else { Then::Go }
    });
    let said = std::fs::read_to_string(sandbox.folder().join("stderr")).expect("it is there");
    assert!(!traced.status.success() && said.contains("code: 11"), "{traced:?}: {said}");
    assert_eq!(tried, 1);
}

/// Nobody knows of what a callback has started until it is recorded, and to hold it takes a descriptor.
#[test]
fn what_was_started_does_not_stay_where_no_descriptor_is_left() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_holder"));
    let output = command.args([&sandbox.name("s")]).arg(sandbox.runtime_dir()).args([STEPS, "fills"]).output();
    let output = output.expect("it can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("StartFailed") && said.contains("code: 24"), "{said}");
    sandbox.assert_no_process();
    assert!(sandbox.sets().is_empty());
    // To remove the hint of who was starting takes a descriptor, too.
    std::fs::remove_dir_all(sandbox.runtime_dir()).expect("it is there");
}
