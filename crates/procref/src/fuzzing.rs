//! What must hold of whatever bytes come from outside: files that anybody of this user can write, names, and the values of a
//! semaphore set that another program may have made. The fuzz targets feed it with what they find, and the tests below with
//! what proptest makes up.

use crate::name::ServiceName;
use crate::protocol::set::{
    ASKED, CLIENTS, GUARDIAN, Instance, LAYOUT, LOCK, MAX_NAME, NAME, NAMESPACE, Op, Record, SEMAPHORES, Snapshot, UP,
    Values,
};
use crate::sys::hints;

/// The largest value of a semaphore (SEMVMX): the kernel reports none above.
const MOST: u16 = 32_767;

/// The metadata in a file.
pub fn metadata(bytes: &[u8]) {
    if let Some(metadata) = hints::decode(bytes) {
        let encoded = hints::encode(&metadata);
        assert_eq!(hints::decode(&encoded), Some(metadata), "it is the same when it has been written and read");
        // Numbers can be written in more than one way, and keys twice.
        assert!(encoded.len() <= bytes.len(), "nothing comes out that was not there");
    }
    assert!(hints::checksum(bytes) < 1 << 30);
    assert_eq!(hints::checksum(bytes) == 0, bytes.is_empty());
}

/// The first line of a file.
pub fn claim(line: &[u8]) {
    let Some(claim) = hints::Claim::parse(line) else { return };
    assert!(claim.set >= 0);
    if claim.starter {
        assert!(matches!(claim.instance, Instance::Process { .. }), "who starts it is a process");
    }
    assert!(line.is_ascii() && !line.contains(&b'\n'), "nothing else is a claim: {line:?}");
}

