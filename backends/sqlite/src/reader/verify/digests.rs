//! The digest of a body that does not hold what was stored, or holds it twice.
//!
//! Lives here: the mark on the digest of a damaged body, by which each later check
//! finds it; keeping the one of content and parts that is right.
//! May not: give a body the digest of damaged octets: they would pass for sound.
//! Holds: a marked digest is that of no mail, so that no delivery finds the body by
//! it; all else uses such a body as any other. None at all would have it removed by
//! the next start of a server.

use super::{change::change, content::Half};
use crate::{
    ahead::alone,
    body::{Digest, number},
    connections::Connections,
    fault::Doing,
    reader::remove::LOCK_WAIT,
};
use rusqlite::params;

/// Octets of a digest without a mark.
const DIGEST_OCTETS: usize = size_of::<Digest>();

/// Parts that one transaction removes.
const PARTS_AT_ONCE: u32 = 64;

/// The digest of what was stored, without a mark.
pub(crate) fn stored(digest: &[u8]) -> &[u8] {
    digest.get(..DIGEST_OCTETS).unwrap_or(digest)
}

/// Whether no delivery can find the body by its digest.
pub(crate) fn is_marked(digest: &[u8]) -> bool {
    digest.len() != DIGEST_OCTETS
}

/// What was stored, and the body's number: several bodies that have come to harm can
/// have been the same.
pub(crate) fn marked(digest: &[u8], id: i64) -> Vec<u8> {
    [stored(digest), &id.to_be_bytes()].concat()
}

/// Sees to it that no new mail is stored as a damaged body.
pub(crate) fn mark(
    connections: &Connections,
    id: i64,
    digest: &[u8],
    octets: u64,
) -> Result<String, String> {
    let done = "took its digest away, so that no new mail is stored as it";
    set(connections, done, id, digest, &marked(digest, id), octets)
}

/// Takes the mark from a body that holds what was stored again.
pub(crate) fn unmark(
    connections: &Connections,
    id: i64,
    digest: &[u8],
    octets: u64,
) -> Result<String, String> {
    set(connections, "gave it its digest back", id, digest, stored(digest), octets)
}

fn set(
    connections: &Connections,
    done: &str,
    id: i64,
    old: &[u8],
    new: &[u8],
    octets: u64,
) -> Result<String, String> {
    change(connections, done, |connection| {
        connection
            .prepare_cached(
                "UPDATE bodies SET digest = ?3, octets = ?4 WHERE id = ?1 AND digest = ?2",
            )?
            .execute(params![id, old, new, number(octets)])
    })
}

/// Drops the parts of a body whose content is right.
pub(crate) fn drop_parts(
    connections: &Connections,
    id: i64,
    digest: &[u8],
    content: &Half,
) -> Result<String, String> {
    let some = || {
        alone(connections, LOCK_WAIT, |connection| {
            connection
                .prepare_cached(
                    "DELETE FROM body_parts WHERE id IN
                         (SELECT p.id FROM body_parts p JOIN bodies b ON b.id = p.body
                             WHERE b.id = ?1 AND b.digest = ?2 AND b.content IS NOT NULL
                             LIMIT ?3)",
                )
                .and_then(|mut statement| statement.execute(params![id, digest, PARTS_AT_ONCE]))
                .doing("write to")
        })
    };
    // Not all at once: a server may wait.
    while some().map_err(|fault| fault.error(connections.place().path()).to_string())? > 0 {}
    set(connections, "dropped the parts", id, digest, stored(digest), content.octets)
}

/// Drops the content of a body whose parts are right.
pub(crate) fn drop_content(
    connections: &Connections,
    id: i64,
    digest: &[u8],
    parts: &Half,
) -> Result<String, String> {
    change(connections, "dropped the content", |connection| {
        connection
            .prepare_cached(
                "UPDATE bodies SET content = NULL, digest = ?3, octets = ?4
                     WHERE id = ?1 AND digest = ?2
                         AND EXISTS (SELECT 1 FROM body_parts WHERE body = ?1)",
            )?
            .execute(params![id, digest, stored(digest), number(parts.octets)])
    })
}
