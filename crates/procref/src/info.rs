//! What clients know of a running service.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What `on_first_acquire` says of the service that it started, and every client gets to know: its process, its port
/// and whatever else clients need.
///
/// ```
/// use procref::ServiceInfo;
///
/// let server = ServiceInfo::new(4711, 5432).with_metadata("url", "postgres://localhost:5432/test");
/// assert_eq!(server.pid(), Some(4711));
/// assert_eq!(server.port(), 5432);
/// assert_eq!(server.get("url"), Some("postgres://localhost:5432/test"));
///
/// let container = ServiceInfo::without_pid().with_metadata("container", "e90e34656806");
/// assert_eq!(container.pid(), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceInfo {
    inner: Arc<Inner>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Inner {
    pid: Option<u32>,
    port: u16,
    metadata: BTreeMap<String, String>,
    /// The set says that there is metadata, but the file with it is missing or damaged.
    metadata_lost: bool,
}

impl ServiceInfo {
    fn make(pid: Option<u32>, port: u16) -> Self {
        let inner = Inner { pid: pid.filter(|&pid| pid != 0), port, metadata: BTreeMap::new(), metadata_lost: false };
        Self { inner: Arc::new(inner) }
    }

    /// A service that is the process `pid` and listens on `port`. A `pid` of 0 is no pid, a `port` of 0 no port.
    #[must_use]
    pub fn new(pid: u32, port: u16) -> Self {
        Self::make(Some(pid), port)
    }

    /// A service that is the process `pid` and has no port.
    #[must_use]
    pub fn from_pid(pid: u32) -> Self {
        Self::make(Some(pid), 0)
    }

    /// A service that is not one process: a container, something behind a socket path.
    ///
    /// Only `on_last_release` can stop it. If its last client is killed, the guardian cannot, and the next `acquire`
    /// of anybody calls `on_last_release` before it starts the service anew. Such a service cannot
    /// [linger](crate::blocking::Builder::linger).
    #[must_use]
    pub fn without_pid() -> Self {
        Self::make(None, 0)
    }

    /// The same with another port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        Arc::make_mut(&mut self.inner).port = port;
        self
    }

    /// The same with one more entry of metadata, instead of an older one of that key. All entries together may have
    /// 64 KiB.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.inner).metadata.insert(key.into(), value.into());
        self
    }

    /// The service's process; `None` if it is not one process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.inner.pid
    }

    /// The service's port; 0 if it has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// The metadata under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.inner.metadata.get(key).map(String::as_str)
    }

    /// All metadata.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.inner.metadata
    }

    /// Whether the service has metadata that could not be read: its file was deleted or damaged. Pid and port, which
    /// the kernel keeps, are right all the same.
    #[must_use]
    pub fn metadata_lost(&self) -> bool {
        self.inner.metadata_lost
    }

    pub(crate) fn recorded(pid: Option<u32>, port: u16, metadata: Option<BTreeMap<String, String>>) -> Self {
        let metadata_lost = metadata.is_none();
        Self { inner: Arc::new(Inner { pid, port, metadata: metadata.unwrap_or_default(), metadata_lost }) }
    }
}
