//! What the guardian does: sleep until nobody is left, linger, stop the service, go.
//!
//! It holds no state that matters: whenever it is killed, another one takes its place and finds all in the set. The
//! table is complete: every state has an answer for every event, and where an event cannot be, the answer is to go.

use super::set::View;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Apply [`guarding`](super::set::Snapshot::guarding). → `Done`, `Refused` (somebody watches), `Gone`
    TakeToken,
    /// Start the service as a child, and record it before it is one. → `Done`, whatever came of it: who asked for it is
    /// told
    Spawn,
    /// Apply [`GUARDIAN_SLEEP`](super::set::GUARDIAN_SLEEP) and read the set. → `Seen`, `Gone`
    Sleep,
    /// Apply [`GUARDIAN_IDLE`](super::set::GUARDIAN_IDLE). → `Done`, `Gone`
    Idle,
    /// Wait with [`SOMEBODY_CAME`](super::set::SOMEBODY_CAME) for as long as the service lingers. → `Done`,
    /// `TimedOut`, `Gone`
    Linger,
    /// Apply [`GUARDIAN_SHUT`](super::set::GUARDIAN_SHUT), which waits for heirs, and read the set. → `Seen`,
    /// `Refused`, `Gone`
    Shut,
    /// Apply [`MARK_DOWN`](super::set::MARK_DOWN). → `Done`, `Gone`
    MarkDown,
    /// Make sure that the recorded process has gone, however long that takes, and forget it. → `Done`,
    /// `Refused` (what is recorded is not a process), `Gone`
    Finish,
    /// Remove the set and the hints; or, if somebody waits, unlock it. → `Done` (removed), `Refused` (somebody
    /// waits), `Gone`
    Remove,
    /// The set was removed: wait until no client holds the pipe any more. → `Done`, `Failed` (there is no pipe
    /// that all clients hold)
    AwaitPipe,
    /// Make sure that the process that the hints name has gone. → `Done`
    FinishByHints,
    /// End.
    Exit,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It was done.
    Done,
    /// The set, as it was read.
    Seen(View),
    /// It did not apply.
    Refused,
    /// The time was up.
    TimedOut,
    /// It cannot be done.
    Failed,
    /// The set has been removed.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Beginning,
    Spawning,
    Sleeping,
    Idling,
    Lingering,
    Shutting,
    MarkingDown,
    Finishing,
    Removing,
    AwaitingPipe,
    FinishingByHints,
    Ended,
}

/// The state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Guardian {
    state: State,
    lingers: bool,
    spawns: bool,
}

impl Guardian {
    /// `lingers`: whether the service outlives its last client for a while. `spawns`: whether the guardian starts the
    /// service.
    #[must_use]
    pub const fn new(lingers: bool, spawns: bool) -> (Self, Action) {
        (Self { state: State::Beginning, lingers, spawns }, Action::TakeToken)
    }

    /// The next action, after `event` came of the last one.
    #[must_use]
    pub fn next(&mut self, event: Event) -> Action {
        use Event as E;
        use State as S;
        match (self.state, event) {
            (S::Beginning, E::Done) if self.spawns => self.go(S::Spawning, Action::Spawn),
            (S::Beginning | S::Spawning, E::Done) => self.sleep(),
            (S::Sleeping | S::Shutting, E::Seen(view)) => {
                if view.up {
                    self.go(S::MarkingDown, Action::MarkDown)
                } else if view.instance {
                    self.go(S::Finishing, Action::Finish)
                } else {
                    self.go(S::Removing, Action::Remove)
                }
            }
            (S::Idling, E::Done) => self.go(S::Lingering, Action::Linger),
            (S::Lingering, E::Done) | (S::Shutting, E::Refused) => self.sleep(),
            (S::Lingering, E::TimedOut) => self.go(S::Shutting, Action::Shut),
            (S::MarkingDown, E::Done) => self.go(S::Finishing, Action::Finish),
            (S::Finishing, E::Done) => self.go(S::Removing, Action::Remove),
            // Somebody waits: they take the lock, start anew, and are watched.
            (S::Removing, E::Refused) => self.sleep(),
            (S::AwaitingPipe, E::Done) => self.go(S::FinishingByHints, Action::FinishByHints),
            // A set that has gone means "counted no longer", never "nobody is left".
            (S::Sleeping | S::Idling | S::Lingering | S::Shutting | S::MarkingDown | S::Finishing, E::Gone) => {
                self.go(S::AwaitingPipe, Action::AwaitPipe)
            }
            // What is recorded but not a process can only be stopped by a client's callback: it stays recorded, as a
            // predecessor that the next acquire finishes.
            (S::Finishing, E::Refused) => self.go(S::Ended, Action::Exit),
            (
                S::Beginning
                | S::Spawning
                | S::Removing
                | S::FinishingByHints
                | S::Ended
                | S::Sleeping
                | S::Idling
                | S::Lingering
                | S::Shutting
                | S::MarkingDown
                | S::Finishing
                | S::AwaitingPipe,
                E::Done | E::Seen(_) | E::Refused | E::TimedOut | E::Failed | E::Gone,
            ) => self.go(S::Ended, Action::Exit),
        }
    }

    fn sleep(&mut self) -> Action {
        if self.lingers { self.go(State::Idling, Action::Idle) } else { self.go(State::Sleeping, Action::Sleep) }
    }

    fn go(&mut self, state: State, action: Action) -> Action {
        self.state = state;
        action
    }
}
