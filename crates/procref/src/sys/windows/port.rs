//! Ports that no two services of procref have.

use super::object::{self, Kind};
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

/// A name that is there as long as somebody holds it, and that only one may make.
#[derive(Debug)]
pub(crate) struct Lock(OwnedHandle);

impl Lock {
    /// Locks a port. `None`: another service of procref in this session has it.
    pub(crate) fn take(number: u16) -> io::Result<Option<Self>> {
        let (object, made) = object::create(Kind::Mutex, &format!("Local\\procref-port-{number}"))?;
        Ok(made.then_some(Self(object)))
    }

    /// The same lock once more: it is held until both have gone.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsHandle for Lock {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// The first port that the system gives to whoever connects to somewhere (RFC 6335).
pub(crate) const fn first_ephemeral() -> u16 {
    49_152
}
