//! Sets, jobs and marks, with real processes that end in every way.

use super::super::guardian::Launch;
use super::super::object::{Locked, lock};
use super::super::record::{HOLDERS, WAITERS};
use super::super::service::{Program, new_mark, start, sweep};
use super::super::spawn::{Asleep, Spawn};
use super::super::witness::{Floor, Witness, holders};
use super::*;
use crate::protocol::set::{
    ANNOUNCE, ASK, FAILURES, GUARDIAN_IDLE, JOIN, KERNEL_GUARDS_NO_MORE, LEAVE_LAST, MARK_DOWN, RAISE_PROBE, UP,
    WITHDRAW,
};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::windows::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use windows_sys::Win32::System::Threading::CREATE_BREAKAWAY_FROM_JOB;

/// A wait that only a lost wake-up makes so long.
const LONG: Duration = Duration::from_secs(300);

/// A name of this test's own.
fn name() -> ServiceName {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Relaxed);
    ServiceName::new(&format!("unit-{}-{number}", std::process::id())).expect("a name")
}

fn create(name: &ServiceName) -> Set {
    Set::create(name).expect("it can be made").0
}

fn value(set: Set, sem: u16) -> u16 {
    set.snapshot().expect("it is there").value(sem)
}

const HELPER: &str = "sys::windows::set::tests::helper_that_holds";

fn this_program() -> PathBuf {
    std::env::current_exe().expect("it has a path")
}

/// Another process, which does what it is told and says when it has done it.
#[derive(Debug)]
struct Helper {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    process: Process,
}

