//! All operating-system code, and the only place with `unsafe`.
//!
//! What a back end provides; the compiler enforces the list, for the rest of the crate names these items:
//!
//! | item | contract |
//! |---|---|
//! | [`Set`] | one kernel object per service and user, found by name; all shared state lives in it |
//! | `Set::open`, `create` | find it (never join another user's, another layout's or another name's); make it, all zeros |
//! | `Set::names` | the names of all services of this user |
//! | `Set::apply`, `apply_waiting` | one array of [`Op`](crate::protocol::set::Op)s: as a whole or not at all, also on behalf of a sleeper; what it did *with undo* the kernel takes back when the process dies, however it dies |
//! | `Set::snapshot` | all values at one instant |
//! | `Set::remove` | removes all of it at once; who sleeps or comes later is told [`SetError::Gone`] |
//! | [`Process`] | a process that stays the same one: a reused pid is somebody else, a zombie is dead |
//! | [`guardian`] | makes a process that keeps nothing of this one and runs the guardian's loop |
//! | [`Witness`] | a pipe whose holders the kernel counts apart from the set; `holders` says who they are, as far as that can be seen |
//! | [`watch`] | says when a process has died, without a poll |
//! | [`hints`] | files that are checked against the set whenever they are read; `Hints::watch` says when they change |
//! | [`service`] | starts a service as the guardian's child, and ends all of its descendants |
//! | [`probe`] | waits for a service's readiness and its end at the same time |
//! | [`folder`] | private folders |
//!
//! A back end drives its system in that system's own manner. Policy (when to start, recover, stop, linger, give up)
//! stands above it once, in [`crate::protocol`].

mod claims;
mod per_process;
pub(crate) use per_process::PerProcess;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) use linux::*;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("procref runs on 64-bit Linux only, so far: see ARCHITECTURE.md for the other systems");
