//! See `program.rs`.

procref_tests::linux_program!("ptrace(2)");
