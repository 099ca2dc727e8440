//! What procref's tests share: a sandbox that sees what a test leaves behind.

pub mod sandbox;
pub mod trace;

pub use sandbox::Sandbox;
