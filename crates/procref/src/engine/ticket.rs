//! What somebody of this process waits for: an answer that comes from another thread, for threads and tasks alike.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// The answering side. It can see whether anybody still waits.
#[derive(Debug)]
pub(super) struct Ticket<T>(Arc<Shared<T>>);

/// The waiting side. Dropped, it waits no longer.
#[derive(Debug)]
#[must_use = "who drops it waits no longer"]
pub(crate) struct Pending<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Waker>),
    Answered(T),
    Over,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn ticket<T>() -> (Ticket<T>, Pending<T>) {
    let shared = Arc::new(Shared { state: Mutex::new(State::Waiting(None)), answered: Condvar::new() });
    (Ticket(Arc::clone(&shared)), Pending(shared))
}

impl<T> Ticket<T> {
    pub(super) fn is_wanted(&self) -> bool {
        matches!(*self.0.lock(), State::Waiting(_))
    }

    /// Answers; gives the answer back if nobody waits any more.
    pub(super) fn answer(self, answer: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if !matches!(*state, State::Waiting(_)) {
            return Err(answer);
        }
        let before = mem::replace(&mut *state, State::Answered(answer));
        drop(state);
        self.0.answered.notify_one();
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
        Ok(())
    }
}

impl<T> Pending<T> {
    /// Waits for the answer; `None` when the deadline has come first.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<T> {
        let mut state = self.0.lock();
        loop {
            if let State::Answered(_) = *state
                && let State::Answered(answer) = mem::replace(&mut *state, State::Over)
            {
                return Some(answer);
            }
            state = match deadline {
                None => self.0.answered.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    self.0.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl<T> Pending<T> {
    /// Waits no longer; gives back what was answered in that instant.
    #[cfg(feature = "tokio")]
    pub(crate) fn cancel(self) -> Option<T> {
        match mem::replace(&mut *self.0.lock(), State::Over) {
            State::Answered(answer) => Some(answer),
            State::Waiting(_) | State::Over => None,
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Poll::Ready(answer),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Over => Poll::Pending,
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        // What was answered but never taken is dropped after the lock, for dropping it may be work.
        let unclaimed = mem::replace(&mut *self.0.lock(), State::Over);
        drop(unclaimed);
    }
}
