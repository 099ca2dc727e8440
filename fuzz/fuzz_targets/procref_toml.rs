//! `procref.toml`: whatever stands in it, it is understood, or what is wrong is said with its place.
#![no_main]

#[expect(dead_code, unused_imports, reason = "the command's own module, of which this only reads")]
#[path = "../../crates/procref-cli/src/config/mod.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|text: &str| config::read_or_explain(text));
