//! The kernel's count alone.

use crate::kit::Bed;
use procref::{Acquired, ErrorKind, PlatformRefCounter, RefCounter, Released, ServiceState};
use std::sync::Barrier;

pub(crate) fn counter(bed: &Bed) -> PlatformRefCounter {
    PlatformRefCounter::new(&bed.name).expect("a good name")
}

#[test]
fn first_another_not_last_last() {
    let bed = Bed::new();
    let (one, two) = (counter(&bed), counter(&bed));
    assert_eq!((one.name(), one.count().expect("nothing is there")), (bed.name.as_str(), 0));
    assert!(bed.sandbox.objects().is_empty(), "a count of nothing makes nothing");
    for _ in 0..2 {
        assert_eq!(one.acquire().expect("it counts"), Acquired::First);
        assert_eq!(one.acquire().expect("it counts"), Acquired::Another);
        assert_eq!(two.acquire().expect("it counts"), Acquired::Another);
        assert_eq!((one.count().expect("it counts"), two.count().expect("it counts")), (3, 3));
        assert_eq!(one.release().expect("it counts"), Released::NotLast);
        assert_eq!(two.release().expect("it counts"), Released::NotLast);
        assert_eq!(one.release().expect("it counts"), Released::Last);
        assert!(bed.sandbox.objects().is_empty());
    }
}

#[test]
fn nobody_releases_what_another_one_holds() {
    let bed = Bed::new();
    let (one, two) = (counter(&bed), counter(&bed));
    one.acquire().expect("it counts");
    for counter in [&two, &two] {
        let error = counter.release().expect_err("it has none");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.service_name(), Some(bed.name.as_str()));
    }
    assert_eq!(one.count().expect("it counts"), 1);
    one.release().expect("it counts");
    assert_eq!(one.release().expect_err("it has none").kind(), ErrorKind::InvalidInput);
}

/// Of fifty at once one is the first and one the last, round after round.
#[test]
fn fifty_threads() {
    let bed = Bed::new();
    let (together, between) = (Barrier::new(50), Barrier::new(50));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    let counter = counter(&bed);
                    let mut answers = Vec::new();
                    for _ in 0..20 {
                        together.wait();
                        let acquired = counter.acquire().expect("it counts");
                        between.wait();
                        assert_eq!(counter.count().expect("it counts"), 50);
                        together.wait();
                        answers.push((acquired, counter.release().expect("it counts")));
                        between.wait();
                    }
                    answers
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for round in 0..20 {
        let round: Vec<_> = answers.iter().map(|answers| answers[round]).collect();
        assert_eq!(round.iter().filter(|(acquired, _)| *acquired == Acquired::First).count(), 1);
        assert_eq!(round.iter().filter(|(_, released)| *released == Released::Last).count(), 1);
    }
}

/// Without waiting for each other: firsts and lasts alternate, so there are as many of each.
#[test]
fn fifty_threads_in_any_order() {
    let bed = Bed::new();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    let counter = counter(&bed);
                    let round = |_| (counter.acquire().expect("it counts"), counter.release().expect("it counts"));
                    (0..20).map(round).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let firsts = answers.iter().filter(|(acquired, _)| *acquired == Acquired::First).count();
    let lasts = answers.iter().filter(|(_, released)| *released == Released::Last).count();
    assert!(firsts >= 1);
    assert_eq!(firsts, lasts);
}

#[test]
fn one_counter_shared_by_threads() {
    let bed = Bed::new();
    let counter = counter(&bed);
    let acquire = || counter.acquire().expect("it counts");
    let firsts: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(acquire)).collect();
        threads.into_iter().map(|thread| usize::from(thread.join().expect("no panic") == Acquired::First)).sum()
    });
    assert_eq!((firsts, counter.count().expect("it counts")), (1, 50));
}

#[test]
fn a_drop_releases() {
    let bed = Bed::new();
    let (one, two) = (counter(&bed), counter(&bed));
    one.acquire().expect("it counts");
    one.acquire().expect("it counts");
    two.acquire().expect("it counts");
    drop(one);
    assert_eq!(two.count().expect("it counts"), 1);
    drop(two);
    bed.sandbox.assert_nothing_left();
}

#[test]
fn a_counter_and_a_service_of_one_name_do_not_meet() {
    let bed = Bed::new();
    let (counter, service) = (counter(&bed), bed.blocking_service());
    counter.acquire().expect("it counts");
    assert_eq!(service.count().expect("nothing is there"), 0);
    assert_eq!(service.status().expect("nothing is there").state, ServiceState::Stopped);
    let handle = service.acquire().expect("it starts");
    assert_eq!((counter.count().expect("it counts"), service.count().expect("it is counted")), (1, 1));
    assert_eq!(counter.release().expect("it counts"), Released::Last);
    assert!(handle.is_alive());
    assert_eq!(service.count().expect("it is counted"), 1);
    drop(handle);
    bed.assert_balanced(1);
}

#[test]
fn as_a_trait_object() {
    let bed = Bed::new();
    let counter: Box<dyn RefCounter> = Box::new(counter(&bed));
    assert_eq!(counter.acquire().expect("it counts"), Acquired::First);
    assert_eq!(counter.release().expect("it counts"), Released::Last);
}
