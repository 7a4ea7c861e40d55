//! Messages that come again after their first outcome was left open.
//!
//! Lives here: which deliveries were left open, what became of them, and whether
//! a recipient's message is one of these.
//! May not: answer; `record` does.
//! Holds: a bounded table, and no more cost than one atomic load while it is
//! empty; nothing is read of a message unless sender, recipient and size are
//! those of an entry; no file is read under the lock.

use super::digest::{Digest, DigestKey};
use crate::transaction::{RecipientIndex, TransactionId};
use postino_store::{DeliveryError, DeliveryId, Fate, Message};
use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Entries at the most; beyond, the oldest go.
const ENTRIES_MAX: usize = 1_000;
/// How long an entry is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an outcome that is open stands against a message of the same sender,
/// recipient and size that has no Message-ID, as the first had none: it may be
/// another one.
const KEPT_WITHOUT_ID: Duration = Duration::from_secs(15 * 60);

/// One recipient's message: which one it is, and what a resend has in common
/// with it.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) transaction: TransactionId,
    pub(super) index: RecipientIndex,
    pub(super) sender: &'a str,
    pub(super) recipient: &'a str,
    /// By RFC 1870 section 5.
    pub(super) octets: u64,
    pub(super) message_id: Option<&'a [u8]>,
}

/// What is known of a message that comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The transaction in which it came first.
    pub(super) first: TransactionId,
    index: RecipientIndex,
    /// Under which name it was stored; none while that is open.
    pub(super) stored: Option<DeliveryId>,
}

/// The table.
pub(super) struct Resends {
    table: Mutex<Table>,
    /// How many entries there are, to be read without the lock.
    count: AtomicUsize,
    key: DigestKey,
}

#[derive(Default)]
struct Table {
    /// The oldest first.
    entries: VecDeque<Entry>,
}

struct Entry {
    first: TransactionId,
    index: RecipientIndex,
    noted: Instant,
    sender: String,
    recipient: String,
    octets: u64,
    message_id: Option<Vec<u8>>,
    state: State,
}

enum State {
    /// Nothing is known, or the digest is not there yet.
    Open,
    /// It was stored after all; a worker makes the digest next.
    StoredUnread(DeliveryId),
    Stored(DeliveryId, Digest),
}

impl Default for Resends {
    fn default() -> Self {
        Self { table: Mutex::default(), count: AtomicUsize::new(0), key: DigestKey::random() }
    }
}

impl Resends {
    /// Stops waiting for the recipient's commit where it has begun, and notes
    /// that; says whether it had.
    pub(super) fn leave_open(&self, sent: Sent<'_>, fate: &Fate) -> bool {
        let mut table = self.lock();
        // Under the lock, so that a result that comes now finds the entry.
        if !fate.leave_open() {
            return false;
        }
        let now = Instant::now();
        table.note(Entry {
            first: sent.transaction,
            index: sent.index,
            noted: now,
            sender: sent.sender.to_owned(),
            recipient: sent.recipient.to_owned(),
            octets: sent.octets,
            message_id: sent.message_id.map(<[u8]>::to_vec),
            state: State::Open,
        });
        self.count.store(table.entries.len(), Ordering::Release);
        true
    }

    /// The late result of a recipient whose outcome was left open.
    pub(super) fn late(&self, sent: Sent<'_>, result: Result<&DeliveryId, &DeliveryError>) {
        let mut table = self.lock();
        let Some(at) = table.place_of(sent) else { return };
        match (result, table.entries.get_mut(at)) {
            (Ok(id), Some(entry)) => entry.state = State::StoredUnread(id.clone()),
            // There is no copy: the resend has to be stored.
            _ => drop(table.entries.remove(at)),
        }
        self.count.store(table.entries.len(), Ordering::Release);
    }

    /// Makes the digest after a late result, where that was a success. May
    /// block.
    pub(super) fn complete(&self, sent: Sent<'_>, message: &Message) {
        let is_unread = |table: &Table| {
            let place = table.place_of(sent);
            let entry = place.and_then(|at| table.entries.get(at));
            entry.is_some_and(|entry| matches!(entry.state, State::StoredUnread(_)))
        };
        if self.is_empty() || !is_unread(&self.lock()) {
            return;
        }
        let digest = match self.key.of_body(message.body()) {
            Ok(digest) => digest,
            Err(error) => {
                log::warn!(
                    "cannot read the message s={} to know its resend: {error}; for a day that \
                     gets 451",
                    sent.transaction
                );
                return;
            }
        };
        let mut table = self.lock();
        let place = table.place_of(sent);
        if let Some(entry) = place.and_then(|at| table.entries.get_mut(at))
            && let State::StoredUnread(id) = &entry.state
        {
            entry.state = State::Stored(id.clone(), digest);
        }
    }

