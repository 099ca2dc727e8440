//! Windows.

mod console;
mod help;
mod terminal;
mod with;

pub(crate) use console::{Console, ended_by_ctrl_c};
pub(crate) use terminal::Terminal;

use crate::part;

pub(crate) const HOMES: [&str; 2] = ["LOCALAPPDATA", "USERPROFILE"];

pub(crate) const CONFIG_SHOWN: &str = "%APPDATA%/procref";

pub(crate) const SPLIT: &str = "words are split as programs do it on Windows";

pub(crate) const CHECKS: &[&str] =
    &["undo", "session", "surrounding job", "jobs", "console", "runtime folder", "state folder", "leftovers"];

/// procref, which waits for the command.
pub(crate) fn holder_name() -> String {
    "procref.exe".to_owned()
}

#[used]
#[unsafe(link_section = ".CRT$XCU")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        console::play();
        terminal::play();
        part::play();
    }
    before_main
};
