//! The workers: the only threads that block.
//!
//! Lives here: lanes, the pool, the deadline, resends and duplicates, what all sessions together
//! may use of memory and disk, and from a store's result to the reply.
//! May not: know a session or a socket; whoever submits work gets an answer.

mod alarm;
mod budget;
mod clock;
mod compose;
mod crew;
mod deadline;
mod digest;
mod duplicates;
mod full_accounts;
mod lane;
mod lookup;
mod outcome;
mod owners;
mod pool;
mod record;
mod resend;
mod room;
mod seat;
mod seen_file;
mod spool;

pub use budget::{Budget, Reservation};
pub use deadline::InProgress;
pub use duplicates::Suppression;
pub use lookup::Question;
pub use outcome::OverQuota;
pub use owners::Owners;
pub use spool::{SpoolFile, inspect as inspect_spool};

use crate::{
    reply::{self, Reply},
    transaction::{Filing, Origin, ReceivedBody, RecipientIndex, Transaction, TransactionId},
    users::Users,
};
use alarm::STUCK_MAX;
use compose::Uncomposed;
use deadline::Transit;
use duplicates::Duplicates;
use full_accounts::FullAccounts;
use lookup::LookUps;
use pool::Workers;
use postino_files::Files;
use postino_store::{Body, MailStore, Mailbox};
use record::{Answers, Recipient, Record};
use resend::Resends;
use room::Watch;
use spool::{Append, Spool, Spooled};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant, SystemTime},
};

/// How long a look-up may take, queueing included, before whoever waits for it
/// answers `451 4.4.3`; clients wait 5 minutes (RFC 5321
/// section 4.5.3.2.3).
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(30);

/// Who asked: opaque here, given back with the answer.
pub type Ticket = u64;

/// How long the spool may take for a part of a message.
pub const SPOOL_DEADLINE: Duration = Duration::from_secs(30);

/// How long a commit that had begun at the deadline is waited for.
pub const COMMIT_WAIT: Duration = Duration::from_secs(30);

/// What the pool is told once.
#[derive(Clone)]
pub struct Limits {
    /// Threads that deliver; started at need. Those that hang in the store do not
    /// count.
    pub workers: usize,
    /// Threads that look up; started at need.
    pub look_ups: usize,
    /// Threads of each kind that may hang and be replaced at the same time.
    pub stuck: usize,
    /// How long a locked mailbox is tried again.
    pub lock_wait: Duration,
    /// Whether the copies of several recipients are to be alike, so that the store
    /// can make one file of them.
    pub single_instance: bool,
    /// Whether and how long a message that was stored is not stored again.
    pub suppression: Option<Suppression>,
    /// Octets of memory for envelopes and bodies, over all sessions.
    pub memory: u64,
    /// Where large messages wait.
    pub spool_directory: PathBuf,
    /// Octets that all of them may have there.
    pub spool_octets: u64,
    /// How many there may be.
    pub spool_files: u64,
    /// What becomes of messages that are beyond an account's quota.
    pub over_quota: OverQuota,
    /// Percent of the store's octets and files that are to stay free.
    pub min_free: u8,
    /// The group that deliveries made as a mailbox's owner have in place of his own.
    pub mail_group: Option<u32>,
    /// What the log calls the store.
    pub store_name: String,
    /// The calls to the spool's directory.
    pub files: Arc<dyn Files>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: 16,
            look_ups: 16,
            stuck: STUCK_MAX,
            lock_wait: Duration::from_secs(30),
            single_instance: false,
            suppression: None,
            memory: 64 << 20,
            spool_directory: PathBuf::from("/var/tmp"),
            spool_octets: 1 << 30,
            spool_files: 1_000,
            over_quota: OverQuota::default(),
            min_free: 2,
            mail_group: None,
            store_name: "store".to_owned(),
            files: Arc::new(postino_files::Kernel::new()),
        }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// Work that is done.
