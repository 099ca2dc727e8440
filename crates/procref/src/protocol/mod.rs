//! The protocol's decisions, without a single system call. Not part of the public API: no version promises it.
//!
//! [`set`] says what the semaphores of a service mean and which arrays of operations change them; [`acquire`],
//! [`release`] and [`guardian`] are state machines that say what to do next. They read no clock, open no file and
//! make no call: somebody performs the action and reports the event. In this crate that is `engine` (and
//! the guardian's loop in `sys`); a model checker can be the same somebody and drive exactly this code.

pub mod acquire;
pub mod guardian;
pub mod release;
pub mod set;
