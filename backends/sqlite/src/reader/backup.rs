//! A copy of the database while others write to it.
//!
//! Lives here: the copying by SQLite's backup interface into a draft beside the
//! target, and the making of the target from it.
//! May not: overwrite anything, or hold a writer.
//! Holds: what has the target's name is whole and on stable storage.
//!
//! All is read in one transaction. A copy that let go of the database between its
//! steps would begin anew with each delivery, and might never end on a busy server;
//! one transaction ends for sure, and in WAL mode it keeps no writer waiting. Its
//! price is that the log cannot begin anew before its end: it grows by what is
//! delivered meanwhile.

use crate::{
    connections::Connections,
    database::Database,
    fault::{Doing, Fault, Meaning},
    place::Place,
};
use postino_store::ReadError;
use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use std::path::Path;

/// Pages between two reports of progress, 4 MiB.
const PAGES: i32 = 1024;

const DOING: &str = "copy the database to";

/// Copies the database to a file that is not there yet; tells how many pages of how
/// many are done.
pub(crate) fn backup(
    connections: &Connections,
    target: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), ReadError> {
    let source = connections.place();
    let database = Database::open_to_read(source).map_err(|fault| fault.error(source.path()))?;
    let target = Place::beside(source, target.to_owned());
    target
        .make_whole(DOING, |draft| copy(&database, draft, progress))
        .map_err(|fault| fault.error(target.path()).into())
}

fn copy(
    database: &Database,
    draft: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Fault> {
    let source = database.connection();
    let reading = source.unchecked_transaction().doing(DOING)?;
    // It is of this moment, that of the first read.
    let first = "SELECT count(*) FROM sqlite_schema";
    let _: i64 = reading.query_row(first, [], |row| row.get(0)).doing(DOING)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(draft, flags).doing(DOING)?;
    // A failure leaves nothing: the file goes, so it needs no journal on the disk.
    target.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL").doing(DOING)?;
    let backup = Backup::new(source, &mut target).doing(DOING)?;
    loop {
        let step = backup.step(PAGES).doing(DOING)?;
        let now = backup.progress();
        let (all, left) = (count(now.pagecount), count(now.remaining));
        progress(all.saturating_sub(left), all);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => {
                return Err(Fault::Sqlite {
                    doing: DOING,
                    meaning: Meaning::Locked,
                    text: "another process has locked it".to_owned(),
                });
            }
        }
    }
    drop(backup);
    target.close().map_err(|(_, error)| Fault::sqlite(DOING, &error))
}

fn count(pages: i32) -> u64 {
    u64::try_from(pages).unwrap_or(0)
}
