//! What differs from system to system in these tests, and the only place that knows which one this is.
//!
//! | item | contract |
//! |---|---|
//! | `HOMES` | the folders without which there is no place for what services leave: what is said of them, and what is as good |
//! | `CONFIG_SHOWN` | where the user's own declarations are, as people are told |
//! | `SPLIT` | how words are split, as people are told |
//! | `CHECKS` | what `procref doctor` checks |
//! | `holder_name` | what the process is called that holds the services of a command in a part |
//! | `Console`, `ended_by_ctrl_c` | Ctrl-C, for a command and all that it starts; whether that was somebody's end |
//! | `Terminal` | what a command in the foreground shows there |
//!
//! Tests of what one system alone has, and which are about this command, are below it.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;
