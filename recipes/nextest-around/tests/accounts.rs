//! nextest runs each of these in a process of its own.

use nextest_around::{create, sql};

/// A schema for one test, in the server for all of them.
fn schema(name: &str) -> String {
    recipe_notes_the_server();
    create(name).expect("there is a PostgreSQL: run the tests with ./run");
    name.to_owned()
}

/// For `recipes/run`, which checks that there was only one.
fn recipe_notes_the_server() {
    let Ok(file) = std::env::var("RECIPE_SEEN") else { return };
    let server = sql("SELECT pg_postmaster_start_time()").expect("it answers");
    let line = format!("{} {server}\n", std::process::id());
    let mut file = std::fs::File::options().append(true).create(true).open(file).expect("a file");
    std::io::Write::write_all(&mut file, line.as_bytes()).expect("one line");
}

#[test]
fn a_new_account_has_what_it_was_given() {
    let schema = schema("given");
    assert_eq!(sql(&format!("SELECT cents FROM {schema}.accounts")).expect("it answers"), "100");
}

#[test]
fn a_name_is_taken_once() {
    let schema = schema("names");
    let error = sql(&format!("INSERT INTO {schema}.accounts VALUES ('ada', 1)")).expect_err("it is taken");
    assert!(error.to_string().contains("duplicate key"), "{error}");
}

#[test]
fn nobody_owes() {
    let schema = schema("owes");
    let error = sql(&format!("UPDATE {schema}.accounts SET cents = cents - 101")).expect_err("it has 100");
    assert!(error.to_string().contains("check constraint"), "{error}");
}

#[test]
fn a_transaction_that_fails_changes_nothing() {
    let schema = schema("fails");
    let moves = format!("UPDATE {schema}.accounts SET cents = 50; INSERT INTO {schema}.accounts VALUES ('ada', 50)");
    sql(&format!("BEGIN; {moves}; COMMIT")).expect_err("the name is taken");
    assert_eq!(sql(&format!("SELECT sum(cents) FROM {schema}.accounts")).expect("it answers"), "100");
}
