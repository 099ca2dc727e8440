//! Events at each transition, with the service's name.

use crate::kit::Bed;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What was said: service, level and text.
type Said = (String, Level, String);

/// Keeps what is said. There is one for the program, because most is said on threads of procref's own.
struct Keeper(Arc<Mutex<Vec<Said>>>);

#[derive(Default)]
struct Fields {
    service: Option<String>,
    text: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "service" => self.service = Some(format!("{value:?}")),
            name => self.text.push_str(&format!("{name}={value:?} ")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "service" => self.service = Some(value.to_owned()),
            name => self.text.push_str(&format!("{name}={value} ")),
        }
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("procref") && *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Id::from_u64(NUMBER.fetch_add(1, Ordering::Relaxed))
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Some(service) = fields.service {
            self.0.lock().expect("nobody panicked").push((service, *event.metadata().level(), fields.text));
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn said_of(service: &str) -> Vec<(Level, String)> {
    let said = kept().lock().expect("nobody panicked");
    said.iter().filter(|said| said.0 == service).map(|said| (said.1, said.2.clone())).collect()
}

fn kept() -> &'static Arc<Mutex<Vec<Said>>> {
    static KEPT: OnceLock<Arc<Mutex<Vec<Said>>>> = OnceLock::new();
    KEPT.get_or_init(|| {
        let kept = Arc::<Mutex<Vec<Said>>>::default();
        tracing::subscriber::set_global_default(Keeper(Arc::clone(&kept))).expect("nobody else listens");
        kept
    })
}

#[tokio::test]
async fn each_transition_is_told_with_the_name() {
    kept();
    let bed = Bed::new();
    let again = Arc::clone(&bed.calls);
    let service = bed
        .builder()
        .on_health_check(|info| async move { info.port() == 4712 })
        .on_recover(move |_| {
            let calls = Arc::clone(&again);
            async move { calls.recover() }
        })
        .build()
        .expect("it can be described");
    let told = |level, part: &str| {
        let said = said_of(&bed.name);
        assert!(said.iter().any(|(at, text)| *at == level && text.contains(part)), "{part:?} in {said:#?}");
    };
    let first = service.acquire().await.expect("it starts");
    told(Level::DEBUG, "message=starts");
    told(Level::DEBUG, "outcome=Started");
    let second = service.acquire().await.expect("it recovers");
    told(Level::INFO, "unhealthy");
    told(Level::INFO, "message=recovers");
    told(Level::DEBUG, "outcome=Recovered");
    drop(first);
    second.release().await.expect("it stops");
    told(Level::DEBUG, "message=last release");
    told(Level::DEBUG, "outcome=Stopped");
    assert!(said_of(&bed.name).iter().all(|(level, _)| *level > Level::WARN), "nothing to warn of");

    let (other, _) = bed.run_for_other();
    drop(bed.blocking_service().acquire().expect("it is joined"));
    told(Level::DEBUG, "outcome=Joined");
    told(Level::DEBUG, "outcome=Left");
    other.kill();
    bed.sandbox.assert_nothing_left();
}

/// An error that no caller is there to see.
#[tokio::test]
async fn what_a_drop_cannot_return_is_told() {
    kept();
    let bed = Bed::new();
    let service =
        bed.builder().on_last_release(|_| async { Err("no way".into()) }).build().expect("it can be described");
    drop(service.acquire().await.expect("it starts"));
    let said = said_of(&bed.name);
    assert!(said.iter().any(|(level, text)| *level == Level::ERROR && text.contains("no way")), "{said:#?}");
}
