//! What a process does to get a reference to a service: join what runs, or start, recover or finish it first.

use super::set::View;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Open the set, creating it where it is missing, and read it. → `Seen`, `Failed`
    Look,
    /// Apply [`JOIN`](super::set::JOIN). → `Done`, `Refused`, `Gone`
    Join,
    /// Apply [`ANNOUNCE`](super::set::ANNOUNCE). → `Done`, `Failed`, `Gone`
    Announce,
    /// Apply [`TAKE_LOCK`](super::set::TAKE_LOCK) and read the set. → `Seen`, `Cancelled`, `Failed`, `Gone`
    Lock,
    /// Ask the hints outside the set whether an instance lives or is being started, for a set may have been removed
    /// under it. → `Healthy` (one is), `Unhealthy` (none)
    AskWitness,
    /// Find out whether the kernel undoes, and name the set. → `Done`, `Failed`
    Found,
    /// Is the recorded instance alive and healthy? → `Healthy`, `Unhealthy`, `Gone`
    Check,
    /// Apply [`MARK_DOWN`](super::set::MARK_DOWN). → `Done`
    MarkDown,
    /// Make sure that the recorded instance has gone, and forget it. → `Done`, `Failed`
    Finish,
    /// Make a guardian if none watches. → `Done`, `Failed`
    EnsureGuardian,
    /// Leave a hint that a start is under way, and start the service. → `Done`, `Failed`
    Start,
    /// Recover the service, and make sure that what it replaced has gone. → `Done`, `Failed`, `Refused` (it was
    /// recovered, but what it replaced does not end)
    Recover,
    /// Record what was started and apply [`publishing`](super::set::Snapshot::publishing).
    /// → `Done`, `Refused` (no guardian), `Failed`, `Gone`
    Publish,
    /// Stop what was started but cannot be published, and remove the hints that name it. → `Done`
    Discard,
    /// Apply [`UNLOCK`](super::set::UNLOCK). → `Done`, `Gone`
    Unlock,
    /// Take the hint of the start back and apply [`failing`](super::set::Snapshot::failing), so that those who wait fail with the same cause; who is
    /// alone removes the set instead. → `Done`
    Fail {
        /// Whether the client is taken back, too.
        leave: bool,
    },
    /// Give the reference back as [`Release`](super::release::Release) does it, for this may be the last one. → `Done`
    Leave,
    /// Give the reference and the lock back; who is alone and finds nothing recorded removes the set. → `Done`
    Withdraw,
    /// Remove the set that was opened fresh. → `Done`
    Abandon,
    /// It is over.
    Return(Outcome),
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The set, as it was read.
    Seen(View),
    /// It was done.
    Done,
    /// The array did not apply.
    Refused,
    /// The set has been removed.
    Gone,
    /// An instance lives and is healthy.
    Healthy,
    /// None does.
    Unhealthy,
    /// It failed; whoever performs the actions knows why.
    Failed,
    /// Nobody wants the reference any more.
    Cancelled,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service was running.
    Joined,
    /// It was started here.
    Started,
    /// It was recovered here.
    Recovered,
    /// An action failed; whoever performs the actions knows why.
    Failed,
    /// The start that was waited for failed in another process.
    FailedElsewhere,
    /// The set was removed under a live instance: counted no longer.
    SetRemoved,
    /// Nobody wanted the reference any more.
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Looking,
    Joining,
    CheckingJoined,
    Announcing,
    Locking,
    AskingWitness,
    Founding,
    CheckingLocked { guarded: bool },
    MarkingDown,
    Finishing,
    Guarding(Then),
    Starting,
    Recovering,
    Publishing { recovered: bool },
    Discarding { gone: bool },
    Unlocking { check: bool },
    Ending(Outcome),
    Over,
}

/// What the guardian is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Start,
    Recover,
    Publish { recovered: bool },
    Unlock { check: bool },
}

/// How a service is started and recovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ways {
    /// It can be recovered in place.
    pub recovers: bool,
    /// A guardian starts it as its child, so there is none to be made before.
    pub by_guardian: bool,
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acquire {
    state: State,
    /// This process held the service before this began; its reference is not ours to give back.
    held: bool,
    /// How the service is started and recovered.
    ways: Ways,
    /// The reference is counted.
    counted: bool,
    /// The lock is held.
    locked: bool,
    /// What the set said when it was first read: what differs has happened since.
    failures: u16,
    generation: u32,
}

