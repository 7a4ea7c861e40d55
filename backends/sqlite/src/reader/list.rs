//! Mailboxes and messages, a page at a time.
//!
//! Lives here: the listings, and a message's facts from its row.
//! May not: read a message's octets.
//! Holds: each page is one statement that has ended before the caller is told of
//! what it gave; a mailbox is looked for by its name each time, since its number
//! may be used again.

use crate::{
    account::{self, count},
    connections::Connections,
    fault::{Doing, Fault},
};
use postino_store::{
    Contents, DeliveryError, DeliveryId, Flags, MailboxName, MessageInfo, NameError, ReadError,
    Stray, Timestamp, Visit,
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

/// What a mailbox is called in its row.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) name: Text,
    pub(crate) folder: Text,
}

/// What is wrong with it, as the end of a sentence.
pub(crate) struct NoName {
    /// The column that it is in.
    pub(crate) column: &'static str,
    pub(crate) what: String,
}

impl Called {
    /// From these two columns of a row.
    pub(crate) fn of(row: &Row<'_>, name: usize, folder: usize) -> rusqlite::Result<Self> {
        Ok(Self { name: Text::of(row.get_ref(name)?), folder: Text::of(row.get_ref(folder)?) })
    }

    /// The mailbox's name, where it can be one.
    pub(crate) fn mailbox(&self) -> Result<MailboxName, NoName> {
        let account = checked("name", &self.name, |name| MailboxName::new(name))?;
        checked("folder", &self.folder, |folder| match folder {
            "" => Ok(account.inbox()),
            folder => account.in_folder(folder),
        })
    }
}

fn checked(
    column: &'static str,
    text: &Text,
    check: impl FnOnce(&str) -> Result<MailboxName, NameError>,
) -> Result<MailboxName, NoName> {
    let why = match text.as_str().map(check) {
        Some(Ok(name)) => return Ok(name),
        Some(Err(error)) => format!("cannot be one, {}: {error}", text.shown()),
        None => format!("is no text, {}", text.shown()),
    };
    Err(NoName { column, what: format!("has a {column} that {why}") })
}

/// Visits the mailboxes by their names' octets, each account's folders behind it.
pub(crate) fn mailboxes(
    connections: &Connections,
    visit: Visit<'_, MailboxName>,
) -> Result<(), Fault> {
    let mut last = None;
    loop {
        let page = connections.read(|database| names(database.connection(), last.as_ref()))?;
        let is_last = page.len() < PAGE as usize;
        for called in page {
            let found = called.mailbox().map_err(|NoName { what, .. }| Stray {
                path: connections.place().path().to_owned(),
                why: format!("holds a mailbox that {what}"),
            });
            if visit(found).is_break() {
                return Ok(());
            }
            last = Some(called);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn names(connection: &Connection, last: Option<&Called>) -> Result<Vec<Called>, Fault> {
    let called = |row: &Row<'_>| Called::of(row, 0, 1);
    let read = || match last {
        None => connection
            .prepare_cached("SELECT name, folder FROM mailboxes ORDER BY name, folder LIMIT :page")?
            .query_map(named_params! {":page": PAGE}, called)?
            .collect(),
        Some(Called { name, folder }) => connection
            .prepare_cached(
                "SELECT name, folder FROM mailboxes WHERE (name, folder) > (:name, :folder)
                     ORDER BY name, folder LIMIT :page",
            )?
            .query_map(named_params! {":name": name, ":folder": folder, ":page": PAGE}, called)?
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
    let (name, folder) = (mailbox.account(), account::folder(mailbox));
    let read = || {
        match last {
        None => connection
            .prepare_cached(concat!(
                "SELECT ",
                info_columns!(),
                " FROM messages m
                     WHERE m.mailbox = (SELECT id FROM mailboxes WHERE name = :name AND folder = :folder)
                     ORDER BY m.id LIMIT :page"
            ))?
            .query_map(
                named_params! {":name": name, ":folder": folder, ":page": PAGE},
                InfoRow::of,
            )?
            .collect(),
        Some(last) => connection
            .prepare_cached(concat!(
                "SELECT ",
                info_columns!(),
                " FROM messages m
                     WHERE m.mailbox = (SELECT id FROM mailboxes WHERE name = :name AND folder = :folder)
                         AND m.id > :last
                     ORDER BY m.id LIMIT :page"
            ))?
            .query_map(
                named_params! {":name": name, ":folder": folder, ":last": last, ":page": PAGE},
                InfoRow::of,
            )?
            .collect(),
    }
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
            .prepare_cached(
                "SELECT messages, octets FROM mailboxes WHERE name = ?1 AND folder = ?2",
            )
            .doing("look for a mailbox in")?;
        statement
            .query_row([mailbox.account(), account::folder(mailbox)], |row| {
                Ok(Contents { messages: count(row.get(0)?), octets: count(row.get(1)?) })
            })
            .optional()
            .doing("look for a mailbox in")
    });
    read.map_err(|fault| fault.error(connections.place().path()))?
        .ok_or_else(|| DeliveryError::NoSuchMailbox.into())
}
