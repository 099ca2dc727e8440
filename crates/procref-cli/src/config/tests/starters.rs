//! What `procref init` writes.

use super::*;
use clap::ValueEnum;

#[test]
fn what_init_writes_is_understood() {
    for kind in Known::value_variants() {
        let text = template(*kind);
        let services = good(text);
        let [service] = services.values().collect::<Vec<_>>()[..] else { panic!("{kind:?} is not one service") };
        assert!(!service.env.is_empty() && !service.ports.is_empty() && service.ready.timeout.is_some(), "{kind:?}");
        assert!(text.starts_with(&format!("# procref with {} -- ", service.name)), "{kind:?}");
        assert!(text.lines().all(|line| line.len() <= 120 && line.trim_end() == line), "{kind:?}");
        assert!(service.ports.iter().all(|port| port.number.is_none()), "{kind:?}");
    }
}
