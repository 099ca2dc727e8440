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

#[test]
fn a_preset_is_what_init_writes() {
    for kind in Known::value_variants() {
        let init = good(template(*kind)).into_values().next().expect("it is one service");
        let text = format!("[services.{}]\npreset = \"{}\"", init.name, kind.name());
        let mut preset = good(&text).remove(&init.name).expect("it is declared");
        preset.origin = init.origin.clone();
        assert_eq!(preset, init);
    }
}

#[test]
fn what_is_given_replaces_what_the_preset_says() {
    let text = r#"
        [services.mine]
        preset = "postgres"
        ports = [{ port = 5432 }]
        linger = "0s"
        prepare = []
        env = { PORT = "{port}" }
        service_env = { TZ = "UTC" }
        scope = "user"
        log = "log"
    "#;
    let mine = good(text).remove("mine").expect("it is declared");
    let preset = Known::Postgres.declaration().expect("it is right");
    assert_eq!((&mine.command, &mine.ready, &mine.stop), (&preset.command, &preset.ready, &preset.stop));
    assert_eq!(mine.ports, [Port { name: "port".into(), number: Some(5432) }]);
    assert_eq!((mine.linger, mine.prepare.len(), mine.scope), (Duration::ZERO, 0, Scope::User));
    assert_eq!(mine.env.keys().collect::<Vec<_>>(), ["PORT"]);
    assert_eq!(mine.service_env.len(), 1);
    assert_eq!(mine.name, "mine");
}
