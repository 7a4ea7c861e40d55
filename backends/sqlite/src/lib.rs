//! The SQLite store: all mailboxes in one database, each content once.
//!
//! Lives here: [`Sqlite`], which stores a lane's batch in one transaction; what is
//! a database's own, from its making to its checkpoints, stands in the modules.
//! May not: touch the disk but through SQLite and [`Files`]; change a database
//! that is not exactly as this crate made it.
//! Holds: an `Ok` means that the COMMIT has returned, with the log synced
//! (`synchronous=FULL`); an `Err` means that nothing of the message is seen, then
//! or later; a database that is not there is made by [`MailStore::open`] and
//! [`MailStore::init`] alone; none of our own threads ever makes another one see
//! a locked database.
//!
//! The schema is an interface for others, who may read and delete while postino
//! runs: see postino-sqlite(5).

mod account;
mod ahead;
mod batch;
mod body;
mod checkpoint;
mod connections;
mod database;
mod fault;
mod gate;
mod id;
mod place;
#[cfg(feature = "reader")]
mod reader;
mod remains;
mod schema;
mod wal;

use account::Missing;
use ahead::Shared;
use batch::{Outcome, Tools};
use connections::Connections;
use fault::{Doing, Fault};
use id::Ids;
use place::Place;
use postino_files::Files;
use postino_store::{
    Delivery, DeliveryError, DeliveryId, Lane, MailStore, Mailbox, MailboxName, Message, Owner,
    Prepared, Room,
};
#[cfg(feature = "reader")]
use postino_store::{MailReader, ReadError};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Batches at the same time: a database has one writer.
const AT_ONCE: usize = 1;

/// Deliveries that share one COMMIT.
const TOGETHER: usize = 256;

/// How long a start waits for another one's first steps; an account's database is
/// opened while its mail waits, and is tried again.
const OPEN_WAIT: Duration = Duration::from_secs(1);

/// Between two tries.
const OPEN_SLEEP: Duration = Duration::from_millis(10);

/// How a SQLite store is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether only [`MailStore::init`] may make the database.
    pub require_marker: bool,
}

/// A store that is one database.
pub struct Sqlite {
    connections: Arc<Connections>,
    ids: Ids,
    require_marker: bool,
    /// [`MailStore::open`] has made the database.
    was_made: AtomicBool,
    #[cfg(feature = "reader")]
    reader: reader::Reader,
}

impl Sqlite {
    /// The store in the database at `path`. Touches nothing yet.
    pub fn new(path: PathBuf, options: Options, files: Arc<dyn Files>) -> Self {
        Self::at(Place::new(path, files), options)
    }

    /// The store of an account, in the database at `path`, which is made where it is
    /// missing, but no directory is. From `base` on, above it, no symbolic link is
    /// followed.
    pub fn of_account(path: PathBuf, base: PathBuf, files: Arc<dyn Files>) -> Self {
        Self::at(Place::below(base, path, files), Options::default())
    }

    fn at(place: Place, options: Options) -> Self {
        let connections = Arc::new(Connections::new(place));
        Self {
            #[cfg(feature = "reader")]
            reader: reader::Reader::new(Arc::clone(&connections)),
            connections,
            ids: Ids::default(),
            require_marker: options.require_marker,
            was_made: AtomicBool::new(false),
        }
    }

    /// The directory that the database lies in.
    pub fn directory(&self) -> &Path {
        self.connections.place().directory()
    }

    /// Copies the database, as it is at this moment, to a file that must not be there
    /// yet, while others write to it; `progress` is told how many pages of how many
    /// are done. The copy is on stable storage when this returns, and is a store;
    /// after a failure nothing of it is left.
    #[cfg(feature = "reader")]
    pub fn backup(
        &self,
        target: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), ReadError> {
        self.reader.backup(target, progress)
    }

    fn path(&self) -> &Path {
        self.connections.place().path()
    }

    fn error(&self, fault: &Fault) -> DeliveryError {
        fault.error(self.path())
    }

    fn no_mailbox(&self) -> Fault {
        let path = self.path().display();
        Fault::Missing {
            what: format!(
                "{path} holds no mailbox; every recipient gets 451; only if it is new: postino init sqlite:{path} MAILBOX"
            ),
        }
    }

    /// Stores these in one transaction; a result in each one's place.
    fn store(&self, deliveries: &[&Delivery]) -> Vec<Outcome> {
        let no_mailbox = || self.no_mailbox();
        let tools = Tools { ids: &self.ids, path: self.path(), no_mailbox: &no_mailbox };
        let mut outcomes: Vec<Option<Outcome>> = deliveries.iter().map(|_| None).collect();
        let stored = self
            .connections
            .write(|database| batch::store(database, deliveries, &mut outcomes, &tools));
        outcomes
            .into_iter()
            .map(|outcome| match (outcome, &stored) {
                (Some(Err(error)), _) => Err(error),
                (_, Err(fault)) => Err(self.error(fault)),
                (Some(Ok(id)), Ok(())) => Ok(id),
                (None, Ok(())) => Err(DeliveryError::Unanswered),
            })
            .collect()
    }

