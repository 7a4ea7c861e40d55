//! The connections that the store keeps: one that writes, one that reads, one
//! that checkpoints; and what is known of the database between their uses.
//!
//! Lives here: opening each at need, and giving it up when it cannot be used any
//! more.
//! May not: know what is done with them.
//! Holds: a panic or an I/O error costs the connection, and the next one who needs
//! it opens another; a file that is gone or replaced is noticed before any use;
//! nothing here ever makes a database.

use crate::{
    database::Database,
    fault::{Doing, Fault},
    gate::Gate,
    place::Place,
    remains::Remains,
    wal::Wal,
};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// All three. Only one of our own ever writes, so SQLite's lock is never between
/// two of our threads.
pub(crate) struct Connections {
    place: Place,
    wal: Arc<Wal>,
    remains: Remains,
    writer: Gate<Option<Database>>,
    reader: Mutex<Option<Database>>,
    checkpointer: Mutex<Option<Database>>,
}

impl Connections {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            wal: Arc::default(),
            remains: Remains::default(),
            writer: Gate::new(None),
            reader: Mutex::default(),
            checkpointer: Mutex::default(),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn wal(&self) -> &Wal {
        &self.wal
    }

    pub(crate) fn remains(&self) -> &Remains {
        &self.remains
    }

    /// Waits for the writer, which others of our threads may have.
    pub(crate) fn write<T>(
        &self,
        act: impl FnOnce(&mut Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let open = || {
            let mut database = Database::open(&self.place)?;
            let wal = Arc::clone(&self.wal);
            let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
                wal.note(pages);
                Ok(())
            };
            database.connection_mut().wal_hook(Some(hook)).doing("set up")?;
            Ok(database)
        };
        self.with(&mut self.writer.enter(), open, act)
    }

    /// Has nobody of ours write meanwhile.
    pub(crate) fn while_nobody_writes<T>(&self, act: impl FnOnce() -> T) -> T {
        let _writer = self.writer.enter();
        act()
    }

    pub(crate) fn read<T>(
        &self,
        act: impl FnOnce(&mut Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut slot = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(
            &mut slot,
            || Database::open_to_read(&self.place),
            |database| {
                database.check()?;
                act(database)
            },
        )
    }

    /// None where another thread does it just now.
    pub(crate) fn checkpoint<T>(
        &self,
        act: impl FnOnce(&mut Database) -> Result<T, Fault>,
    ) -> Option<Result<T, Fault>> {
        let mut slot = match self.checkpointer.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.with(&mut slot, || Database::open(&self.place), act))
    }

    /// Uses a slot's connection, or one that is opened; puts it back where it can
    /// be used again.
    fn with<T>(
        &self,
        slot: &mut Option<Database>,
        open: impl FnOnce() -> Result<Database, Fault>,
        act: impl FnOnce(&mut Database) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // Taken out: a panic drops it.
        let mut database = match slot.take() {
            None => open()?,
            Some(known) => match known.is_in_place(&self.place) {
                Ok(true) => known,
                Ok(false) => {
                    known.abandon();
                    open()?
                }
                Err(fault) => {
                    known.abandon();
                    return Err(fault);
                }
            },
        };
        let result = act(&mut database);
        match &result {
            Err(Fault::Refused { .. } | Fault::Missing { .. }) => database.abandon(),
            Err(fault) if fault.breaks_connection() => drop(database),
            _ => *slot = Some(database),
        }
        result
    }
}
