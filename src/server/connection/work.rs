//! What is under way for a connection's transaction.
//!
//! Lives here: look-ups, the spool, deliveries, what all of them use of memory,
//! and until when each of them is waited for.
//! May not: read or write the socket; choose when a client has taken too long.

use crate::{
    delivery::{InProgress, LOOKUP_DEADLINE, Pool, Reservation, SPOOL_DEADLINE, SpoolFile, Ticket},
    protocol::Session,
    reply::Reply,
    transaction::{ReceivedBody, RecipientIndex, TransactionId},
};
use postino_store::Mailbox;
use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Instant,
};

/// What a recipient uses of memory from his RCPT to his delivery's end, at the
/// most: addresses, names, header lines, results.
const RECIPIENT_OCTETS: u64 = 2 * 1024;
/// What a message uses at least while it is received. It is admitted before the
/// 354, and a message can be spooled in pieces of this size, so that each goes
/// on however little memory there is.
pub(super) const BODY_OCTETS_MIN: usize = 4 * 1024;
/// A message that says to be larger has a place in the spool before the 354.
const SPOOLED_FROM: u64 = 256 * 1024;

/// One transaction's work.
pub(super) struct Work {
    /// Look-ups under way, and until when.
    look_ups: VecDeque<(RecipientIndex, Instant)>,
    /// Recipients that were accepted, in RCPT order.
    mailboxes: Vec<(RecipientIndex, Mailbox)>,
    spool: Option<Arc<SpoolFile>>,
    /// Until when the spool may take for the part that it has.
    part_deadline: Option<Instant>,
    /// When the message came whole, where its last part was still to be spooled.
    pub(super) ended: Option<Instant>,
    pub(super) delivering: Option<Delivering>,
    memory: Reservation,
    /// How many recipients' memory is among it.
    recipients: u64,
    /// For look-ups to see whether anybody waits for them.
    asker: Arc<()>,
    /// Whether the message has its least.
    has_body: bool,
}

/// Deliveries in progress.
pub(super) struct Delivering {
    pub(super) in_progress: InProgress,
    pub(super) deadline: Instant,
    /// The first deadline has passed: what has begun its commit is waited for.
    pub(super) is_late: bool,
}

/// Why a message cannot come in, or go on.
pub(super) enum Refused {
    /// For want of memory.
    Memory,
    /// For want of a place in the spool, which has as many messages as may be.
    Place,
    /// For want of octets in the spool: logged already.
    Octets(Reply),
}

/// What a transaction's deliveries are given.
pub(super) struct Handed {
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) spool: Option<Arc<SpoolFile>>,
    pub(super) memory: Reservation,
}

impl Work {
    pub(super) fn new(pool: &Pool) -> Self {
        Self {
            look_ups: VecDeque::new(),
            mailboxes: Vec::new(),
            spool: None,
            part_deadline: None,
            ended: None,
            delivering: None,
            memory: pool.memory().reserve_nothing(),
            recipients: 0,
            asker: Arc::default(),
            has_body: false,
        }
    }

    /// When something of it is late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let look_up = self.look_ups.front().map(|(_, deadline)| *deadline);
        let delivery = self.delivering.as_ref().map(|delivering| delivering.deadline);
        [look_up, self.part_deadline, delivery].into_iter().flatten().min()
    }
}

// Recipients.
impl Work {
    /// Memory for one recipient more, and what his look-up sees of us; none
    /// where there is none. What is kept for those who ask first is for the first
    /// one: a transaction of very many recipients does not keep others out.
    pub(super) fn admit_recipient(&mut self) -> Option<(Reservation, Weak<()>)> {
        let admitted = if self.recipients == 0 && self.look_ups.is_empty() {
            self.memory.try_grow(RECIPIENT_OCTETS)
        } else {
            self.memory.try_grow_further(RECIPIENT_OCTETS)
        };
        // It goes with the look-up, which may outlast whoever asked for it.
        admitted.then(|| (self.memory.split(RECIPIENT_OCTETS), Arc::downgrade(&self.asker)))
    }

    pub(super) fn look_up_begins(&mut self, index: RecipientIndex, now: Instant) {
        self.look_ups.push_back((index, now + LOOKUP_DEADLINE));
    }

    /// Whether this look-up is waited for.
    pub(super) fn waits_for(&self, index: RecipientIndex) -> bool {
        self.look_ups.iter().any(|(waiting, _)| *waiting == index)
    }

    pub(super) fn look_up_ended(&mut self, index: RecipientIndex) {
        self.look_ups.retain(|(waiting, _)| *waiting != index);
    }

