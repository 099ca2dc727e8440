//! Windows.

#![expect(unsafe_code, reason = "the system's functions have no safe wrappers")]

pub(crate) mod demo;
pub(crate) mod doctor;
mod execute;
mod files;
pub(crate) mod help;
mod job;
#[cfg(test)]
pub(crate) mod kit;
mod wait;

pub(crate) use execute::{SHELL, SPLIT, can_be_run, execute, words};
pub(crate) use files::{
    CONFIG_SHOWN, NO_STATE, canonical, default_config, default_hints, default_state, make_private, may_write, met_here,
    path_bytes, planter, root, same_file,
};
pub(crate) use wait::{Asked, Watch, pause};

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::AsRawHandle;
use windows_sys::Win32::System::Console::{ENABLE_VIRTUAL_TERMINAL_PROCESSING, GetConsoleMode, SetConsoleMode};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;

/// Whether the terminal behind standard error can be told to take back what it shows: older consoles have to be asked.
pub(crate) fn terminal_obeys() -> bool {
    let stderr = io::stderr();
    let mut mode = 0;
    // SAFETY: the handle is standard error's, and the mode is written to where it is kept.
    let is_console = unsafe { GetConsoleMode(stderr.as_raw_handle(), &raw mut mode) } != 0;
    let obeys = |mode| {
        // SAFETY: the handle is standard error's.
        unsafe { SetConsoleMode(stderr.as_raw_handle(), mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0 }
    };
    is_console && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb") && obeys(mode)
}

/// The session's number: the names of the kernel's objects are those of a session.
fn session() -> io::Result<u32> {
    let mut session = 0;
    // SAFETY: the number is written to where it is kept.
    succeeded(unsafe { ProcessIdToSessionId(std::process::id(), &raw mut session) }).map(|()| session)
}

/// As the system wants its texts: with a zero at the end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}

/// What a function says that returns 0 when it fails.
fn succeeded(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
