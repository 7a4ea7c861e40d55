//! One connection to the database.
//!
//! Lives here: opening one, with all that keeps it and us safe from each other;
//! whether it still is what it was; its transactions.
//! May not: know a message or a mailbox.
//! Holds: nothing is written, not even a journal mode, before the database is
//! known to be ours and unchanged; each transaction finds out whether it still is.

use crate::{
    fault::{Doing, Fault},
    place::{Found, Place},
    schema::{self, Marks},
};
use postino_files::{Identity, process};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, config::DbConfig};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How long SQLite itself tries for a lock: as long as a reader's recovery or
/// another one's short transaction take. The pool tries again after it.
const BUSY_TIMEOUT: Duration = Duration::from_millis(10);

/// Statements kept ready.
const STATEMENTS_MAX: usize = 48;

/// To what the WAL is cut when it begins anew.
const WAL_OCTETS_KEPT: i64 = 16 << 20;

/// What is switched, for defence against a database that others can write:
/// neither our statements nor its schema can do more than ours need.
const DEFENCES: &[(DbConfig, bool)] = &[
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true),
    // Until it is known to be ours.
    (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
];

/// A connection, and the file that it was opened on.
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
    identity: Identity,
    /// The state in which the schema was found to be ours.
    schema_state: i64,
}

impl Database {
    /// Opens the database for writing, which is not made where it is missing.
    pub(crate) fn open(place: &Place) -> Result<Self, Fault> {
        let database = Self::connect(place)?;
        database.use_wal()?;
        Ok(database)
    }

    /// Opens the database for reading alone: nothing of it is changed, not even its
    /// journal mode, and it is not made where it is missing.
    pub(crate) fn open_to_read(place: &Place) -> Result<Self, Fault> {
        let database = Self::connect(place).map_err(|fault| {
            // SQLite says only that it cannot. The memory that all share is a file,
            // -shm, so that reading takes the right to write.
            match process::may_update(place.path()) {
                Err(cause) if fault.is_forbidden() => Fault::file(
                    "have a reader's rights (to read and to write) to",
                    place.path(),
                    &cause,
                ),
                _ => fault,
            }
        })?;
        database.connection.pragma_update(None, "query_only", true).doing("set up")?;
        Ok(database)
    }

    fn connect(place: &Place) -> Result<Self, Fault> {
        let Found::File { path, identity } = place.look()? else { return Err(place.missing()) };
        check_untouched(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(&path, flags).doing("open")?;
        for (defence, on) in DEFENCES {
            connection.set_db_config(*defence, *on).doing("set up")?;
        }
        connection.busy_timeout(BUSY_TIMEOUT).doing("set up")?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection
            .execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;
                 PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0",
            )
            .doing("set up")?;
        let mut database = Self { connection, path, identity, schema_state: -1 };
        let reading = database.connection.unchecked_transaction().doing("read")?;
        let state = check(&reading, database.schema_state)?;
        reading.commit().doing("read")?;
        database.schema_state = state;
        // Between the look and the open somebody may have put another file there.
        if place.identity(&database.path)? != Some(database.identity) {
            return Err(place.missing());
        }
        // Closing would remove files by their paths, perhaps as another user than theirs.
        let keeps_log = place.is_an_accounts();
        database
            .connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keeps_log)
            .doing("set up")?;
        Ok(database)
    }

    fn use_wal(&self) -> Result<(), Fault> {
        let connection = &self.connection;
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .doing("use a write-ahead log in")?;
        if mode != "wal" {
            let why = "there can be no write-ahead log where it lies (a network's file system?)";
            return Err(Fault::Refused { why: why.to_owned() });
        }
        connection
            .pragma_update_and_check(None, "journal_size_limit", WAL_OCTETS_KEPT, |_| Ok(()))
            .doing("set up")
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Whether the database at the place is still this one.
    pub(crate) fn is_in_place(&self, place: &Place) -> Result<bool, Fault> {
        Ok(place.identity(&self.path)? == Some(self.identity))
    }

    /// Closes a connection whose file is no longer at its place, or no longer ours:
    /// what is beside the place may be another database's, so nothing is checkpointed
    /// or removed.
    pub(crate) fn abandon(self) {
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// Whether it is still ours and unchanged.
    pub(crate) fn check(&mut self) -> Result<(), Fault> {
        self.schema_state = check(&self.connection, self.schema_state)?;
        Ok(())
    }

    /// Begins to write. What is written is gone where the result is dropped, and on
    /// stable storage where its commit returns.
    pub(crate) fn write(&mut self) -> Result<Transaction<'_>, Fault> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .doing("begin to write to")?;
        self.schema_state = check(&transaction, self.schema_state)?;
        Ok(transaction)
    }
}

/// Whether the database is ours, and its schema as we made it; gives the schema's
/// state, which saves the comparison where it is the one known as good.
fn check(connection: &Connection, known: i64) -> Result<i64, Fault> {
    Marks::read(connection).doing("read")?.check()?;
    let state = schema::state(connection).doing("read")?;
    if state != known {
        schema::check(connection)?;
    }
    Ok(state)
}

/// Looks at the file alone, without a lock, a journal or a write: what is not ours
/// is refused before it is opened in earnest, which might recover or checkpoint it.
fn check_untouched(path: &Path) -> Result<(), Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path), flags).doing("open")?;
    match Marks::read(&connection) {
        Ok(marks) => marks.check(),
        // Half of a checkpoint looks damaged without its journal.
        Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::NotADatabase) => {
            Ok(())
        }
        Err(error) => Err(Fault::sqlite("read", &error)),
    }
}

fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for octet in path.as_os_str().as_encoded_bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*octet));
            }
            octet => uri.extend(['%', hexadecimal(octet >> 4), hexadecimal(octet & 15)]),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('0')
}
