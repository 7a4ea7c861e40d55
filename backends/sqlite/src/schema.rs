//! The schema: a stable interface to whoever reads the database.
//!
//! Lives here: the statements that make it, what marks a database as ours, and
//! the comparison of a database with both.
//! May not: change with a release but with a new [`VERSION`]; postino-sqlite(5)
//! documents each column.
//! Holds: a database that is not exactly as these statements make it is refused.
//! The triggers are for others: our own connections run none, and do their work
//! in the same transaction themselves.

use crate::fault::{Doing, Fault};
use rusqlite::Connection;

/// The application id: `pstn`. It is the store's marker.
pub(crate) const APPLICATION_ID: i64 = 0x7073_746e;

/// The version of the schema, in `user_version`.
pub(crate) const VERSION: i64 = 1;

/// Each object of the schema, as `sqlite_schema` has it.
pub(crate) const STATEMENTS: &[&str] = &[
    "CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    folder TEXT NOT NULL DEFAULT '',
    messages INTEGER NOT NULL DEFAULT 0,
    octets INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, folder)
)",
    // An id is never used again, so that whoever writes a body ahead of its
    // messages can't take another one for his.
    "CREATE TABLE bodies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB UNIQUE,
    octets INTEGER NOT NULL,
    content BLOB
)",
    "CREATE TABLE body_parts (
    id INTEGER PRIMARY KEY,
    body INTEGER NOT NULL REFERENCES bodies (id),
    part INTEGER NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (body, part)
)",
    "CREATE TABLE messages (
    id TEXT NOT NULL PRIMARY KEY,
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    received INTEGER NOT NULL,
    octets INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,
    recipient TEXT NOT NULL,
    flags TEXT NOT NULL DEFAULT '',
    header BLOB NOT NULL,
    body INTEGER NOT NULL REFERENCES bodies (id)
)",
    "CREATE INDEX messages_by_mailbox ON messages (mailbox, id)",
    "CREATE INDEX messages_by_body ON messages (body)",
    "CREATE TRIGGER message_inserted AFTER INSERT ON messages BEGIN
    UPDATE mailboxes SET messages = messages + 1, octets = octets + NEW.octets
        WHERE id = NEW.mailbox;
END",
    "CREATE TRIGGER message_moved AFTER UPDATE OF mailbox, octets ON messages BEGIN
    UPDATE mailboxes SET messages = messages - 1, octets = octets - OLD.octets
        WHERE id = OLD.mailbox;
    UPDATE mailboxes SET messages = messages + 1, octets = octets + NEW.octets
        WHERE id = NEW.mailbox;
END",
    "CREATE TRIGGER message_deleted AFTER DELETE ON messages BEGIN
    UPDATE mailboxes SET messages = messages - 1, octets = octets - OLD.octets
        WHERE id = OLD.mailbox;
    DELETE FROM bodies WHERE id = OLD.body
        AND NOT EXISTS (SELECT 1 FROM messages WHERE body = OLD.body);
END",
    "CREATE TRIGGER body_deleted BEFORE DELETE ON bodies BEGIN
    DELETE FROM body_parts WHERE body = OLD.id;
END",
    "CREATE TRIGGER mailbox_deleted BEFORE DELETE ON mailboxes BEGIN
    DELETE FROM messages WHERE mailbox = OLD.id;
END",
];

/// The numbers in a database's header that tell what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) application_id: i64,
    pub(crate) user_version: i64,
}

impl Marks {
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            application_id: number(connection, "PRAGMA application_id")?,
            user_version: number(connection, "PRAGMA user_version")?,
        })
    }

    /// Whether they are those of a database that this version can use.
    pub(crate) fn check(self) -> Result<(), Fault> {
        let why = if self.application_id != APPLICATION_ID {
            format!(
                "it is not postino's (application_id {}, not {APPLICATION_ID}); it was not touched",
                self.application_id
            )
        } else if self.user_version > VERSION {
            format!(
                "a newer postino made it (schema version {}, this one knows {VERSION}); it was not touched",
                self.user_version
            )
        } else if self.user_version < VERSION {
            format!("its schema has no version that postino has made ({})", self.user_version)
        } else {
            return Ok(());
        };
        Err(Fault::Refused { why })
    }
}

/// Which state of the schema the database has; it changes with each change of it.
pub(crate) fn state(connection: &Connection) -> rusqlite::Result<i64> {
    number(connection, "PRAGMA schema_version")
}

/// Makes the schema in an empty database, and marks it.
pub(crate) fn make(connection: &Connection) -> rusqlite::Result<()> {
    for statement in STATEMENTS {
        connection.execute_batch(statement)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)
}

/// Whether the schema is as [`make`] makes it. What SQLite itself adds, such as
/// the statistics of an ANALYZE, is let pass.
pub(crate) fn check(connection: &Connection) -> Result<(), Fault> {
    let found = objects(connection).doing("read the schema of")?;
    let mut missing: Vec<_> = STATEMENTS.to_vec();
    for object in &found {
        match missing.iter().position(|statement| *statement == object.sql) {
            Some(at) => drop(missing.swap_remove(at)),
            None => {
                return Err(Fault::Refused {
                    why: format!(
                        "its schema was changed: the {} {:?} is not postino's; to be served it has to go, or be as postino-sqlite(5) says",
                        object.kind, object.name
                    ),
                });
            }
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(statement) => {
            let object = statement.split([' ', '\n']).skip(1).take(2).collect::<Vec<_>>();
            Err(Fault::Refused {
                why: format!("its schema was changed: it has no {}", object.join(" ")),
            })
        }
    }
}

struct Object {
    kind: String,
    name: String,
    sql: String,
}

fn objects(connection: &Connection) -> rusqlite::Result<Vec<Object>> {
    // More than we have are enough to see that they are not ours.
    let mut statement = connection.prepare_cached(
        "SELECT type, name, coalesce(sql, '') FROM sqlite_schema
             WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 100",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)? })
    })?;
    rows.collect()
}

fn number(connection: &Connection, pragma: &'static str) -> rusqlite::Result<i64> {
    connection.prepare_cached(pragma)?.query_row([], |row| row.get(0))
}
