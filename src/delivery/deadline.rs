//! A transaction's deliveries between the deadline and the workers.
//!
//! Lives here: [`InProgress`], with which the deadline takes back what has not
//! begun its commit; [`Job`], a delivery's place in a queue, which is empty once
//! it was taken back.
//! May not: know the time; whoever keeps the clock calls.
//! Holds: what is withdrawn leaves its queue at once, and nothing of it will
//! appear; it is dropped by a worker, never by whoever keeps the clock; no
//! recipient is answered twice.

use super::{
    compose::Uncomposed,
    crew::Crew,
    record::{Recipient, Record},
};
use crate::{
    reply::Reply,
    transaction::{RecipientIndex, TransactionId},
};
use postino_store::{Delivery, Message};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

/// The recipients of a transaction that are being delivered: the deadline's
/// handle on them.
#[derive(Clone)]
pub struct InProgress {
    transit: Arc<Transit>,
    /// Who drops what is taken back.
    workers: Weak<Crew>,
}

impl InProgress {
    pub(super) fn new(transit: Arc<Transit>, workers: &Arc<Crew>) -> Self {
        Self { transit, workers: Arc::downgrade(workers) }
    }

    /// Takes back what has not begun its commit: those recipients will never see
    /// the message, and no answer comes for them. Gives each with its reply.
    pub fn expire(&self) -> Vec<(RecipientIndex, Reply)> {
        self.take_back(Record::expired)
    }

    /// Takes back what has not begun its commit, as [`InProgress::expire`] does,
    /// because the server shuts down.
    pub fn withdraw(&self) -> Vec<(RecipientIndex, Reply)> {
        self.take_back(Record::withdrawn)
    }

    /// Stops waiting for commits that had begun at [`InProgress::expire`]; logs
    /// them as 'outcome open', and notes them, so that a resend makes no second
    /// copy. Gives each with its reply; no answer comes for them.
    pub fn leave_open(&self) -> Vec<(RecipientIndex, Reply)> {
        let record = &self.transit.record;
        record
            .recipients
            .iter()
            .filter(|recipient| record.leave_open(recipient))
            .map(|recipient| record.left_open(recipient))
            .collect()
    }

    /// The client is gone: takes back what has not begun its commit, and answers
    /// nobody. What has begun is answered as usual.
    pub fn abandon(&self) {
        let withdrawn = self.withdraw_all().len();
        if withdrawn > 0 {
            log::info!(
                "withdrawn s={} rcpts={withdrawn}: the client is gone before their delivery",
                self.transit.record.id
            );
        }
    }

    fn take_back(
        &self,
        reply: impl Fn(&Record, &Recipient) -> (RecipientIndex, Reply),
    ) -> Vec<(RecipientIndex, Reply)> {
        let record = &self.transit.record;
        self.withdraw_all()
            .into_iter()
            .filter_map(|at| record.recipients.get(at))
            .map(|recipient| reply(record, recipient))
            .collect()
    }

    /// Withdraws all that has not begun its commit; gives their places.
    fn withdraw_all(&self) -> Vec<usize> {
        let (withdrawn, remains) = self.transit.withdraw();
        // Without workers the server has ended, and nobody waits.
        if let Some(workers) = self.workers.upgrade()
            && !remains.is_empty()
        {
            workers.put(move |_| drop(remains));
        }
        withdrawn
    }
}

/// A transaction on its way through the queues.
pub(super) struct Transit {
    pub(super) record: Arc<Record>,
    /// Until a worker composes the deliveries.
    uncomposed: Mutex<Option<Uncomposed>>,
    /// One for each recipient, in the record's order: full while its delivery
    /// is queued.
    slots: Box<[Mutex<Option<Delivery>>]>,
}

impl Transit {
    pub(super) fn new(record: Record, uncomposed: Uncomposed) -> Self {
        let slots = record.recipients.iter().map(|_| Mutex::default()).collect();
        Self { record: Arc::new(record), uncomposed: Mutex::new(Some(uncomposed)), slots }
    }

    /// What a worker is to compose; none where all was taken back.
    pub(super) fn take_uncomposed(&self) -> Option<Uncomposed> {
        lock(&self.uncomposed).take()
    }

    /// Withdraws all that has not begun its commit; gives their places, and what
    /// was queued of them.
    fn withdraw(&self) -> (Vec<usize>, Remains) {
        let (mut withdrawn, mut remains) = (Vec::new(), Remains::default());
        for (at, recipient) in self.record.recipients.iter().enumerate() {
            if recipient.fate.withdraw() {
                withdrawn.push(at);
                remains.deliveries.extend(self.take(at));
            }
        }
        if withdrawn.len() == self.record.recipients.len() {
            remains.uncomposed = self.take_uncomposed();
        }
        (withdrawn, remains)
    }

    fn take(&self, at: usize) -> Option<Delivery> {
        self.slots.get(at).and_then(|slot| lock(slot).take())
    }
}

/// What was taken back: dropping it may block, as a store's part of it may.
#[derive(Default)]
pub(super) struct Remains {
    deliveries: Vec<Delivery>,
    uncomposed: Option<Uncomposed>,
}

impl Remains {
    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.uncomposed.is_none()
    }
}

/// One recipient's delivery in a queue.
pub(super) struct Job {
    transit: Arc<Transit>,
    at: usize,
    /// When it was tried first, where a lock stopped it.
    pub(super) tried: Option<Instant>,
}

impl Job {
    /// The recipient at place `at`; [`Job::put`] fills it.
    pub(super) fn new(transit: &Arc<Transit>, at: usize) -> Self {
        Self { transit: Arc::clone(transit), at, tried: None }
    }

    /// Puts the delivery in, unless it was withdrawn.
    pub(super) fn put(&self, delivery: Delivery) {
        let unwanted = match self.transit.slots.get(self.at) {
            Some(slot) => lock(slot).replace(delivery),
            None => Some(delivery),
        };
        drop(unwanted);
        // Whoever withdraws empties the slot after that; so either he or this
        // sees the other's step.
        if !self.is_wanted() {
            drop(self.take());
        }
    }

    /// Takes the delivery out, to be run.
    pub(super) fn take(&self) -> Option<Delivery> {
        self.transit.take(self.at)
    }

    /// Its delivery has ended in the store. May block.
    pub(super) fn has_ended(&self, message: &Message) {
        let record = &self.transit.record;
        if let Some(recipient) = record.recipients.get(self.at) {
            record.has_ended(recipient, message);
        }
    }

    /// Whose it is.
    pub(super) fn transaction(&self) -> TransactionId {
        self.transit.record.id
    }

    /// Whether it was not withdrawn.
    pub(super) fn is_wanted(&self) -> bool {
        let recipient = self.transit.record.recipients.get(self.at);
        recipient.is_some_and(|recipient| !recipient.fate.is_withdrawn())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
