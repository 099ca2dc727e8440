//! The one error type.

use crate::name::ServiceName;
use crate::sys::SetError;
use crate::sys::words::SET;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A result with procref's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the service's name, the cause and what to do.
///
/// [`Error::kind`] is for programs to branch on; the text is for people and may change. It is complete on one line,
/// the cause included; [`source`](StdError::source) gives the cause itself. An error can be cloned, because everybody
/// who waited for a start that failed gets the same one.
///
/// A callback fails with this type, too: any [`std::io::Error`] becomes one by `?`, a text or a boxed error by
/// `.into()`, and any other error by [`Error::other`].
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procref::{ErrorKind, blocking};
///
/// let service = blocking::SharedService::builder("doc-error")
///     .on_first_acquire(|| Err("no licence".into()))
///     .build()?;
/// let error = service.acquire().expect_err("it cannot start");
/// assert_eq!(error.kind(), ErrorKind::StartFailed);
/// assert_eq!(error.service_name(), Some("doc-error"));
/// assert!(error.to_string().contains("no licence"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    service: Option<String>,
    what: String,
    help: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The service's name cannot be one. Nothing was touched.
    InvalidName,
    /// A setting cannot be. Nothing was touched.
    InvalidInput,
    /// This kernel or sandbox cannot count (on Linux: no System V semaphores, or no undo), or the system has not got what is asked for.
    Unsupported,
    /// A limit of the system was reached.
    LimitReached,
    /// The kernel object under the service's name belongs to another user, or others could change it.
    PermissionDenied,
    /// The kernel object under the service's name is another name's, another layout's or another namespace's.
    Incompatible,
    /// The kernel object was removed while the service was in use: its clients are counted no longer.
    SetRemoved,
    /// The service could not be started, here or in the process that was waited for.
    StartFailed,
    /// The service was unhealthy and could not be recovered.
    RecoverFailed,
    /// The service could not be stopped.
    StopFailed,
    /// It is in use, so it was not stopped.
    InUse,
    /// A time limit was reached.
    TimedOut,
    /// No guardian could be made.
    GuardianFailed,
    /// A callback failed with this error.
    Callback,
    /// The system refused a call.
    System,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, service: None, what: what.into(), help: None, source: None }))
    }

    /// An error of a callback's own.
    ///
    /// ```
    /// let error = procref::Error::other("x".parse::<u16>().expect_err("no number"));
    /// assert_eq!(error.kind(), procref::ErrorKind::Callback);
    /// ```
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::boxed(error.into())
    }

    fn boxed(error: Box<dyn StdError + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => {
                let what = error.to_string();
                let inner =
                    Inner { kind: ErrorKind::Callback, service: None, what, help: None, source: Some(error.into()) };
                Self(Arc::new(inner))
            }
        }
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn service(self, name: &ServiceName) -> Self {
        self.change(|inner| {
            inner.service.get_or_insert_with(|| name.to_string());
        })
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.change(|inner| inner.help = Some(help.into()))
    }

    pub(crate) fn source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.change(|inner| inner.source = Some(Arc::new(source)))
    }

    /// What failed to be done to the service's set.
    pub(crate) fn set(name: &ServiceName, operation: &str, error: SetError) -> Self {
        let error = match error {
            SetError::Gone => return Self::set_removed(name, operation),
            SetError::Full => Self::new(
                ErrorKind::LimitReached,
                format!(
                    "cannot {operation}: 32767 processes hold or await the service, which is as far as the kernel counts"
                ),
            ),
            SetError::Os(error) => {
                let (kind, help) = error.describe();
                let error = Self::new(kind, format!("cannot {operation}")).source(io::Error::from(error));
                match help {
                    Some(help) => error.help(help),
                    None => error,
                }
            }
            SetError::Refused => Self::new(
                ErrorKind::Incompatible,
                format!("cannot {operation}: the {SET}'s values have been changed by something else than procref"),
            ),
            SetError::Interrupted => Self::new(ErrorKind::System, format!("cannot {operation}: interrupted")),
        };
        error.service(name)
    }

    pub(crate) fn set_removed(name: &ServiceName, operation: &str) -> Self {
        Self::new(
            ErrorKind::SetRemoved,
            format!("cannot {operation}: the {SET} that counts this service's clients has been removed"),
        )
        .service(name)
        .help(format!(
            "{}; the service stops when the last of its present clients has gone, and can then be started anew",
            crate::sys::WHO_REMOVES_SETS
        ))
    }

    /// Which kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The name of the service it is about.
    #[must_use]
    #[doc(alias = "name")]
    pub fn service_name(&self) -> Option<&str> {
        self.0.service.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { service, what, help, source, kind } = &*self.0;
        if let Some(service) = service {
            write!(f, "service \"{service}\": ")?;
        }
        f.write_str(what)?;
        // The text of a callback's error *is* its source's.
        let mut cause = source.as_deref().map(|error| error as &dyn StdError);
        if *kind == ErrorKind::Callback {
            cause = cause.and_then(StdError::source);
        }
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            // An error of ours has told its own causes.
            cause = if error.is::<Self>() { None } else { error.source() };
        }
        match help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, service, what, help, source } = &*self.0;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", kind).field("service", service).field("what", what);
        debug.field("help", help).field("source", source).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|error| error as _)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::other(error)
    }
}

impl From<Box<dyn StdError + Send + Sync>> for Error {
    fn from(error: Box<dyn StdError + Send + Sync>) -> Self {
        Self::boxed(error)
    }
}

impl From<&str> for Error {
    fn from(text: &str) -> Self {
        Self::other(text)
    }
}

impl From<String> for Error {
    fn from(text: String) -> Self {
        Self::other(text)
    }
}

/// So that `?` works in functions with [`std::io::Result`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::InvalidName | ErrorKind::InvalidInput => io::ErrorKind::InvalidInput,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            ErrorKind::PermissionDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::InUse => io::ErrorKind::ResourceBusy,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_service_operation_cause_and_help() {
        let name = ServiceName::new("db").expect("a good name");
        let cause = Error::from(io::Error::new(io::ErrorKind::NotFound, "no such program"));
        let error = Error::new(ErrorKind::StartFailed, "on_first_acquire failed")
            .service(&name)
            .source(cause)
            .help("install it");
        assert_eq!(error.to_string(), "service \"db\": on_first_acquire failed: no such program (install it)");
        let source =
            StdError::source(&error).and_then(|source| source.downcast_ref::<Error>()).expect("the source is kept");
        assert_eq!(source.kind(), ErrorKind::Callback);
        let io =
            StdError::source(source).and_then(|source| source.downcast_ref::<io::Error>()).expect("the source is kept");
        assert_eq!(io.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_error_of_ours_stays_itself() {
        let error = Error::new(ErrorKind::LimitReached, "full");
        assert_eq!(Error::other(error.clone()).kind(), ErrorKind::LimitReached);
        assert_eq!(Error::from(Box::<dyn StdError + Send + Sync>::from(error)).kind(), ErrorKind::LimitReached);
    }
}
