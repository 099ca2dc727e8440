//! What the command's help says, where that depends on the system.

/// The command of `with` and `run`.
pub(crate) const COMMAND: &str = "What to run. procref waits for it, and passes its exit code on; what is acquired is held until it ends, however it ends";

/// The options of `run`.
pub(crate) const SERVICE: &str = "The service's command, in words as programs split them here: double quotes hold words together, and backslashes are characters like others. Each {word} in it but {state}, {run} and {name} is a port that is picked; braces are written {{ and }}";
pub(crate) const READY: &str = "How to know that it is ready: tcp:PORT, tcp:HOST:PORT, http:URL, exec:CMD, log:TEXT or started. By default when somebody accepts connections at its first port; without a port as soon as it has been started";
pub(crate) const STOP: &str =
    "The signal that asks it to stop, by its name on Unix. Here all of them mean WM_CLOSE or Ctrl-Break";
pub(crate) const GRACE: &str = "How long it has then until it is ended by TerminateProcess: 10 seconds by default";
pub(crate) const DIR: &str = "The service's working directory. By default the project's folder; for --scope user it is the root of the system's drive";

/// The demonstration.
pub(crate) const DEMO: &str = "Show what procref does, with real processes that are really killed; takes a few seconds";
