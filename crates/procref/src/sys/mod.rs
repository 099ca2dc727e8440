//! All operating-system code, and the only place with `unsafe`.
//!
//! Nothing above this module knows which system it runs on: no `cfg`, no descriptor, no handle, no error number. What a back
//! end provides is the items below, with the signatures that Linux's have. The compiler enforces the list, for the rest of the
//! crate names each of them.
//!
//! | item | contract |
//! |---|---|
//! | **the count** | |
//! | [`Set`] | one kernel object per service and user, found by name; all shared state lives in it. `Copy`; `id` is the same in every process and another one for each object that was made, and `from_id` its inverse |
//! | `Set::open`, `create` | find it (never join another user's, another layout's or another name's); make it, all zeros |
//! | `Set::is_of` | whether what a set says of itself is this name's |
//! | `Set::names` | the names of all services of this user |
//! | `Set::apply`, `apply_within`, `apply_until`, `apply_while_wanted` | one array of [`Op`](crate::protocol::set::Op)s: as a whole or not at all, also on behalf of a sleeper; what it did *with undo* the kernel takes back when the process dies, however it dies |
//! | `Set::snapshot`, `clients`, `waiting` | all values at one instant; one of them; how many sleep until the lock is free |
//! | `Set::remove`, `remove_unused` | removes all of it at once: who sleeps or comes later is told [`SetError::Gone`]; the same for one that is fresh and counts nobody |
//! | [`SetError`] | `Gone`, `Refused`, `Interrupted`, `Full`, or the system's own error in `Os`: that is `Copy`, becomes an [`io::Error`](std::io::Error), and its `describe` says what kind it is and what to do |
//! | [`undo_works`] | whether the kernel does take back what a dead process did with undo |
//! | [`WHO_REMOVES_SETS`] | a sentence on that |
//! | [`words`] | what people call these things, for the texts of errors |
//! | [`namespace_fingerprint`] | 30 bits that differ where the numbers of processes mean other processes |
//! | **processes** | |
//! | [`Process`] | a process that stays the same one: a reused pid is somebody else, a zombie is dead. Its `start`, of 45 bits, and its pid, of 30, tell it from all others |
//! | [`Signal`] | `TERM` and `KILL`, for [`Process::signal`] |
//! | [`stop`], [`stop_asked`] | go down a stop ladder; [`signal_number`] has the number of a step for each [`StopSignal`](crate::StopSignal), [`FORCE`] that of the last one |
//! | [`current_pid`], [`start_time`], [`time_until`] | this process's number, right in a forked child, too; when a process started; what is left until a time of the clock by which a guardian lingers |
//! | [`watch`] | says when a process has died, without a poll; what a thread may do: take references, wait for another thread |
//! | [`program`] | finds programs, and says in words how one ended |
//! | [`is_limit`] | whether an error says that a limit was reached |
//! | **guardians and services** | |
//! | [`guardian`] | makes who stops the service when nobody holds it: a process that keeps nothing of this one and runs the guardian's loop. `make` also has it start a service ([`guardian::Launch`]). Where the kernel itself is the guardian, the set records one without a number; `IS_PARENT` says whether a declared service's guardian is always its parent, which sees to its end |
//! | [`Witness`] | an object whose holders the kernel counts apart from the set; [`holders`] says who they are, as far as that can be seen. [`Floor`]: how it stands between a service and its end |
//! | [`service`] | a [`service::Program`] is what is to be started, in the system's own form; `Reports` tell what came of it, `sweep` ends all of its descendants. A `Need` is what a service holds of another one. `is_same_variable` compares names as the environment does |
//! | [`port`] | locks on ports, which go with their holders; the first one that the system gives to anybody |
//! | **files** | |
//! | [`hints`] | files that are checked against the set whenever they are read; `Hints::watch` says when they change. What is in them is the same everywhere: `claims.rs` |
//! | [`folder`] | private folders; the one above all others; where this user's programs keep what lasts |
//! | [`files`] | logs: opened, told apart whatever they are called, read anywhere; `patiently` waits where others can keep a file to themselves for a moment |
//! | **readiness** | |
//! | [`probe`] | waits for a service's readiness and its end at the same time: [`probe::wait`] for any [`probe::Source`], a [`probe::Connection`] by itself, [`probe::aside`] for what can only be waited for by a thread |
//! | [`probe::Group`], [`probe::Output`] | a program that goes with all that it has started, and what it writes |
//! | [`probe::Changes`] | says when files change |
//! | [`probe::NotifySocket`], `check_unix`, `connect_unix` | where there is such a thing: `has_notify_sockets` and `has_unix_sockets` say so |
//!
//! A back end drives its system in that system's own manner. Policy (when to start, recover, stop, linger, give up)
//! stands above it once, in [`crate::protocol`].

mod claims;
mod launch;
mod per_process;
pub(crate) use per_process::PerProcess;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) use linux::*;

#[cfg(all(windows, target_pointer_width = "64"))]
mod windows;
#[cfg(all(windows, target_pointer_width = "64"))]
pub(crate) use windows::*;

#[cfg(not(all(any(target_os = "linux", windows), target_pointer_width = "64")))]
compile_error!("procref runs on 64-bit Linux and Windows, so far: see ARCHITECTURE.md for the other systems");
