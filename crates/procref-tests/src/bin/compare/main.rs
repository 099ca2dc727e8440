//! See `program.rs`.

procref_tests::linux_program!("what it compares with runs on Unix, and what it looks at is in /proc");
