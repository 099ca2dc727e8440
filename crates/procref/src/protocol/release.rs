//! What a process does to give its reference back: leave, or, as the last one, stop the service. And what somebody does
//! who holds nothing and stops it.

use super::set::{Op, SHUT_LEFT, SHUT_UNHELD, TAKE_LOCK};

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Apply [`LEAVE_NOT_LAST`](super::set::LEAVE_NOT_LAST). → `Done`, `Refused`, `Gone`
    LeaveNotLast,
    /// Apply [`LEAVE_TO_GUARDIAN`](super::set::LEAVE_TO_GUARDIAN) or, for an heir,
    /// [`LEAVE_AS_HEIR`](super::set::LEAVE_AS_HEIR). → `Done`, `Refused` (no guardian), `Gone`
    LeaveToGuardian {
        /// Whether this process will call `on_last_release`.
        heir: bool,
    },
    /// Wait with [`SOMEBODY_CAME`](super::set::SOMEBODY_CAME) for as long as the service lingers. → `Done`,
    /// `TimedOut`, `Gone`
    Linger,
    /// Apply [`HEIR_SHUT`](super::set::HEIR_SHUT). → `Done`, `Refused` (somebody came), `Gone`
    ShutAsHeir,
    /// Apply [`RESIGN`](super::set::RESIGN). → `Done`, `Gone`
    Resign,
    /// Apply [`LOCK_UNGUARDED`](super::set::LOCK_UNGUARDED), make a guardian and unlock. → `Done`, `Failed`, `Gone`
    ReplaceGuardian,
    /// Apply [`LEAVE_LAST`](super::set::LEAVE_LAST). → `Done`, `Refused`, `Gone`
    LeaveLast,
    /// Apply the [door's array](Door::array). → `Done`, `Refused`, `Gone`
    Shut(Door),
    /// Apply [`MARK_DOWN`](super::set::MARK_DOWN) if the service is up. → `Done` (something is recorded),
    /// `Refused` (nothing is), `Failed` (what is recorded cannot be stopped from outside), `Gone`
    MarkDown,
    /// Call `on_last_release`. → `Done`
    Stop,
    /// Make sure that the recorded instance has gone, and forget it. → `Done`, `Failed`
    Finish,
    /// Remove the set and the hints, or unlock it if somebody is waiting. → `Done`
    Remove,
    /// Apply [`UNLOCK`](super::set::UNLOCK): the guardian takes over. → `Done`
    Unlock,
    /// It is over.
    Return(Outcome),
}

/// How somebody who holds nothing begins a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// Only if nobody holds or awaits the service.
    Unheld,
    /// Only if, besides, nobody sees to its end.
    Left,
    /// Whoever holds it.
    Forced,
}

impl Door {
    /// What begins the transition.
    #[must_use]
    pub const fn array(self) -> &'static [Op] {
        match self {
            Self::Unheld => &SHUT_UNHELD,
            Self::Left => &SHUT_LEFT,
            Self::Forced => &TAKE_LOCK,
        }
    }
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It was done.
    Done,
    /// The array did not apply.
    Refused,
    /// It failed; whoever performs the actions knows why.
    Failed,
    /// The time was up.
    TimedOut,
    /// The set has been removed.
    Gone,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Others hold the service, or the guardian lingers.
    Left,
    /// The service lingers, and this process is an heir: go on with [`Release::inherit`].
    LeftAsHeir,
    /// This was the last reference, or an end by force, and the service has been stopped.
    Stopped,
    /// Nothing was recorded, so there was nothing to stop.
    Empty,
    /// Somebody holds it, or sees to its end: nothing was done.
    Refused,
    /// The service could not be stopped; the guardian goes on trying.
    Failed,
    /// The set had been removed: the reference was counted no longer.
    SetRemoved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Leaving,
    LeavingToGuardian,
    Replacing,
    LeavingLast,
    Lingering,
    ShuttingAsHeir,
    Resigning,
    Shutting,
    MarkingDown,
    Stopping,
    Finishing,
    Ending(Outcome),
    Over,
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    state: State,
    lingers: bool,
    stops: bool,
}

