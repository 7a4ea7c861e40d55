//! The rows of an account: its mailbox, and its folders.
//!
//! Lives here: looking for them, making them, and what they hold together.
//! May not: begin or end a transaction; look at a message.
//! Holds: an account is known by any of its rows; its mailbox itself is the one
//! whose folder is empty.

use crate::{
    body::number,
    fault::{Doing, Fault},
};
use postino_store::{Contents, FOLDERS_MAX, IfMissing, IfNoFolder, Mailbox, MailboxName};
use rusqlite::{Connection, OptionalExtension};

/// Why there is no row to deliver into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The account is unknown.
    Mailbox,
    /// There is no mailbox at all: it is the store that is not there, and nobody in
    /// it unknown.
    All,
}

/// What stands in the column for the folder: nothing for the mailbox itself, which
/// may be called INBOX in any case.
pub(crate) fn folder(name: &MailboxName) -> &str {
    name.folder().filter(|folder| !folder.eq_ignore_ascii_case("inbox")).unwrap_or_default()
}

/// The row that a message for this mailbox goes into, made where that is allowed.
pub(crate) fn row_for(
    connection: &Connection,
    mailbox: &Mailbox,
) -> Result<Result<i64, Missing>, Fault> {
    let name = mailbox.name();
    if let Some(row) = row(connection, name)? {
        return Ok(Ok(row));
    }
    if let Err(missing) = known(connection, mailbox)? {
        return Ok(Err(missing));
    }
    let inbox = row_made(connection, &name.inbox())?;
    if folder(name).is_empty()
        || mailbox.if_no_folder() == IfNoFolder::Inbox
        || folders(connection, name)? >= number(FOLDERS_MAX as u64)
    {
        return Ok(Ok(inbox));
    }
    make(connection, name).map(Ok)
}

/// Whether the account is there, or may be made.
pub(crate) fn known(
    connection: &Connection,
    mailbox: &Mailbox,
) -> Result<Result<(), Missing>, Fault> {
    if mailbox.if_missing() == IfMissing::Create {
        return Ok(Ok(()));
    }
    let is_known = connection
        .prepare_cached("SELECT 1 FROM mailboxes WHERE name = ?1 LIMIT 1")
        .and_then(|mut statement| statement.exists([mailbox.name().account()]))
        .doing("look for a mailbox in")?;
    if is_known {
        return Ok(Ok(()));
    }
    let has_any = connection
        .prepare_cached("SELECT 1 FROM mailboxes LIMIT 1")
        .and_then(|mut statement| statement.exists([]))
        .doing("look for mailboxes in")?;
    Ok(Err(if has_any { Missing::Mailbox } else { Missing::All }))
}

/// A mailbox's or folder's row; none where it is not there.
pub(crate) fn row(connection: &Connection, name: &MailboxName) -> Result<Option<i64>, Fault> {
    connection
        .prepare_cached("SELECT id FROM mailboxes WHERE name = ?1 AND folder = ?2")
        .and_then(|mut statement| {
            statement.query_row([name.account(), folder(name)], |row| row.get(0)).optional()
        })
        .doing("look for a mailbox in")
}

/// A mailbox's or folder's row, made where it is not there.
pub(crate) fn row_made(connection: &Connection, name: &MailboxName) -> Result<i64, Fault> {
    match row(connection, name)? {
        Some(row) => Ok(row),
        None => make(connection, name),
    }
}

fn make(connection: &Connection, name: &MailboxName) -> Result<i64, Fault> {
    connection
        .prepare_cached("INSERT INTO mailboxes (name, folder) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.insert([name.account(), folder(name)]))
        .doing("make a mailbox in")
}

/// How many folders the account has.
fn folders(connection: &Connection, name: &MailboxName) -> Result<i64, Fault> {
    connection
        .prepare_cached("SELECT count(*) FROM mailboxes WHERE name = ?1 AND folder <> ''")
        .and_then(|mut statement| statement.query_row([name.account()], |row| row.get(0)))
        .doing("count the folders in")
}

/// What the account holds, its folders together, by its counters.
pub(crate) fn contents(connection: &Connection, name: &MailboxName) -> Result<Contents, Fault> {
    connection
        .prepare_cached(
            "SELECT coalesce(sum(messages), 0), coalesce(sum(octets), 0)
                 FROM mailboxes WHERE name = ?1",
        )
        .and_then(|mut statement| {
            statement.query_row([name.account()], |row| {
                Ok(Contents { messages: count(row.get(0)?), octets: count(row.get(1)?) })
            })
        })
        .doing("read the counters of")
}

/// A counter; others may have made it less than nothing.
pub(crate) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
