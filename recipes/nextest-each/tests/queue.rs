//! nextest runs each of these in a process of its own; each takes a reference to the one PostgreSQL.

mod database;

use database::Database;
use nextest_each::{CREATE, TAKE};

#[test]
fn the_oldest_job_is_first() {
    let database = Database::new("oldest");
    database.sql(&format!("{CREATE}; INSERT INTO jobs (what) VALUES ('a'), ('b')"));
    assert_eq!(database.sql(TAKE), "a");
    assert_eq!(database.sql(TAKE), "b");
}

#[test]
fn an_empty_queue_gives_nothing() {
    let database = Database::new("empty");
    database.sql(CREATE);
    assert_eq!(database.sql(TAKE), "");
}

#[test]
fn a_job_that_is_given_back_is_there_again() {
    let database = Database::new("back");
    database.sql(&format!("{CREATE}; INSERT INTO jobs (what) VALUES ('a')"));
    assert_eq!(database.sql(&format!("BEGIN; {TAKE}; ROLLBACK")), "a");
    assert_eq!(database.sql(TAKE), "a");
}

#[test]
fn every_job_is_taken_once() {
    let database = Database::new("once");
    database.sql(&format!("{CREATE}; INSERT INTO jobs (what) SELECT g FROM generate_series(1, 8) g"));
    let mut taken: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| database.sql(TAKE))).collect();
        workers.into_iter().map(|worker| worker.join().expect("it took one")).collect()
    });
    taken.sort();
    assert_eq!(taken, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}
