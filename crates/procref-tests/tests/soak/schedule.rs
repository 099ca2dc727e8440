//! What is done, in which order: it follows from the seed alone, and what comes of it changes nothing.

use crate::CLIENTS;

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A new client of a service.
    Enter {
        slot: usize,
        service: usize,
    },
    Kill(usize),
    /// Its input ends: it releases, and ends.
    Leave(usize),
    /// It acquires once more.
    Again(usize),
    Stop(usize),
    Continue(usize),
    KillGuardian(usize),
    KillService(usize),
    /// Guardian and clients, as a cgroup that is killed. `alone`: nobody is just leaving, so the service has to end.
    KillEverybody {
        service: usize,
        slots: Vec<usize>,
        alone: bool,
    },
    /// Everybody goes on, and who was asked to leave has left.
    SeeOff,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    service: usize,
    stopped: bool,
}

/// The schedule of a seed.
#[derive(Debug)]
pub(crate) struct Schedule {
    random: Random,
    services: usize,
    slots: [Option<Client>; CLIENTS],
    /// How many of the slots are in use, for a while.
    crowd: usize,
    leaving: usize,
}

impl Schedule {
    pub(crate) fn new(seed: u64, services: usize) -> Self {
        Self { random: Random(seed | 1), services, slots: [None; CLIENTS], crowd: CLIENTS, leaving: 0 }
    }

    /// What comes next; now and then several things at once.
    pub(crate) fn next(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.random.below(40) == 0 {
            self.change_crowd(&mut actions);
        }
        let slot = self.random.below(self.crowd);
        let dice = self.random.below(100);
        let Some(client) = self.slots.get(slot).copied().flatten() else {
            let service = self.random.below(self.services);
            self.set(slot, Some(Client { service, stopped: false }));
            actions.push(Action::Enter { slot, service });
            return actions;
        };
        let service = client.service;
        match dice {
            _ if client.stopped => {
                self.set(slot, Some(Client { service, stopped: false }));
                actions.push(Action::Continue(slot));
            }
            0..40 => actions.push(self.kill(slot)),
            40..60 => actions.push(self.leave(slot)),
            60..80 => actions.push(Action::Again(slot)),
            80..85 => {
                self.set(slot, Some(Client { service, stopped: true }));
                actions.push(Action::Stop(slot));
            }
            85..92 => actions.push(Action::KillGuardian(service)),
            92..97 => actions.push(Action::KillService(service)),
            _ => {
                let alone = self.random.below(2) == 0;
                if alone {
                    self.see_off(&mut actions);
                }
                let slots: Vec<_> = (0..CLIENTS)
                    .filter(|slot| self.slots.get(*slot).copied().flatten().is_some_and(|it| it.service == service))
                    .collect();
                for &slot in &slots {
                    self.set(slot, None);
                }
                actions.push(Action::KillEverybody { service, slots, alone });
            }
        }
        actions
    }

    /// A few clients start and stop a service often; many find it running.
    fn change_crowd(&mut self, actions: &mut Vec<Action>) {
        const CROWDS: [usize; 6] = [1, 2, 3, 5, 30, CLIENTS];
        let index = self.random.below(CROWDS.len());
        self.crowd = CROWDS.get(index).copied().unwrap_or(CLIENTS);
        for slot in self.crowd..CLIENTS {
            let kills = self.random.below(2) == 0;
            if self.slots.get(slot).copied().flatten().is_some() {
                actions.push(if kills { self.kill(slot) } else { self.leave(slot) });
            }
        }
        if self.leaving > CLIENTS {
            self.see_off(actions);
        }
    }

    fn set(&mut self, slot: usize, client: Option<Client>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = client;
        }
    }

    fn kill(&mut self, slot: usize) -> Action {
        self.set(slot, None);
        Action::Kill(slot)
    }

    fn leave(&mut self, slot: usize) -> Action {
        self.set(slot, None);
        self.leaving += 1;
        Action::Leave(slot)
    }

    fn see_off(&mut self, actions: &mut Vec<Action>) {
        self.leaving = 0;
        for client in self.slots.iter_mut().flatten() {
            client.stopped = false;
        }
        actions.push(Action::SeeOff);
    }
}

/// xorshift64*
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as usize % end
    }
}

#[test]
fn a_seed_says_what_is_done() {
    let of = |seed| {
        let mut schedule = Schedule::new(seed, 5);
        (0..10_000).flat_map(|_| schedule.next()).collect::<Vec<_>>()
    };
    assert_eq!(of(4711), of(4711));
    assert_ne!(of(4711), of(4713));
    let everything = of(4711);
    let kinds: std::collections::HashSet<_> = everything.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 10, "everything happens");
}
