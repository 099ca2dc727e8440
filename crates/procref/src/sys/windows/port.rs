//! Ports that no two services of procref have.

use super::object::{self, Kind, ObjectError};
use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};

/// A name that is there as long as somebody holds it, and that only one may make.
#[derive(Debug)]
pub(crate) struct Lock(OwnedHandle);

impl Lock {
    /// Locks a port. `None`: another service of procref in this session has it, perhaps another user's.
    pub(crate) fn take(number: u16) -> io::Result<Option<Self>> {
        match object::create(Kind::Mutex, &format!("Local\\procref-port-{number}")) {
            Ok((object, made)) => Ok(made.then_some(Self(object))),
            Err(ObjectError::Foreign(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_anybody_has_locked_is_taken() {
        // No service gets such a number.
        let lock = Lock::take(1).expect("it can be asked").expect("nobody has it");
        assert!(Lock::take(1).expect("it can be asked").is_none());
        drop(lock);
        assert!(Lock::take(1).expect("it can be asked").is_some());
        let (_foreign, _) = object::create(Kind::Event, "Local\\procref-port-2").expect("it can be made");
        assert!(Lock::take(2).expect("it can be asked").is_none());
    }
}
