//! The values of a semaphore set.
#![no_main]

use procref::protocol::set::{Instance, Record, SEMAPHORES};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut pairs = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let mut next = || pairs.next().unwrap_or(0);
    let mut wide = || u64::from(next()) | u64::from(next()) << 16 | u64::from(next()) << 32;
    let (kind, pid, start, rest, guardian) = (wide(), wide() as u32, wide(), wide(), wide() as u32);
    let instance = match kind % 3 {
        0 => Instance::None,
        1 => Instance::Other,
        _ => Instance::Process { pid, start },
    };
    let (generation, declared, pipe) = ((rest >> 16) as u32, kind % 2 == 0, (start >> 16) as u32);
    let record = Record { instance, port: rest as u16, generation, details: kind as u32, declared, pipe };
    let values = [(); SEMAPHORES].map(|()| next());
    procref::fuzzing::set(&values, &record, guardian);
});