    /// Makes the database where there is none; says whether it did.
    fn make(&self) -> Result<bool, Fault> {
        let place = self.connections.place();
        match place.look()? {
            place::Found::Nothing => place.make(),
            place::Found::File { .. } => Ok(false),
        }
    }

    /// Makes the database where that is allowed and there is none, and opens it.
    /// Another process may be making it just now, or setting it up.
    fn make_and_use(&self, may_make: bool) -> Result<(), Fault> {
        let began = Instant::now();
        let is_an_accounts = self.connections.place().is_an_accounts();
        let use_wait = if is_an_accounts { Duration::ZERO } else { OPEN_WAIT };
        loop {
            // Others may be making theirs in the same directory.
            let (done, wait) = match may_make.then(|| self.make()).transpose() {
                Err(fault) => (Err(fault), OPEN_WAIT),
                Ok(made) => {
                    if made == Some(true) {
                        self.was_made.store(true, Ordering::Relaxed);
                    }
                    (self.connections.write(|_| Ok(())), use_wait)
                }
            };
            match done {
                Err(fault) if fault.is_locked() && began.elapsed() < wait => {
                    thread::sleep(OPEN_SLEEP);
                }
                done => return done,
            }
        }
    }
}

impl MailStore for Sqlite {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        self.store(&[delivery]).pop().unwrap_or(Err(DeliveryError::Unanswered))
    }

    /// The database is one file, whosever the mailboxes are.
    fn written_as<'a>(&self, _mailbox: &'a Mailbox) -> Option<&'a Owner> {
        None
    }

    fn lane(&self, _mailbox: &Mailbox) -> Lane {
        Lane::of(self.path().to_string_lossy(), AT_ONCE, TOGETHER)
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        let all: Vec<&Delivery> = deliveries.iter().collect();
        for (delivery, outcome) in all.iter().zip(self.store(&all)) {
            delivery.finish(outcome);
        }
    }

    fn prepare(
        &self,
        message: &Message,
        _mailboxes: &[&Mailbox],
    ) -> Result<Prepared, DeliveryError> {
        Shared::prepare(&self.connections, message.body()).map(Prepared::new)
    }

    fn admit(&self, mailbox: &Mailbox, size: Option<u64>) -> Result<(), DeliveryError> {
        let quota = mailbox.quota();
        let found = self.connections.read(|database| {
            let connection = database.connection();
            let known = account::known(connection, mailbox)?;
            let held = (!quota.is_none()).then(|| account::contents(connection, mailbox.name()));
            Ok((known, held.transpose()?))
        });
        match found {
            // The smallest message has an octet.
            Ok((Ok(()), Some(held))) => quota.admit(held, size.unwrap_or(0).max(1)),
            Ok((Ok(()), None)) => Ok(()),
            Ok((Err(Missing::Mailbox), _)) => Err(DeliveryError::NoSuchMailbox),
            Ok((Err(Missing::All), _)) => Err(self.error(&self.no_mailbox())),
            Err(fault) => Err(self.error(&fault)),
        }
    }

    fn room(&self) -> Result<Option<Room>, DeliveryError> {
        let space = self.connections.place().space().map_err(|fault| self.error(&fault))?;
        Ok(Some(Room {
            octets: space.octets,
            octets_free: space.octets_free,
            files: space.inodes,
            files_free: space.inodes_free,
        }))
    }

    fn open(&self) -> Result<(), DeliveryError> {
        let failed = |fault: Fault| self.error(&fault);
        self.make_and_use(!self.require_marker).map_err(failed)?;
        match ahead::remove_unreferenced(&self.connections) {
            Err(fault @ (Fault::Refused { .. } | Fault::Missing { .. })) => Err(failed(fault)),
            // Others write just now.
            Err(fault) if fault.is_locked() => Ok(()),
            // What was left does no harm: mail that is there can be read, and a
            // disk that is full has room again some day.
            Err(fault) => {
                log::warn!(
                    "what an earlier run left in the database is removed later: {}",
                    failed(fault)
                );
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn notice(&self) -> Option<String> {
        let path = self.path().display();
        self.was_made.load(Ordering::Relaxed).then(|| {
            format!(
                "{path} was absent or empty: it is a new database; if the store's disk is to be mounted there, mount it and restart"
            )
        })
    }

    fn wants_upkeep(&self) -> bool {
        self.connections.wal().is_due() || !self.connections.remains().is_empty()
    }

    fn upkeep(&self) {
        checkpoint::checkpoint(&self.connections);
        ahead::remove_remains(&self.connections);
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        self.make_and_use(true)
            .and_then(|()| {
                self.connections.write(|database| {
                    let transaction = database.write()?;
                    for name in mailboxes {
                        account::row_made(&transaction, &name.inbox())?;
                        account::row_made(&transaction, name)?;
                    }
                    transaction.commit().doing("commit to")
                })
            })
            .map_err(|fault| self.error(&fault))
    }

    #[cfg(feature = "reader")]
    fn reader(&self) -> Option<&dyn MailReader> {
        Some(&self.reader)
    }
}
