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
    delivery::{Budget, Reservation, Submission},
    protocol::{Event, Phase},
    reply::{self, Reply},
    transaction::{RecipientIndex, Transaction, TransactionId},
};
use postino_store::Mailbox;
use std::time::Instant;

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
                turn.lack.defers |= admitted.is_err();
                self.session.admitted(admitted);
            }
            Event::CheckRecipient { index, path, declared_size } => {
                let id = self.session.id();
                if !self.work(turn).admit_recipient() {
                    turn.lack.defers = true;
                    return self.session.recipient_checked(index, reply::OUT_OF_MEMORY);
                }
                let users = &self.settings.users;
                match turn.pool.check(users, turn.ticket, id, index, path, declared_size) {
                    Some(result) => self.accept(index, result),
                    None => self.work(turn).look_up_begins(index, turn.now),
                }
            }
            Event::Spool(part) => {
                let names = (turn.ticket, self.session.id());
                if let Err(reply) = self.work(turn).spool(turn.pool, names, part, turn.now) {
                    self.session.spooled(Err(reply));
                }
            }
            Event::SpoolDropped => self.work(turn).drop_spool(),
            Event::Deliver(transaction) => self.deliver(*transaction, turn),
            Event::TransactionDropped => self.work = None,
            Event::Close => self.is_closing = true,
        }
    }

    pub(super) fn work(&mut self, turn: &Turn<'_>) -> &mut Work {
        self.work.get_or_insert_with(|| Box::new(Work::new(turn.pool)))
    }

    pub(super) fn accept(&mut self, index: RecipientIndex, result: Result<Mailbox, Reply>) {
        let Some(work) = &mut self.work else { return };
        let reply = match result {
            Ok(mailbox) => {
                work.accept(index, mailbox);
                reply::RECIPIENT_OK
            }
            Err(reply) => {
                work.refuse();
                reply
            }
        };
        self.session.recipient_checked(index, reply);
    }

    pub(super) fn deliver(&mut self, transaction: Transaction, turn: &mut Turn<'_>) {
        let deadline = turn.now + self.settings.delivery_timeout;
        let hostname = self.settings.session.hostname.as_str().into();
        let peer = self.peer;
        let work = self.work(turn);
        let Handed { mailboxes, spool, memory } = work.hand_over(&transaction.body);
        let in_progress = turn.pool.deliver(Submission {
            ticket: turn.ticket,
            transaction,
            mailboxes,
            peer,
            hostname,
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
        now: Instant,
    ) {
        if self.work.as_mut().is_some_and(|work| work.look_up_ended(index)) {
            self.clocks.progress = now;
            self.accept(index, result);
        }
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
