//! The system calls that procref makes, call by call, and what it makes of kernels that refuse them.

// The crate's documentation says why.
#![cfg(target_os = "linux")]

#[cfg(target_arch = "x86_64")]
mod broken;
mod exact;
mod listing;
