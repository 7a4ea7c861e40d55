//! The mailboxes: their names and their counters.
//!
//! Lives here: both checks, and the setting right of counters.
//! May not: give a mailbox another name: who it belongs to only people know.

use super::report::{Mend, Report};
use crate::{
    ahead::alone,
    connections::Connections,
    fault::{Doing, Fault},
    reader::{
        list::{Called, NoName},
        remove::LOCK_WAIT,
    },
};
use postino_store::Verified;
use rusqlite::{OptionalExtension, params};

pub(crate) fn check(report: &mut Report<'_>, verified: &mut Verified) -> Result<(), Fault> {
    let mut last = i64::MIN;
    while let Some(found) = next(report.connections(), last)? {
        last = found.id;
        verified.mailboxes += 1;
        let place = match found.called.mailbox() {
            Ok(name) => format!("mailbox {name}"),
            Err(NoName { column, what }) => {
                let place = format!("mailbox {}", found.id);
                let new = column.to_uppercase();
                let advice =
                    format!("UPDATE mailboxes SET {column} = '{new}' WHERE id = {}", found.id);
                report.damage(&place, what, &advice, None);
                place
            }
        };
        let (is, should) = (found.counters, found.contents);
        if is != should {
            let what = format!(
                "counts {} messages of {} octets, but has {} of {}",
                is.0, is.1, should.0, should.1
            );
            let connections = report.connections();
            report.damage(
                &place,
                what,
                "find out which program switched the triggers off (postino-sqlite(5))",
                Some(Mend::new("count them anew", move || recount(connections, found.id))),
            );
        }
    }
    Ok(())
}

/// Messages and their octets.
type Count = (i64, i64);

struct Found {
    id: i64,
    called: Called,
    counters: Count,
    contents: Count,
}

fn next(connections: &Connections, last: i64) -> Result<Option<Found>, Fault> {
    connections.read(|database| {
        database
            .connection()
            .prepare_cached(
                "SELECT b.id, b.name, b.folder, b.messages, b.octets, count(m.mailbox),
                     coalesce(sum(m.octets), 0)
                     FROM (SELECT * FROM mailboxes WHERE id > ?1 ORDER BY id LIMIT 1) b
                     LEFT JOIN messages m ON m.mailbox = b.id GROUP BY b.id",
            )
            .and_then(|mut statement| {
                let found = statement.query_row([last], |row| {
                    Ok(Found {
                        id: row.get(0)?,
                        called: Called::of(row, 1, 2)?,
                        counters: (row.get(3)?, row.get(4)?),
                        contents: (row.get(5)?, row.get(6)?),
                    })
                });
                found.optional()
            })
            .doing("read the mailboxes of")
    })
}

/// Sets a mailbox's counters to what it has by then.
fn recount(connections: &Connections, id: i64) -> Result<String, String> {
    let counted = alone(connections, LOCK_WAIT, |connection| {
        connection
            .prepare_cached(
                "UPDATE mailboxes SET (messages, octets) =
                     (SELECT count(*), coalesce(sum(octets), 0) FROM messages WHERE mailbox = ?1)
                     WHERE id = ?1",
            )
            .and_then(|mut statement| statement.execute(params![id]))
            .doing("write to")
    });
    counted
        .map(|_| "counted them anew".to_owned())
        .map_err(|fault| fault.error(connections.place().path()).to_string())
}
