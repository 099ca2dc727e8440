//! The subcommands, each in its own module.

pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod gc;
pub(crate) mod hold;
pub(crate) mod init;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod wait;
pub(crate) mod with;
