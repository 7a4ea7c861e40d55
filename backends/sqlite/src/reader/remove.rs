//! Removing messages and mailboxes.
//!
//! Lives here: what the triggers do for others, in transactions short enough for a
//! server that writes to the same database.
//! May not: hold the database's lock between two of them.
//! Holds: after each transaction counters and bodies are right. A mailbox of many
//! messages goes a few at a time, and itself with the last of them: what a crash
//! interrupts has removed fewer, and is done by removing it again. So does a message
//! go that is delivered meanwhile.

use crate::{
    account,
    ahead::{alone, remove_or_keep},
    body::{self, Released},
    checkpoint,
    connections::Connections,
    fault::{Doing, Fault},
};
use postino_store::{DeliveryError, MailboxName, ReadError};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long somebody else's lock is waited for: a busy server has it most of the
/// time, but never for long.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Messages that one transaction removes of a mailbox.
const MESSAGES_AT_ONCE: u32 = 256;

/// Octets at which it ends with fewer.
const OCTETS_AT_ONCE: i64 = 4 << 20;

/// What there is to know of a message that goes.
struct Going {
    row: i64,
    mailbox: i64,
    octets: i64,
    body: i64,
}

impl Going {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { row: row.get(0)?, mailbox: row.get(1)?, octets: row.get(2)?, body: row.get(3)? })
    }
}

/// Removes one message.
pub(crate) fn message(
    connections: &Connections,
    mailbox: &MailboxName,
    id: &str,
) -> Result<(), ReadError> {
    let done = alone(connections, LOCK_WAIT, |connection| {
        let Some(mailbox) = account::row(connection, mailbox)? else { return Ok(None) };
        let going = connection
            .prepare_cached(
                "SELECT rowid, mailbox, octets, body FROM messages WHERE id = ?1 AND mailbox = ?2",
            )
            .and_then(|mut statement| {
                statement.query_row(params![id, mailbox], Going::of).optional()
            })
            .doing("look for a message in")?;
        going.map(|going| remove(connection, &going)).transpose().map(Some)
    });
    let rest = done
        .map_err(|fault| fault.error(connections.place().path()))?
        .ok_or(DeliveryError::NoSuchMailbox)?
        .ok_or(ReadError::NoSuchMessage)?;
    remove_parts(connections, rest.as_slice());
    Ok(())
}

/// Removes a mailbox with its messages, and where it is the account's with its folders.
pub(crate) fn mailbox(connections: &Connections, name: &MailboxName) -> Result<(), ReadError> {
    let mut is_known = false;
    loop {
        let began = Instant::now();
        let step = alone(connections, LOCK_WAIT, |connection| some_of(connection, name))
            .map_err(|fault| fault.error(connections.place().path()))?;
        let Some(step) = step else {
            // Somebody else may have removed the rest.
            return if is_known { Ok(()) } else { Err(DeliveryError::NoSuchMailbox.into()) };
        };
        is_known = true;
        remove_parts(connections, &step.in_parts);
        if step.is_last {
            return Ok(());
        }
        if connections.wal().is_due() {
            checkpoint::checkpoint(connections);
        }
        // A server that waits gets as much time as was taken.
        thread::sleep(began.elapsed());
    }
}

/// What one transaction has done to a mailbox.
struct Step {
    /// Large bodies that are to be removed.
    in_parts: Vec<i64>,
    /// The mailbox itself is gone, with all its folders.
    is_last: bool,
}

/// Removes the oldest messages, and the mailbox if these were all, of an account one
/// folder after the other; none where there is no such mailbox.
fn some_of(connection: &Connection, name: &MailboxName) -> Result<Option<Step>, Fault> {
    let Some(mailbox) = next_row(connection, name)? else { return Ok(None) };
    let oldest = || {
        connection
            .prepare_cached(
                "SELECT rowid, mailbox, octets, body FROM messages
                     WHERE mailbox = ?1 ORDER BY id LIMIT ?2",
            )?
            .query_map(params![mailbox, MESSAGES_AT_ONCE], Going::of)?
            .collect()
    };
    let oldest: rusqlite::Result<Vec<_>> = oldest();
    let oldest = oldest.doing("list the messages of")?;
    let mut step = Step { in_parts: Vec::new(), is_last: oldest.len() < MESSAGES_AT_ONCE as usize };
    let mut octets = 0_i64;
    for going in oldest {
        if octets >= OCTETS_AT_ONCE {
            step.is_last = false;
            break;
        }
        octets = octets.saturating_add(going.octets);
        step.in_parts.extend(remove(connection, &going)?);
    }
    if step.is_last {
        connection
            .prepare_cached("DELETE FROM mailboxes WHERE id = ?1")
            .and_then(|mut statement| statement.execute([mailbox]))
            .doing("write to")?;
        step.is_last = next_row(connection, name)?.is_none();
    }
    Ok(Some(step))
}

/// The row that is to go next: of an account its own last.
fn next_row(connection: &Connection, name: &MailboxName) -> Result<Option<i64>, Fault> {
    if !account::folder(name).is_empty() {
        return account::row(connection, name);
    }
    connection
        .prepare_cached("SELECT id FROM mailboxes WHERE name = ?1 ORDER BY folder DESC LIMIT 1")
        .and_then(|mut statement| {
            statement.query_row([name.account()], |row| row.get(0)).optional()
        })
        .doing("look for a mailbox in")
}

/// Removes a message with all that follows from it; gives its body where that is to
/// be removed part by part.
fn remove(connection: &Connection, going: &Going) -> Result<Option<i64>, Fault> {
    connection
        .prepare_cached("DELETE FROM messages WHERE rowid = ?1")
        .and_then(|mut statement| statement.execute([going.row]))
        .doing("write to")?;
    connection
        .prepare_cached(
            "UPDATE mailboxes SET messages = messages - 1, octets = octets - ?2 WHERE id = ?1",
        )
        .and_then(|mut statement| statement.execute([going.mailbox, going.octets]))
        .doing("write to")?;
    let released = body::release(connection, going.body)?;
    Ok((released == Released::InParts).then_some(going.body))
}

/// Removes the parts of bodies that were given up. The messages are gone whether it
/// succeeds or not; what it leaves goes with the next start of a server.
pub(super) fn remove_parts(connections: &Connections, rows: &[i64]) {
    if let Err(fault) = remove_or_keep(connections, rows, LOCK_WAIT) {
        log::warn!(
            "the body of a removed message is removed when postino starts again: {}",
            fault.error(connections.place().path())
        );
    }
}
