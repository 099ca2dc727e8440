//! What procref's tests share: a sandbox that sees what a test leaves behind, programs to drive, and what they tell.

pub mod actor;
pub mod events;
pub mod part;
pub mod proof;
pub mod sandbox;
pub mod servers;
pub mod trace;

pub use actor::{Actor, Config};
pub use events::{Event, Events};
pub use sandbox::Sandbox;