#[derive(Debug)]
pub enum Answer {
    /// A recipient was looked up.
    Checked {
        /// Who asked.
        ticket: Ticket,
        /// Which RCPT.
        index: RecipientIndex,
        /// The mailbox, or why not.
        result: Result<Mailbox, Reply>,
        /// What the question brought along.
        memory: Reservation,
    },
    /// A recipient's delivery has ended.
    Delivered {
        /// Who asked.
        ticket: Ticket,
        /// Which RCPT.
        index: RecipientIndex,
        /// What the client is to be told.
        reply: Reply,
    },
    /// The spool has taken a part of a message, or has not.
    Spooled {
        /// Who asked.
        ticket: Ticket,
        /// For which transaction.
        id: TransactionId,
        /// The part's buffer and its memory; or what the client is to be told.
        result: Result<(Vec<u8>, Reservation), Reply>,
    },
    /// The memory budget was full and is not any more.
    HasMemory,
}

/// A transaction on its way to the store.
pub struct Submission {
    /// Given back with each answer.
    pub ticket: Ticket,
    /// What to deliver.
    pub transaction: Transaction,
    /// One for each of the envelope's recipients, in the same order.
    pub mailboxes: Vec<Mailbox>,
    /// Who handed it in.
    pub origin: Origin,
    /// The server's name for the Received field.
    pub hostname: Arc<str>,
    /// Which folders messages go into by their header.
    pub filing: Arc<Filing>,
    /// Where the body is, if it was spooled.
    pub spool: Option<Arc<SpoolFile>>,
    /// What its envelope and body use; given back with the last delivery.
    pub memory: Reservation,
}

/// The store, and what has to be known to call it.
#[derive(Clone)]
struct ToStore {
    store: Arc<dyn MailStore>,
    owners: Arc<Owners>,
    room: Arc<Watch>,
}

/// The pool of workers.
///
/// Dropped, it begins nothing more and waits for no thread: those that are idle
/// end, one that hangs in the store is left behind.
pub struct Pool {
    limits: Limits,
    answers: Answers,
    workers: Arc<Workers>,
    look_ups: Arc<LookUps>,
    spool: Arc<Spool>,
    room: Arc<Watch>,
    memory: Arc<Budget>,
    resends: Arc<Resends>,
    duplicates: Option<Arc<Duplicates>>,
    full: Arc<FullAccounts>,
}

impl Pool {
    /// A pool without threads yet, but for the one that watches the store's room.
    /// Asks the store for that room, so it may block. `answers` takes each answer;
    /// it is called on other threads and must not block.
    pub fn new(
        store: Arc<dyn MailStore>,
        limits: Limits,
        answers: impl Fn(Answer) + Send + Sync + 'static,
    ) -> Self {
        let answers: Answers = Arc::new(answers);
        let room = Watch::start(Arc::clone(&store), &limits.store_name, limits.min_free);
        let owners = Arc::new(Owners::new(limits.mail_group));
        let to_store = ToStore { store, owners, room: Arc::clone(&room) };
        let workers = Arc::new(Workers::new(to_store.clone(), &limits));
        let full = Arc::new(FullAccounts::default());
        let look_ups = LookUps::new(to_store, Arc::clone(&answers), Arc::clone(&full), &limits);
        let look_ups = Arc::new(look_ups);
        let spool = Arc::new(Spool::new(&limits, Arc::clone(&answers)));
        let has_memory = Arc::clone(&answers);
        let memory = Budget::new(limits.memory, move || has_memory(Answer::HasMemory));
        let duplicates = limits.suppression.as_ref();
        let duplicates = duplicates.map(|given| Arc::new(Duplicates::new(given, &limits.files)));
        let resends = Arc::default();
        Self { limits, answers, workers, look_ups, spool, room, memory, resends, duplicates, full }
    }

    /// The memory of envelopes and bodies.
    pub fn memory(&self) -> &Arc<Budget> {
        &self.memory
    }

    /// Octets that are free where the store lies, if it can tell.
    pub fn free(&self) -> Option<impl fmt::Display + use<>> {
        self.room.free().map(room::Size)
    }

