//! The servers that `procref init` knows, as Debian packages them: each starts from what `init` writes, is shared, is
//! stopped by the end of the last who holds it, and leaves nothing.

mod prepare;
mod servers;
mod world;
