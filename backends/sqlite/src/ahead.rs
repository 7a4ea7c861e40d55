//! What the recipients of one message share: its digest, and a large body that is
//! written before any of them refers to it.
//!
//! Lives here: the writing ahead, part by part, each in a transaction of its own,
//! so that small messages are stored in between; and the removal of what no
//! message came to refer to.
//! May not: fail a recipient whose own delivery may succeed: where something
//! comes between, the delivery writes the body itself.
//! Holds: whoever drops the last of it removes the body where nobody refers to it.

use crate::{
    body::{self, Digest, Parts},
    checkpoint,
    connections::Connections,
    database::Database,
    fault::{Doing, Fault},
};
use postino_store::{Body, DeliveryError};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a part waits where another process has the lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Between two tries.
const LOCK_SLEEP: Duration = Duration::from_millis(10);

/// Parts removed in one transaction, 4 MiB of them.
const PARTS_REMOVED: u32 = 64;

/// Room that is left on the disk, beside what the log needs to be copied: without
/// any, what was written could not even be removed.
const OCTETS_LEFT: u64 = 1 << 20;

/// By what they are divided where the disk has no room for so much of a log.
const PARTS_DIVISOR: u32 = 8;

/// What is shared.
pub(crate) struct Shared {
    pub(crate) digest: Digest,
    /// A large body that was not stored yet.
    pub(crate) ahead: Option<Ahead>,
}

/// A body that was written ahead.
pub(crate) struct Ahead {
    connections: Arc<Connections>,
    row: i64,
    /// A message refers to it, durably.
    is_stored: AtomicBool,
}

/// How the writing ended.
enum Written {
    Whole,
    /// Somebody removed it; the deliveries will find out what became of that.
    Interrupted,
}

impl Shared {
    /// Writes a large body ahead, unless it is stored already.
    pub(crate) fn prepare(
        connections: &Arc<Connections>,
        body: &Body,
    ) -> Result<Self, DeliveryError> {
        let digest = body::digest(body)?;
        let ahead = if body.len() > body::WHOLE_OCTETS_MAX {
            Ahead::write(connections, body, &digest)?
        } else {
            None
        };
        Ok(Self { digest, ahead })
    }
}

