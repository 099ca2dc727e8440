//! What procref's tests share: a sandbox that sees what a test leaves behind, programs to drive, and what they tell.
//!
//! The tests run on each system that procref does, from the same source. [`sys`] is what they need of it. These are there on
//! Linux alone, each because of what it looks at:
//!
//! | what | why |
//! |---|---|
//! | `tests/syscalls`, `tests/proof`, `src/bin/{traced,role}`, `trace` | each system call is looked at, refused or the last: ptrace(2) |
//! | `tests/hostile` | namespaces, control groups, other users, limits, squatted semaphore sets |
//! | `tests/soak`, `src/bin/compare`, `benches/core` | what they measure of processes is in /proc |
//! | `tests/real` | servers as Debian packages them |
//! | modules under `linux_only!` in the other tests | said there |

#[macro_use]
pub mod sys;

pub mod actor;
pub mod events;
pub mod part;
pub mod proof;
pub mod sandbox;

linux_only! { "servers as Debian packages them":
    pub mod servers;
}
linux_only! { "ptrace(2)":
    pub mod trace;
}

pub use actor::{Actor, Config};
pub use events::{Event, Events};
pub use sandbox::Sandbox;