impl Helper {
    fn new(name: &ServiceName) -> Self {
        let mut child = Command::new(this_program())
            .args(["--nocapture", "--exact", HELPER, name.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let process = Process::open(child.id()).expect("it can be opened").expect("it lives");
        let said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, said, process }
    }

    /// Says something that it does not answer.
    fn tell(&mut self, step: &str) {
        let mut to = self.child.stdin.as_ref().expect("it is piped");
        writeln!(to, "{step}").expect("it listens");
    }

    /// Has it do something, and returns what it says of it.
    fn does(&mut self, step: &str) -> String {
        self.tell(step);
        loop {
            let line = self.said.next().expect("it answers").expect("text");
            if let Some(answer) = line.strip_prefix("done: ") {
                return answer.to_owned();
            }
        }
    }

    fn ends(&mut self, how: &str) {
        match how {
            "killed" => _ = self.process.terminate().expect("it can be ended"),
            how => self.tell(how),
        }
        self.process.wait(None).expect("it can be awaited");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of anything where it is not started by one.
#[test]
fn helper_that_holds() {
    let Some(name) = std::env::args().skip_while(|argument| argument != HELPER).nth(1) else { return };
    let Ok(name) = ServiceName::new(&name) else { return };
    let set = create(&name);
    let mut job = None;
    let mut service = None;
    for line in io::stdin().lines() {
        let answer = match line.expect("text").as_str() {
            "announce" => format!("{:?}", set.apply(&ANNOUNCE)),
            "withdraw" => format!("{:?}", set.apply(&WITHDRAW)),
            "lock" => format!("{:?}", set.apply(&TAKE_LOCK)),
            "wait for lock" => format!("{:?}", set.apply_within(&TAKE_LOCK, None)),
            "remove" => format!("{:?}", set.remove()),
            "begin a change and abort" => {
                let objects = set.slot.expect("a set").objects(false).expect("it opens").expect("it is there");
                let mut latched = set.lock(&objects).expect("it can be locked");
                latched.begin_to_store(&[7; SEMAPHORES]);
                std::process::abort();
            }
            "job" => {
                job = Some(Witness::create(set).expect("it can be made"));
                String::new()
            }
            "service" => {
                let job = job.as_ref().expect("a job");
                service = Some(sleeping(Some(job)).wake().expect("it runs"));
                service.as_ref().map(|service| format!("{} {}", service.pid(), service.start())).expect("it runs")
            }
            "leave" => {
                let mut command = Command::new(this_program());
                let child =
                    command.arg("--list").stdout(Stdio::null()).creation_flags(CREATE_BREAKAWAY_FROM_JOB).spawn();
                format!("{:?}", child.map(|mut child| child.wait().is_ok()).map_err(|error| error.raw_os_error()))
            }
            "abort" => std::process::abort(),
            "exit" => std::process::exit(0),
            step => panic!("{step:?} is no step"),
        };
        println!("done: {answer}");
    }
    drop(service);
}

/// This program, asleep; let go, it does nothing until it is ended.
fn sleeping(job: Option<&Witness>) -> Asleep {
    asleep("sleep", job)
}

/// This program, asleep; let go, it takes this step.
fn asleep(step: &str, job: Option<&Witness>) -> Asleep {
    let nothing = std::fs::OpenOptions::new().read(true).write(true).open("NUL").expect("there is always one");
    let arguments = ["x", "--nocapture", "--exact", "ready::tests::helper_that_does", step].map(OsString::from);
    let spawn = Spawn {
        program: &this_program(),
        arguments: &arguments,
        directory: None,
        environment: None,
        standard: [nothing.as_handle(); 3],
        job: job.map(AsHandle::as_handle),
        apart: true,
    };
    spawn.asleep().expect("it can be made")
}

/// What would wake somebody who slept in this array now.
fn watched(set: Set, ops: &[Op]) -> Watched {
    let objects = set.slot.expect("a set").objects(false).expect("it opens").expect("it is there");
    let mut latched = set.lock(&objects).expect("it can be locked");
    set.watch(&objects, &mut latched, ops).expect("they can be opened")
}

/// Waits until so many sleep until the lock is free.
fn until_waiting(set: Set, count: usize) {
    while set.waiting().expect("it is there") != count {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The places of the record at which somebody sleeps.
fn places(set: Set) -> usize {
    let objects = set.slot.expect("a set").objects(false).expect("it opens").expect("it is there");
    set.lock(&objects).expect("it can be locked").waiters().len()
}

#[test]
fn arrays_apply_as_a_whole_or_not_at_all() {
    let set = create(&name());
    let refused = [
        Op { sem: CLIENTS, delta: 1, undo: true, wait: false },
        Op { sem: FAILURES, delta: 3, undo: false, wait: false },
        Op { sem: UP, delta: -1, undo: false, wait: false },
    ];
    assert_eq!(set.apply(&refused), Err(SetError::Refused));
    assert_eq!((value(set, CLIENTS), value(set, FAILURES)), (0, 0));
    assert_eq!(set.apply(&JOIN), Err(SetError::Refused), "nothing is up");
    assert_eq!(value(set, CLIENTS), 0);
    set.apply(refused.get(..2).expect("two")).expect("it applies");
    assert_eq!((value(set, CLIENTS), value(set, FAILURES)), (1, 3));
    // Each operation sees what those before it have done.
    set.apply(&[
        Op { sem: CLIENTS, delta: -1, undo: true, wait: false },
        Op { sem: CLIENTS, delta: 0, undo: false, wait: false },
        Op { sem: CLIENTS, delta: 1, undo: true, wait: false },
    ])
    .expect("it applies");
    set.apply(&WITHDRAW).expect("it is held");
    assert_eq!(set.apply(&WITHDRAW), Err(SetError::Gone), "it went with the last that was held");
}

#[test]
fn nobody_takes_away_what_another_one_holds() {
    let name = name();
    let set = create(&name);
    let mut helper = Helper::new(&name);
    assert_eq!(helper.does("announce"), "Ok(())");
    assert_eq!(set.apply(&WITHDRAW), Err(SetError::Os(Code::NOT_HELD)));
    let without_undo = [Op { sem: CLIENTS, delta: -1, undo: false, wait: false }];
    assert_eq!(set.apply(&without_undo), Err(SetError::Os(Code::NOT_HELD)));
    assert_eq!(value(set, CLIENTS), 1);
    set.apply(&set.snapshot().expect("it is there").guarding_by_kernel()).expect("nobody watches");
    set.apply(&KERNEL_GUARDS_NO_MORE).expect("the kernel does");
    assert_eq!(set.apply(&MARK_DOWN), Err(SetError::Refused));
}

#[test]
fn a_holder_that_ends_in_any_way_is_undone_and_wakes_who_sleeps() {
    for how in ["killed", "abort", "exit"] {
        let name = name();
        let set = create(&name);
        let mut helper = Helper::new(&name);
        assert_eq!((helper.does("announce"), helper.does("lock")), ("Ok(())".into(), "Ok(())".into()));
        assert_eq!((value(set, CLIENTS), value(set, LOCK)), (1, 1));
        let known = watched(set, &TAKE_LOCK);
        assert_eq!((known.processes.len(), known.looks_again, known.at_once), (1, false, false), "{how}");
        let both = [GUARDIAN_IDLE.as_slice(), &TAKE_LOCK].concat();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| set.apply_within(&both, Some(LONG)));
            until_waiting_at_all(set);
            helper.ends(how);
            assert_eq!(sleeper.join().expect("no panic"), Ok(()), "{how}");
        });
        assert_eq!((value(set, CLIENTS), value(set, LOCK)), (0, 1));
        // What it held is no longer told of.
        assert!(holders(set, None).expect("they can be told").is_empty(), "{how}");
    }
}

fn until_waiting_at_all(set: Set) {
    while places(set) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_that_is_killed_in_the_middle_of_a_change_has_changed_nothing() {
    let name = name();
    let set = create(&name);
    set.apply(&ANNOUNCE).expect("it applies");
    let mut helper = Helper::new(&name);
    assert_eq!(helper.does("announce"), "Ok(())");
    let before: Vec<u16> = (0..SEMAPHORES as u16).map(|sem| value(set, sem)).collect();
    helper.ends("begin a change and abort");
    let after: Vec<u16> = (0..SEMAPHORES as u16).map(|sem| value(set, sem)).collect();
    assert_eq!(before.get(usize::from(CLIENTS)), Some(&2));
    let expected = before.iter().enumerate().map(|(sem, &it)| if sem == usize::from(CLIENTS) { 1 } else { it });
    assert_eq!(after, expected.collect::<Vec<_>>());
    set.apply(&TAKE_LOCK).expect("others go on");
}

#[test]
fn the_place_of_a_sleeper_that_was_killed_is_cleared() {
    let name = name();
    let set = create(&name);
    set.apply(&TAKE_LOCK).expect("it is free");
    let mut helper = Helper::new(&name);
    helper.tell("wait for lock");
    until_waiting(set, 1);
    helper.ends("killed");
    assert_eq!((set.waiting().expect("it is there"), places(set)), (0, 1));
    set.apply(&ANNOUNCE).expect("it applies");
    assert_eq!(places(set), 0);
}

#[test]
fn a_sleeper_that_gives_up_leaves_no_place() {
    let set = create(&name());
    set.apply(&TAKE_LOCK).expect("it is free");
    assert_eq!(set.apply_until(&TAKE_LOCK, Duration::from_millis(1)), Ok(false));
    assert_eq!(places(set), 0);
}

#[test]
fn who_finds_no_place_to_sleep_looks_again() {
    let set = create(&name());
    set.apply(&ANNOUNCE).expect("it applies");
    set.apply(&TAKE_LOCK).expect("it is free");
    {
        let objects = set.slot.expect("a set").objects(false).expect("it opens").expect("it is there");
        let mut latched = set.lock(&objects).expect("it can be locked");
        (0..WAITERS).for_each(|_| _ = latched.wait_at(Waits::ForChange).expect("it is free"));
        let sleeper = Sleeper::new(set, &mut latched, LOCK).expect("no error");
        assert!(sleeper.event.is_none() && sleeper.at.is_none());
        // Though it waits for a process, which does not end.
        let this = Process::open(current_pid()).expect("it can be opened").expect("it lives");
        let deadline = Instant::now() + LONG;
        let waits = Watched { processes: vec![this], ..Watched::default() };
        sleeper.sleep(&waits, Some(deadline)).expect("no error");
        assert!(Instant::now() < deadline);
    }
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| set.apply_within(&TAKE_LOCK, Some(LONG)));
        set.apply(&UNLOCK).expect("it is held");
        assert_eq!(sleeper.join().expect("no panic"), Ok(()));
    });
    assert_eq!(places(set), 0, "there was nobody at any of them");
}

