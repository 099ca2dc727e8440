//! `procref demo`, as people run it; and that it leaves nothing, however it ends.

use procref_tests::Sandbox;
use procref_tests::sys::{ASKS, alone};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

fn procref(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_procref"));
    command.stdin(Stdio::null());
    for variable in ["TMPDIR", "TEMP", "TMP"] {
        command.env(variable, sandbox.folder());
    }
    command
}

/// A demonstration without pauses, whose service the sandbox knows to be the test's.
fn demo(sandbox: &Sandbox, options: &[&str]) -> Command {
    let mut command = procref(sandbox);
    command.args(["demo", "--pause", "0", "--name", &sandbox.name("demo")]).args(options);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

fn assert_nothing_left(sandbox: &Sandbox) {
    sandbox.assert_nothing_left();
    let files: Vec<_> = fs::read_dir(sandbox.folder()).expect("the folder is there").flatten().collect();
    assert!(files.is_empty(), "files are left: {files:?}");
}

/// Whether a process guards the service. Where none does, the kernel itself ends it.
const GUARDED: bool = ASKS;

/// What is said of who was killed.
const KILLED: &str = if GUARDED { "killed with SIGKILL" } else { "killed with TerminateProcess" };

/// Compares with what must be said, in this order, the words at the line's beginning and the count at its end.
fn assert_is_the_story(output: &Output) {
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, text(&output.stderr));
    let must = [
        ("demo", "5 clients acquire it", 0),
        ("client", "is the first, and starts it", -1),
        ("client", "joined: pid", 5),
        ("guardian", "sleeps in the kernel", 5),
        ("all 5", "talked to pid", 5),
        ("client", &format!("{KILLED}, the one that had started it"), 4),
        ("client", KILLED, 3),
        ("all 3", "talked to pid", 3),
        ("client 6", "joined late", 4),
        ("guardian", KILLED, 4),
        ("guardian", "a client noticed, and made a new one", 4),
        ("all 4", "talked to pid", 4),
        ("client", "released it, and ended", 3),
        ("client", "released it, and ended", 2),
        ("client", "released it, and ended", 1),
        ("client 6", "talked to pid", 1),
        ("client 6", &format!("{KILLED}, the last one"), 0),
        ("service", if GUARDED { "stopped by the guardian" } else { "stopped by the kernel" }, 0),
        ("guardian", "removed the semaphores and the files, and ended", 0),
    ];
    let mut lines = said.lines();
    for (who, what, count) in must.into_iter().filter(|(who, ..)| GUARDED || *who != "guardian") {
        let found = lines.any(|line| {
            let Some((_, event)) = line.split_once(" s  ") else { return false };
            let counted = count < 0 || event.ends_with(&format!(" count {count}"));
            event.starts_with(who) && event.contains(what) && counted
        });
        assert!(found, "{who} {what:?} with the count {count} does not come in its order:\n{said}");
    }
    assert_eq!(said.matches("starts it ").count(), 1, "{said}");
    assert_eq!(said.matches(" joined: pid").count(), 4, "{said}");
    let summary = said.lines().last().expect("there is a summary");
    let kills = if GUARDED { 4 } else { 3 };
    assert!(summary.starts_with(&format!("procref: 1 start for 6 clients, {kills} kills, 0 leaks")), "{summary}");
    // The numbers may be other processes' by now, but not other zombies'.
    for pid in said.split("pid ").skip(1) {
        let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(!stat.contains(") Z "), "process {pid} was not reaped:\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colour without a terminal: {said:?}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_demonstration_keeps_every_promise() {
    let sandbox = Sandbox::new();
    let output = demo(&sandbox, &[]).output().expect("it runs");
    assert_is_the_story(&output);
    assert!(text(&output.stdout).contains("a small server of the demonstration's own"));
    assert_nothing_left(&sandbox);
}

#[test]
fn many_at_the_same_time_share_nothing() {
    let sandbox = Sandbox::new();
    let start =
        |_| procref(&sandbox).args(["demo", "--pause", "0"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let demos: Vec<_> = (0..4).map(start).collect();
    for demo in demos {
        assert_is_the_story(&demo.expect("it starts").wait_with_output().expect("it runs"));
    }
    assert_nothing_left(&sandbox);
}

#[test]
fn a_missing_redis_server_is_said() {
    let sandbox = Sandbox::new();
    let output = demo(&sandbox, &["--redis"]).env("PATH", sandbox.folder()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(text(&output.stdout), "");
    let error = text(&output.stderr);
    assert!(error.starts_with("procref: there is no redis-server on the PATH: install it"), "{error}");
    assert!(error.contains("Debian, Ubuntu: the package redis-server"), "{error}");
}

#[test]
fn a_wrong_command_line_is_procrefs_own_failure() {
    let sandbox = Sandbox::new();
    for arguments in [&["demo", "--unknown"][..], &["unknown"], &[]] {
        let output = procref(&sandbox).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(text(&output.stderr).contains("Usage: procref"), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
    for arguments in [&["--help"][..], &["--version"], &["demo", "--help"]] {
        let output = procref(&sandbox).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_ne!(text(&output.stdout), "");
    }
}

/// Lets a demonstration run until it has said so many lines, ends it somehow, and looks for what is left.
fn end_after(lines: usize, options: &[&str], end: impl Fn(&mut Child)) -> ExitStatus {
    let sandbox = Sandbox::new();
    let mut command = demo(&sandbox, options);
    // A job of its own, as in a shell: Ctrl-C reaches everybody who is in it.
    let mut child = alone(&mut command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut reads = BufReader::new(child.stdout.take().expect("it is piped"));
    // Shown only if this fails.
    println!("after {lines} lines:");
    for _ in 0..lines {
        let mut line = String::new();
        reads.read_line(&mut line).expect("it is readable");
        print!("{line}");
    }
    child.stdout = Some(reads.into_inner());
    end(&mut child);
    if let Some(mut stdout) = child.stdout.take() {
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it is readable");
        println!("and then:\n{rest}");
    }
    let status = child.wait().expect("it ends");
    if GUARDED {
        assert_nothing_left(&sandbox);
    } else {
        // Between its last client's end and its own it alone could remove the files, which are hints.
        sandbox.assert_nothing_left();
    }
    status
}

/// More than a demonstration says.
const LINES: usize = 24;

#[test]
fn who_stops_reading_ends_it() {
    for lines in [0, 1, 5, 12, 20] {
        let status = end_after(lines, &[], |child| drop(child.stdout.take()));
        assert!(status.code() == Some(125) || status.success(), "{status} after {lines} lines");
    }
}

#[test]
fn killed_it_leaves_nothing() {
    for lines in (0..LINES).step_by(4) {
        end_after(lines, &[], |child| child.kill().expect("it can be killed"));
    }
}

procref_tests::linux_only! { "signals, and Redis":
    mod linux {
        use super::*;
        use rustix::process::{Pid, Signal, kill_process, kill_process_group};
        use std::os::unix::process::ExitStatusExt;

        fn pid(child: &Child) -> Pid {
            Pid::from_child(child)
        }

        #[test]
        fn with_a_redis_server() {
            let sandbox = Sandbox::new();
            let output = demo(&sandbox, &["--redis"]).output().expect("it runs");
            assert_is_the_story(&output);
            assert!(text(&output.stdout).contains("a redis-server"));
            assert_nothing_left(&sandbox);
        }

        #[test]
        fn a_redis_server_that_cannot_start_is_an_error_with_its_words() {
            let sandbox = Sandbox::new();
            let fake = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho no licence\nexit 3\n";
            let program = sandbox.folder().join("redis-server");
            procref_tests::sandbox::write_program(&program, fake);
            let output = demo(&sandbox, &["--redis"]).env("PATH", sandbox.folder()).output().expect("it runs");
            fs::remove_file(&program).expect("it is there");
            assert_eq!(output.status.code(), Some(125));
            let error = text(&output.stderr);
            assert!(error.contains("the service ended before it was ready: no licence"), "{error}");
            assert_nothing_left(&sandbox);
        }

        #[test]
        fn ctrl_c_leaves_nothing() {
            for lines in 0..LINES {
                let status = end_after(lines, &[], |child| {
                    let _ = kill_process_group(pid(child), Signal::INT);
                });
                assert!(status.signal() == Some(2) || lines > 0, "{status} after {lines} lines");
            }
        }

        #[test]
        fn ctrl_c_leaves_no_redis_server() {
            for lines in (0..LINES).step_by(3) {
                end_after(lines, &["--redis"], |child| {
                    let _ = kill_process_group(pid(child), Signal::INT);
                });
            }
        }

        #[test]
        fn a_killed_demonstration_leaves_nothing() {
            for signal in [Signal::KILL, Signal::TERM, Signal::HUP] {
                for lines in (0..LINES).step_by(2) {
                    end_after(lines, &[], |child| {
                        let _ = kill_process(pid(child), signal);
                    });
                }
            }
        }
    }
}