    /// What is known of the message for each of its recipients, in their order;
    /// empty where that is nothing for all of them. May block.
    pub(super) fn known<'a>(
        &self,
        sent: &(impl Iterator<Item = Sent<'a>> + Clone),
        message: &Message,
    ) -> Vec<Option<Known>> {
        if self.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut table = self.lock();
        table.forget_old(now);
        self.count.store(table.entries.len(), Ordering::Release);
        let all = |table: &Table, digest| {
            sent.clone().map(|each| table.known(each, digest, now)).collect()
        };
        let candidates: Vec<bool> = sent
            .clone()
            .flat_map(|each| table.candidates(each))
            .map(|entry| matches!(entry.state, State::Stored(..)))
            .collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        // Without a digest to compare, the table must not get one meanwhile.
        if !candidates.contains(&true) {
            return all(&table, None);
        }
        drop(table);
        // What cannot be read here cannot be stored either.
        let digest = self.key.of_body(message.body()).ok();
        all(&self.lock(), digest)
    }

    /// A resend was answered 250: it is over. The same message once more is
    /// another one, which must not be lost; that the 250 did not arrive is the
    /// risk of any delivery.
    pub(super) fn forget(&self, known: &Known) {
        let mut table = self.lock();
        table.entries.retain(|entry| (entry.first, entry.index) != (known.first, known.index));
        self.count.store(table.entries.len(), Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn note(&mut self, entry: Entry) {
        self.forget_old(entry.noted);
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    fn forget_old(&mut self, now: Instant) {
        let is_old = |entry: &Entry| now.saturating_duration_since(entry.noted) >= KEPT;
        while self.entries.front().is_some_and(is_old) {
            self.entries.pop_front();
        }
    }

    fn place_of(&self, sent: Sent<'_>) -> Option<usize> {
        let is_its = |entry: &Entry| entry.first == sent.transaction && entry.index == sent.index;
        self.entries.iter().position(is_its)
    }

    /// Entries of the same sender, recipient and size.
    fn candidates<'a>(&'a self, sent: Sent<'a>) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| {
            entry.octets == sent.octets
                && entry.recipient == sent.recipient
                && entry.sender == sent.sender
        })
    }

    /// Where one entry says that it was stored and another that this is open, it
    /// is open: what is told as stored must be.
    fn known(&self, sent: Sent<'_>, digest: Option<Digest>, now: Instant) -> Option<Known> {
        let mut known = None;
        for entry in self.candidates(sent) {
            match &entry.state {
                State::Stored(id, its) if Some(*its) == digest => {
                    known = Some(Known { stored: Some(id.clone()), ..entry.known() });
                }
                State::Stored(..) => {}
                State::Open | State::StoredUnread(_) => {
                    let age = now.saturating_duration_since(entry.noted);
                    if entry.message_id.as_deref() == sent.message_id
                        && (sent.message_id.is_some() || age < KEPT_WITHOUT_ID)
                    {
                        return Some(entry.known());
                    }
                }
            }
        }
        known
    }
}

impl Entry {
    fn known(&self) -> Known {
        Known { first: self.first, index: self.index, stored: None }
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES_MAX, Entry, KEPT, State, Table};
    use crate::transaction::{RecipientIndex, TransactionId};
    use std::time::{Duration, Instant};

    fn entry(session: u32, noted: Instant) -> Entry {
        Entry {
            first: TransactionId { session, transaction: 1 },
            index: RecipientIndex(0),
            noted,
            sender: String::new(),
            recipient: "a@d".to_owned(),
            octets: 1,
            message_id: None,
            state: State::Open,
        }
    }

    #[test]
    fn of_too_many_entries_the_oldest_go_and_each_after_a_day() {
        let (mut table, start) = (Table::default(), Instant::now());
        let has = |table: &Table, session| {
            let id = TransactionId { session, transaction: 1 };
            table.entries.iter().any(|entry| entry.first == id)
        };
        let (one_more, minute) = (u32::try_from(ENTRIES_MAX).unwrap(), Duration::from_secs(60));
        for session in 0..=one_more {
            table.note(entry(session, start + minute * session / one_more));
        }
        assert_eq!(table.entries.len(), ENTRIES_MAX);
        assert!(!has(&table, 0) && has(&table, 1) && has(&table, one_more));
        table.forget_old(start + KEPT);
        assert_eq!(table.entries.len(), ENTRIES_MAX);
        table.forget_old(start + KEPT + minute / 2);
        assert!(!has(&table, one_more / 2) && has(&table, one_more / 2 + 1));
        table.note(entry(7, start + KEPT + minute));
        assert_eq!(table.entries.len(), 1);
    }
}
