//! `procref hold`.

use crate::kit::{GATED, Project, Running, SIMPLE, SLOW, UP_AND_DOWN};
use crate::sys::{Console, ended_by_ctrl_c};
use procref::ServiceState;
use std::fs;
use std::io::Write;
use std::process::Stdio;

fn in_foreground(project: &Project) -> (Running, Console) {
    let console = Console::new();
    let running = Running::start(console.command(project.procref(["hold", "@db"])).stdin(Stdio::piped()));
    (running, console)
}

/// It reads when it waits for its end, and only then; and so much goes into no pipe that nobody reads.
fn make_sure_it_waits(running: &mut Running) {
    running.0.stdin.as_mut().expect("it is piped").write_all(&[b'\n'; 1 << 20]).expect("it reads");
}

fn hold(project: &Project) -> Running {
    let running = Running::start(project.procref(["hold", "@db"]).stdin(Stdio::piped()));
    project.wait_for("@db", |status| status.state == ServiceState::Up && status.waiting == 0);
    running
}

#[test]
fn until_standard_input_ends() {
    let project = Project::new(SIMPLE);
    let mut running = hold(&project);
    let stdin = running.0.stdin.as_mut().expect("it is piped");
    stdin.write_all(b"what is written counts for nothing\n").expect("it is read");
    assert_eq!(project.wait_for("@db", |_| true).clients, 1);
    drop(running.0.stdin.take());
    assert_eq!(running.end(&project).transcript(), "exit 0\n", "nothing is said without a terminal");
    // It has waited for the stop.
    assert_eq!(fs::read_to_string(project.kept("@db").join("log")).expect("it has a log"), UP_AND_DOWN);
    assert!(project.sandbox.objects().is_empty());
    project.sandbox.assert_nothing_left();
    // At once, where there is nothing to read.
    assert_eq!(project.output(["hold", "@db"]).transcript(), "exit 0\n");
    project.sandbox.assert_nothing_left();
}

#[test]
fn killed_it_has_released() {
    let project = Project::new(SIMPLE);
    let mut running = hold(&project);
    running.kill();
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn one_that_lingers_stays() {
    let project = Project::new(&SIMPLE.replace("ready =", "linger = \"1h\"\nready ="));
    let mut running = hold(&project);
    drop(running.0.stdin.take());
    assert_eq!(running.end(&project).transcript(), "exit 0\n");
    let status = project.wait_for("@db", |status| status.linger_left.is_some());
    assert_eq!(status.state, ServiceState::Lingering);
    assert!(status.linger_left.is_some_and(|left| left.as_secs() > 3000), "{status:?}");
    project.output(["stop", "@db"]).assert_ok();
    project.sandbox.assert_nothing_left();
}

#[test]
fn until_ctrl_c() {
    let project = Project::new(GATED);
    let (mut running, console) = in_foreground(&project);
    let service = project.gate.meet();
    make_sure_it_waits(&mut running);
    console.ctrl_c(&running);
    let stop = project.gate.meet();
    service.let_go();
    stop.let_go();
    assert_eq!(running.end(&project).transcript(), "exit 0\n");
    // It has waited for the stop.
    assert_eq!(fs::read_to_string(project.kept("@db").join("log")).expect("it has a log"), "up\nstops\n");
    assert!(project.sandbox.objects().is_empty());
    project.sandbox.assert_nothing_left();
}

#[test]
fn while_it_starts_ctrl_c_is_its_end() {
    let project = Project::new(SLOW);
    let (mut running, console) = in_foreground(&project);
    let _starts = project.gate.meet();
    console.ctrl_c(&running);
    let status = running.status();
    assert!(ended_by_ctrl_c(status), "{status}");
    project.assert_nothing_left_of(&["@db"]);
}

#[test]
fn who_asks_twice_need_not_wait() {
    let project = Project::new(GATED);
    let (mut running, console) = in_foreground(&project);
    let service = project.gate.meet();
    make_sure_it_waits(&mut running);
    console.ctrl_c(&running);
    let stop = project.gate.meet();
    console.ctrl_c(&running);
    let status = running.status();
    assert!(ended_by_ctrl_c(status), "{status}");
    // Where the kernel does the rest, it has done it.
    service.let_go();
    stop.let_go();
    project.assert_nothing_left_of(&["@db"]);
}

procref_tests::linux_only! { "signals":
    mod signals {
        use super::*;
        use crate::kit::SLOW;
        use rustix::process::{Pid, Signal, kill_process};
        use std::os::unix::process::ExitStatusExt;

        #[test]
        fn until_a_signal() {
            for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
                let project = Project::new(SIMPLE);
                let running = hold(&project);
                // It may still be on its way to where it waits: then the signal is its end.
                let pid = Pid::from_child(&running.0);
                crate::kit::wait_until(|| {
                    let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).ok()?;
                    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
                    let caught = u64::from_str_radix(caught, 16).ok()?;
                    (caught & 1 << (signal.as_raw() - 1) != 0).then_some(())
                });
                kill_process(pid, signal).expect("it lives");
                assert_eq!(running.end(&project).transcript(), "exit 0\n");
                assert!(project.sandbox.objects().is_empty());
                project.sandbox.assert_nothing_left();
            }
        }

        #[test]
        fn while_it_starts_a_signal_is_its_end() {
            let project = Project::new(SLOW);
            let mut running = Running::start(project.procref(["hold", "@db"]).stdin(Stdio::piped()));
            let _starts = project.gate.meet();
            kill_process(Pid::from_child(&running.0), Signal::TERM).expect("it lives");
            assert_eq!(running.0.wait().expect("it ends").signal(), Some(15));
            project.sandbox.assert_nothing_left();
        }

        #[test]
        fn who_asks_twice_need_not_wait() {
            let stubborn = r#"
                [services.@db]
                command = [PART, "listen", "say=up", "asked", "meet=GATE", "stay"]
                ready = { log = "up" }
                stop = { grace = "2s" }
            "#;
            let project = Project::new(stubborn);
            let mut running = hold(&project);
            drop(running.0.stdin.take());
            let _asked = project.gate.meet();
            kill_process(Pid::from_child(&running.0), Signal::INT).expect("it lives");
            assert_eq!(running.0.wait().expect("it ends").signal(), Some(2));
            project.sandbox.assert_nothing_left();
        }
    }
}