    /// Whether the store has room for a message of so many octets, or for one
    /// more where that is not known (RFC 1870 section 6.1).
    pub fn admit(&self, declared_size: Option<u64>) -> Result<(), Reply> {
        let admits = self.room.admits(declared_size.unwrap_or(0), 1);
        if admits { Ok(()) } else { Err(reply::STORAGE_FULL) }
    }

    /// A place in the spool for one message; none where there are too many.
    pub fn place_in_spool(&self) -> Option<Arc<SpoolFile>> {
        self.spool.place()
    }

    /// Has a part of a message spooled behind those before; never blocks, and is
    /// answered by an [`Answer::Spooled`]. To be called again for the same file
    /// only after that. `Err`: there is no room for it.
    pub fn spool(
        &self,
        ticket: Ticket,
        id: TransactionId,
        file: &Arc<SpoolFile>,
        part: Vec<u8>,
        memory: Reservation,
    ) -> Result<(), Reply> {
        self.spool.append(Append::new(ticket, id, file, part, memory))
    }

    /// Has a recipient looked up: in memory and answered at once where that alone
    /// can tell (a refusal), else on a look-up thread that asks the system, where
    /// that knows the users, and the store.
    /// An answer that is not there after [`LOOKUP_DEADLINE`] may never come.
    pub fn check(&self, users: &Users, question: Question) -> Option<Reply> {
        self.look_ups.check(users, question, self.workers.crew.is_exhausted())
    }

    /// Replaces the threads that hang in the store or the spool at `now`; never blocks. Gives
    /// the moment at which to call this again; none where nothing is under way.
    pub fn watch(&self, now: Instant) -> Option<Instant> {
        let next =
            [self.workers.watch(now), self.look_ups.crew.watch(now), self.spool.crew.watch(now)];
        next.into_iter().flatten().min()
    }

    /// Has a transaction delivered; never blocks. Each recipient is answered
    /// once, by an [`Answer`] or by a method of [`InProgress`].
    pub fn deliver(&self, submission: Submission) -> InProgress {
        let Submission { ticket, transaction, mailboxes, origin, hostname, filing, spool, memory } =
            submission;
        let Transaction { id, client_name, envelope, body, bare_newlines, .. } = transaction;
        debug_assert_eq!(envelope.recipients.len(), mailboxes.len());
        let recipients = envelope.recipients.into_iter().zip(mailboxes);
        let record = Record {
            ticket,
            id,
            reverse_path: envelope.reverse_path,
            header: transaction.header,
            octets: transaction.octets_received,
            is_promised: envelope
                .declared_size
                .is_some_and(|declared| transaction.octets_received <= declared),
            over_quota: self.limits.over_quota,
            received: Instant::now(),
            lock_wait: self.limits.lock_wait,
            recipients: recipients
                .map(|(recipient, mailbox)| Recipient {
                    index: recipient.index,
                    path: recipient.path,
                    mailbox,
                    filed: OnceLock::new(),
                    fate: Arc::default(),
                })
                .collect(),
            answers: Arc::clone(&self.answers),
            resends: Arc::clone(&self.resends),
            duplicates: self.duplicates.clone(),
            full: Arc::clone(&self.full),
        };
        let received = SystemTime::now();
        let body = match body {
            ReceivedBody::InMemory(octets) => Body::in_memory(octets),
            ReceivedBody::Spooled(octets) => Body::elsewhere(Spooled(spool), octets),
        };
        let uncomposed = Uncomposed {
            body,
            bare_newlines,
            client_name,
            origin,
            hostname,
            received,
            single_instance: self.limits.single_instance,
            filing,
            memory,
        };
        let transit = Arc::new(Transit::new(record, uncomposed));
        self.workers.submit(&transit);
        InProgress::new(transit, &self.workers.crew)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The process may end before the worker that stored the last message comes
        // to it.
        if let Some(duplicates) = &self.duplicates {
            duplicates.write_down();
        }
        self.workers.crew.close();
        self.look_ups.crew.close();
        self.spool.crew.close();
    }
}
