//! The guardian: what it keeps, what it survives, and how it stops a service.

use crate::{ACTOR, World, await_end, both};
use procref_tests::Actor;
use procref_tests::actor::until;
use procref_tests::sandbox::{has_ended, hold};
use rustix::process::{Pid, Signal, kill_process_group, pidfd_send_signal};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

both! {
    fn it_keeps_nothing_of_its_client(world) {
        let mut command = world.sandbox.command(ACTOR);
        let mut client = Actor::of({ command.current_dir(world.sandbox.folder()); command }, &world.config);
        assert_eq!(client.ask("grow 65536").as_deref(), Ok(""));
        let service = client.acquire();
        let guardian = world.guardian();

        let [its, ours] = [guardian, client.pid()].map(stat);
        assert_ne!(its.group, ours.group);
        assert_ne!(its.session, ours.session);
        assert_ne!(its.parent, client.pid(), "nobody's child");
        assert_eq!(its.terminal, 0);
        assert_eq!(link(guardian, "cwd"), PathBuf::from("/"));
        assert_eq!(read(guardian, "comm"), "procref-guard\n");
        assert_eq!(read(guardian, "cmdline").trim_end_matches('\0'), format!("procref-guardian: {}", world.config.name));
        let ps = Command::new("ps").args(["-o", "args=", "-p", &guardian.to_string()]).output().expect("ps");
        let args = String::from_utf8_lossy(&ps.stdout).trim().to_owned();
        assert_eq!(args, format!("procref-guardian: {}", world.config.name));
        assert_eq!(read(guardian, "environ").split('\0').find(|entry| entry.starts_with("PROCREF_TEST")), None);

        let mut fds: Vec<_> = fs::read_dir(format!("/proc/{guardian}/fd")).expect("it lives").map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("a number");
            (name.parse::<u32>().expect("a number"), link(guardian, &format!("fd/{name}")))
        }).collect();
        fds.sort();
        assert_eq!(fds.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2, 3, 4], "{fds:?}");
        assert!(fds[..3].iter().all(|(_, path)| path == &PathBuf::from("/dev/null")), "{fds:?}");
        assert_eq!(fds[3].1, fds[4].1, "both ends of one pipe: {fds:?}");

        let memory = private_kib(guardian);
        assert!(memory <= 120, "{memory} KiB");

        // The end of the client's output is seen while its guardian lives.
        let mut other = world.actor();
        assert_eq!(other.acquire(), service);
        client.signal(Signal::KILL);
        assert_eq!(client.line(), None);
        assert_eq!(world.guardian(), guardian);
    }

    fn it_sleeps_while_somebody_holds_the_service(world) {
        let [mut holder, mut other] = world.actors();
        holder.acquire();
        let guardian = world.guardian();
        // It says that it watches before it goes to sleep.
        until("it sleeps", || fs::read_to_string(format!("/proc/{guardian}/stat")).ok()?.contains(") S ").then_some(()));
        let before = switches(guardian);
        // Others come and go, and never as the last.
        other.tell("rounds 100");
        for round in 0..100 {
            other.expect(&format!("round {round}"));
        }
        assert_eq!(other.answer().as_deref(), Ok(""));
        assert_eq!(switches(guardian), before, "it has not woken up");
    }

    fn it_survives_what_a_terminal_sends_to_its_clients(world) {
        for signal in [Signal::INT, Signal::HUP, Signal::QUIT, Signal::TERM] {
            let mut group = world.group(3);
            let service = hold(group[0].acquire().pid);
            group[2].acquire();
            signal_all(&group, signal);
            for actor in &mut group {
                assert!(!actor.wait().success());
            }
            await_end(&service);
            world.sandbox.assert_nothing_left();
        }
    }

    fn it_survives_ctrl_c_and_the_hangup_of_the_client_s_terminal(world) {
        for signal in [libc::SIGINT, libc::SIGHUP] {
            let mut client = Actor::on_terminal(&world.sandbox, ACTOR, &world.config);
            let service = hold(client.acquire().pid);
            assert_ne!(stat(client.pid()).terminal, 0);
            assert_eq!(stat(world.guardian()).terminal, 0);
            if signal == libc::SIGINT {
                client.press(0x03);
            } else {
                client.hang_up();
            }
            assert_eq!(client.wait().signal(), Some(signal));
            await_end(&service);
            world.sandbox.assert_nothing_left();
        }
        assert_eq!(world.events.count("signal"), 2);
    }

    fn it_survives_what_a_terminal_sends_to_it(world) {
        let mut client = world.actor();
        let service = hold(client.acquire().pid);
        let guardian = hold(world.guardian());
        for signal in [Signal::INT, Signal::HUP, Signal::QUIT, Signal::PIPE, Signal::TSTP, Signal::STOP, Signal::CONT] {
            pidfd_send_signal(&guardian, signal).expect("it lives");
        }
        assert!(!has_ended(&service));
        client.kill();
        await_end(&service);
        await_end(&guardian);
        assert_eq!(world.events.count("signal"), 1, "nobody else has stopped it");
    }

    fn it_survives_killall_of_the_client(world) {
        let mut clients: [_; 3] = world.actors();
        let service = hold(clients[0].acquire().pid);
        for client in &mut clients {
            client.acquire();
        }
        let (comm, guardian) = (read(clients[0].pid(), "comm"), world.guardian());
        assert_ne!(read(guardian, "comm"), comm);
        // What `killall` and `pkill -x` look at, among this test's own processes.
        let doomed: Vec<_> = world.sandbox.processes().into_iter().filter(|found| read(found.pid, "comm") == comm).collect();
        assert_eq!(doomed.len(), 3);
        for found in &doomed {
            pidfd_send_signal(&found.pidfd, Signal::KILL).expect("it lives");
        }
        await_end(&service);
        assert_eq!(world.events.count("signal"), 1);
    }

    fn it_kills_a_service_that_ignores_what_it_is_asked(mut world) {
        world.config = world.config.clone().service_argument("ignore=TERM");
        world.config.ladder = "TERM:1000".into();
        stopped_by(&world, &["TERM"], 0);
    }

    fn its_ladder_is_the_service_s_own(mut world) {
        world.config.ladder = "INT:60000".into();
        stopped_by(&world, &["INT"], 1);
    }

    fn it_goes_down_its_ladder_step_by_step(mut world) {
        world.config = world.config.clone().service_argument("ignore=INT").service_argument("ignore=USR1");
        world.config.ladder = "INT:1000,USR1:1000,TERM:60000".into();
        stopped_by(&world, &["INT", "USR1", "TERM"], 1);
    }
}

