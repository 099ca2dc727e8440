//! What the command's help says, where that depends on the system.

/// The command of `with` and `run`.
pub(crate) const COMMAND: &str =
    "What to run. It takes this process's place; what is acquired is its own until it ends, however it ends";

/// The options of `run`.
pub(crate) const SERVICE: &str = "The service's command, in words as a shell splits them, though no shell reads it. Each {word} in it but {state}, {run} and {name} is a port that is picked; braces are written {{ and }}";
pub(crate) const READY: &str = "How to know that it is ready: tcp:PORT, tcp:HOST:PORT, unix:PATH, http:URL, exec:CMD, log:TEXT, notify or started. By default when somebody accepts connections at its first port; without a port as soon as it has been started";
pub(crate) const STOP: &str = "The signal that asks it to stop: SIGTERM by default";
pub(crate) const GRACE: &str = "How long it has then until SIGKILL: 10 seconds by default";
pub(crate) const DIR: &str =
    "The service's working directory. By default the project's folder; for --scope user it is /";

/// The demonstration.
pub(crate) const DEMO: &str = "Show what procref does, with real processes and real SIGKILLs; takes a few seconds";
