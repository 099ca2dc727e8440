//! Clocks that say something else.

use crate::world::{assert_error, await_end};
use crate::{Kind, Promise, Report, World, alone};
use procref::ServiceState;
use procref_tests::sandbox::{has_ended, hold};
use procref_tests::trace::{Follow, Side, Then, trace};

/// A machine that has been up for more than a hundred years, as far as its processes can see; linger and time limits included.
#[test]
fn far_ahead() {
    let namespaces = [
        "--ipc",
        "--pid",
        "--mount",
        "--mount-proc",
        "--time",
        "--boottime",
        "4000000000",
        "--monotonic",
        "4000000000",
    ];
    alone("clock::far_ahead", &namespaces, || {
        let mut report = Report::new(
            "clocks far ahead",
            &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks],
        );
        report.each(Kind::ALL, "all of a service's life", |kind| {
            let uptime = std::fs::read_to_string("/proc/uptime").expect("it is there");
            assert!(uptime.starts_with("400"), "{uptime}");
            let mut world = World::new(kind);
            world.config.linger = 3_600_000;
            let [mut first, mut second] = std::array::from_fn(|_| world.actor());
            let service = first.acquire();
            let held = hold(service.pid);
            assert_eq!(first.ask("release").as_deref(), Ok(""));
            assert_eq!(world.state(), ServiceState::Lingering);
            assert_eq!(second.acquire(), service);
            assert_eq!(second.ask("release").as_deref(), Ok(""));
            assert_eq!(second.ask("stop").as_deref(), Ok("Stopped"));
            assert!(has_ended(&held));
            // And one that comes to its end.
            world.config.linger = 50;
            let mut third = world.actor();
            let service = hold(third.acquire().pid);
            third.kill();
            await_end(&service);
        });
    });
}

/// Who lives by another clock cannot tell a process from another one by when it started. It is told so.
#[test]
fn of_two_minds() {
    let mut report = Report::new(
        "a client by another clock",
        &[Promise::InUse, Promise::NothingLeft, Promise::OneInstance, Promise::Cause],
    );
    let mut by = vec!["unshare", "--time", "--boottime", "100000", "--monotonic", "100000", "--fork", "--kill-child"];
    if !rustix::process::geteuid().is_root() {
        by.extend(["--user", "--map-current-user"]);
    }
    let tried = std::process::Command::new(by[0]).args(&by[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        return report.not_tested("another time namespace", "this system gives none");
    }
    report.each(Kind::ALL, "it is refused", |kind| {
        let world = World::new(kind);
        let mut here = world.actor();
        let service = hold(here.acquire().pid);
        let mut there = world.actor_by(&by);
        for _ in 0..2 {
            there.tell("acquire");
            assert_error(there.acquired(), "Incompatible", &["namespace"]);
        }
        assert_eq!(here.ask("count").as_deref(), Ok("1"));
        there.kill();
        assert!(!has_ended(&service));
        here.kill();
        await_end(&service);
    });
}

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What the clocks say.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// The wall clock goes back and forth by years, each time that anybody looks.
    Wall,
    /// From this look on, all clocks but those by which the kernel itself waits are a day ahead.
    DayAhead(usize),
}

/// How often the clocks were asked.
#[derive(Debug, Default)]
struct Asked {
    wall: usize,
    others: usize,
}

/// A client's whole life, with its guardian and its service, while their clocks jump; and what the client said.
///
/// There is no namespace for the wall clock, and the machine's is not changed for a test: each process asks the kernel, for it has no
/// vDSO, and a tracer changes the answer.
fn life(world: &World, says: Says, last_words: &str) -> (Vec<String>, Asked) {
    let mut asked = Asked::default();
    let mut command = world.sandbox.command(crate::world::ACTOR);
    let words = world.sandbox.folder().join("words");
    std::fs::write(&words, format!("acquire\nalive\nrelease\nacquire\ncount\nrelease\n{last_words}"))
        .expect("it can be written");
    command.args(world.config.arguments()).stdin(std::fs::File::open(&words).expect("it is there"));
    let traced = trace(&world.sandbox, command, Follow::Forks, |stop| {
        match (stop.number, stop.side) {
            (libc::SYS_execve, Side::Exit(0)) => stop.hide_vdso().expect("it has one"),
            (libc::SYS_clock_gettime, Side::Exit(0)) => {
                let wall = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE].contains(&(stop.args[0] as i32));
                *(if wall { &mut asked.wall } else { &mut asked.others }) += 1;
                let ahead = match says {
                    Says::Wall if wall => [-20 * 365 * DAY, 20 * 365 * DAY][asked.wall % 2],
                    Says::DayAhead(from) if asked.wall + asked.others > from => DAY,
                    _ => return Then::Go,
                };
                let mut seconds = [0; 8];
                stop.read(stop.args[1], &mut seconds).expect("it has just been written");
                let seconds = i64::from_ne_bytes(seconds) + ahead;
                stop.write(stop.args[1], &seconds.to_ne_bytes()).expect("it can be changed");
            }
            _ => {}
        }
        Then::Go
    });
    assert!(traced.status.success(), "{:?}", traced.status);
    (traced.output.lines().map(str::to_owned).collect(), asked)
}

/// The wall clock decides nothing; a clock that goes on by a day may end what has a time limit, and nothing else.
#[test]
fn jumps() {
    let mut report = Report::new(
        "clocks that jump",
        &[Promise::NothingLeft, Promise::OneInstance, Promise::NeverBlocks, Promise::Cause],
    );
    // Goes at once; lingers, and may have gone before it is wanted again; stays for whoever comes, until it is stopped by hand.
    for (linger, births) in [(0, 2..=2), (200, 1..=2), (3_600_000, 1..=1)] {
        report.each(Kind::ALL, &format!("the wall clock by decades, linger {linger}"), |kind| {
            let mut world = World::new(kind);
            world.config.linger = linger;
            let (said, asked) = life(&world, Says::Wall, if linger > 1000 { "stop\n" } else { "" });
            assert!(asked.others > 0, "the clocks are asked by system calls");
            assert!(said.len() >= 6 && said.iter().all(|line| line.starts_with("ok")), "{said:?}");
            assert!(births.contains(&world.events.count("birth")), "{said:?}");
            world.sandbox.assert_nothing_left();
        });
    }
    for kind in [Kind { declared: false, started: false }, Kind::DECLARED] {
        let mut looks = 0;
        loop {
            let mut last = false;
            report.case(format_args!("a day ahead from look {looks} on, {kind:?}"), || {
                let mut world = World::new(kind);
                (world.config.linger, world.config.start_timeout) = (200, 30_000);
                let (said, asked) = life(&world, Says::DayAhead(looks), "");
                last = asked.wall + asked.others <= looks;
                for line in &said {
                    let on_time = line.starts_with("ok") || line == "error Callback: it holds nothing";
                    // The time that a guardian has to begin is over, too.
                    let too_late = line.starts_with("error TimedOut: ") || line.contains("did not say that it watches");
                    assert!(on_time || too_late, "{said:?}");
                }
                world.sandbox.assert_nothing_left();
            });
            looks += 1;
            if last || looks > 60 {
                break;
            }
        }
    }
}
