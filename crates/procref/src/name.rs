//! Names of services.

use crate::error::{Error, ErrorKind};
use crate::protocol::set::MAX_NAME;
use std::fmt;
use std::sync::Arc;

/// A name of 1 to 64 bytes: letters, digits, `-`, `_` and `.`, no dot in front.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServiceName {
    name: Arc<str>,
    /// Kept apart by the [domain](Self::domain): a service and a bare counter of the same name share nothing.
    counter: bool,
}

impl ServiceName {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let wrong = |what: String| {
            Err(Error::new(ErrorKind::InvalidName, what)
                .help("a name has 1 to 64 letters (a-z, A-Z), digits, '-', '_' and '.', and does not begin with '.'"))
        };
        if name.is_empty() {
            return wrong("a service needs a name, and this one is empty".into());
        }
        if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
            return wrong(format!("the service name {:?} has the character {bad:?}", shortened(name)));
        }
        if name.len() > MAX_NAME {
            return wrong(format!("the service name {:?} has {} bytes", shortened(name), name.len()));
        }
        if name.starts_with('.') {
            return wrong(format!("the service name {name:?} begins with a dot"));
        }
        Ok(Self { name: name.into(), counter: false })
    }

    /// The name of a bare counter.
    pub(crate) fn counter(name: &str) -> Result<Self, Error> {
        Ok(Self { counter: true, ..Self::new(name)? })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// What keeps the kernel objects of a service and of a bare counter of the same name apart.
    pub(crate) const fn domain(&self) -> &'static str {
        if self.counter { "procref-counter" } else { "procref" }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn shortened(name: &str) -> String {
    let end = name.floor_char_boundary(80);
    if end < name.len() { format!("{}…", name.get(..end).unwrap_or("")) } else { name.to_owned() }
}

/// The 64-bit FNV-1a hash: the same in every version and on every machine, which std's hasher does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// 30 bits of that hash: what fits into two pieces of a set.
pub(crate) fn fingerprint(bytes: &[u8]) -> u32 {
    let hash = fnv1a(bytes);
    (hash ^ hash >> 30) as u32 & 0x3fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_names() {
        for good in ["a", "my-database", "v1.2_x", "0", "-", "_", "a..b", &"x".repeat(64)] {
            assert!(ServiceName::new(good).is_ok(), "{good:?}");
        }
        let bad =
            ["", ".", "..", ".a", "a/b", "../a", "a b", "a\0", "ä", "a\n", "{x}", &"x".repeat(65), &"ä".repeat(500)];
        for bad in bad {
            let error = ServiceName::new(bad).expect_err("a bad name");
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{bad:?}");
            assert!(error.to_string().len() < 500, "{error}");
        }
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
