//! What is in the hints' files, on every system: which instance they are about, and its metadata.
//!
//! Whoever reads a file compares what it says with the set.

use super::Process;
use crate::name::fingerprint;
use crate::protocol::set::{Instance, Record};
use std::collections::BTreeMap;

/// The most metadata that a service has.
pub(crate) const MOST_DETAILS: usize = 64 << 10;
/// The most that a file of ours holds: beside its own bytes an entry takes six, or less than one for each of its own.
pub(super) const MOST_BYTES: usize = 7 * MOST_DETAILS + 4096;
const MAGIC: &[u8] = b"procref-1";

/// Which instance a file says it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) set: i32,
    pub(crate) instance: Instance,
    pub(crate) generation: u32,
    /// The instance is not the service but the process that starts it.
    pub(crate) starter: bool,
}

/// What the info file says of a service that no set tells of.
#[derive(Debug)]
pub(crate) enum Live {
    /// This process of the service lives.
    Service(u32),
    /// This process, which lives, was starting it.
    Starter(u32),
}

impl Claim {
    /// That this process starts it.
    pub(super) const fn of_starter(set: i32, pid: u32, start: u64) -> Self {
        Self { set, instance: Instance::Process { pid, start }, generation: 0, starter: true }
    }

    /// That the set records this.
    pub(super) const fn of_record(set: i32, record: &Record) -> Self {
        Self { set, instance: record.instance, generation: record.generation, starter: false }
    }

    /// That it is why the set counts so many failed starts.
    pub(super) fn of_failure(set: i32, failures: u16) -> Self {
        Self { set, instance: Instance::None, generation: failures.into(), starter: false }
    }

    /// What a file is about, by its first line, and what it says of that.
    pub(super) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        Some((Self::parse(bytes.get(..end)?)?, bytes.get(end + 1..)?))
    }

    /// How a file begins that says so.
    pub(super) fn line(&self) -> String {
        let Self { set, instance, generation, starter } = *self;
        let (kind, pid, start) = match instance {
            Instance::None => (0, 0, 0),
            Instance::Process { pid, start } => (if starter { 3 } else { 1 }, pid, start),
            Instance::Other => (2, 0, 0),
        };
        format!("procref-1 {set} {kind} {pid} {start} {generation}\n")
    }

    pub(super) fn live(&self) -> Option<Live> {
        let Instance::Process { pid, .. } = self.instance else { return None };
        self.process().map(|_| if self.starter { Live::Starter(pid) } else { Live::Service(pid) })
    }

    /// The process that it names, if it lives.
    pub(super) fn process(&self) -> Option<Process> {
        let Instance::Process { pid, start } = self.instance else { return None };
        Process::open_recorded(pid, start).ok()?.filter(|process| !process.has_ended())
    }

    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        if words.next()? != MAGIC {
            return None;
        }
        let mut number = |most: u64| {
            let word = words.next().filter(|word| !word.is_empty() && word.len() < 20)?;
            let number = word
                .iter()
                .try_fold(0_u64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))?;
            (number <= most).then_some(number)
        };
        let set = number(i32::MAX as u64)? as i32;
        let kind = number(3)?;
        let pid = number(u32::MAX.into())? as u32;
        let start = number(u64::MAX)?;
        let generation = number(u32::MAX.into())? as u32;
        let instance = match kind {
            0 => Instance::None,
            1 | 3 => Instance::Process { pid, start },
            _ => Instance::Other,
        };
        words.next().is_none().then_some(Self { set, instance, generation, starter: kind == 3 })
    }
}

/// 30 bits by which a set vouches for a file; 0 for no details, and only for them.
pub(crate) fn checksum(details: &[u8]) -> u32 {
    if details.is_empty() {
        return 0;
    }
    fingerprint(details).max(1)
}

/// Metadata as bytes: lengths first, so that every key and value can be written.
pub(crate) fn encode(metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in metadata {
        bytes.extend_from_slice(format!("{} {}\n{key}={value}\n", key.len(), value.len()).as_bytes());
    }
    bytes
}

/// The metadata that [`encode`] wrote; `None` if these bytes are something else.
pub(crate) fn decode(mut bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut metadata = BTreeMap::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|&byte| byte == b'\n')?;
        let (key, value) = std::str::from_utf8(bytes.get(..end)?).ok()?.split_once(' ')?;
        let (key, value): (usize, usize) = (key.parse().ok()?, value.parse().ok()?);
        bytes = bytes.get(end + 1..)?;
        let text = |range: std::ops::Range<usize>| String::from_utf8(bytes.get(range)?.to_vec()).ok();
        let equals = key;
        let newline = equals.checked_add(1)?.checked_add(value)?;
        if bytes.get(equals) != Some(&b'=') || bytes.get(newline) != Some(&b'\n') {
            return None;
        }
        metadata.insert(text(0..equals)?, text(equals + 1..newline)?);
        bytes = bytes.get(newline + 1..)?;
    }
    Some(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_whatever_is_in_it() {
        let odd = ["", "=", "\n", "a\nb=c\n", "1 1\na=b\n", "ключ", "\0"];
        let metadata: BTreeMap<String, String> = odd
            .iter()
            .flat_map(|key| odd.iter().map(move |value| (format!("{key}{value}"), (*value).to_owned())))
            .collect();
        assert_eq!(decode(&encode(&metadata)), Some(metadata));
        assert_eq!(decode(b""), Some(BTreeMap::new()));
    }

    #[test]
    fn bytes_that_nobody_encoded_are_refused() {
        let whole = encode(&BTreeMap::from([("key".into(), "value".into()), ("other".into(), "x".into())]));
        for cut in 1..whole.len() {
            let some = decode(whole.get(..cut).unwrap_or(&[]));
            assert!(some.is_none_or(|metadata| metadata.len() < 2), "cut at {cut}");
        }
        let garbage: [&[u8]; 6] =
            [b"x", b"1 1\n", b"18446744073709551615 1\na=b\n", b"-1 1\na=b\n", b"1 1\na:b\n", b"1 1\n\xff=b\n"];
        for bytes in garbage {
            assert_eq!(decode(bytes), None);
        }
    }

    #[test]
    fn claims() {
        let claim = Claim { set: 3, instance: Instance::Process { pid: 4, start: 5 }, generation: 6, starter: false };
        assert_eq!(Claim::parse(b"procref-1 3 1 4 5 6"), Some(claim));
        assert_eq!(claim.line(), "procref-1 3 1 4 5 6\n");
        for claim in [Claim { starter: true, ..claim }, Claim { instance: Instance::Other, ..claim }] {
            assert_eq!(Claim::parse(claim.line().trim_end().as_bytes()), Some(claim));
        }
        assert_eq!(Claim::parse(b"procref-1 3 3 4 5 6"), Some(Claim { starter: true, ..claim }));
        let garbage: [&[u8]; 8] = [
            b"",
            b"procref-1",
            b"procref-2 3 1 4 5 6",
            b"procref-1 3 1 4 5",
            b"procref-1 3 1 4 5 6 7",
            b"procref-1 3 4 4 5 6",
            b"procref-1 -3 1 4 5 6",
            b"procref-1 3 1 4 99999999999999999999 6",
        ];
        for line in garbage {
            assert_eq!(Claim::parse(line), None);
        }
    }
}
