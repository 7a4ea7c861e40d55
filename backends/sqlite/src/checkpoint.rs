//! Checkpoints: the write-ahead log's pages copied into the database.
//!
//! Lives here: one checkpoint, and what follows from it.
//! May not: keep the writer waiting, but for the last pages of a log that only
//! grows because writing never stops.

use crate::{
    connections::Connections,
    fault::{Doing, Fault},
};
use rusqlite::wal::CheckpointMode;

/// Copies the log into the database, as far as readers let it; does nothing where
/// another thread does it just now.
pub(crate) fn checkpoint(connections: &Connections) {
    let wal = connections.wal();
    let done = connections.checkpoint(|database| {
        let passive = || {
            database
                .connection()
                .wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE)
                .doing("checkpoint")
        };
        let (log, copied) = passive()?;
        if wal.outgrows(copied) {
            connections.while_nobody_writes(passive)
        } else {
            Ok((log, copied))
        }
    });
    match done {
        None => {}
        Some(Ok((log, copied))) => wal.checkpointed(log, copied, connections.place().path()),
        Some(Err(fault)) => {
            wal.put_off();
            // Another process checkpoints, or the next delivery meets it too.
            if !fault.is_locked() && !matches!(fault, Fault::Missing { .. }) {
                log::error!("{}", fault.error(connections.place().path()));
            }
        }
    }
}
