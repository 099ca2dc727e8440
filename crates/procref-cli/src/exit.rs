//! Exit codes, as `env` and `timeout` have them. They are a contract.

/// procref itself failed.
pub(crate) const FAILED: u8 = 125;

/// A promise was broken: only `procref demo` looks for that.
pub(crate) const BROKEN: u8 = 1;
