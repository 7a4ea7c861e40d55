//! One message: its facts, and its octets piece by piece.
//!
//! Lives here: finding and opening a message, and the reading of its header and
//! its body in pieces of a part's size.
//! May not: hold a statement between two reads.
//! Holds: no more than one piece of a message is in memory; what is read is of the
//! message that was opened, or an error: a body's number is never used again, and
//! its digest is looked at with each piece.

use super::list::{InfoRow, info_columns};
use crate::{
    account,
    body::{PART_OCTETS, number},
    connections::Connections,
    fault::{Doing, Fault},
};
use postino_store::{
    Body, DeliveryError, MailboxName, MessageInfo, Octets, OpenMessage, ReadError,
};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params, types::ValueRef};
use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

/// A message's row and its body's.
struct Found {
    info: InfoRow,
    reverse_path: String,
    recipient: String,
    header_octets: i64,
    body: i64,
    digest: Option<Vec<u8>>,
    /// None where the body is missing.
    body_octets: Option<i64>,
    /// None where it lies in parts.
    content_octets: Option<i64>,
    /// The whole message, if it is no larger than a piece.
    whole: Option<Vec<u8>>,
}

/// What was looked for.
enum Lookup<T> {
    Here(T),
    NoMessage,
    NoMailbox,
}

/// The facts of the message with this id.
pub(crate) fn find(
    connections: &Connections,
    mailbox: &MailboxName,
    id: &str,
) -> Result<MessageInfo, ReadError> {
    look_up(connections, mailbox, id)?
        .info
        .info(connections.place().path())
        .map_err(ReadError::Stray)
}

/// Opens it for reading.
pub(crate) fn open(
    connections: &Arc<Connections>,
    mailbox: &MailboxName,
    id: &str,
) -> Result<OpenMessage, ReadError> {
    let path = connections.place().path();
    let found = look_up(connections, mailbox, id)?;
    let damaged = |what: &str| ReadError::Damaged {
        what: format!("the message {id} in {} {what}; verify tells more", path.display()),
    };
    let mut info = found.info.info(path).map_err(ReadError::Stray)?;
    let octets = found.body_octets.ok_or_else(|| damaged("has lost its body"))?;
    let digest = found.digest.ok_or_else(|| damaged("has a body that was never completed"))?;
    if found.content_octets.is_some_and(|content| content != octets) {
        return Err(damaged("has a body of another size than it should have"));
    }
    let count = |number| u64::try_from(number).unwrap_or(0);
    let body = if let Some(whole) = found.whole {
        Body::in_memory(whole)
    } else {
        let stored = Stored {
            connections: Arc::clone(connections),
            id: id.to_owned(),
            body: found.body,
            digest,
            header: count(found.header_octets),
            octets: count(octets),
            is_in_parts: found.content_octets.is_none(),
            last: Mutex::default(),
        };
        let all = stored.header + stored.octets;
        Body::elsewhere(stored, all)
    };
    info.octets = body.len();
    Ok(OpenMessage {
        info,
        reverse_path: Some(found.reverse_path),
        recipient: Some(found.recipient),
        body,
    })
}

fn look_up(connections: &Connections, mailbox: &MailboxName, id: &str) -> Result<Found, ReadError> {
    let found = connections
        .read(|database| row(database.connection(), mailbox, id))
        .map_err(|fault| fault.error(connections.place().path()))?;
    match found {
        Lookup::Here(found) => Ok(found),
        Lookup::NoMessage => Err(ReadError::NoSuchMessage),
        Lookup::NoMailbox => Err(DeliveryError::NoSuchMailbox.into()),
    }
}

fn row(connection: &Connection, mailbox: &MailboxName, id: &str) -> Result<Lookup<Found>, Fault> {
    let found = || {
        connection
            .prepare_cached(concat!(
                "SELECT ",
                info_columns!(),
                ", m.reverse_path, m.recipient, octet_length(m.header), m.body, b.digest,
                     b.octets, octet_length(b.content),
                     CASE WHEN octet_length(m.header) + octet_length(b.content) <= :piece
                         THEN m.header END,
                     CASE WHEN octet_length(m.header) + octet_length(b.content) <= :piece
                         THEN b.content END
                     FROM mailboxes x
                     LEFT JOIN messages m ON m.id = :id AND m.mailbox = x.id
                     LEFT JOIN bodies b ON b.id = m.body
                     WHERE x.name = :name AND x.folder = :folder"
            ))?
            .query_row(
                named_params! {
                    ":name": mailbox.account(),
                    ":folder": account::folder(mailbox),
                    ":id": id,
                    ":piece": number(PART_OCTETS)
                },
                |row| {
                    Ok(match row.get_ref(0)? {
                        ValueRef::Null => Lookup::NoMessage,
                        _ => Lookup::Here(found(row)?),
                    })
                },
            )
            .optional()
    };
    let found: rusqlite::Result<_> = found();
    Ok(found.doing("look for a message in")?.unwrap_or(Lookup::NoMailbox))
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    let text = |at| {
        Ok::<_, rusqlite::Error>(match row.get_ref(at)? {
            ValueRef::Text(octets) | ValueRef::Blob(octets) => {
                String::from_utf8_lossy(octets).into_owned()
            }
            _ => String::new(),
        })
    };
    let (header, content) = (octets(row.get_ref(11)?), octets(row.get_ref(12)?));
    Ok(Found {
        info: InfoRow::of(row)?,
        reverse_path: text(4)?,
        recipient: text(5)?,
        header_octets: row.get(6)?,
        body: row.get(7)?,
        digest: octets(row.get_ref(8)?).map(<[u8]>::to_vec),
        body_octets: row.get(9)?,
        content_octets: row.get(10)?,
        whole: header.zip(content).map(|(header, content)| [header, content].concat()),
    })
}