    /// A look-up that has taken too long.
    pub(super) fn late_look_up(&mut self, now: Instant) -> Option<RecipientIndex> {
        let (index, deadline) = *self.look_ups.front()?;
        (deadline <= now).then(|| {
            self.look_ups.pop_front();
            index
        })
    }

    pub(super) fn accept(&mut self, index: RecipientIndex, mailbox: Mailbox, memory: Reservation) {
        self.memory.merge(memory);
        self.recipients += 1;
        // Look-ups answer in nearly any order; RCPT order is what counts.
        let behind = self.mailboxes.iter().rposition(|(before, _)| *before < index);
        self.mailboxes.insert(behind.map_or(0, |at| at + 1), (index, mailbox));
    }
}

// The message.
impl Work {
    /// What a message needs before its first octet (354, or this reply).
    pub(super) fn admit_data(
        &mut self,
        pool: &Pool,
        declared_size: Option<u64>,
    ) -> Result<(), Refused> {
        if declared_size.is_some_and(|size| size > SPOOLED_FROM) && self.spool.is_none() {
            self.spool = Some(pool.place_in_spool().ok_or(Refused::Place)?);
        }
        self.has_body = self.has_body || self.memory.try_grow(BODY_OCTETS_MIN as u64);
        if self.has_body { Ok(()) } else { Err(Refused::Memory) }
    }

    /// Notes what the message uses now.
    pub(super) fn note_body(&mut self, octets: usize) {
        if self.has_body {
            let body = octets.max(BODY_OCTETS_MIN) as u64;
            let amount = self.recipients * RECIPIENT_OCTETS + body;
            if amount != self.memory.amount() {
                self.memory.set(amount);
            }
        }
    }

    /// Has a part spooled.
    pub(super) fn spool(
        &mut self,
        pool: &Pool,
        (ticket, id): (Ticket, TransactionId),
        part: Vec<u8>,
        now: Instant,
    ) -> Result<(), Refused> {
        let file = match &self.spool {
            Some(file) => file,
            None => self.spool.insert(pool.place_in_spool().ok_or(Refused::Place)?),
        };
        let memory = self.memory.split(part.capacity() as u64);
        pool.spool(ticket, id, file, part, memory).map_err(Refused::Octets)?;
        self.part_deadline = Some(now + SPOOL_DEADLINE);
        Ok(())
    }

    /// Whether a part is with the spool.
    pub(super) fn is_spooling(&self) -> bool {
        self.part_deadline.is_some()
    }

    /// The spool has answered; takes the memory of the part back, if it comes
    /// along. None: it was too late, and nobody waits for it.
    pub(super) fn part_spooled(
        &mut self,
        result: Result<(Vec<u8>, Option<Reservation>), Reply>,
    ) -> Option<Result<Vec<u8>, Reply>> {
        self.part_deadline.take()?;
        Some(result.map(|(buffer, memory)| {
            if let Some(memory) = memory {
                self.memory.merge(memory);
            }
            buffer
        }))
    }

    /// Whether the spool has taken too long for a part; it is not waited for
    /// any more.
    pub(super) fn part_is_late(&mut self, now: Instant) -> bool {
        self.part_deadline.take_if(|deadline| *deadline <= now).is_some()
    }

    /// The message needs no spool any more.
    pub(super) fn drop_spool(&mut self) {
        self.spool = None;
        self.part_deadline = None;
    }

    /// Hands over what the deliveries need, in RCPT order.
    pub(super) fn hand_over(&mut self, body: &ReceivedBody) -> Handed {
        let used = match body {
            ReceivedBody::InMemory(octets) => octets.capacity(),
            ReceivedBody::Spooled(_) => 0,
        };
        self.note_body(used);
        self.has_body = false;
        let mailboxes = std::mem::take(&mut self.mailboxes);
        Handed {
            mailboxes: mailboxes.into_iter().map(|(_, mailbox)| mailbox).collect(),
            spool: self.spool.take(),
            memory: self.memory.split(u64::MAX),
        }
    }
}

/// Has the session spool what it keeps, or shrinks what it does not need; says
/// how many octets of memory come back by that.
pub(super) fn relieve(session: &mut Session) -> usize {
    let (kept, capacity) = session.kept();
    if kept >= BODY_OCTETS_MIN {
        if session.spool_kept() { capacity } else { 0 }
    } else if capacity > BODY_OCTETS_MIN {
        capacity - session.shrink_kept(BODY_OCTETS_MIN)
    } else {
        0
    }
}
