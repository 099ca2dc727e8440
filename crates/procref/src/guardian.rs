//! How this program's guardians are made. Everything works without a word of this, but for services that linger on Windows.
//!
//! A guardian is a small process that sleeps until nobody holds a service any more, and then stops it. Without help,
//! procref forks this program and has the child drop all that it came with: no setup, but a pause of about 60
//! milliseconds for each GiB that the program has written, once for each guardian. A program that says [`init`] at the
//! top of `main`, or names a companion program that does ([`use_companion`]), has its guardians *started* instead: in
//! about 3 milliseconds, whatever its size. Either way a guardian has some 30 to 100 KiB of memory of its own.

use crate::error::{Error, ErrorKind, Result};
use std::path::Path;

/// Lets this program be its own guardian: call it first thing in `main`.
///
/// When procref has started this program as a guardian, `init` does that work and does not return. Otherwise it
/// returns at once.
///
/// ```
/// // At the top of `main`:
/// procref::guardian::init();
/// ```
pub fn init() {
    crate::sys::guardian::main_if_asked();
}

/// Names the program that is started as a guardian: one whose `main` begins with [`init`], such as the `procref`
/// command. For libraries in other languages' programs.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`]: the path is not absolute, or how guardians are made has been said before.
pub fn use_companion(program: impl AsRef<Path>) -> Result<()> {
    let program = program.as_ref();
    let wrong = |what: String| Err(Error::new(ErrorKind::InvalidInput, what));
    if !program.is_absolute() {
        return wrong(format!("the guardian's program {} is not an absolute path", program.display()));
    }
    if !crate::sys::guardian::use_companion(program) {
        return wrong("how this program's guardians are made has been decided before".into());
    }
    Ok(())
}
