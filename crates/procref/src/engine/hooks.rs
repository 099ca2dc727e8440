//! What a service's callbacks look like to the engine: calls that block the thread they are made on.

use crate::error::Result;
use crate::info::ServiceInfo;
use std::fmt;

/// A service's callbacks with their time limits.
pub(crate) trait Hooks: fmt::Debug + Send + Sync {
    /// `on_first_acquire`.
    fn start(&self) -> Result<ServiceInfo>;
    /// Whether there is an `on_health_check`.
    fn checks_health(&self) -> bool;
    /// `on_health_check`; what takes too long or panics is unhealthy.
    fn is_healthy(&self, info: ServiceInfo) -> bool;
    /// Whether there is an `on_recover`.
    fn recovers(&self) -> bool;
    /// `on_recover`.
    fn recover(&self, old: ServiceInfo) -> Result<ServiceInfo>;
    /// Whether there is an `on_last_release`.
    fn stops(&self) -> bool;
    /// `on_last_release`.
    fn stop(&self, info: ServiceInfo) -> Result<()>;
}

/// Those of somebody who does not know the service but by its name.
#[derive(Debug)]
pub(super) struct NoHooks;

impl Hooks for NoHooks {
    fn start(&self) -> Result<ServiceInfo> {
        Err("there is no on_first_acquire".into())
    }

    fn checks_health(&self) -> bool {
        false
    }

    fn is_healthy(&self, _: ServiceInfo) -> bool {
        true
    }

    fn recovers(&self) -> bool {
        false
    }

    fn recover(&self, _: ServiceInfo) -> Result<ServiceInfo> {
        Err("there is no on_recover".into())
    }

    fn stops(&self) -> bool {
        false
    }

    fn stop(&self, _: ServiceInfo) -> Result<()> {
        Ok(())
    }
}