impl Release {
    /// `lingers`: whether the service outlives its last client for a while. `stops`: whether there is an
    /// `on_last_release`.
    #[must_use]
    pub const fn new(lingers: bool, stops: bool) -> (Self, Action) {
        (Self { state: State::Leaving, lingers, stops }, Action::LeaveNotLast)
    }

    /// What an heir does, after [`LeftAsHeir`](Outcome::LeftAsHeir).
    #[must_use]
    pub const fn inherit() -> (Self, Action) {
        (Self { state: State::Lingering, lingers: false, stops: true }, Action::Linger)
    }

    /// What somebody does who holds nothing.
    #[must_use]
    pub const fn from_outside(door: Door) -> (Self, Action) {
        (Self { state: State::Shutting, lingers: false, stops: false }, Action::Shut(door))
    }

    /// Whether this process is counted as an heir.
    #[must_use]
    pub const fn is_heir(&self) -> bool {
        matches!(self.state, State::Lingering | State::ShuttingAsHeir | State::Resigning)
    }

    /// The next action, after `event` came of the last one.
    ///
    /// # Panics
    ///
    /// Panics on an event that the last action cannot have.
    pub fn next(&mut self, event: Event) -> Action {
        use Action as A;
        use Event as E;
        use State as S;
        match (self.state, event) {
            (S::Leaving, E::Done) => self.end(Outcome::Left),
            (S::Leaving, E::Refused) if self.lingers => self.leave_to_guardian(),
            (S::Leaving, E::Refused) => self.go(S::LeavingLast, A::LeaveLast),

            (S::LeavingToGuardian, E::Done) if self.stops => self.end(Outcome::LeftAsHeir),
            (S::LeavingToGuardian, E::Done) => self.end(Outcome::Left),
            (S::LeavingToGuardian, E::Refused) => self.go(S::Replacing, A::ReplaceGuardian),
            (S::Replacing, E::Done) => self.leave_to_guardian(),
            // Nobody can linger for us. Stopping early is the lesser evil: it stops nothing that is in use.
            (S::Replacing, E::Failed) => {
                self.lingers = false;
                self.go(S::Leaving, A::LeaveNotLast)
            }

            (S::Lingering, E::TimedOut) => self.go(S::ShuttingAsHeir, A::ShutAsHeir),
            (S::Lingering, E::Done) | (S::ShuttingAsHeir, E::Refused) => self.go(S::Resigning, A::Resign),
            (S::Resigning, _) => self.end(Outcome::Left),

            // Exactly one of the two arrays applies at any moment, so this ends.
            (S::LeavingLast, E::Refused) => self.go(S::Leaving, A::LeaveNotLast),
            (S::Shutting, E::Refused) => self.end(Outcome::Refused),
            (S::LeavingLast | S::ShuttingAsHeir | S::Shutting, E::Done) => self.go(S::MarkingDown, A::MarkDown),
            (S::MarkingDown, E::Done) => self.go(S::Stopping, A::Stop),
            (S::MarkingDown, E::Refused) => self.go(S::Ending(Outcome::Empty), A::Remove),
            (S::Stopping, E::Done) => self.go(S::Finishing, A::Finish),
            (S::Finishing, E::Done) => self.go(S::Ending(Outcome::Stopped), A::Remove),
            // The guardian, which wakes as the lock is free, goes on with it.
            (S::MarkingDown | S::Finishing, E::Failed) => self.go(S::Ending(Outcome::Failed), A::Unlock),
            (S::Ending(outcome), _) => self.end(outcome),
            (_, E::Gone) => self.end(Outcome::SetRemoved),
            (state, event) => unreachable!("{event:?} in {state:?}"),
        }
    }

    fn leave_to_guardian(&mut self) -> Action {
        self.go(State::LeavingToGuardian, Action::LeaveToGuardian { heir: self.stops })
    }

    fn end(&mut self, outcome: Outcome) -> Action {
        self.go(State::Over, Action::Return(outcome))
    }

    fn go(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }
}
