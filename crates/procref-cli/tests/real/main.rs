//! The servers that `procref init` knows, as Debian packages them: each starts from what `init` writes, is shared, is
//! stopped by the end of the last who holds it, and leaves nothing.

procref_tests::linux_only! { "servers as Debian packages them":
    mod prepare;
    mod servers;
    mod world;
}
