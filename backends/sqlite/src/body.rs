//! Bodies: each content once, however many messages have it.
//!
//! Lives here: by what equal bodies are known; their rows, one for a small one and
//! one for each 64 KiB of a large one.
//! May not: begin or end a transaction.
//! Holds: a body without a digest belongs to whoever writes it ahead of its
//! messages, and no message refers to it; the first message to refer to it gives
//! it the digest, in the same transaction. Until then its octets are those written
//! so far: whoever writes it goes on only where they are as he left them, and
//! whoever removes it first makes them [`BEING_REMOVED`], so that nobody ever
//! takes a rest for the whole. A large body is never whole in memory.

use crate::fault::{Doing, Fault};
use postino_store::{Body, BodyReader, DeliveryError};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read};

/// A body of more octets is stored in parts, ahead of its messages.
pub(crate) const WHOLE_OCTETS_MAX: u64 = 256 * 1024;

/// Octets of a part; the last one may have fewer.
pub(crate) const PART_OCTETS: u64 = 64 * 1024;

/// The octets of a body some of whose parts may be gone already.
const BEING_REMOVED: i64 = -1;

/// SHA-256 of a body.
pub(crate) type Digest = [u8; 32];

/// Why one recipient's message was not written.
pub(crate) enum Stop {
    /// It concerns him alone.
    Alone(DeliveryError),
    /// The database said it.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DeliveryError> for Stop {
    fn from(error: DeliveryError) -> Self {
        Self::Alone(error)
    }
}

/// A body's digest.
pub(crate) fn digest(body: &Body) -> Result<Digest, DeliveryError> {
    let mut reader = body.reader();
    let mut hash = Sha256::new();
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(hash.finalize().into()),
            Ok(octets) => {
                hash.update(octets);
                let taken = octets.len();
                reader.consume(taken);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(unreadable(cause)),
        }
    }
}

/// The row of the body with this digest.
pub(crate) fn find(connection: &Connection, digest: &Digest) -> Result<Option<i64>, Fault> {
    connection
        .prepare_cached("SELECT id FROM bodies WHERE digest = ?1")
        .and_then(|mut statement| statement.query_row([digest], |row| row.get(0)).optional())
        .doing("look for a body in")
}

/// The row to which a message of this body can refer: one that is there, or
/// `ahead`, the one that was written ahead, or one that is written now. Says
/// whether it is `ahead`. The digest is made where it is not known.
pub(crate) fn row_for(
    connection: &Connection,
    body: &Body,
    known: Option<&Digest>,
    ahead: Option<i64>,
) -> Result<(i64, bool), Stop> {
    let digest = match known {
        Some(digest) => *digest,
        None => digest(body)?,
    };
    if let Some(row) = find(connection, &digest)? {
        return Ok((row, false));
    }
    if let Some(row) = ahead {
        let taken = connection
            .prepare_cached(
                "UPDATE bodies SET digest = ?2 WHERE id = ?1 AND digest IS NULL AND octets = ?3
                     AND (SELECT count(*) FROM body_parts WHERE body = ?1) = ?4",
            )
            .and_then(|mut statement| {
                let parts = body.len().div_ceil(PART_OCTETS);
                statement.execute(params![row, digest, number(body.len()), number(parts)])
            })
            .doing("write to")?;
        if taken == 1 {
            return Ok((row, true));
        }
    }
    Ok((write(connection, body, &digest)?, false))
}

/// Writes a body, with its digest.
fn write(connection: &Connection, body: &Body, digest: &Digest) -> Result<i64, Stop> {
    if body.len() <= WHOLE_OCTETS_MAX {
        return whole(body, |content| insert(connection, Some(digest), body.len(), Some(content)));
    }
    let row = insert(connection, Some(digest), body.len(), None)?;
    let mut parts = Parts::of(body);
    while let Some((number, part)) = parts.next()? {
        insert_part(connection, row, number, part)?;
    }
    Ok(row)
}

/// Makes the row of a body that is written ahead, part by part.
pub(crate) fn begin(connection: &Connection) -> Result<i64, Fault> {
    insert(connection, None, 0, None)
}

/// Writes the next part of a body that has no digest yet; says whether that was
/// still there, with all parts before this one.
pub(crate) fn extend(
    connection: &Connection,
    row: i64,
    at: u64,
    part: &[u8],
) -> Result<bool, Fault> {
    let extended = connection
        .prepare_cached(
            "UPDATE bodies SET octets = octets + ?3
                 WHERE id = ?1 AND digest IS NULL AND octets = ?2",
        )
        .and_then(|mut statement| {
            let before = at.saturating_mul(PART_OCTETS);
            statement.execute(params![row, number(before), number(part.len() as u64)])
        })
        .doing("write to")?;
    if extended == 1 {
        insert_part(connection, row, at, part)?;
    }
    Ok(extended == 1)
}

