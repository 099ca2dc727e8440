//! Exit codes, as `env` and `timeout` have them. They are a contract.

/// The time was up: `procref wait`.
pub(crate) const TIMED_OUT: u8 = 124;

/// procref itself failed.
pub(crate) const FAILED: u8 = 125;

/// The command could not be executed.
pub(crate) const CANNOT_EXECUTE: u8 = 126;

/// There is no such command.
pub(crate) const NOT_FOUND: u8 = 127;

/// Something is not as it should be: a broken promise in `procref demo`, something wrong in `procref doctor`.
pub(crate) const BROKEN: u8 = 1;
