//! A body whose parts are not as they should be, stored anew.
//!
//! Lives here: the writing of what it holds into a new body, and the exchange of
//! the two.
//! May not: hold the database's lock for longer than one part takes.
//! Holds: the old body is given up in the transaction that gives its messages the
//! new one; until then a failure leaves all as it was.

use super::{
    content::{self, Content},
    digests,
};
use crate::{
    ahead::alone,
    body::{self, PART_OCTETS, number},
    connections::Connections,
    fault::{Doing, Fault},
    reader::remove::{LOCK_WAIT, remove_parts},
};
use rusqlite::{Connection, params};

/// Stores what the body holds as a new one, which its messages have from then on, with
/// the old one's digest, marked where it holds something else; says why it could not.
pub(crate) fn renew(connections: &Connections, old: i64, digest: &[u8]) -> Result<(), String> {
    let said = |fault: Fault| fault.error(connections.place().path()).to_string();
    let new = alone(connections, LOCK_WAIT, body::begin).map_err(said)?;
    let exchanged = write(connections, old, new).and_then(|content| {
        alone(connections, LOCK_WAIT, |connection| exchange(connection, old, digest, new, &content))
    });
    let (result, rest) = match exchanged {
        Ok(true) => (Ok(()), old),
        Ok(false) => (Err("it has changed meanwhile; check again".to_owned()), new),
        Err(fault) => (Err(said(fault)), new),
    };
    remove_parts(connections, &[rest]);
    result
}

fn write(connections: &Connections, old: i64, new: i64) -> Result<Content, Fault> {
    let part_octets = usize::try_from(PART_OCTETS).unwrap_or(usize::MAX);
    let (mut waiting, mut at) = (Vec::new(), 0);
    let mut write = |part: &[u8]| {
        // Where it was removed the exchange finds that out.
        alone(connections, LOCK_WAIT, |connection| body::extend(connection, new, at, part))?;
        at += 1;
        Ok(())
    };
    let content = content::read(connections, old, &mut |octets| {
        waiting.extend_from_slice(octets);
        while waiting.len() >= part_octets {
            let rest = waiting.split_off(part_octets);
            write(&waiting)?;
            waiting = rest;
        }
        Ok(())
    })?;
    if !waiting.is_empty() {
        write(&waiting)?;
    }
    Ok(content)
}

/// Gives the old body's messages the new one; says whether both still were what
/// they should be.
fn exchange(
    connection: &Connection,
    old: i64,
    digest: &[u8],
    new: i64,
    content: &Content,
) -> Result<bool, Fault> {
    let octets = number(content.octets);
    let stored = digests::stored(digest);
    let is_right = content.digest[..] == *stored;
    let renewed = if is_right { stored.to_vec() } else { digests::marked(digest, new) };
    let exchange = || {
        let found: i64 = connection.query_row(
            "SELECT count(*) FROM bodies
                 WHERE id = ?1 AND digest = ?2 OR id = ?3 AND digest IS NULL AND octets = ?4",
            params![old, digest, new, octets],
            |row| row.get(0),
        )?;
        if found != 2 {
            return Ok(false);
        }
        connection.execute("UPDATE bodies SET digest = NULL, octets = -1 WHERE id = ?1", [old])?;
        connection.execute(
            "UPDATE bodies SET digest = ?2, content = CASE octets WHEN 0 THEN x'' END
                 WHERE id = ?1",
            params![new, renewed],
        )?;
        connection.execute("UPDATE messages SET body = ?2 WHERE body = ?1", [old, new])?;
        Ok(true)
    };
    let exchanged: rusqlite::Result<bool> = exchange();
    exchanged.doing("write to")
}
