//! The public API as one process sees it: what it promises of counts, callbacks, errors, drops and files.
//!
//! "Another process" is here a client that belongs to no process: the tests change the service's set as one would.

mod kit;

mod blocking;
mod cancel;
mod counter;
mod folder;
mod foreign;
mod handles;
mod health;
mod info;
mod names;
mod process;
mod release;
mod removed;
mod start;
mod status;
mod threads;
mod tracing;
mod traits;
