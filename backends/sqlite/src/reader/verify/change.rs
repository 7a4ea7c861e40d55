//! One change to the database.
//!
//! Lives here: its transaction, and what is said of it.
//! May not: know what is changed, or why.

use crate::{ahead::alone, connections::Connections, fault::Doing, reader::remove::LOCK_WAIT};
use rusqlite::Connection;

/// One transaction; says what was done, if any row was changed.
pub(crate) fn change(
    connections: &Connections,
    done: &str,
    act: impl Fn(&Connection) -> rusqlite::Result<usize>,
) -> Result<String, String> {
    let changed = alone(connections, LOCK_WAIT, |connection| act(connection).doing("write to"));
    match changed {
        Ok(0) => Err("it has changed meanwhile; check again".to_owned()),
        Ok(_) => Ok(done.to_owned()),
        Err(fault) => Err(fault.error(connections.place().path()).to_string()),
    }
}
