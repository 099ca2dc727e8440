//! See `program.rs`.

procref_tests::linux_program!("the floor of each figure is a call of Linux");
