//! What tests and helper programs need of a system, for each system: the only place that knows which one it is.
//!
//! | item | contract |
//! |---|---|
//! | [`Held`], [`open`], [`wait`] | a process that stays the same one; its end, without reaping it |
//! | [`kill`], [`freeze`], [`thaw`] | ends it at once, in the one way that no process can refuse; makes it stand still and go on |
//! | [`Group`] | processes that are killed by one call |
//! | [`end_of`] | how a process ended |
//! | [`prepare`], [`spawn`] | what has to be there before; starts a program |
//! | [`pids`], [`look`] | all processes; what one of them was started with |
//! | [`never_begins`] | one whose maker was killed before it was whole |
//! | [`alone`] | a command whose process no key of the terminal reaches, and which can be asked to end by itself |
//! | [`Requests`], [`ignore_requests`], [`end_on_request`] | what asks a service to end, and what comes of it |
//! | [`crash`] | an access to memory that is not there |
//! | [`own`] | a file that one process has for life |
//! | [`append`], [`Changes`] | a log that many processes write |
//! | [`objects`], [`Place`] | what the kernel has of services, by their names; the place of a service that is not there |
//! | [`thread`], [`sleeps`] | whether a thread sleeps in the kernel, where that can be known |
//! | [`fork`], [`crowd`], [`become_program`], [`own_as_program`], [`notify_ready`] | what only one system has; `Unsupported` elsewhere |
//! | [`with_no_descriptor_left`] | the same |
//! | [`FORKS`], [`needs_way_in`], [`ASKS`], [`KILLED_IN_WORDS`], [`MANY`], [`ROUNDS`] | how guardians can be made; who is left without a client: asked to end, or ended; what is said of who was killed; how much of all this is enough |
//! | [`may_stay`] | what may lie about when the last client was killed |
//! | [`is_private`], [`make_private`] | folders and files that are nobody else's affair |
//! | [`close_stdio`], [`end_thread`], [`obey`] | what an actor or a service is told to do to itself |
//! | `own_way` | what only tests of Linux use |

use std::process::ExitStatus;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Exit(i32),
    /// By [`kill`].
    Killed,
    /// As a program ends that does not care, when it is asked to.
    Asked,
    /// By `std::process::abort`.
    Aborted,
    /// By [`crash`].
    Crashed,
    /// By anything else.
    Otherwise(ExitStatus),
}

/// What a process was started with.
#[derive(Debug)]
pub struct Look {
    /// What holds it. It lived when the rest was read.
    pub held: Held,
    /// Its command line.
    pub title: String,
    /// Its environment: `KEY=VALUE`.
    pub environment: Vec<String>,
}

/// What is there on Linux alone. The reason comes first.
#[cfg(target_os = "linux")]
#[macro_export]
macro_rules! linux_only {
    ($reason:literal: $($item:item)+) => { $($item)+ };
}

/// What is there on Linux alone. The reason comes first.
#[cfg(not(target_os = "linux"))]
#[macro_export]
macro_rules! linux_only {
    ($reason:literal: $($item:item)+) => {};
}

/// A program that is there on Linux alone: `program.rs` beside it. The reason comes first.
#[cfg(target_os = "linux")]
#[macro_export]
macro_rules! linux_program {
    ($reason:literal) => {
        mod program;
        fn main() -> impl std::process::Termination {
            program::main()
        }
    };
}

/// A program that is there on Linux alone: `program.rs` beside it. The reason comes first.
#[cfg(not(target_os = "linux"))]
#[macro_export]
macro_rules! linux_program {
    ($reason:literal) => {
        fn main() {
            eprintln!("only on Linux: {}", $reason);
            std::process::exit(1);
        }
    };
}
