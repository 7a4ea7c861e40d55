//! The message: from the 354 to its end, and on its way to the spool.
//!
//! A message that outgrows a part is given away part by part, one at a time,
//! while the next one fills; where that fails or takes too long, the rest is read
//! up to its true end and forgotten, and each recipient has that reply.
//!
//! Lives here: when a part goes, when input has to wait for it, what follows the
//! end of the data.
//! May not: know what a spool is; the owner answers.

use super::{Delivering, Event, Session, State};
use crate::{
    protocol::{intake::Received, receiving::Decoder, replies::Replies},
    reply::Reply,
    transaction::{Envelope, ReceivedBody, Transaction},
};
use std::mem;

/// A message that is being received.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) envelope: Envelope,
    pub(super) decoder: Decoder,
    spool: Spool,
}

/// A message that came whole, whose last part is not spooled yet.
#[derive(Debug)]
pub(super) struct Last {
    envelope: Envelope,
    received: Received,
    spool: Spool,
}

/// What went to the spool of a message.
#[derive(Debug, Default)]
struct Spool {
    octets: u64,
    /// A part is under way.
    is_busy: bool,
}

impl Spool {
    fn is_used(&self) -> bool {
        self.octets > 0
    }
}

impl Data {
    pub(super) fn new(envelope: Envelope, decoder: Decoder) -> Self {
        Self { envelope, decoder, spool: Spool::default() }
    }

    /// Whether nothing more can be taken before the spool has taken a part.
    pub(super) fn has_to_wait(&self) -> bool {
        self.spool.is_busy && self.decoder.intake.is_full()
    }
}

impl Session {
    pub(super) fn receive_data(&mut self, input: &[u8]) -> usize {
        let State::Data(data) = &mut self.state else { return 0 };
        let was_refused = data.decoder.intake.is_refused();
        let (taken, ended) = data.decoder.decode(input);
        if data.decoder.intake.is_refused() && !was_refused && data.spool.is_used() {
            data.spool = Spool::default();
            self.events.push_back(Event::SpoolDropped);
        }
        if ended {
            if let State::Data(data) = mem::replace(&mut self.state, State::Ready) {
                self.data_ended(*data);
            }
        } else if data.decoder.intake.is_full() {
            self.spool_kept();
        }
        taken
    }

    /// Has what is kept of the message spooled, if the spool is not busy and
    /// there is something; says whether a part went.
    pub fn spool_kept(&mut self) -> bool {
        let State::Data(data) = &mut self.state else { return false };
        if data.spool.is_busy || data.decoder.intake.kept() == 0 {
            return false;
        }
        let part = data.decoder.intake.take_part();
        self.events.push_back(data.spool.event(part));
        true
    }

    /// Whether the message has come whole, but is not in the spool whole yet.
    pub fn is_spooling_the_last(&self) -> bool {
        matches!(self.state, State::Spooling(_))
    }

    /// Octets of a message that are kept here, and the memory that they use.
    pub fn kept(&self) -> (usize, usize) {
        match &self.state {
            State::Data(data) => (data.decoder.intake.kept(), data.decoder.intake.kept_capacity()),
            State::Spooling(last) => (last.received.body.len(), last.received.body.capacity()),
            _ => (0, 0),
        }
    }

    /// Keeps no more memory for a message than this, where that is enough for
    /// what is kept; says how much it is now.
    pub fn shrink_kept(&mut self, octets: usize) -> usize {
        match &mut self.state {
            State::Data(data) => data.decoder.intake.shrink_to(octets),
            _ => 0,
        }
    }

    /// The part of the last [`Event::Spool`] is spooled: gives its buffer back.
    /// Or it could not be: the message is refused with this reply, once it came
    /// whole.
    pub fn spooled(&mut self, result: Result<Vec<u8>, Reply>) {
        match (&mut self.state, result) {
            (State::Data(data), Ok(buffer)) => {
                data.spool.is_busy = false;
                data.decoder.intake.reuse(buffer);
                if data.decoder.intake.is_full() {
                    self.spool_kept();
                }
            }
            (State::Data(data), Err(reply)) => {
                data.spool = Spool::default();
                data.decoder.intake.refuse(reply);
                self.events.push_back(Event::SpoolDropped);
            }
            (State::Spooling(last), Ok(buffer)) => {
                drop(buffer);
                last.spool.is_busy = false;
                self.spool_last();
            }
            (State::Spooling(_), Err(reply)) => self.give_up_spooling(&reply),
            _ => {}
        }
    }

    fn data_ended(&mut self, data: Data) {
        let Data { envelope, decoder, spool } = data;
        match decoder.intake.finish() {
            Err(refusal) => self.refuse_data(&envelope, &refusal),
            Ok(received) if spool.is_used() => {
                self.state = State::Spooling(Box::new(Last { envelope, received, spool }));
                self.spool_last();
            }
            Ok(mut received) => {
                let body = mem::take(&mut received.body);
                self.deliver(envelope, received, ReceivedBody::InMemory(body));
            }
        }
    }

    /// Spools what the message ends with; delivers once that is done.
    fn spool_last(&mut self) {
        let State::Spooling(last) = &mut self.state else { return };
        if last.spool.is_busy {
            return;
        }
        if !last.received.body.is_empty() {
            let part = mem::take(&mut last.received.body);
            return self.events.push_back(last.spool.event(part));
        }
        if let State::Spooling(last) = mem::replace(&mut self.state, State::Ready) {
            let Last { envelope, received, spool } = *last;
            self.deliver(envelope, received, ReceivedBody::Spooled(spool.octets));
        }
    }

    fn deliver(&mut self, mut envelope: Envelope, received: Received, body: ReceivedBody) {
        envelope.recipients.shrink_to_fit();
        self.wait_for_deliveries(&envelope, None);
        self.events.push_back(Event::Deliver(Box::new(Transaction {
            id: self.id,
            client_name: self.client_name.clone().unwrap_or_default(),
            envelope,
            body,
            octets_received: received.octets,
            bare_newlines: received.bare_newlines,
            header: received.header,
        })));
    }

    /// The same reply for each recipient.
    fn refuse_data(&mut self, envelope: &Envelope, reply: &Reply) {
        self.wait_for_deliveries(envelope, Some(reply));
        self.events.push_back(Event::TransactionDropped);
        self.send_delivered();
    }

    fn wait_for_deliveries(&mut self, envelope: &Envelope, refusal: Option<&Reply>) {
        let mut replies = Replies::default();
        for recipient in &envelope.recipients {
            replies.wait_for(recipient.index, ());
        }
        if let Some(refusal) = refusal {
            replies.answer_rest(refusal);
        }
        self.state = State::Delivering(Box::new(Delivering { replies, any_stored: false }));
    }

    /// A message that came whole shall not be delivered after all.
    pub(super) fn give_up_spooling(&mut self, reply: &Reply) {
        if let State::Spooling(last) = &mut self.state {
            let envelope = mem::take(&mut last.envelope);
            self.refuse_data(&envelope, reply);
        }
    }
}

impl Spool {
    fn event(&mut self, part: Vec<u8>) -> Event {
        self.is_busy = true;
        self.octets += part.len() as u64;
        Event::Spool(part)
    }
}
