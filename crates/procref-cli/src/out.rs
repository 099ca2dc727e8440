//! Standard output, and standard error.

use std::io::{self, Write};

/// Writes all of it, at once. Colours are left out where nobody sees them.
///
/// # Errors
///
/// Nobody reads it ([`io::ErrorKind::BrokenPipe`]), or it cannot be written.
pub(crate) fn write(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Says something on standard error. Where nobody can be told, nothing is wrong with what was done.
pub(crate) fn say(message: &str) {
    let _ = writeln!(anstream::stderr(), "procref: {message}");
}
