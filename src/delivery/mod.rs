//! The workers: the only threads that block.
//!
//! Lives here: lanes, the pool, the deadline, and from a store's result to the
//! reply.
//! May not: know a session or a socket; whoever submits work gets an answer.

mod clock;
mod compose;
mod crew;
mod deadline;
mod lane;
mod lookup;
mod outcome;
mod pool;
mod record;

pub use deadline::InProgress;

use crate::{
    reply::Reply,
    transaction::{ForwardPath, RecipientIndex, Transaction, TransactionId},
    users::Users,
};
use compose::Uncomposed;
use deadline::Transit;
use lookup::{LookUps, Question};
use pool::Workers;
use postino_store::{MailStore, Mailbox};
use record::{Answers, Recipient, Record};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// How long a look-up may take, queueing included, before whoever waits for it
/// answers `451 4.4.3`; clients wait 5 minutes (RFC 5321
/// section 4.5.3.2.3).
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(30);

/// Who asked: opaque here, given back with the answer.
pub type Ticket = u64;

/// What the pool is told once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Threads that deliver; started at need.
    pub workers: usize,
    /// How long a locked mailbox is tried again.
    pub lock_wait: Duration,
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
}

/// A transaction on its way to the store.
pub struct Submission {
    /// Given back with each answer.
    pub ticket: Ticket,
    /// What to deliver.
    pub transaction: Transaction,
    /// One for each of the envelope's recipients, in the same order.
    pub mailboxes: Vec<Mailbox>,
    /// The peer's address; none for a Unix socket or a pipe.
    pub peer: Option<IpAddr>,
    /// The server's name for the Received field.
    pub hostname: Arc<str>,
}

/// The pool of workers.
///
/// Dropped, it begins nothing more and waits for nothing: threads that are idle
/// end, one that hangs in the store is left behind.
pub struct Pool {
    limits: Limits,
    answers: Answers,
    workers: Arc<Workers>,
    look_ups: Arc<LookUps>,
}

impl Pool {
    /// A pool without threads yet. `answers` takes each answer; it is called on
    /// workers and must not block.
    pub fn new(
        store: Arc<dyn MailStore>,
        limits: Limits,
        answers: impl Fn(Answer) + Send + Sync + 'static,
    ) -> Self {
        let answers: Answers = Arc::new(answers);
        let workers = Arc::new(Workers::new(Arc::clone(&store), &limits));
        let look_ups = Arc::new(LookUps::new(store, Arc::clone(&answers)));
        Self { limits, answers, workers, look_ups }
    }

    /// Has a recipient looked up: in memory and answered at once where `users`
    /// alone can tell (a refusal), else on a look-up thread that asks the store.
    /// An answer that is not there after [`LOOKUP_DEADLINE`] may never come.
    pub fn check(
        &self,
        users: &Users,
        ticket: Ticket,
        id: TransactionId,
        index: RecipientIndex,
        path: ForwardPath,
        declared_size: Option<u64>,
    ) -> Option<Result<Mailbox, Reply>> {
        self.look_ups.check(users, Question { ticket, id, index, path, declared_size })
    }

    /// Has a transaction delivered; never blocks. Each recipient is answered
    /// once, by an [`Answer`] or by a method of [`InProgress`].
    pub fn deliver(&self, submission: Submission) -> InProgress {
        let Submission { ticket, transaction, mailboxes, peer, hostname } = submission;
        let Transaction { id, client_name, envelope, body, bare_newlines, .. } = transaction;
        debug_assert_eq!(envelope.recipients.len(), mailboxes.len());
        let recipients = envelope.recipients.into_iter().zip(mailboxes);
        let record = Record {
            ticket,
            id,
            reverse_path: envelope.reverse_path,
            header: transaction.header,
            octets: transaction.octets_received,
            received: Instant::now(),
            lock_wait: self.limits.lock_wait,
            recipients: recipients
                .map(|(recipient, mailbox)| Recipient {
                    index: recipient.index,
                    path: recipient.path,
                    mailbox,
                    fate: Arc::default(),
                })
                .collect(),
            answers: Arc::clone(&self.answers),
        };
        let received = SystemTime::now();
        let uncomposed = Uncomposed { body, bare_newlines, client_name, peer, hostname, received };
        let transit = Arc::new(Transit::new(record, uncomposed));
        self.workers.submit(&transit);
        InProgress::new(transit)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        crew::Workplace::crew(&*self.workers).close();
        crew::Workplace::crew(&*self.look_ups).close();
    }
}
