//! All that differs from system to system, and the only place that knows which one this is.
//!
//! What a system provides; the compiler enforces the list, for the rest of the command names these items:
//!
//! | item | contract |
//! |---|---|
//! | `execute`, `can_be_run` | COMMAND takes this process's place, or as good as that; whether it can, as far as that is known before |
//! | `words`, `SPLIT`, `SHELL` | a command in one string, split as people write it there; how that is, in words; a command that a shell reads |
//! | `Asked` | whether somebody has asked this process to end, or standard input has ended |
//! | `pause`, `Watch` | waiting, no longer than somebody reads standard output: for a time, or for news of a log |
//! | `same_file` | whether two open files are one |
//! | `planter`, `may_write`, `make_private` | whose a file is; what this user may do; a folder for this user alone |
//! | `canonical`, `path_bytes` | one path for one folder, and what it is in a service's name |
//! | `default_state`, `default_config`, `default_hints`, `root` | where things are if nothing is said; the folder that is above all |
//! | `NO_STATE`, `CONFIG_SHOWN` | the same in words |
//! | `met_here` | tells whether those whose file of hints has this in its name, between the service's and its ending, can be met in the kernel |
//! | `terminal_obeys` | whether the terminal behind standard error can be told to take back what it shows |
//! | `doctor` | what there is to be checked besides what is checked everywhere |
//! | `help` | what the command's help says, where that depends on the system |
//! | `demo` | this program again, out of the reach of Ctrl-C; orphans; what a demonstration calls what it shows |
//! | `kit` | for the tests: what files and texts can be there |

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub(crate) use windows::*;

use std::error::Error;
use std::io;

/// Why COMMAND does not run.
#[derive(Debug)]
pub(crate) enum NotRun {
    /// It cannot be executed.
    Command(io::Error),
    /// procref cannot do its part.
    Procref(Box<dyn Error + Send + Sync>),
}