impl World {
    pub(crate) fn guardian(&self) -> u32 {
        self.status().guardian.expect("a guardian")
    }
}

fn signal_all(group: &[Actor], signal: Signal) {
    let first = group.first().expect("a group").pid();
    let group = Pid::from_raw(first.try_into().expect("a process number")).expect("a process number");
    kill_process_group(group, signal).expect("the group lives");
}

/// The last client is killed; the service gets these signals, and then dies by itself or not.
fn stopped_by(world: &World, signals: &[&str], deaths: usize) {
    let mut client = world.actor();
    let service = hold(client.acquire().pid);
    client.kill();
    await_end(&service);
    let sent: Vec<_> = world.events.of("signal").into_iter().map(|event| event.detail).collect();
    assert_eq!(sent, signals);
    assert_eq!(world.events.count("death"), deaths);
}

struct Stat {
    parent: u32,
    group: u32,
    session: u32,
    terminal: i32,
}

/// proc_pid_stat(5), fields 4 to 7.
fn stat(pid: u32) -> Stat {
    let line = read(pid, "stat");
    let after_name = &line[line.rfind(')').expect("a name") + 2..];
    let fields: Vec<i32> =
        after_name.split(' ').skip(1).take(4).map(|field| field.parse().expect("a number")).collect();
    let number = |at: usize| fields[at].try_into().expect("a process number");
    Stat { parent: number(0), group: number(1), session: number(2), terminal: fields[3] }
}

fn read(pid: u32, file: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
}

fn link(pid: u32, file: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/{file}")).expect("it lives")
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = read(pid, file);
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
    line.trim_start_matches(':').split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Memory of its own, but for the constants that the loader has relocated: a test program, which is not optimised, has
/// many of them. The benchmark has the whole figure.
fn private_kib(pid: u32) -> u64 {
    let program = link(pid, "exe");
    let maps = read(pid, "smaps");
    let (mut counts, mut sum) = (true, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Private_Clean:" | "Private_Dirty:"), Some(size)) if counts => {
                sum += size.parse::<u64>().expect("a number");
            }
            // The first line of a mapping: a range, and in the end its file.
            (Some(range), Some(access)) if range.contains('-') => {
                counts = access.contains('w') || words.last().is_none_or(|file| program.as_os_str() != file);
            }
            _ => {}
        }
    }
    sum
}

fn switches(pid: u32) -> u64 {
    field(pid, "status", "voluntary_ctxt_switches")
}
