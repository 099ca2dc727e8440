//! Ports that no two services of procref have.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A name that only one socket in this network namespace can have, and that goes with the last copy of it.
#[derive(Debug)]
pub(crate) struct Lock(OwnedFd);

impl Lock {
    /// Locks a port. `None`: another service of procref has it.
    pub(crate) fn take(number: u16) -> io::Result<Option<Self>> {
        let address = SocketAddr::from_abstract_name(format!("procref-port-{number}"))?;
        match UnixDatagram::bind_addr(&address) {
            Ok(socket) => Ok(Some(Self(socket.into()))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same lock once more: it is held until both have gone.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The first port that the system gives to whoever connects to somewhere.
pub(crate) fn first_ephemeral() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768)
}
