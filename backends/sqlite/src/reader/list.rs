//! Mailboxes and messages, a page at a time.
//!
//! Lives here: the listings, and a message's facts from its row.
//! May not: read a message's octets.
//! Holds: each page is one statement that has ended before the caller is told of
//! what it gave; a mailbox is looked for by its name each time, since its number
//! may be used again.

use crate::{
    connections::Connections,
    fault::{Doing, Fault},
};
use postino_store::{
    Contents, DeliveryError, DeliveryId, Flags, MailboxName, MessageInfo, ReadError, Stray,
    Timestamp, Visit,
};
use rusqlite::{
    Connection, OptionalExtension, Row, ToSql, named_params,
    types::{ToSqlOutput, ValueRef},
};
use std::{ffi::OsString, path::Path, time::Duration};

/// Rows of a page.
const PAGE: u32 = 256;

/// What the columns of a message's facts are, in the order of [`info`].
macro_rules! info_columns {
    () => {
        "m.id, m.octets, m.received, m.flags"
    };
}
pub(crate) use info_columns;

/// A text as others may have written it. The next page begins behind it, whatever it is.
#[derive(Debug)]
pub(crate) struct Text {
    is_text: bool,
    octets: Vec<u8>,
}

impl Text {
    /// The text in a column that holds texts. Numbers do not stand in such a one.
    pub(crate) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Text(octets) => Self { is_text: true, octets: octets.to_vec() },
            ValueRef::Blob(octets) => Self { is_text: false, octets: octets.to_vec() },
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => {
                Self { is_text: true, octets: Vec::new() }
            }
        }
    }

    /// None where it is no text.
    pub(crate) fn as_str(&self) -> Option<&str> {
        self.is_text.then(|| std::str::from_utf8(&self.octets).ok()).flatten()
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        format!("{:?}", String::from_utf8_lossy(&self.octets))
    }
}

impl ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let octets = &self.octets;
        let value = if self.is_text { ValueRef::Text(octets) } else { ValueRef::Blob(octets) };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// Why a name cannot be a mailbox's, as the end of a sentence.
pub(crate) fn mailbox_name(name: &Text) -> Result<MailboxName, String> {
    let Some(text) = name.as_str() else {
        return Err(format!("has a name that is no text, {}", name.shown()));
    };
    MailboxName::new(text)
        .map_err(|error| format!("has a name that cannot be one, {}: {error}", name.shown()))
}