/// Octets, if others have not put a number there.
pub(crate) fn octets(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Text(octets) | ValueRef::Blob(octets) => Some(octets),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    }
}

/// A message in the database.
struct Stored {
    connections: Arc<Connections>,
    id: String,
    body: i64,
    digest: Vec<u8>,
    /// Octets of the header.
    header: u64,
    /// Octets of the body.
    octets: u64,
    is_in_parts: bool,
    /// The piece that was read last: who reads on reads each piece once.
    last: Mutex<Option<Piece>>,
}

struct Piece {
    /// Where it begins in the message.
    begins: u64,
    octets: Vec<u8>,
}

impl Piece {
    /// What it has from there on; none where it does not have that place.
    fn from(&self, offset: u64) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.begins)?).ok()?;
        self.octets.get(at..).filter(|rest| !rest.is_empty())
    }
}

impl Octets for Stored {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.header + self.octets || buffer.is_empty() {
            return Ok(0);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let piece = match last.take() {
            Some(piece) if piece.from(offset).is_some() => piece,
            _ => self.piece(offset)?,
        };
        let mut rest = piece.from(offset).unwrap_or_default();
        let count = rest.read(buffer)?;
        *last = Some(piece);
        Ok(count)
    }
}

impl Stored {
    /// Reads the piece that has this octet in it.
    fn piece(&self, offset: u64) -> io::Result<Piece> {
        let (of, begins, octets) = match offset.checked_sub(self.header) {
            None => (Of::Header, 0, self.header),
            Some(_) if self.is_in_parts => (Of::Parts, self.header, self.octets),
            Some(_) => (Of::Content, self.header, self.octets),
        };
        let at = (offset - begins) / PART_OCTETS * PART_OCTETS;
        let wanted = (octets - at).min(PART_OCTETS);
        let read = self.connections.read(|database| {
            self.read(database.connection(), of, at, wanted).doing("read a message in")
        });
        let path = self.connections.place().path();
        let Some(octets) = read.map_err(|fault| io::Error::other(fault.error(path)))? else {
            let text = format!("the message {} was removed while it was read", self.id);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        if octets.len() as u64 != wanted {
            let text = format!(
                "the message {} is damaged: {} octets where {wanted} should be",
                self.id,
                octets.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Piece { begins: begins + at, octets })
    }

    /// None where it is gone.
    fn read(
        &self,
        connection: &Connection,
        of: Of,
        at: u64,
        wanted: u64,
    ) -> rusqlite::Result<Option<Vec<u8>>> {
        let (body, digest) = (self.body, &self.digest);
        let (from, wanted) = (number(at) + 1, number(wanted)); // substr() counts from 1
        let blob = |row: &Row<'_>| Ok(octets(row.get_ref(0)?).unwrap_or_default().to_vec());
        match of {
            Of::Header => connection
                .prepare_cached(
                    "SELECT substr(CAST(header AS BLOB), ?3, ?4) FROM messages
                         WHERE id = ?1 AND body = ?2",
                )?
                .query_row(params![self.id, body, from, wanted], blob),
            Of::Content => connection
                .prepare_cached(
                    "SELECT substr(CAST(content AS BLOB), ?3, ?4) FROM bodies
                         WHERE id = ?1 AND digest = ?2",
                )?
                .query_row(params![body, digest, from, wanted], blob),
            // Of one that is too long no more is read than shows it.
            Of::Parts => connection
                .prepare_cached(
                    "SELECT substr(CAST(p.content AS BLOB), 1, 1 + ?4)
                         FROM bodies b JOIN body_parts p ON p.body = b.id AND p.part = ?3
                         WHERE b.id = ?1 AND b.digest = ?2",
                )?
                .query_row(params![body, digest, number(at / PART_OCTETS), wanted], blob),
        }
        .optional()
    }
}

/// Of what a piece is.
#[derive(Clone, Copy, Debug)]
enum Of {
    Header,
    Content,
    Parts,
}