/// The name of a service.
pub fn name(text: &str) {
    let (service, counter) = match (ServiceName::new(text), ServiceName::counter(text)) {
        (Ok(service), Ok(counter)) => (service, counter),
        (Err(error), Err(_)) => {
            // However long and odd the name is.
            let said = error.to_string();
            assert!(said.len() < 1000 && !said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
            return;
        }
        _ => panic!("a counter has the same names"),
    };
    assert_eq!(service.as_str(), text);
    assert!((1..=MAX_NAME).contains(&text.len()) && !text.contains(['/', '\0']) && !text.starts_with('.'));
    assert_eq!(counter.as_str(), text);
    assert_ne!(service.domain(), counter.domain());
    let fresh = Snapshot::new([0; SEMAPHORES]);
    let named = apply(&[0; SEMAPHORES], &fresh.naming(text.as_bytes(), 1)).expect("a fresh set can be named");
    assert_eq!(Snapshot::new(named).name(), text.as_bytes());
}

/// A set with any values at all, and what may be done with it.
pub fn set(values: &Values, record: &Record, pid: u32) {
    let values = values.map(|value| value.min(MOST));
    let snapshot = Snapshot::new(values);
    let view = snapshot.view();
    assert_eq!(view.fresh, value(&values, LAYOUT) == 0);
    assert!(view.guarded || snapshot.guardian_pid().is_none());
    assert_ne!(snapshot.guardian_pid(), Some(0), "no process has that number");
    assert_eq!(matches!(snapshot.record().instance, Instance::None), !view.instance);
    assert!(snapshot.name().len() <= MAX_NAME);
    assert!(snapshot.namespace() < 1 << 30);
    assert!(snapshot.next_generation() > 0 && snapshot.next_failures() < MOST);

    let piece = |number: u32| number % (1 << 30);
    let record = Record {
        generation: piece(record.generation),
        details: piece(record.details),
        pipe: piece(record.pipe),
        declared: record.declared && matches!(record.instance, Instance::Process { .. }),
        ..*record
    };
    let instance = match record.instance {
        Instance::Process { pid, start } => Instance::Process { pid: pid % (1 << 30), start: start % (1 << 45) },
        other => other,
    };
    let record = Record { instance, ..record };

    let publishing = apply(&values, &snapshot.publishing(&record));
    assert_eq!(publishing.is_some(), view.locked && view.guarded, "with the lock and a guardian, and only then");
    if let Some(after) = publishing {
        assert_eq!(Snapshot::new(after).record(), record);
        assert_eq!(value(&after, UP), 1);
        assert_eq!(value(&after, LOCK), value(&values, LOCK) - 1);
        only_the_record_changes(&values, &after, &[UP, LOCK]);
    }
    let after = apply(&values, &snapshot.forgetting()).expect("it always applies");
    let forgotten = Snapshot::new(after).record();
    assert_eq!((forgotten.instance, forgotten.generation), (Instance::None, snapshot.record().generation));
    assert_eq!(value(&after, UP), 0);
    only_the_record_changes(&values, &after, &[UP]);

    if let Instance::Process { pid, start } = record.instance {
        let guardian = snapshot.guardian_pid().unwrap_or(0);
        let announcing = apply(&values, &snapshot.announcing(pid, start, guardian, record.pipe));
        let may = value(&values, ASKED) > 0 && view.guarded && !view.instance;
        assert_eq!(announcing.is_some(), may, "for who asks, by the guardian, where nothing is recorded");
        if let Some(after) = announcing {
            assert_eq!(Snapshot::new(after).record().instance, Instance::Process { pid, start });
            only_the_record_changes(&values, &after, &[]);
        }
        assert_eq!(apply(&values, &snapshot.announcing(pid, start, guardian ^ 1, record.pipe)), None);
    }
    for leave in [false, true] {
        let failing = apply(&values, &snapshot.failing(leave));
        let can = view.locked && (view.clients > 0 || !leave);
        assert_eq!(failing.map(|after| Snapshot::new(after).view().failures), can.then(|| snapshot.next_failures()));
    }
    let pid = pid % (1 << 30);
    let guarding = apply(&values, &snapshot.guarding(pid));
    assert_eq!(
        guarding.and_then(|after| Snapshot::new(after).guardian_pid()),
        (!view.guarded && pid != 0).then_some(pid)
    );
    if let Some(after) = guarding {
        assert_eq!(Snapshot::new(after).record(), snapshot.record());
        assert_eq!(value(&after, CLIENTS), value(&values, CLIENTS));
        assert_eq!(apply(&after, &snapshot.guarding(pid)), None, "nobody watches beside another");
    }
}

fn only_the_record_changes(before: &Values, after: &Values, others: &[u16]) {
    use crate::protocol::set::{GUARDIAN_PID, INSTANCE, PIPE};
    for (sem, (before, after)) in (0..).zip(before.iter().zip(after)) {
        let may = (INSTANCE..GUARDIAN_PID).contains(&sem) || (PIPE..PIPE + 2).contains(&sem) || others.contains(&sem);
        assert!(may || before == after, "semaphore {sem} changes from {before} to {after}");
    }
    const { assert!(GUARDIAN_PID < NAMESPACE && NAMESPACE < NAME && GUARDIAN < INSTANCE) };
}

fn value(values: &Values, sem: u16) -> u16 {
    values.get(usize::from(sem)).copied().unwrap_or(0)
}

/// The kernel's rule for an array: all of it or nothing, and never a value that a semaphore cannot have.
fn apply(values: &Values, ops: &[Op]) -> Option<Values> {
    let mut next = *values;
    for op in ops {
        let slot = next.get_mut(usize::from(op.sem))?;
        let value = i32::from(*slot) + i32::from(op.delta);
        if (op.delta == 0 && *slot != 0) || value < 0 {
            return None;
        }
        assert!(value <= i32::from(MOST), "the kernel would say ERANGE");
        *slot = value as u16;
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::collection::vec(
            prop_oneof![
                2 => Just("procref-1".to_owned()),
                4 => (0..5_u64).prop_map(|number| number.to_string()),
                4 => any::<u64>().prop_map(|number| number.to_string()),
                1 => any::<String>(),
            ],
            0..8,
        );
        prop_oneof![words.prop_map(|words| words.join(" ").into_bytes()), any::<Vec<u8>>()]
    }

    fn entries() -> impl Strategy<Value = Vec<u8>> {
        let entry = (0..4_usize, 0..4_usize, "[a=\n 1]{0,4}", "[b=\n 2]{0,4}");
        let entries = prop::collection::vec(entry, 0..6).prop_map(|entries| {
            let entry = |(more, less, key, value): (usize, usize, String, String)| {
                let (key_len, value_len) = (key.len() + more / 3, value.len().saturating_sub(less / 3));
                format!("{key_len} {value_len}\n{key}={value}\n")
            };
            entries.into_iter().map(entry).collect::<String>().into_bytes()
        });
        prop_oneof![entries, any::<Vec<u8>>()]
    }

    fn records() -> impl Strategy<Value = Record> {
        let instance = prop_oneof![
            Just(Instance::None),
            Just(Instance::Other),
            (any::<u32>(), any::<u64>()).prop_map(|(pid, start)| Instance::Process { pid, start }),
        ];
        let numbers = (any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>());
        (instance, any::<bool>(), numbers).prop_map(|(instance, declared, (port, generation, details, pipe))| Record {
            instance,
            port,
            generation,
            details,
            declared,
            pipe,
        })
    }

    fn values() -> impl Strategy<Value = Values> {
        let value = prop_oneof![4 => 0..3_u16, 2 => any::<u16>(), 1 => Just(MOST)];
        prop::collection::vec(value, SEMAPHORES).prop_map(|values| {
            let mut array = [0; SEMAPHORES];
            array.copy_from_slice(&values);
            array
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn metadata_of_any_bytes(bytes in entries()) {
            metadata(&bytes);
        }

        #[test]
        fn claims_of_any_line(line in lines()) {
            claim(&line);
        }

        #[test]
        fn names_of_any_text(text in prop_oneof!["[a-zA-Z0-9._-]{0,70}", any::<String>()]) {
            name(&text);
        }

        #[test]
        fn a_set_with_any_values(values in values(), record in records(), pid in any::<u32>()) {
            set(&values, &record, pid);
        }
    }
}
