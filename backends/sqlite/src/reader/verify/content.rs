//! What a body holds, piece by piece, whether it is as it should be or not.
//!
//! Lives here: the reading of content and parts, which finds out what is wrong with
//! their order and their sizes, and what the digest of it all is.
//! May not: believe the row.

use crate::{
    body::{Digest, PART_OCTETS, number},
    connections::Connections,
    fault::{Doing, Fault},
    reader::stream::octets,
};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};

/// Octets that are read at once of a content that does not lie in parts: one that is
/// as it should be is read once.
const PIECE_OCTETS: u64 = 256 * 1024;

/// Flaws that are told of one body.
const FLAWS_MAX: usize = 5;

/// What was read.
pub(crate) struct Content {
    pub(crate) octets: u64,
    pub(crate) digest: Digest,
    /// Where there are both: of the row's content alone, and of the parts alone.
    pub(crate) apart: Option<(Half, Half)>,
    /// What is wrong with the parts, each as the end of a sentence.
    pub(crate) flaws: Vec<String>,
}

/// One of two that should not both be there.
pub(crate) struct Half {
    pub(crate) octets: u64,
    pub(crate) digest: Digest,
}

/// What was read so far.
#[derive(Clone, Default)]
struct Sum {
    octets: u64,
    hash: Sha256,
}

impl Sum {
    fn add(&mut self, octets: &[u8]) {
        self.octets += octets.len() as u64;
        self.hash.update(octets);
    }

    fn half(self) -> Half {
        Half { octets: self.octets, digest: self.hash.finalize().into() }
    }
}

/// One part's row.
struct Part {
    number: i64,
    octets: u64,
    /// Up to a piece of it.
    content: Vec<u8>,
}

/// Reads all that stands under a body's number, whether there is a body or not.
pub(crate) fn read(
    connections: &Connections,
    body: i64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<Content, Fault> {
    let mut all = Sum::default();
    let mut has_content = false;
    let mut at = 0;
    while let Some(piece) = connections.read(|database| piece(database.connection(), body, at))? {
        has_content = true;
        all.add(&piece);
        take(&piece)?;
        if (piece.len() as u64) < PIECE_OCTETS {
            break;
        }
        at += PIECE_OCTETS;
    }
    let content = has_content.then(|| all.clone());
    let mut parts = Sum::default();
    let mut take = |octets: &[u8]| {
        all.add(octets);
        if has_content {
            parts.add(octets);
        }
        take(octets)
    };
    let mut flaws = Vec::new();
    let (mut expected, mut is_short, mut last) = (0, false, i64::MIN);
    while let Some(part) = connections.read(|database| part(database.connection(), body, last))? {
        last = part.number;
        if has_content {
            flaws.push(format!("has a part {last} beside its content"));
        } else if last != expected {
            flaws.push(format!("has part {last} where part {expected} should be"));
        }
        if is_short {
            flaws.push(format!("has a part {last} behind one that is shorter than 64 KiB"));
        }
        if part.octets > PART_OCTETS || part.octets == 0 {
            flaws.push(format!("has a part {last} of {} octets", part.octets));
        }
        expected = last.saturating_add(1);
        is_short = part.octets < PART_OCTETS;
        take(&part.content)?;
        let mut at = part.content.len() as u64;
        while at < part.octets {
            let rest = connections
                .read(|database| rest_of_part(database.connection(), body, last, at))?
                .filter(|rest| !rest.is_empty());
            let Some(rest) = rest else { break };
            take(&rest)?;
            at += rest.len() as u64;
        }
        flaws.truncate(FLAWS_MAX);
    }
    let has_parts = last != i64::MIN;
    if !has_content && !has_parts {
        flaws.push("has neither content nor parts".to_owned());
    }
    let apart = content.filter(|_| has_parts).map(|content| (content.half(), parts.half()));
    let Half { octets, digest } = all.half();
    Ok(Content { octets, digest, apart, flaws })
}

fn piece(connection: &Connection, body: i64, at: u64) -> Result<Option<Vec<u8>>, Fault> {
    connection
        .prepare_cached(
            "SELECT substr(CAST(content AS BLOB), ?2, ?3) FROM bodies
                 WHERE id = ?1 AND content IS NOT NULL",
        )
        .and_then(|mut statement| {
            let read = statement
                .query_row(params![body, number(at) + 1, number(PIECE_OCTETS)], |row| {
                    Ok(octets(row.get_ref(0)?).unwrap_or_default().to_vec())
                });
            read.optional()
        })
        .doing("read a body in")
}

fn part(connection: &Connection, body: i64, last: i64) -> Result<Option<Part>, Fault> {
    connection
        .prepare_cached(
            "SELECT part, octet_length(content), substr(CAST(content AS BLOB), 1, ?3)
                 FROM body_parts WHERE body = ?1 AND part > ?2 ORDER BY part LIMIT 1",
        )
        .and_then(|mut statement| {
            let read = statement.query_row(params![body, last, number(PIECE_OCTETS)], |row| {
                Ok(Part {
                    number: row.get(0)?,
                    octets: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                    content: octets(row.get_ref(2)?).unwrap_or_default().to_vec(),
                })
            });
            read.optional()
        })
        .doing("read a body in")
}

fn rest_of_part(
    connection: &Connection,
    body: i64,
    part: i64,
    at: u64,
) -> Result<Option<Vec<u8>>, Fault> {
    connection
        .prepare_cached(
            "SELECT substr(CAST(content AS BLOB), ?3, ?4) FROM body_parts
                 WHERE body = ?1 AND part = ?2",
        )
        .and_then(|mut statement| {
            let read = statement
                .query_row(params![body, part, number(at) + 1, number(PIECE_OCTETS)], |row| {
                    Ok(octets(row.get_ref(0)?).unwrap_or_default().to_vec())
                });
            read.optional()
        })
        .doing("read a body in")
}