impl Acquire {
    /// For a process that holds nothing (`held` false), or that holds the service and has found it unhealthy.
    #[must_use]
    pub const fn new(held: bool, ways: Ways) -> (Self, Action) {
        let machine =
            Self { state: State::Looking, held, ways, counted: held, locked: false, failures: 0, generation: 0 };
        (machine, Action::Look)
    }

    /// Whether the process held the service before this began.
    #[must_use]
    pub const fn held(&self) -> bool {
        self.held
    }

    /// Whether it has begun to change anything and not come to its end.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        !matches!(self.state, State::Over) && (self.locked || self.counted)
    }

    /// Whether it gives up because the start that it waited for failed in another process.
    #[must_use]
    pub const fn failed_elsewhere(&self) -> bool {
        matches!(self.state, State::Ending(Outcome::FailedElsewhere))
    }

    /// Whether the reference was ever counted.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.counted
    }

    /// What gives back all that was taken, wherever it stands: for who cannot go on.
    pub fn gives_back(&mut self) -> Action {
        self.withdraw(Outcome::Cancelled)
    }

    /// The next action, after `event` came of the last one.
    pub fn next(&mut self, event: Event) -> Action {
        use Action as A;
        use Event as E;
        use State as S;
        match (self.state, event) {
            (S::Looking, E::Seen(view)) => {
                self.failures = view.failures;
                self.generation = view.generation;
                if self.held {
                    self.go(S::Locking, A::Lock)
                } else if view.up && view.guarded && !view.locked {
                    self.go(S::Joining, A::Join)
                } else {
                    self.go(S::Announcing, A::Announce)
                }
            }

            (S::Joining, E::Done) => {
                self.counted = true;
                self.go(S::CheckingJoined, A::Check)
            }
            (S::Joining, E::Refused) => self.go(S::Announcing, A::Announce),
            (S::CheckingJoined, E::Healthy) => self.end(Outcome::Joined),
            (S::CheckingJoined, E::Unhealthy) => self.go(S::Locking, A::Lock),

            (S::Announcing, E::Done) => {
                self.counted = true;
                self.go(S::Locking, A::Lock)
            }

            (S::Locking, E::Seen(view)) => {
                self.locked = true;
                self.look_around(view)
            }
            (S::Locking, E::Cancelled) => self.withdraw(Outcome::Cancelled),

            (S::AskingWitness, E::Healthy) => self.go(S::Ending(Outcome::SetRemoved), A::Abandon),
            (S::AskingWitness, E::Unhealthy) => self.go(S::Founding, A::Found),
            (S::Founding, E::Done) => self.guard(Then::Start),
            (S::Founding, E::Failed) => self.go(S::Ending(Outcome::Failed), A::Abandon),

            (S::CheckingLocked { guarded: true }, E::Healthy) => self.unlock(false),
            (S::CheckingLocked { guarded: false }, E::Healthy) => self.guard(Then::Unlock { check: false }),
            (S::CheckingLocked { .. }, E::Unhealthy) => self.go(S::MarkingDown, A::MarkDown),
            (S::MarkingDown, E::Done) if self.ways.recovers => self.guard(Then::Recover),
            (S::MarkingDown, E::Done) => self.go(S::Finishing, A::Finish),
            (S::Finishing, E::Done) => self.guard(Then::Start),

            (S::Guarding(Then::Start), E::Done) => self.go(S::Starting, A::Start),
            (S::Guarding(Then::Recover), E::Done) => self.go(S::Recovering, A::Recover),
            (S::Guarding(Then::Publish { recovered }), E::Done) => self.go(S::Publishing { recovered }, A::Publish),
            (S::Guarding(Then::Unlock { check }), E::Done) => self.unlock(check),
            (S::Guarding(Then::Publish { .. }), E::Failed) => self.go(S::Discarding { gone: false }, A::Discard),
            // What runs without a guardian would be worth joining, but not by a promise that cannot be kept.
            (S::Guarding(Then::Unlock { .. }), E::Failed) => self.withdraw(Outcome::Failed),

            (S::Starting, E::Done) => self.go(S::Publishing { recovered: false }, A::Publish),
            (S::Recovering, E::Done) => self.go(S::Publishing { recovered: true }, A::Publish),
            // What could be started anew was replaced, but what it replaced does not end.
            (S::Recovering, E::Refused) => self.go(S::Discarding { gone: false }, A::Discard),

            (S::Publishing { recovered: false }, E::Done) => self.end(Outcome::Started),
            (S::Publishing { recovered: true }, E::Done) => self.end(Outcome::Recovered),
            (S::Publishing { recovered }, E::Refused) => self.guard(Then::Publish { recovered }),
            (S::Publishing { .. }, E::Failed) => self.go(S::Discarding { gone: false }, A::Discard),
            // What we started is known to nobody: with the set gone, another process may have started its own.
            (S::Publishing { .. } | S::Guarding(Then::Publish { .. }), E::Gone) => {
                self.go(S::Discarding { gone: true }, A::Discard)
            }
            (S::Discarding { gone: false }, E::Done) => self.fail(),
            (S::Discarding { gone: true }, E::Done) => self.end(Outcome::SetRemoved),

            (S::Unlocking { check: false }, E::Done) => self.end(Outcome::Joined),
            (S::Unlocking { check: true }, E::Done) => {
                self.locked = false;
                self.go(S::CheckingJoined, A::Check)
            }
            (S::Ending(outcome), _) => self.end(outcome),

            // Before a start, a set that has gone takes nothing with it but the count: begin again with a new one.
            // Who held the service is counted no longer, and has to be told.
            (_, E::Gone) if self.held => self.end(Outcome::SetRemoved),
            (_, E::Gone) => {
                let (machine, action) = Self::new(false, self.ways);
                *self = machine;
                action
            }

            // A transition that cannot go on is a failed start for everybody who waits for it.
            (S::Finishing | S::Guarding(_) | S::Starting | S::Recovering | S::MarkingDown, E::Failed) => self.fail(),
            // Whatever else fails gives back what was taken.
            (_, E::Failed | E::Refused) => self.withdraw(Outcome::Failed),
            (state, event) => unreachable!("{event:?} in {state:?}"),
        }
    }

    /// What the lock's holder finds.
    fn look_around(&mut self, view: View) -> Action {
        if view.fresh {
            self.go(State::AskingWitness, Action::AskWitness)
        } else if view.up && view.generation != self.generation {
            // It was started or recovered while we waited. Whether it is healthy can be asked without the lock, by
            // everybody who waited at once.
            self.generation = view.generation;
            self.failures = view.failures;
            if view.guarded { self.unlock(true) } else { self.guard(Then::Unlock { check: true }) }
        } else if view.up {
            self.go(State::CheckingLocked { guarded: view.guarded }, Action::Check)
        } else if view.failures != self.failures {
            self.withdraw(Outcome::FailedElsewhere)
        } else if view.instance {
            self.go(State::Finishing, Action::Finish)
        } else {
            self.guard(Then::Start)
        }
    }

    fn guard(&mut self, then: Then) -> Action {
        if then == Then::Start && self.ways.by_guardian {
            return self.go(State::Starting, Action::Start);
        }
        self.go(State::Guarding(then), Action::EnsureGuardian)
    }

    fn unlock(&mut self, check: bool) -> Action {
        self.go(State::Unlocking { check }, Action::Unlock)
    }

    fn fail(&mut self) -> Action {
        self.go(State::Ending(Outcome::Failed), Action::Fail { leave: !self.held })
    }

    /// Gives back what this took: nothing but the lock, where the process held the service before.
    fn withdraw(&mut self, outcome: Outcome) -> Action {
        match (self.counted && !self.held, self.locked) {
            (true, true) => self.go(State::Ending(outcome), Action::Withdraw),
            (true, false) => self.go(State::Ending(outcome), Action::Leave),
            (false, true) => self.go(State::Ending(outcome), Action::Unlock),
            (false, false) => self.end(outcome),
        }
    }

    fn end(&mut self, outcome: Outcome) -> Action {
        self.go(State::Over, Action::Return(outcome))
    }

    fn go(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }
}
