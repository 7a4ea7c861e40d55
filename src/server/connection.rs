//! One client: a transport, its session, and what both wait for.
//!
//! Lives here: its turns, when it reads and when it writes, and its end; below,
//! in `time`, when it has waited long enough, in `memory` how much it may keep,
//! in `events` the way of events to the pool and of answers back.
//! May not: wait; the loop calls it when something may have happened.
//! Holds: at most 64 KiB are read and one write is made in a turn; what the
//! session does not take is kept, and nothing more is read until it has; where
//! memory is full no more of a message is read than its least.

mod events;
mod memory;
mod time;
mod work;

use super::{
    Settings,
    transport::{Read, Transport},
};
use crate::{
    delivery::{Pool, Reservation, Ticket},
    protocol::{Phase, Session},
    reply::{self, Reply},
    transaction::TransactionId,
};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use time::Clocks;
use work::Work;

pub(super) use memory::{Lack, READ_OCTETS};

/// After our last octet: how long the client may take to read it and to close.
const LINGER: Duration = Duration::from_secs(1);
/// What a connection needs of the loop for a turn.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) buffer: &'a mut [u8],
    pub(super) pool: &'a Pool,
    pub(super) ticket: Ticket,
    /// What there was too little memory for.
    pub(super) lack: Lack,
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is more to do, when the others have had their turn.
    Again,
    /// Readiness, an answer, or [`Connection::deadline`].
    Wait,
    /// The same, or memory.
    Starve,
    /// It is over: drop it.
    Gone,
}

/// One client's connection.
pub(super) struct Connection {
    transport: Transport,
    session: Session,
    settings: Arc<Settings>,
    peer: Option<IpAddr>,
    /// The session's number, to tell answers to an earlier client of the slot.
    pub(super) number: u32,
    /// Whether it is only told why it is not served.
    pub(super) is_refusal: bool,
    /// Whether it stands in the loop's queue.
    pub(super) is_queued: bool,
    /// Whether it waits for memory, by no fault of the client's.
    pub(super) is_starving: bool,
    /// Its entry among the loop's timers.
    pub(super) armed: Option<Instant>,
    readable: bool,
    writable: bool,
    /// The system has told of the end of the client's octets.
    end_is_near: bool,
    /// That end was read.
    has_ended: bool,
    /// It is over but for the client's reading: until then at most.
    lingers_until: Option<Instant>,
    is_closing: bool,
    is_leaving: bool,
    /// Leaving, it is not waited for any more.
    is_hurried: bool,
    unread: Vec<u8>,
    /// What is kept of input and output.
    buffers: Option<Reservation>,
    clocks: Clocks,
    work: Option<Box<Work>>,
}

impl Connection {
    /// A client that is served.
    pub(super) fn new(
        transport: Transport,
        peer: Option<IpAddr>,
        settings: &Arc<Settings>,
        number: u32,
        now: Instant,
    ) -> Self {
        let session = Session::new(Arc::clone(&settings.session), number);
        Self::with_session(transport, peer, settings, number, now, session)
    }

    /// A client that gets this 421 in place of the greeting.
    pub(super) fn refused(
        transport: Transport,
        peer: Option<IpAddr>,
        settings: &Arc<Settings>,
        number: u32,
        now: Instant,
        reply: &Reply,
    ) -> Self {
        let session = Session::refused(Arc::clone(&settings.session), number, reply);
        let connection = Self::with_session(transport, peer, settings, number, now, session);
        Self { is_refusal: true, ..connection }
    }

    fn with_session(
        transport: Transport,
        peer: Option<IpAddr>,
        settings: &Arc<Settings>,
        number: u32,
        now: Instant,
        session: Session,
    ) -> Self {
        Self {
            transport,
            session,
            settings: Arc::clone(settings),
            peer,
            number,
            is_refusal: false,
            is_queued: false,
            is_starving: false,
            armed: None,
            readable: false,
            // A new socket has room; the first turn finds out otherwise.
            writable: true,
            end_is_near: false,
            has_ended: false,
            lingers_until: None,
            is_closing: false,
            is_leaving: false,
            is_hurried: false,
            unread: Vec::new(),
            buffers: None,
            clocks: Clocks { progress: now, line: None, transaction: None },
            work: None,
        }
    }

    /// Tells a client why it is not served, and lets it go at once.
    pub(super) fn turn_away(
        transport: &Transport,
        settings: &Settings,
        number: u32,
        reply: &Reply,
    ) {
        let id = TransactionId { session: number, transaction: 0 };
        let mut line = Vec::new();
        reply.named(&settings.session.hostname).write_to(&mut line, Some(&id));
        // A new socket has room for a line; a client that is gone misses nothing.
        let _ = transport.write(&line);
        transport.end_output();
    }

