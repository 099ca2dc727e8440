//! What is tested: SQL for a queue in PostgreSQL.

/// Makes the table.
pub const CREATE: &str = "CREATE TABLE jobs (id int GENERATED ALWAYS AS IDENTITY, what text NOT NULL)";

/// Takes the oldest job out of the queue; nobody waits for a job that somebody else is taking.
pub const TAKE: &str =
    "DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING what";