impl Ahead {
    fn write(
        connections: &Arc<Connections>,
        body: &Body,
        digest: &Digest,
    ) -> Result<Option<Self>, DeliveryError> {
        // A message that is sent again and again must not fill the disk with its rests.
        remove_remains(connections);
        let begun = connections
            .read(|database| body::find(database.connection(), digest))
            .and_then(|stored| match stored {
                Some(_) => Ok(None),
                None => alone(connections, LOCK_WAIT, body::begin).map(Some),
            });
        let row = match begun {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            // The delivery is tried for longer.
            Err(fault) if fault.is_locked() => return Ok(None),
            Err(fault) => return Err(fault.error(connections.place().path())),
        };
        // From here on a failure removes what was written.
        let ahead =
            Self { connections: Arc::clone(connections), row, is_stored: AtomicBool::new(false) };
        match ahead.extend(body) {
            Ok(Written::Whole) => Ok(Some(ahead)),
            Ok(Written::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn extend(&self, body: &Body) -> Result<Written, DeliveryError> {
        let mut parts = Parts::of(body);
        while let Some((number, part)) = parts.next()? {
            let has_room = self.has_room();
            has_room.map_err(|fault| fault.error(self.connections.place().path()))?;
            let written = alone(&self.connections, LOCK_WAIT, |connection| {
                body::extend(connection, self.row, number, part)
            });
            match written {
                // A large body fills the log by itself, and no batch ends meanwhile.
                Ok(true) if self.connections.wal().is_due() => {
                    checkpoint::checkpoint(&self.connections);
                }
                Ok(true) => {}
                Ok(false) => return Ok(Written::Interrupted),
                Err(fault) if fault.is_locked() => return Ok(Written::Interrupted),
                Err(fault) => return Err(fault.error(self.connections.place().path())),
            }
        }
        Ok(Written::Whole)
    }

    /// An error where one part more could take what its removal needs.
    fn has_room(&self) -> Result<(), Fault> {
        let place = self.connections.place();
        if place.space()?.octets_free >= self.connections.wal().octets() + OCTETS_LEFT {
            return Ok(());
        }
        let error = io::ErrorKind::StorageFull.into();
        Err(Fault::file("write a large body to", place.path(), &error))
    }

    /// The body's row.
    pub(crate) fn row(&self) -> i64 {
        self.row
    }

    /// A message refers to it, durably.
    pub(crate) fn note_stored(&self) {
        self.is_stored.store(true, Ordering::Release);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if !self.is_stored.load(Ordering::Acquire) {
            let _ = remove_or_keep(&self.connections, &[self.row], LOCK_WAIT);
        }
    }
}

/// Removes the bodies that no message refers to: a crash left them.
pub(crate) fn remove_unreferenced(connections: &Connections) -> Result<(), Fault> {
    let rows = connections.write(|database| body::unreferenced(database.connection()))?;
    remove_or_keep(connections, &rows, LOCK_WAIT)
}

/// Removes what could not be removed before. Waits for no other process's lock:
/// where it fails it is tried again soon.
pub(crate) fn remove_remains(connections: &Connections) {
    let rows = connections.remains().take();
    let _ = remove_or_keep(connections, &rows, Duration::ZERO);
}

/// Removes bodies, as far as no message refers to them; keeps in mind those that
/// cannot be removed now.
pub(crate) fn remove_or_keep(
    connections: &Connections,
    rows: &[i64],
    wait: Duration,
) -> Result<(), Fault> {
    for (at, row) in rows.iter().enumerate() {
        if let Err(fault) = remove(connections, *row, wait) {
            rows.iter().skip(at).for_each(|row| connections.remains().keep(*row));
            return Err(fault);
        }
    }
    Ok(())
}

/// Removes a body, if no message refers to it, a few parts at a time.
fn remove(connections: &Connections, row: i64, wait: Duration) -> Result<(), Fault> {
    let mut parts = PARTS_REMOVED;
    loop {
        match alone(connections, wait, |connection| body::remove_some(connection, row, parts)) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(fault) if fault.is_full() && parts > 1 => {
                // A log that is copied begins anew, and what there is of it suffices.
                checkpoint::checkpoint(connections);
                parts /= PARTS_DIVISOR;
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// One transaction. Waits so long for another process's lock, but not with the writer held.
/// It is synced as any other: a log is worth no more than its oldest frames.
pub(crate) fn alone<T>(
    connections: &Connections,
    wait: Duration,
    act: impl Fn(&rusqlite::Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let began = Instant::now();
    loop {
        let done = connections.write(|database: &mut Database| {
            let transaction = database.write()?;
            let done = act(&transaction)?;
            transaction.commit().doing("commit to").map(|()| done)
        });
        match done {
            Err(fault) if fault.is_locked() && began.elapsed() < wait => {
                thread::sleep(LOCK_SLEEP);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LOCK_WAIT, PARTS_REMOVED, Shared, alone};
    use crate::{body, connections::Connections, fault::Fault, place::Place};
    use postino_files::Kernel;
    use postino_store::Body;
    use std::{path::Path, sync::Arc};

    /// A body of 80 parts, each unlike the others.
    fn octets() -> Vec<u8> {
        (0..80).flat_map(|part| vec![part; 65_536]).collect()
    }

    fn connections(path: &Path) -> Arc<Connections> {
        Arc::new(Connections::new(Place::new(path.to_owned(), Arc::new(Kernel::new()))))
    }

    /// What stands in the parts of a body.
    fn parts(connections: &Connections, row: i64) -> Vec<u8> {
        let read = connections.read(|database| {
            let mut statement = database
                .connection()
                .prepare("SELECT content FROM body_parts WHERE body = ?1 ORDER BY part")
                .unwrap();
            let parts = statement.query_map([row], |row| row.get::<_, Vec<u8>>(0)).unwrap();
            Ok::<_, Fault>(parts.flat_map(Result::unwrap).collect())
        });
        read.unwrap()
    }

    #[test]
    fn a_body_that_another_process_is_removing_is_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail.db");
        let (own, other) = (connections(&path), connections(&path));
        own.place().make().unwrap();
        let body = Body::in_memory(octets());
        let shared = Shared::prepare(&own, &body).unwrap();
        let row = shared.ahead.as_ref().unwrap().row();
        let remove = |connection: &_| body::remove_some(connection, row, PARTS_REMOVED);
        assert!(!alone(&other, LOCK_WAIT, remove).unwrap(), "it is gone at once");
        let stored = alone(&own, LOCK_WAIT, |connection| {
            let row = body::row_for(
                connection,
                &body,
                Some(&shared.digest),
                shared.ahead.as_ref().map(super::Ahead::row),
            );
            Ok(row.ok())
        });
        let (stored, is_ahead) = stored.unwrap().expect("it is stored");
        assert!(!is_ahead && stored != row);
        assert!(parts(&own, stored) == octets(), "it is not whole");
        drop(shared);
        assert!(parts(&own, row).is_empty());
        assert!(parts(&own, stored) == octets(), "it was removed");
    }

    #[test]
    fn a_body_that_another_process_is_removing_is_not_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail.db");
        let (own, other) = (connections(&path), connections(&path));
        own.place().make().unwrap();
        let part = vec![0; 65_536];
        let row = alone(&own, LOCK_WAIT, body::begin).unwrap();
        let extend =
            |at| alone(&own, LOCK_WAIT, |connection| body::extend(connection, row, at, &part));
        for at in 0..3 {
            assert!(extend(at).unwrap());
        }
        assert!(!extend(5).unwrap(), "parts are missing");
        assert!(
            !alone(&other, LOCK_WAIT, |connection| body::remove_some(connection, row, 2)).unwrap()
        );
        assert!(!extend(3).unwrap());
        assert!(!extend(0).unwrap());
        assert!(
            alone(&other, LOCK_WAIT, |connection| body::remove_some(connection, row, 2)).unwrap()
        );
        assert!(!extend(0).unwrap());
    }
}