    /// Notes what the system says of the socket; says whether it is broken.
    pub(super) fn is_ready(&mut self, event: &mio::event::Event) -> bool {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.writable |= event.is_writable();
        self.end_is_near |= event.is_read_closed();
        event.is_error() || (event.is_read_closed() && event.is_write_closed())
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, turn: &mut Turn<'_>) -> Next {
        if self.lingers_until.is_some() {
            return self.discard(turn);
        }
        self.is_starving = false;
        self.pass_on(turn);
        let room = self.read_room(turn.pool);
        if room > 0 && self.can_read() {
            let room = room.min(turn.buffer.len());
            let buffer = turn.buffer.get_mut(..room).unwrap_or_default();
            match self.transport.read(buffer) {
                Ok(Read::Octets(count)) => {
                    self.clocks.progress = turn.now;
                    // A short read has emptied the socket; the next octet or
                    // the end is told anew, unless it was told already.
                    self.readable = count == room || self.end_is_near;
                    let octets = turn.buffer.get(..count).unwrap_or_default();
                    let taken = self.session.receive(octets);
                    self.unread = octets.get(taken..).unwrap_or_default().to_vec();
                    self.pass_on(turn);
                }
                Ok(Read::Nothing) => self.readable = false,
                Ok(Read::End) => {
                    self.readable = false;
                    self.has_ended = true;
                }
                Err(_) => return self.lost(),
            }
        }
        let next = self.write(turn);
        self.note_time(turn.now);
        self.note_memory(turn);
        match next {
            None => self.lost(),
            Some(Next::Again) if self.has_to_starve(turn) => Next::Starve,
            Some(next) => next,
        }
    }

    fn can_read(&self) -> bool {
        self.unread.is_empty() && self.readable && self.session.takes_input()
    }

    /// The client is gone: what has not begun its commit shall not appear.
    pub(super) fn lost(&mut self) -> Next {
        if let Some(delivering) = self.work.as_ref().and_then(|work| work.delivering.as_ref()) {
            delivering.in_progress.abandon();
        }
        Next::Gone
    }

    /// The server shuts down.
    pub(super) fn shut_down(&mut self, now: Instant) {
        self.is_leaving = self.session.shut_down();
        self.clocks.progress = now;
    }

    /// The time to drain is nearly over: ends it. Recipients whose commit has not
    /// begun, or does not end, are told to try again. Who is stored has his answer
    /// on the way here, and the session waits for that.
    pub(super) fn end_drain(&mut self) {
        if let Some(delivering) = self.work.as_ref().and_then(|work| work.delivering.as_ref()) {
            let mut answers = delivering.in_progress.withdraw();
            answers.extend(delivering.in_progress.leave_open());
            for (index, reply) in answers {
                self.session.recipient_delivered(index, reply);
            }
            self.forget_finished_work();
            self.is_hurried = true;
        } else {
            self.session.close_with(&reply::SHUTTING_DOWN);
        }
    }

    /// A fault of our own in the session, which is not to be asked again: it
    /// ends with what can be told without it.
    pub(super) fn fail(&mut self, now: Instant) {
        let id = self.session.id();
        log::error!("a fault in the session s={id}: closing it");
        self.lost();
        let mut line = Vec::new();
        let reply = reply::SESSION_FAILED.named(&self.settings.session.hostname);
        reply.write_to(&mut line, Some(&id));
        let _ = self.transport.write(&line);
        self.transport.end_output();
        self.unread = Vec::new();
        self.lingers_until = Some(now + LINGER);
    }

    /// Writes once; none where the client is gone.
    fn write(&mut self, turn: &mut Turn<'_>) -> Option<Next> {
        if self.writable && !self.session.output().is_empty() {
            let octets = self.session.output().len();
            let written = self.transport.write(self.session.output()).ok()?;
            self.writable = written == octets;
            if written > 0 {
                self.clocks.progress = turn.now;
                self.session.output_sent(written);
                self.pass_on(turn);
            }
        }
        if !self.session.output().is_empty() {
            return Some(if self.writable { Next::Again } else { Next::Wait });
        }
        if self.is_closing {
            if self.has_ended {
                return Some(Next::Gone);
            }
            // Closed with octets unread, the system would send a reset, which
            // takes our last reply from the client's buffer.
            self.transport.end_output();
            self.lingers_until = Some(turn.now + LINGER);
            self.unread = Vec::new();
            return Some(Next::Again);
        }
        if self.has_ended && self.unread.is_empty() && self.session.phase() != Phase::Working {
            return Some(Next::Gone);
        }
        Some(if self.can_read() { Next::Again } else { Next::Wait })
    }

    /// Reads what nobody wants any more.
    fn discard(&mut self, turn: &mut Turn<'_>) -> Next {
        if !self.readable {
            return Next::Wait;
        }
        match self.transport.read(turn.buffer) {
            Ok(Read::Octets(_)) => Next::Again,
            Ok(Read::Nothing) => {
                self.readable = false;
                Next::Wait
            }
            Ok(Read::End) | Err(_) => Next::Gone,
        }
    }
}
