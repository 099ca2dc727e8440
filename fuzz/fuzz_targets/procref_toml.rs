//! `procref.toml`: whatever stands in it, it is understood, or what is wrong is said with its place.
#![no_main]

// The command's own modules, of which this only reads.
#[expect(dead_code, unused_imports, reason = "only the reader is used")]
#[path = "../../crates/procref-cli/src/config/mod.rs"]
mod config;
#[expect(dead_code, reason = "only what the reader uses")]
#[path = "../../crates/procref-cli/src/names.rs"]
mod names;
#[expect(dead_code, reason = "only what the reader uses")]
#[path = "../../crates/procref-cli/src/text.rs"]
mod text;

libfuzzer_sys::fuzz_target!(|text: &str| config::read_or_explain(text));
