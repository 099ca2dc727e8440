//! Names of services.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| procref::fuzzing::name(text));
