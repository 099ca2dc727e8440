//! Share one background service between many processes. The first one starts it, later ones join, the last one to go
//! stops it, and a process that is killed with SIGKILL counts as gone: the **kernel** keeps the count.
//!
//! ```
//! use procref::{SharedService, ServiceInfo};
//! async fn example() -> procref::Result<()> {
//!     let service = SharedService::builder("my-database")
//!         .on_first_acquire(|| async {
//!             let port = 5432;
//!             let pid = start_database(port)?;
//!             Ok(ServiceInfo::new(pid, port))
//!         })
//!         .on_last_release(|info| async move {
//!             procref::process::terminate(info.pid());
//!             Ok(())
//!         })
//!         .build()?;
//!     let handle = service.acquire().await?;
//!     println!("Service running on port {}", handle.info().port());
//!     Ok(())   // handle.drop() releases; if it is the last client, on_last_release is called
//! }
//! fn start_database(_: u16) -> procref::Result<u32> { Ok(0) }
//! # fn main() -> procref::Result<()> {
//! #     tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(example())
//! # }
//! ```
//!
//! A service that is a command needs no callbacks: see [`ServiceCommand`]. Who only wants to look at services, wait for one
//! or stop one by hand finds that in [`observe`].
//!
//! # What it promises, in order of rank
//!
//! 1. It never stops a service that a live client still holds.
//! 2. It never leaves a service running that nobody holds, and that does not linger, whatever was killed, in whatever
//!    order.
//! 3. It never runs two instances of a service at once, and never signals a process that is not the service.
//! 4. It never blocks where the documentation says that it does not.
//! 5. It never loses an error: the caller sees the cause.
//!
//! # How
//!
//! All shared state of a service lives in one System V semaphore set, which the kernel changes as a whole or not at all,
//! and whose references the kernel takes back when a process dies. A small *guardian* process sleeps in the kernel until
//! nobody holds the service any more, and stops it when the last client was killed; see [`guardian`]. Files are only
//! hints. ARCHITECTURE.md has the whole picture.
//!
//! # What it does not do
//!
//! It does not poll, keeps no daemon when nothing is shared, needs no root, trusts no PID file, and does not supervise
//! services that nobody holds. A service that a *callback* was starting when its process was killed is not known to
//! procref yet, so it cannot be finished.
//!
//! # Features
//!
//! `tokio` (default): the asynchronous API at the crate's root. Without it, [`blocking`] has all of it.
//!
//! # Platforms
//!
//! 64-bit Linux 5.4 or later, on x86-64, arm64 and riscv64; 64-bit Windows 10 or later.
//!
//! On Windows the state is in named objects of the session, whose handles the kernel counts, and the kernel itself ends a service
//! when its last client was killed: there is a guardian process only for services that linger, and [`guardian::init`] has to
//! be called for those.

#![deny(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blocking;
mod command;
mod counter;
mod engine;
mod error;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guardian;
mod info;
mod name;
pub mod observe;
mod options;
pub mod process;
#[doc(hidden)]
pub mod protocol;
pub mod ready;
#[cfg(feature = "tokio")]
mod service;
mod sys;

pub use command::ServiceCommand;
pub use counter::{Acquired, PlatformRefCounter, RefCounter, Released};
pub use engine::status::{ServiceState, Status};
pub use error::{Error, ErrorKind, Result};
pub use info::ServiceInfo;
pub use options::{StopLadder, StopSignal};
#[cfg(feature = "tokio")]
pub use service::{Builder, ServiceHandle, SharedService};
