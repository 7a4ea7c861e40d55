//! The messages' rows.
//!
//! Lives here: whether each has its mailbox, its body and its size, and what else
//! stands in its columns.
//! May not: read a message's octets.

use super::report::{Mend, Report};
use crate::{
    account,
    ahead::alone,
    connections::Connections,
    fault::{Doing, Fault},
    reader::{list::Text, remove::LOCK_WAIT},
};
use postino_store::{Flags, MailboxName, Verified};
use rusqlite::{Connection, Row, params};

/// Rows of a page.
const PAGE: u32 = 256;

/// Where messages go whose mailbox is gone.
const LOST: &str = "lost+found@localhost";

/// A message's row, and what it refers to.
struct Found {
    row: i64,
    id: Text,
    octets: i64,
    /// Those of its header and its body; none without a body.
    real: Option<i64>,
    received: i64,
    flags: Text,
    mailbox: i64,
    has_mailbox: bool,
    body: i64,
}

impl Found {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row: row.get(0)?,
            id: Text::of(row.get_ref(1)?),
            octets: row.get(2)?,
            real: row.get(3)?,
            received: row.get(4)?,
            flags: Text::of(row.get_ref(5)?),
            mailbox: row.get(6)?,
            has_mailbox: row.get(7)?,
            body: row.get(8)?,
        })
    }
}

pub(crate) fn check(report: &mut Report<'_>, verified: &mut Verified) -> Result<(), Fault> {
    let mut last = i64::MIN;
    loop {
        let page = report.connections().read(|database| page(database.connection(), last))?;
        let is_last = page.len() < PAGE as usize;
        for found in page {
            last = found.row;
            verified.messages += 1;
            verified.octets += found.real.and_then(|real| u64::try_from(real).ok()).unwrap_or(0);
            check_one(report, &found);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn page(connection: &Connection, last: i64) -> Result<Vec<Found>, Fault> {
    let read = || {
        connection
            .prepare_cached(
                "SELECT m.rowid, m.id, m.octets, octet_length(m.header) + b.octets, m.received,
                     m.flags, m.mailbox, x.id IS NOT NULL, m.body
                     FROM messages m LEFT JOIN mailboxes x ON x.id = m.mailbox
                     LEFT JOIN bodies b ON b.id = m.body
                     WHERE m.rowid > ?1 ORDER BY m.rowid LIMIT ?2",
            )?
            .query_map(params![last, PAGE], Found::of)?
            .collect()
    };
    let read: rusqlite::Result<_> = read();
    read.doing("read the messages of")
}

fn check_one(report: &mut Report<'_>, found: &Found) {
    let connections = report.connections();
    let row = found.row;
    let id = found.id.as_str().filter(|id| is_id(id));
    let place = id.map_or_else(|| format!("message {row}"), |id| format!("message {id}"));
    if id.is_none() {
        let advice = format!("give it one of letters and digits (rowid {row})");
        report.damage(
            &place,
            format!("has an id that is none of postino's, {}", found.id.shown()),
            &advice,
            None,
        );
    }
    if !found.has_mailbox {
        report.damage(
            &place,
            format!("is in mailbox {}, which is not there", found.mailbox),
            "copy it to whom it belongs to; a new mailbox could come to have that number",
            Some(Mend::new(format!("put it into {LOST}"), move || attach(connections, row))),
        );
    }
    match found.real {
        None => report.damage(
            &place,
            format!("has lost its body, {}", found.body),
            "put back a backup beside, and copy the message from there",
            None,
        ),
        Some(real) if real != found.octets => report.damage(
            &place,
            format!("is said to have {} octets, but has {real}", found.octets),
            "find out which program changed it",
            Some(Mend::new("set its size right", move || resize(connections, row))),
        ),
        Some(_) => {}
    }
    let flags = found.flags.as_str().unwrap_or_default();
    let known = Flags::from_letters(flags);
    if found.flags.as_str() != Some(known.as_str()) {
        report.stray(
            &place,
            format!("has flags that are not as they should be, {}", found.flags.shown()),
            &format!("UPDATE messages SET flags = '{known}' WHERE rowid = {row}"),
            None,
        );
    }
    if found.received < 0 {
        report.stray(
            &place,
            format!("came before 1970 (received {})", found.received),
            "set its column received to seconds since 1970",
            None,
        );
    }
}

/// Whether it is of the alphabet that ours are of.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|octet| octet.is_ascii_alphanumeric())
}

/// Puts a message without a mailbox into one that is there.
fn attach(connections: &Connections, row: i64) -> Result<String, String> {
    let name = MailboxName::new(LOST).map_err(|error| error.to_string())?;
    let done = alone(connections, LOCK_WAIT, |connection| {
        let mailbox = account::row_made(connection, &name)?;
        let attached = connection
            .prepare_cached(
                "UPDATE messages SET mailbox = ?2
                     WHERE rowid = ?1 AND mailbox NOT IN (SELECT id FROM mailboxes)",
            )
            .and_then(|mut statement| statement.execute([row, mailbox]))
            .doing("write to")?;
        if attached > 0 {
            connection
                .prepare_cached(
                    "UPDATE mailboxes SET messages = messages + 1,
                         octets = octets + (SELECT octets FROM messages WHERE rowid = ?1)
                         WHERE id = ?2",
                )
                .and_then(|mut statement| statement.execute([row, mailbox]))
                .doing("write to")?;
        }
        Ok(())
    });
    said(connections, done, format!("put it into {LOST}"))
}

/// Sets a message's size, and its mailbox's counter with it.
fn resize(connections: &Connections, row: i64) -> Result<String, String> {
    let done = alone(connections, LOCK_WAIT, |connection| {
        let run = |statement| {
            connection
                .prepare_cached(statement)
                .and_then(|mut prepared| prepared.execute([row]))
                .doing("write to")
        };
        run("UPDATE mailboxes SET octets = mailboxes.octets - m.octets + octet_length(m.header) + b.octets
                 FROM messages m JOIN bodies b ON b.id = m.body
                 WHERE m.rowid = ?1 AND mailboxes.id = m.mailbox")?;
        run("UPDATE messages SET octets =
                 octet_length(header) + (SELECT octets FROM bodies WHERE id = body)
                 WHERE rowid = ?1 AND body IN (SELECT id FROM bodies)")
    });
    said(connections, done.map(drop), "set its size right".to_owned())
}

fn said(
    connections: &Connections,
    done: Result<(), Fault>,
    what: String,
) -> Result<String, String> {
    done.map(|()| what).map_err(|fault| fault.error(connections.place().path()).to_string())
}
