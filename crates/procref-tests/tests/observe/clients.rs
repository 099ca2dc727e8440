//! Who holds a service.

use crate::{Declared, World, observed};
use procref::observe::Observed;
use procref_tests::Sandbox;

/// The count, and who is known.
pub(crate) fn clients(observed: &Observed) -> (u32, Vec<(u32, String)>) {
    let clients = observed.clients().expect("it can be seen");
    (clients.count, clients.known.into_iter().map(|client| (client.pid, client.name)).collect())
}

fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
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
        let mut both = [first.pid(), second.pid()].map(|pid| (pid, program("actor")));
        both.sort();
        // Neither the service, nor the guardian, nor this process.
        assert_eq!(clients(&world.observed()), (2, both.to_vec()));
        second.kill();
        assert_eq!(clients(&world.observed()), (1, vec![(first.pid(), program("actor"))]));
        assert_eq!(first.ask("release").as_deref(), Ok(""));
    }
}

#[test]
fn of_a_declared_service() {
    let sandbox = Sandbox::new();
    let [first, second] = ["forked", "started"].map(|way| Declared::new(&sandbox, "declared", &[way]));
    let mut both = [first.child.id(), second.child.id()].map(|pid| (pid, program("holder")));
    both.sort();
    assert_eq!(clients(&observed(&sandbox, "declared")), (2, both.to_vec()));
}