/// Removes up to so many parts of a body without a digest, and the body with the
/// last of them; says whether it is gone, or has a digest. Whoever writes it will
/// neither go on nor use it, from the first of these transactions on.
pub(crate) fn remove_some(connection: &Connection, row: i64, parts: u32) -> Result<bool, Fault> {
    let marked = connection
        .prepare_cached("UPDATE bodies SET octets = ?2 WHERE id = ?1 AND digest IS NULL")
        .and_then(|mut statement| statement.execute([row, BEING_REMOVED]))
        .doing("write to")?;
    if marked == 0 {
        return Ok(true);
    }
    let removed = connection
        .prepare_cached(
            "DELETE FROM body_parts WHERE id IN
                 (SELECT id FROM body_parts WHERE body = ?1 LIMIT ?2)",
        )
        .and_then(|mut statement| statement.execute(params![row, parts]))
        .doing("write to")?;
    if removed >= usize::try_from(parts).unwrap_or(usize::MAX) {
        return Ok(false);
    }
    connection
        .prepare_cached("DELETE FROM bodies WHERE id = ?1 AND digest IS NULL")
        .and_then(|mut statement| statement.execute([row]))
        .doing("write to")?;
    Ok(true)
}

/// What has become of a body that a message no longer refers to.
#[cfg(feature = "reader")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// Another message refers to it, or it is no longer there.
    Kept,
    /// It is removed.
    Gone,
    /// It has no digest any more, and is to be removed part by part.
    InParts,
}

/// Removes a body if no message refers to it; a large one is only given up, which
/// is the first of the transactions that remove it.
#[cfg(feature = "reader")]
pub(crate) fn release(connection: &Connection, row: i64) -> Result<Released, Fault> {
    let given_up = connection
        .prepare_cached(
            "UPDATE bodies SET digest = NULL, octets = ?2
                 WHERE id = ?1 AND EXISTS (SELECT 1 FROM body_parts WHERE body = ?1)
                     AND NOT EXISTS (SELECT 1 FROM messages WHERE body = ?1)",
        )
        .and_then(|mut statement| statement.execute([row, BEING_REMOVED]))
        .doing("write to")?;
    if given_up > 0 {
        return Ok(Released::InParts);
    }
    let removed = connection
        .prepare_cached(
            "DELETE FROM bodies
                 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM body_parts WHERE body = ?1)
                     AND NOT EXISTS (SELECT 1 FROM messages WHERE body = ?1)",
        )
        .and_then(|mut statement| statement.execute([row]))
        .doing("write to")?;
    Ok(if removed > 0 { Released::Gone } else { Released::Kept })
}

/// The bodies without a digest: at the start, those that a crash left.
pub(crate) fn unreferenced(connection: &Connection) -> Result<Vec<i64>, Fault> {
    let read = || {
        let mut statement =
            connection.prepare_cached("SELECT id FROM bodies WHERE digest IS NULL")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let read: rusqlite::Result<_> = read();
    read.doing("look for bodies in")
}

fn insert(
    connection: &Connection,
    digest: Option<&Digest>,
    octets: u64,
    content: Option<&[u8]>,
) -> Result<i64, Fault> {
    connection
        .prepare_cached("INSERT INTO bodies (digest, octets, content) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.insert(params![digest, number(octets), content]))
        .doing("write to")
}

fn insert_part(connection: &Connection, row: i64, at: u64, part: &[u8]) -> Result<(), Fault> {
    connection
        .prepare_cached("INSERT INTO body_parts (body, part, content) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute(params![row, number(at), part]))
        .map(drop)
        .doing("write to")
}

/// Has the octets of a small body taken, without a copy where they lie in memory.
fn whole<T>(body: &Body, take: impl FnOnce(&[u8]) -> Result<T, Fault>) -> Result<T, Stop> {
    let mut reader = body.reader();
    let is_all = |octets: &[u8]| octets.len() as u64 == body.len();
    match reader.fill_buf() {
        Ok(octets) if is_all(octets) => return Ok(take(octets)?),
        Err(error) if error.kind() != io::ErrorKind::Interrupted => {
            return Err(unreadable(error).into());
        }
        _ => {}
    }
    let mut octets = Vec::with_capacity(usize::try_from(body.len()).unwrap_or(0));
    reader.read_to_end(&mut octets).map_err(unreadable)?;
    Ok(take(&octets)?)
}

/// A large body, part by part.
pub(crate) struct Parts<'a> {
    reader: BodyReader<'a>,
    buffer: Vec<u8>,
    next: u64,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(body: &'a Body) -> Self {
        Self { reader: body.reader(), buffer: Vec::new(), next: 0 }
    }

    /// The next part with its number, from 0 on; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &[u8])>, DeliveryError> {
        self.buffer.clear();
        let mut part = (&mut self.reader).take(PART_OCTETS);
        part.read_to_end(&mut self.buffer).map_err(unreadable)?;
        let number = self.next;
        self.next += 1;
        Ok((!self.buffer.is_empty()).then_some((number, &self.buffer)))
    }
}

fn unreadable(cause: io::Error) -> DeliveryError {
    DeliveryError::io("read the message", "", cause)
}

/// SQLite's integers are signed; no message has so many octets.
pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
