//! The files beside a set: their first line, and the metadata behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    procref::fuzzing::claim(line);
    procref::fuzzing::metadata(bytes);
    procref::fuzzing::metadata(bytes.get(line.len() + 1..).unwrap_or_default());
});
