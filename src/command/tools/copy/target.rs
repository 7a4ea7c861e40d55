//! Storing what was read.
//!
//! Lives here: batches in the target's lanes, the wait for locks that others hold,
//! and the store's upkeep.
//! May not: know where a message comes from.
//! Holds: never more batches in a lane than it has places for.
//!
//! The server's pool is not for this: its deliveries come one by one, may wait in a
//! queue, and are withdrawn at a deadline; here whoever has read a batch stores it.

use super::{
    super::{as_owners::AsOwners, lock_wait::LockWait},
    letter::Letter,
};
use postino_store::{Delivery, DeliveryError, IfMissing, Lane, MailStore, Mailbox, MailboxName};
use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What became of one message.
pub(super) type Outcome = Result<(), DeliveryError>;

/// The store that is copied to.
pub(super) struct Target<'a> {
    store: &'a dyn MailStore,
    as_owners: Option<&'a AsOwners>,
    lock_wait: Duration,
    places: Places,
    /// Somebody does the store's upkeep.
    in_upkeep: AtomicBool,
}

impl<'a> Target<'a> {
    /// This store, whose locks are waited for so long where others hold them.
    pub(super) fn new(
        store: &'a dyn MailStore,
        as_owners: Option<&'a AsOwners>,
        lock_wait: Duration,
    ) -> Self {
        let (places, in_upkeep) = (Places::default(), AtomicBool::new(false));
        Self { store, as_owners, lock_wait, places, in_upkeep }
    }

    /// The mailbox of this name, to be made where it is missing.
    pub(super) fn mailbox(&self, name: &MailboxName) -> Result<Mailbox, DeliveryError> {
        match self.as_owners {
            Some(store) => store.mailbox_to_fill(name),
            None => Ok(Mailbox::new(name.clone(), IfMissing::Create)),
        }
    }

    /// How long locks are waited for.
    pub(super) fn lock_wait(&self) -> Duration {
        self.lock_wait
    }

    /// The store.
    pub(super) fn store(&self) -> &'a dyn MailStore {
        self.store
    }

    /// Stores these together; an outcome in each one's place.
    pub(super) fn store_all(
        &self,
        mailbox: &Mailbox,
        lane: &Lane,
        letters: Vec<Letter>,
    ) -> Vec<Outcome> {
        let answers: Vec<Slot> = letters.iter().map(|_| Slot::default()).collect();
        let mut waiting: Vec<Delivery> = letters
            .into_iter()
            .zip(&answers)
            .filter_map(|(letter, answer)| self.delivery(mailbox, letter, answer))
            .collect();
        let place = self.places.take(lane);
        let mut wait = LockWait::at_most(self.lock_wait);
        while !waiting.is_empty() {
            self.try_all(&waiting);
            let locked: Vec<(Delivery, DeliveryError)> = waiting
                .drain(..)
                .filter_map(|delivery| delivery.take_locked().map(|error| (delivery, error)))
                .collect();
            if locked.is_empty() || wait.sleep() {
                waiting.extend(locked.into_iter().map(|(delivery, _)| delivery));
            } else {
                for (delivery, error) in locked {
                    delivery.end(Err(error));
                }
            }
        }
        drop(place);
        self.keep_up();
        answers.iter().map(Slot::outcome).collect()
    }

    /// What is to be stored; none where it cannot be, which has been answered.
    fn delivery(&self, mailbox: &Mailbox, letter: Letter, answer: &Slot) -> Option<Delivery> {
        let Letter { recipient, header, message, .. } = letter;
        let recipient = recipient.unwrap_or_else(|| mailbox.name().to_string());
        match guarded(|| self.store.prepare(&message, &[mailbox])) {
            Ok(prepared) => {
                let message = Arc::new(message);
                let answer = answer.clone();
                let take = Box::new(move |result: Result<_, _>| answer.put(result.map(drop)));
                let fate = Arc::default();
                let delivery =
                    Delivery::new(message, mailbox.clone(), recipient, header, fate, take);
                Some(delivery.with_prepared(prepared))
            }
            Err(error) => {
                answer.put(Err(error));
                None
            }
        }
    }

    /// Has the store try these; one that is neither stored nor locked nor refused
    /// is answered when it is dropped.
    fn try_all(&self, deliveries: &[Delivery]) {
        // A panic is the fault of these; the answers say so.
        let _ = guarded(|| {
            self.store.deliver_batch(deliveries);
            Ok(())
        });
    }

    /// Does the store's upkeep where it wants any, unless somebody does already.
    fn keep_up(&self) {
        if self.store.wants_upkeep() && !self.in_upkeep.swap(true, Ordering::AcqRel) {
            let _ = guarded(|| {
                self.store.upkeep();
                Ok(())
            });
            self.in_upkeep.store(false, Ordering::Release);
        }
    }
}

/// A store's panic is a failure of what it was asked for.
fn guarded<T>(act: impl FnOnce() -> Result<T, DeliveryError>) -> Result<T, DeliveryError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or(Err(DeliveryError::Unanswered))
}

/// Where a delivery's answer is put.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Outcome>>>);

impl Slot {
    fn put(&self, outcome: Outcome) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn outcome(&self) -> Outcome {
        let outcome = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or(Err(DeliveryError::Unanswered))
    }
}

/// How many batches each lane has.
#[derive(Default)]
struct Places {
    taken: Mutex<HashMap<String, usize>>,
    given_back: Condvar,
}

/// A place in a lane, until it is dropped.
struct Place<'a> {
    places: &'a Places,
    lane: &'a Lane,
}

impl Places {
    /// Waits for a place.
    fn take<'a>(&'a self, lane: &'a Lane) -> Place<'a> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut HashMap<String, usize>| {
            taken.get(lane.key()).is_some_and(|count| *count >= lane.at_once())
        };
        let mut taken =
            self.given_back.wait_while(taken, is_full).unwrap_or_else(PoisonError::into_inner);
        *taken.entry(lane.key().to_owned()).or_default() += 1;
        Place { places: self, lane }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(self.lane.key()) {
            *count -= 1;
            if *count == 0 {
                taken.remove(self.lane.key());
            }
        }
        drop(taken);
        self.places.given_back.notify_all();
    }
}
