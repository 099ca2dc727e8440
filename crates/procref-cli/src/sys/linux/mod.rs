//! Linux.

pub(crate) mod demo;
pub(crate) mod doctor;
mod execute;
mod files;
pub(crate) mod help;
#[cfg(test)]
pub(crate) mod kit;
mod logind;
mod wait;

pub(crate) use execute::{SHELL, SPLIT, can_be_run, execute, words};
pub(crate) use files::{
    CONFIG_SHOWN, NO_STATE, canonical, default_config, default_hints, default_state, make_private, may_write, met_here,
    path_bytes, planter, root, same_file,
};
pub(crate) use wait::{Asked, Watch, pause};

/// Whether the terminal behind standard error can be told to take back what it shows.
pub(crate) fn terminal_obeys() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal != "dumb")
}
