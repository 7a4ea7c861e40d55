//! What a session wants done, and what became of it.
//!
//! Lives here: the way of the session's events to the pool, and of the pool's
//! answers to the session.
//! May not: know when something is late.

use super::{
    Connection, Turn,
    work::{Delivering, Handed, Work},
};
use crate::{
    delivery::{Budget, Question, Reservation, Submission},
    protocol::{Event, Phase},
    reply::{self, Reply},
    transaction::{Origin, RecipientIndex, Transaction, TransactionId},
};
use postino_store::Mailbox;
use std::{sync::Arc, time::Instant};

impl Connection {
    /// Gives the session what it did not take before, and carries its events to
    /// the pool, as long as either leads on.
    pub(super) fn pass_on(&mut self, turn: &mut Turn<'_>) {
        loop {
            while let Some(event) = self.session.next_event() {
                self.carry(event, turn);
            }
            if self.unread.is_empty() || !self.session.takes_input() {
                return;
            }
            let taken = self.session.receive(&self.unread);
            if taken == self.unread.len() {
                self.unread = Vec::new();
            } else {
                self.unread.drain(..taken);
            }
        }
    }

    pub(super) fn carry(&mut self, event: Event, turn: &mut Turn<'_>) {
        match event {
            Event::AdmitMail { declared_size } => {
                self.session.admitted(turn.pool.admit(declared_size));
            }
            Event::AdmitData { declared_size } => {
                let admitted = self.work(turn).admit_data(turn.pool, declared_size);
                self.session.admitted(admitted.map_err(|refused| turn.lack.note(refused)));
            }
            Event::CheckRecipient { index, path, declared_size } => {
                let (ticket, id) = (turn.ticket, self.session.id());
                let Some((memory, asker)) = self.work(turn).admit_recipient() else {
                    turn.lack.defers = true;
                    return self.session.recipient_checked(index, reply::OUT_OF_MEMORY);
                };
                let question = Question { ticket, id, index, path, declared_size, memory, asker };
                match turn.pool.check(&self.settings.users, question) {
                    Some(refusal) => self.session.recipient_checked(index, refusal),
                    None => self.work(turn).look_up_begins(index, turn.now),
                }
            }
            Event::Spool(part) => {
                let names = (turn.ticket, self.session.id());
                if let Err(refused) = self.work(turn).spool(turn.pool, names, part, turn.now) {
                    self.session.spooled(Err(turn.lack.note(refused)));
                }
            }
            Event::SpoolDropped => self.work(turn).drop_spool(),
            Event::Deliver(transaction) => self.deliver(*transaction, turn),
            Event::TransactionDropped => self.work = None,
            Event::Close => {
                self.is_closing = true;
                // Nothing comes of a message that is half there.
                self.work.take_if(|work| work.delivering.is_none());
            }
        }
    }

    pub(super) fn work(&mut self, turn: &Turn<'_>) -> &mut Work {
        self.work.get_or_insert_with(|| Box::new(Work::new(turn.pool)))
    }

    pub(super) fn deliver(&mut self, transaction: Transaction, turn: &mut Turn<'_>) {
        let ended = self.work.as_ref().and_then(|work| work.ended).unwrap_or(turn.now);
        let deadline = ended + self.settings.delivery_timeout;
        let hostname = self.settings.session.hostname.as_str().into();
        let origin = Origin::Client(self.peer);
        let filing = Arc::clone(&self.settings.filing);
        let work = self.work(turn);
        let Handed { mailboxes, spool, memory } = work.hand_over(&transaction.body);
        let in_progress = turn.pool.deliver(Submission {
            ticket: turn.ticket,
            transaction,
            mailboxes,
            origin,
            hostname,
            filing,
            spool,
            memory,
        });
        work.delivering = Some(Delivering { in_progress, deadline, is_late: false });
    }

    /// A look-up's answer.
    pub(in crate::server) fn checked(
        &mut self,
        index: RecipientIndex,
        result: Result<Mailbox, Reply>,
        memory: Reservation,
        now: Instant,
    ) {
        let Some(work) = self.work.as_mut().filter(|work| work.waits_for(index)) else { return };
        self.clocks.progress = now;
        work.look_up_ended(index);
        let reply = match result {
            Ok(mailbox) => {
                work.accept(index, mailbox, memory);
                reply::RECIPIENT_OK
            }
            Err(reply) => reply,
        };
        self.session.recipient_checked(index, reply);
    }

    /// The spool's answer, for this transaction; the part's buffer is used again
    /// unless others need its memory.
    pub(in crate::server) fn spooled(
        &mut self,
        id: TransactionId,
        result: Result<(Vec<u8>, Reservation), Reply>,
        now: Instant,
        memory: &Budget,
    ) {
        let result = match result {
            Ok(_) if memory.is_wanted() => Ok((Vec::new(), None)),
            Ok((buffer, memory)) => Ok((buffer, Some(memory))),
            Err(reply) => Err(reply),
        };
        if self.session.id() == id
            && let Some(result) = self.work.as_mut().and_then(|work| work.part_spooled(result))
        {
            self.clocks.progress = now;
            self.session.spooled(result);
        }
    }

    /// A delivery's answer.
    pub(in crate::server) fn delivered(
        &mut self,
        index: RecipientIndex,
        reply: Reply,
        now: Instant,
    ) {
        self.clocks.progress = now;
        self.session.recipient_delivered(index, reply);
        self.forget_finished_work();
    }

    /// The last recipient's reply was made: nothing is kept for the next.
    pub(super) fn forget_finished_work(&mut self) {
        if self.session.phase() != Phase::Working {
            self.work = None;
        }
    }
}
