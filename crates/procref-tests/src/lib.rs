//! What procref's tests share: a sandbox that sees what a test leaves behind.

pub mod sandbox;

pub use sandbox::Sandbox;