#[test]
fn more_holders_than_one_wait_can_have() {
    let set = create(&name());
    let holders: Vec<Asleep> = (0..MOST_WAITED + 2).map(|_| sleeping(None)).collect();
    for holder in &holders {
        let process = holder.process().expect("it sleeps");
        set.hold_for(CLIENTS, process, |handle| holder.give(handle)).expect("it can be given");
    }
    assert_eq!(usize::from(value(set, CLIENTS)), holders.len());
    // Until all have gone, the end of any is enough.
    let idle = watched(set, &GUARDIAN_IDLE);
    assert_eq!((idle.processes.len(), idle.looks_again), (MOST_WAITED - 1, false));
    // For any to go, it is not.
    let change = set.snapshot().expect("it is there").next_change();
    assert!(watched(set, &change).looks_again);
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| set.apply_within(&GUARDIAN_IDLE, Some(LONG)));
        until_waiting_at_all(set);
        drop(holders);
        assert_eq!(sleeper.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn holders_that_have_ended_make_room_for_those_that_live() {
    let set = create(&name());
    {
        let objects = set.slot.expect("a set").objects(false).expect("it opens").expect("it is there");
        let mut latched = set.lock(&objects).expect("it can be locked");
        for at in 0..HOLDERS as u32 {
            latched.note((0xf000_0000 + 4 * at, 1), CLIENTS, 1);
        }
        assert!(latched.knows_no_more());
    }
    set.apply(&ANNOUNCE).expect("it applies");
    let known = set.client_processes().expect("they can be told");
    assert_eq!(known.iter().map(Process::pid).collect::<Vec<_>>(), [current_pid()]);
}

#[test]
fn a_set_that_was_removed_is_gone_for_who_held_it_and_counts_in_no_other() {
    let name = name();
    let old = create(&name);
    let mut helper = Helper::new(&name);
    assert_eq!((helper.does("announce"), old.apply(&ANNOUNCE)), ("Ok(())".into(), Ok(())));
    assert_eq!(old.apply(&MARK_DOWN), Err(SetError::Refused));
    assert_eq!(value(old, CLIENTS), 2);
    // By another process: this one holds the old set's objects still.
    assert_eq!(helper.does("remove"), "Ok(())");
    assert_eq!(old.clients(), Err(SetError::Gone));
    let new = create(&name);
    assert_ne!(new, old);
    assert_eq!(old.apply(&WITHDRAW), Err(SetError::Gone));
    assert_eq!((0..SEMAPHORES as u16).map(|sem| value(new, sem)).max(), Some(0));
    new.apply(&ANNOUNCE).expect("it applies");
    assert_eq!(value(new, CLIENTS), 1);
    assert_eq!(helper.does("withdraw"), "Err(Gone)");
    // And the other way round.
    let mut helper = Helper::new(&name);
    assert_eq!(helper.does("announce"), "Ok(())");
    assert_eq!(new.remove(), Ok(()));
    assert_eq!(helper.does("withdraw"), "Err(Gone)");
    let newest = create(&name);
    assert_eq!(value(newest, CLIENTS), 0);
    assert!(holders(newest, None).expect("they can be told").is_empty());
}

#[test]
fn who_sleeps_in_a_set_that_is_removed_is_told() {
    let name = name();
    let set = create(&name);
    set.apply(&TAKE_LOCK).expect("it is free");
    let mut helper = Helper::new(&name);
    helper.tell("wait for lock");
    until_waiting(set, 1);
    assert_eq!(set.remove(), Ok(()));
    assert_eq!(helper.does("withdraw"), "Err(Gone)", "of the wait");
}

#[test]
fn a_set_stays_from_its_making_to_its_use() {
    let name = name();
    let set = create(&name);
    set.apply(&TAKE_LOCK).expect("it is free");
    set.apply(&UNLOCK).expect("it is held");
    set.apply(&ANNOUNCE).expect("it is there");
    // Whoever has let go and still has something to do is the last one when that is done.
    set.apply(&LEAVE_LAST).expect("nobody else is there");
    assert_eq!(value(set, LOCK), 1);
    set.apply(&UNLOCK).expect("it is held");
    assert_eq!(set.clients(), Err(SetError::Gone));
}

#[test]
fn sets_of_one_name_one_after_the_other() {
    let name = name();
    let first = create(&name);
    first.apply(&ANNOUNCE).expect("it applies");
    first.apply(&[Op { sem: FAILURES, delta: 5, undo: false, wait: false }]).expect("it applies");
    assert_eq!(Set::open(&name).expect("no error").map(|(set, _)| set), Some(first));
    first.apply(&WITHDRAW).expect("it is held");
    assert!(Set::open(&name).expect("no error").is_none());
    let second = create(&name);
    assert_ne!(first, second);
    assert_eq!((value(second, CLIENTS), value(second, FAILURES)), (0, 0));
    assert_eq!(first.apply(&ANNOUNCE), Err(SetError::Gone));
    second.remove_unused();
    assert!(Set::open(&name).expect("no error").is_none());
}

/// One thread looks at the set while another one is about to hold it.
#[test]
fn objects_that_a_thread_is_about_to_use_are_not_closed() {
    let name = name();
    let set = create(&name);
    let slot = set.slot.expect("a set");
    let objects = slot.objects(false).expect("it opens").expect("it is there");
    slot.settle(true);
    assert_eq!(set.perform_on(&objects, &RAISE_PROBE, None), Ok(Applied::Yes));
    drop(objects);
    slot.settle(false);
    assert_eq!(set.snapshot().map(|snapshot| snapshot.value(PROBE)), Ok(1));
}

#[test]
fn names_are_those_of_sets_that_somebody_has_named() {
    let (name, unnamed) = (name(), name());
    let set = create(&name);
    create(&unnamed).apply(&ANNOUNCE).expect("it applies");
    let listed =
        |name: &ServiceName| Set::names().expect("they can be listed").iter().any(|it| it.as_str() == name.as_str());
    assert!(!listed(&name));
    set.apply(&ANNOUNCE).expect("it applies");
    let ops = set.snapshot().expect("it is there").naming(name.as_str().as_bytes(), 0);
    set.apply(&ops).expect("it is fresh");
    assert!(listed(&name) && !listed(&unnamed));
    set.apply(&WITHDRAW).expect("it is held");
    assert!(!listed(&name));
}

#[test]
fn what_lies_under_our_names_and_is_not_ours_is_refused() {
    // Another type of object.
    for what in ["latch", "record"] {
        let name = name();
        let (_foreign, _) = object::create(Kind::Event, &format!("{}.{what}", stem(&name))).expect("it can be made");
        let error = Set::create(&name).map(drop).expect_err("it is no such thing");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(format!("{error}").contains(what), "{error}");
    }
    // Of another layout.
    let name = name();
    let (_foreign, _) = object::create(Kind::Section(1 << 20), &format!("{}.record", stem(&name))).expect("it is made");
    let record = Record::open(&stem(&name), true).expect("no error").expect("it is made");
    record.lock().expect("it can be locked").claim_for_another();
    assert_eq!(Set::create(&name).map(drop).expect_err("it is another one's").kind(), ErrorKind::Incompatible);
    // Beside a set of ours.
    let set = create(&self::name());
    let (_foreign, _) = object::create(Kind::Event, &set.object_name("clients")).expect("it can be made");
    let (_foreign, _) = object::create(Kind::Event, &set.object_name("job")).expect("it can be made");
    assert_eq!(set.apply(&ANNOUNCE), Err(SetError::Os(Code(5))));
    assert_eq!(Code(5).describe().0, ErrorKind::PermissionDenied);
    let error = Witness::create(set).expect_err("it is no job");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}

/// The service that a helper has started.
fn service_of(helper: &mut Helper) -> Process {
    let answer = helper.does("service");
    let (pid, start) = answer.split_once(' ').expect("two numbers");
    let (pid, start) = (pid.parse().expect("a number"), start.parse().expect("a number"));
    Process::open_recorded(pid, start).expect("it can be opened").expect("it lives")
}

#[test]
fn the_job_ends_the_service_with_its_last_holder() {
    for how in ["killed", "abort", "exit"] {
        let name = name();
        let set = create(&name);
        let mut helper = Helper::new(&name);
        helper.does("job");
        let service = service_of(&mut helper);
        let witness = Witness::open(set).expect("no error").expect("somebody holds it");
        assert!(witness.has(&service).expect("it can be asked"));
        assert!(!witness.has(&helper.process).expect("it can be asked"));
        helper.ends(how);
        let floor = Witness::of_service(set, 0, &service, 0).expect("it can be asked");
        assert!(matches!(floor, Floor::Held(_)), "this process holds it: {floor:?}");
        drop(floor);
        assert!(!service.has_ended());
        drop(witness);
        assert!(service.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"), "{how}");
        let floor = Witness::of_service(set, 0, &service, 0).expect("it can be asked");
        assert!(matches!(floor, Floor::Abandoned), "{floor:?}");
    }
}

#[test]
fn the_last_holder_of_a_job_that_is_killed_takes_the_service_along() {
    let name = name();
    let set = create(&name);
    let mut helper = Helper::new(&name);
    helper.does("job");
    let service = service_of(&mut helper);
    helper.ends("killed");
    assert!(service.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"));
    let floor = Witness::of_service(set, 0, &service, 0).expect("it can be asked");
    assert!(matches!(floor, Floor::Abandoned), "{floor:?}");
    // The next one is held anew.
    let job = Witness::create(set).expect("it can be made");
    let outside = sleeping(None).wake().expect("it runs");
    assert!(!job.has(&outside).expect("it can be asked"));
    job.adopt(&outside).expect("it can be adopted");
    assert!(job.has(&outside).expect("it can be asked"));
    drop(job);
    assert!(outside.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"));
}

#[test]
fn a_service_that_is_started_within_another_one_does_not_end_with_that() {
    let (outer, name) = (create(&name()), name());
    let outer_job = Witness::create(outer).expect("it can be made");
    let set = create(&name);
    let mut helper = Helper::new(&name);
    outer_job.adopt(&helper.process).expect("it can be adopted");
    helper.does("job");
    let service = service_of(&mut helper);
    let job = Witness::open(set).expect("no error").expect("the helper holds it");
    assert!(job.has(&service).expect("it can be asked"));
    assert!(outer_job.has(&helper.process).expect("it can be asked"));
    assert!(!outer_job.has(&service).expect("it can be asked"));
    assert_eq!(helper.does("leave"), "Err(Some(5))", "nobody else leaves it");
    drop(outer_job);
    assert!(helper.process.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"));
    assert!(!service.has_ended());
    drop(job);
    assert!(service.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"));
}

#[test]
fn what_is_swept_has_ended() {
    let set = create(&name());
    let job = Witness::create(set).expect("it can be made");
    let tree: Vec<_> = (0..3).map(|_| sleeping(Some(&job)).wake().expect("it runs")).collect();
    sweep(set, 0, 0, None);
    assert!(tree.iter().all(Process::has_ended));
}

#[test]
fn a_second_start_waits_until_the_first_service_has_gone() {
    let set = create(&name());
    let first = sleeping(None);
    let mark = new_mark(set).expect("there is none");
    first.give(mark.as_handle()).expect("it can be given");
    drop(mark);
    let process =
        Process::open(first.process().expect("it sleeps").pid()).expect("it can be opened").expect("it lives");
    let (begins, begun) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            begins.send(()).expect("somebody listens");
            new_mark(set).map(|mark| (mark, process.has_ended()))
        });
        begun.recv().expect("it begins");
        // Long enough for one that does not wait.
        thread::sleep(Duration::from_millis(50));
        drop(first);
        let (_mark, ended) = second.join().expect("no panic").expect("the first one has gone");
        assert!(ended);
    });
}

#[test]
fn a_second_start_waits_for_what_the_first_service_had_started() {
    let set = create(&name());
    let job = Witness::create(set).expect("it can be made");
    let file = std::env::temp_dir().join(format!("procref-left-{}", current_pid()));
    let step = format!("leave-one|{}", file.display());
    let arguments = ["x", "--nocapture", "--exact", "ready::tests::helper_that_does", &step].map(OsString::from);
    let program = Program::new(&this_program(), &std::env::temp_dir(), &arguments, std::env::vars_os(), 0);
    let log = std::fs::OpenOptions::new().write(true).open("NUL").expect("there is always one");
    let launch = Launch { program: program.expect("no NUL"), log, keep: Vec::new(), needs: Vec::new() };
    [ANNOUNCE.as_slice(), &TAKE_LOCK, &ASK].iter().for_each(|ops| set.apply(ops).expect("nobody else is there"));
    set.apply(&set.snapshot().expect("it is there").guarding_by_kernel()).expect("nobody guards it");
    let first = start(set, &job, &launch, 0).expect("it starts");
    assert!(first.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"));
    let left = std::fs::read_to_string(&file).expect("it has left one").parse().expect("a number");
    std::fs::remove_file(&file).expect("it is there");
    let left = Process::open(left).expect("it can be opened").expect("it lives");
    assert!(job.has(&left).expect("it can be asked") && !left.has_ended());
    let (begins, begun) = std::sync::mpsc::channel();
    let abandoned = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            begins.send(()).expect("somebody listens");
            new_mark(set).map(|mark| (mark, abandoned.load(Relaxed)))
        });
        begun.recv().expect("it begins");
        // Long enough for one that does not wait.
        thread::sleep(Duration::from_millis(50));
        abandoned.store(true, Relaxed);
        // As when the last client is killed.
        drop(job);
        let (_mark, waited) = second.join().expect("no panic").expect("the first one has gone");
        assert!(waited);
    });
    assert!(left.wait(Some(LONG.as_millis() as u64)).expect("it can be awaited"));
}

#[test]
fn a_mutex_whose_holder_was_killed_is_free() {
    // The same mutex as sets have, by the way that files have it.
    let name = format!("Local\\procref-test-{}-abandoned", current_pid());
    let keeps = object::create(Kind::Mutex, &name).expect("it can be made");
    let locked = name.clone();
    thread::spawn(move || std::mem::forget(lock(&locked).expect("it is free"))).join().expect("no panic");
    let _again: Locked = lock(&name).expect("its thread has ended");
    drop(keeps);
}
