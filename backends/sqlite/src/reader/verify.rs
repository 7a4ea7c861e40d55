//! Checking the whole database, and mending what can be mended.
//!
//! Lives here: the order of the checks.
//! May not: change anything without being told to, or lose an octet.
//! Holds: a server may write to the database meanwhile: what is compared comes from
//! one statement, and what is changed is compared once more in the transaction that
//! changes it. Each statement but one is short; that one, SQLite's own check of the
//! file's structure, takes as long as reading the whole file does. No delivery waits
//! for it, but the log grows until its end.

mod bodies;
mod change;
mod content;
mod digests;
mod files;
mod lost;
mod mailboxes;
mod messages;
mod renew;
mod report;

use crate::{
    connections::Connections,
    database::Database,
    fault::{Doing, Fault},
};
use postino_store::{Finding, Repair, Verified};
use report::Report;

/// So many faults of the structure are told; there is no end to those of a file that
/// something else was written into.
const STRUCTURE_FAULTS: usize = 100;

/// Checks the database.
pub(crate) fn verify(
    connections: &Connections,
    repair: Repair,
    report: &mut dyn FnMut(Finding),
) -> Result<Verified, Fault> {
    let mut report = Report::new(connections, repair, report);
    let mut verified = Verified::default();
    files::check(&mut report)?;
    let opened = connections.read(|_| Ok(()));
    let restore = "put back a backup, or see postino-sqlite(5)";
    if !report.section("cannot be used", restore, opened)? {
        return Ok(verified);
    }
    let is_sound = structure(&mut report);
    if !report.section("cannot be read", restore, is_sound)? {
        report.refuse_to_mend();
    }
    let what = "cannot be read to its end";
    // In this order: each is about what the one before has mended.
    let checked = bodies::check(&mut report);
    report.section(what, restore, checked)?;
    let checked = messages::check(&mut report, &mut verified);
    report.section(what, restore, checked)?;
    let checked = mailboxes::check(&mut report, &mut verified);
    report.section(what, restore, checked)?;
    Ok(verified)
}

/// Has SQLite look at the structure of the file and its indices.
fn structure(report: &mut Report<'_>) -> Result<(), Fault> {
    let database = Database::open_to_read(report.place())?;
    let mut faults: Vec<String> = Vec::new();
    let mut check = || {
        let mut statement = database
            .connection()
            .prepare(&format!("PRAGMA integrity_check({STRUCTURE_FAULTS})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            faults.push(row.get(0)?);
        }
        Ok(())
    };
    let checked: rusqlite::Result<()> = check();
    drop(database);
    let place = report.database();
    let mut lines = faults.iter().flat_map(|text| text.lines()).filter(|line| *line != "ok");
    for line in lines.by_ref().take(STRUCTURE_FAULTS) {
        report.damage(
            &place,
            format!("has a damaged structure: {line}"),
            "stop postino and keep the file as it is; make a new one with sqlite3's .recover, or put back a backup",
            None,
        );
        report.refuse_to_mend();
    }
    checked.doing("check")
}
