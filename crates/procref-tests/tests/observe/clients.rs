//! Who holds a service.

use crate::{Declared, World, await_end, await_program, observed};
use procref::observe::Observed;
use procref_tests::Sandbox;
use procref_tests::sandbox::hold;
use rustix::process::{Signal, pidfd_send_signal};

/// The count, and who is known.
fn clients(observed: &Observed) -> (u32, Vec<(u32, String)>) {
    let clients = observed.clients().expect("it can be seen");
    (clients.count, clients.known.into_iter().map(|client| (client.pid, client.name)).collect())
}

#[test]
fn all_of_them_and_nobody_else() {
    let world = World::new();
    assert_eq!(clients(&world.observed()), (0, Vec::new()));
    for started_guardian in [true, false] {
        let mut config = world.config.clone();
        config.started_guardian = started_guardian;
        let new = || procref_tests::Actor::new(&world.sandbox, crate::ACTOR, &config);
        let [mut first, mut second] = [new(), new()];
        first.acquire();
        second.acquire();
        second.acquire();
        let mut both = [first.pid(), second.pid()].map(|pid| (pid, "actor".to_owned()));
        both.sort();
        // Neither the service, nor the guardian, nor this process.
        assert_eq!(clients(&world.observed()), (2, both.to_vec()));
        // A child has the memory and the descriptors, and no reference.
        let children = [&mut first, &mut second].map(|actor| {
            let pid = actor.ask("fork-stay").expect("it forks").parse().expect("a number");
            hold(pid)
        });
        assert_eq!(clients(&world.observed()), (2, both.to_vec()));
        for child in children {
            pidfd_send_signal(&child, Signal::KILL).expect("it lives");
            await_end(&child);
        }
        second.kill();
        assert_eq!(clients(&world.observed()), (1, vec![(first.pid(), "actor".to_owned())]));
        // The guardian that takes the place of another one watches over the same pipe.
        let guardian = world.status().guardian.expect("a guardian");
        procref::process::kill(guardian);
        let other = || world.status().guardian.filter(|other| *other != guardian);
        procref_tests::actor::until("another guardian", other);
        assert_eq!(clients(&world.observed()), (1, vec![(first.pid(), "actor".to_owned())]));
        assert_eq!(first.ask("release").as_deref(), Ok(""));
    }
}

/// Its children inherit what it keeps, and are no clients.
#[test]
fn one_that_became_another_program() {
    let world = World::new();
    let mut actor = world.actor();
    actor.acquire();
    assert_eq!(actor.ask("keep").as_deref(), Ok(""));
    actor.tell("exec sh -c read${IFS}line;sleep${IFS}1000&echo${IFS}$!;wait");
    await_program(actor.pid(), "sh");
    actor.tell("on");
    let child = hold(actor.line().and_then(|pid| pid.parse().ok()).expect("its child"));
    assert_eq!(clients(&world.observed()), (1, vec![(actor.pid(), "sh".to_owned())]));
    pidfd_send_signal(&child, Signal::KILL).expect("it lives");
}

#[test]
fn of_a_declared_service() {
    let sandbox = Sandbox::new();
    let [first, second] = ["forked", "started"].map(|way| Declared::new(&sandbox, "declared", &[way]));
    let mut both = [first.child.id(), second.child.id()].map(|pid| (pid, "holder".to_owned()));
    both.sort();
    assert_eq!(clients(&observed(&sandbox, "declared")), (2, both.to_vec()));
}
