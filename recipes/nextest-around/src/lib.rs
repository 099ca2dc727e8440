//! What is tested: a table of accounts.

use std::io;
use std::process::Command;

/// Asks PostgreSQL. `procref with` has put into the environment where it is, and psql finds it there.
pub fn sql(question: &str) -> io::Result<String> {
    let output =
        Command::new("psql").args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", question]).output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// Makes the table of accounts, with one account, as part of `schema`.
pub fn create(schema: &str) -> io::Result<()> {
    let table =
        format!("CREATE TABLE {schema}.accounts (name text PRIMARY KEY, cents int NOT NULL CHECK (cents >= 0))");
    sql(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; {table}")).map(drop)?;
    sql(&format!("INSERT INTO {schema}.accounts VALUES ('ada', 100)")).map(drop)
}