/// Visits the mailboxes by their names' octets.
pub(crate) fn mailboxes(
    connections: &Connections,
    visit: Visit<'_, MailboxName>,
) -> Result<(), Fault> {
    let mut last = None;
    loop {
        let page = connections.read(|database| names(database.connection(), last.as_ref()))?;
        let is_last = page.len() < PAGE as usize;
        for name in page {
            let found = mailbox_name(&name).map_err(|why| Stray {
                path: connections.place().path().to_owned(),
                why: format!("holds a mailbox that {why}"),
            });
            if visit(found).is_break() {
                return Ok(());
            }
            last = Some(name);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn names(connection: &Connection, last: Option<&Text>) -> Result<Vec<Text>, Fault> {
    let text = |row: &Row<'_>| row.get_ref(0).map(Text::of);
    let read = || match last {
        None => connection
            .prepare_cached("SELECT name FROM mailboxes ORDER BY name LIMIT :page")?
            .query_map(named_params! {":page": PAGE}, text)?
            .collect(),
        Some(last) => connection
            .prepare_cached(
                "SELECT name FROM mailboxes WHERE name > :last ORDER BY name LIMIT :page",
            )?
            .query_map(named_params! {":last": last, ":page": PAGE}, text)?
            .collect(),
    };
    let read: rusqlite::Result<_> = read();
    read.doing("list the mailboxes of")
}

/// Visits the messages of a mailbox by their ids, which ascend with time.
pub(crate) fn messages(
    connections: &Connections,
    mailbox: &MailboxName,
    visit: Visit<'_, MessageInfo>,
) -> Result<(), ReadError> {
    let path = connections.place().path();
    contents(connections, mailbox)?; // which is there
    let mut last = None;
    loop {
        let page = connections
            .read(|database| infos(database.connection(), mailbox, last.as_ref()))
            .map_err(|fault| fault.error(path))?;
        let is_last = page.len() < PAGE as usize;
        for row in page {
            if visit(row.info(path)).is_break() {
                return Ok(());
            }
            last = Some(row.id);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn infos(
    connection: &Connection,
    mailbox: &MailboxName,
    last: Option<&Text>,
) -> Result<Vec<InfoRow>, Fault> {
    let mailbox = mailbox.as_str();
    let read = || match last {
        None => connection
            .prepare_cached(concat!(
                "SELECT ",
                info_columns!(),
                " FROM messages m
                     WHERE m.mailbox = (SELECT id FROM mailboxes WHERE name = :mailbox)
                     ORDER BY m.id LIMIT :page"
            ))?
            .query_map(named_params! {":mailbox": mailbox, ":page": PAGE}, InfoRow::of)?
            .collect(),
        Some(last) => connection
            .prepare_cached(concat!(
                "SELECT ",
                info_columns!(),
                " FROM messages m
                     WHERE m.mailbox = (SELECT id FROM mailboxes WHERE name = :mailbox)
                         AND m.id > :last
                     ORDER BY m.id LIMIT :page"
            ))?
            .query_map(
                named_params! {":mailbox": mailbox, ":last": last, ":page": PAGE},
                InfoRow::of,
            )?
            .collect(),
    };
    let read: rusqlite::Result<_> = read();
    read.doing("list the messages of")
}

/// A message's facts as they stand in its row.
pub(crate) struct InfoRow {
    id: Text,
    octets: i64,
    received: i64,
    flags: Text,
}

impl InfoRow {
    /// From the first columns of a row.
    pub(crate) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: Text::of(row.get_ref(0)?),
            octets: row.get(1)?,
            received: row.get(2)?,
            flags: Text::of(row.get_ref(3)?),
        })
    }

    /// As the listing has them; `path` is the database's.
    pub(crate) fn info(&self, path: &Path) -> Result<MessageInfo, Stray> {
        let id = self.id.as_str().filter(|id| is_id(id)).ok_or_else(|| Stray {
            path: path.to_owned(),
            why: format!("holds a message whose id is no word, {}", self.id.shown()),
        })?;
        let since_epoch = Duration::from_secs(u64::try_from(self.received).unwrap_or(0));
        Ok(MessageInfo {
            id: DeliveryId::new(id),
            octets: u64::try_from(self.octets).unwrap_or(0),
            received: Timestamp { since_epoch, offset_minutes: 0 },
            flags: Some(Flags::from_letters(&String::from_utf8_lossy(&self.flags.octets))),
            hint: OsString::new(),
        })
    }
}

/// Whether it can be a word in a reply.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|octet| octet.is_ascii_graphic())
}

/// What a mailbox holds, by its counters.
pub(crate) fn contents(
    connections: &Connections,
    mailbox: &MailboxName,
) -> Result<Contents, ReadError> {
    let read = connections.read(|database| {
        let mut statement = database
            .connection()
            .prepare_cached("SELECT messages, octets FROM mailboxes WHERE name = ?1")
            .doing("look for a mailbox in")?;
        statement
            .query_row([mailbox.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()
            .doing("look for a mailbox in")
    });
    let (messages, octets) = read
        .map_err(|fault| fault.error(connections.place().path()))?
        .ok_or(DeliveryError::NoSuchMailbox)?;
    let count = |number| u64::try_from(number).unwrap_or(0);
    Ok(Contents { messages: count(messages), octets: count(octets) })
}
