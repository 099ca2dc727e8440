//! The system calls that procref makes, call by call, and what it makes of kernels that refuse them.

#[cfg(target_arch = "x86_64")]
mod broken;
mod exact;
mod listing;
