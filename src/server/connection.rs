//! One client: a transport, its session, and what both wait for.
//!
//! Lives here: when to read, when to write, when it has waited long enough, and
//! the way of events to the pool and of answers back.
//! May not: wait; the loop calls it when something may have happened.
//! Holds: at most 64 KiB are read and one write is made in a turn; what the
//! session does not take is kept, and nothing more is read until it has; where
//! memory is full no more of a message is read than its least.

mod work;

use super::{
    Settings,
    transport::{Read, Transport},
};
use crate::{
    delivery::{Budget, Pool, Reservation, Submission, Ticket},
    protocol::{Event, Phase, Session},
    reply::{self, Reply},
    transaction::{RecipientIndex, Transaction, TransactionId},
};
use postino_store::Mailbox;
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use work::{BODY_OCTETS_MIN, Delivering, Handed, Work};

/// Octets of a message that are read at once, in a turn.
pub(super) const READ_OCTETS: usize = 64 * 1024;
/// Octets of commands that are read at once, and where memory is full: what the
/// session cannot take yet is kept for each of many clients.
const COMMAND_OCTETS: usize = 4 * 1024;
const COMMAND_OCTETS_MIN: usize = 512;

/// After our last octet: how long the client may take to read it and to close.
const LINGER: Duration = Duration::from_secs(1);
/// At a shutdown: how long a client that was told of a delivery may take to say
/// QUIT.
const LAST_COMMAND_WAIT: Duration = Duration::from_secs(1);
/// How long a commit that had begun at the deadline is waited for.
const COMMIT_WAIT: Duration = Duration::from_secs(30);

/// What a connection needs of the loop for a turn.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) buffer: &'a mut [u8],
    pub(super) pool: &'a Pool,
    pub(super) ticket: Ticket,
    /// What there was too little memory for.
    pub(super) lack: Lack,
}

/// Too little memory in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lack {
    /// The connection waits for some.
    pub(super) starves: bool,
    /// A recipient or a message was deferred for that.
    pub(super) defers: bool,
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

/// Since when which part of a client's duty takes.
struct Clocks {
    /// The last octet in either direction, or the last answer of ours.
    progress: Instant,
    /// The line being received: the count of those before it, and its beginning.
    line: Option<(u32, Instant)>,
    /// The transaction being received: its number, and its beginning.
    transaction: Option<(u32, Instant)>,
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
        let id = TransactionId { session: number, transaction: 0 }.to_string();
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

    /// Whether it can read but for want of memory.
    fn has_to_starve(&self, turn: &mut Turn<'_>) -> bool {
        let starves = || self.can_read() && self.read_room(turn.pool) == 0;
        if !starves() {
            return false;
        }
        turn.lack.starves = true;
        turn.pool.memory().want();
        starves()
    }

    fn can_read(&self) -> bool {
        self.unread.is_empty() && self.readable && self.session.takes_input()
    }

    /// How much may be read at once now.
    fn read_room(&self, pool: &Pool) -> usize {
        let memory = pool.memory().room();
        match self.session.phase() {
            Phase::Data => {
                let (kept, capacity) = self.session.kept();
                let memory = usize::try_from(memory).unwrap_or(usize::MAX);
                let is_spooling = self.work.as_ref().is_some_and(|work| work.is_spooling());
                // What it has at least is with the spool now.
                let least = if is_spooling { 0 } else { BODY_OCTETS_MIN };
                work::read_room(kept, capacity, memory, least)
            }
            _ if memory > 0 => COMMAND_OCTETS,
            _ => COMMAND_OCTETS_MIN,
        }
    }

    /// Notes what is kept for the client.
    fn note_memory(&mut self, turn: &Turn<'_>) {
        if let Some(work) = &mut self.work {
            work.note_body(self.session.kept().1);
        }
        let kept = self.unread.capacity() + self.session.output().len();
        if kept == 0 {
            self.buffers = None;
        } else {
            let buffers = self.buffers.get_or_insert_with(|| turn.pool.memory().reserve_nothing());
            buffers.set(kept as u64);
        }
    }

    /// Since when the client has sent nothing of a message of which memory could
    /// be given back.
    pub(super) fn idle_with_body(&self) -> Option<Instant> {
        let (kept, capacity) = self.session.kept();
        let uses_memory = kept >= BODY_OCTETS_MIN || capacity > BODY_OCTETS_MIN;
        (uses_memory && self.lingers_until.is_none()).then_some(self.clocks.progress)
    }

    /// Gives memory back, by the spool if need be; a turn must follow. Says how
    /// much it will be.
    pub(super) fn relieve(&mut self) -> usize {
        work::relieve(&mut self.session)
    }

    /// The client is gone: what has not begun its commit shall not appear.
    pub(super) fn lost(&mut self) -> Next {
        if let Some(delivering) = self.work.as_ref().and_then(|work| work.delivering.as_ref()) {
            delivering.in_progress.abandon();
        }
        Next::Gone
    }

    /// A look-up's answer.
    pub(super) fn checked(
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
    pub(super) fn spooled(
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
    pub(super) fn delivered(&mut self, index: RecipientIndex, reply: Reply, now: Instant) {
        self.clocks.progress = now;
        self.session.recipient_delivered(index, reply);
        self.forget_finished_work();
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
        reply.write_to(&mut line, Some(&id.to_string()));
        let _ = self.transport.write(&line);
        self.transport.end_output();
        self.unread = Vec::new();
        self.lingers_until = Some(now + LINGER);
    }

    /// When [`Connection::time_passed`] is to be called, if nothing comes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.lingers_until.is_some() {
            return self.lingers_until;
        }
        let work = self.work.as_ref().and_then(|work| work.deadline());
        [work, self.client_deadline()].into_iter().flatten().min()
    }

    /// When the client has taken too long; none while he waits for us.
    fn client_deadline(&self) -> Option<Instant> {
        let phase = self.session.phase();
        let waits_for_us = phase == Phase::Working || self.is_starving;
        if waits_for_us && self.session.output().is_empty() {
            return None;
        }
        let idle = match phase {
            Phase::Idle | Phase::Line if self.is_hurried => Duration::ZERO,
            Phase::Idle | Phase::Line if self.is_leaving => LAST_COMMAND_WAIT,
            _ => self.settings.idle_timeout,
        };
        let line = self.clocks.line.map(|(_, began)| began + self.settings.command_timeout);
        let transaction =
            self.clocks.transaction.map(|(_, began)| began + self.settings.transaction_timeout);
        [Some(self.clocks.progress + idle), line, transaction].into_iter().flatten().min()
    }

    /// Looks at every deadline; the turn that must follow does the rest.
    pub(super) fn time_passed(&mut self, now: Instant) -> Next {
        if self.lingers_until.is_some_and(|until| until <= now) {
            return Next::Gone;
        }
        self.work_is_late(now);
        if self.lingers_until.is_none() && self.client_deadline().is_some_and(|at| at <= now) {
            if self.is_closing || !self.session.output().is_empty() {
                // He does not read: there is no way to tell him.
                log::info!(
                    "closed s={} peer={}: replies are not read",
                    self.session.id(),
                    Peer(self.peer)
                );
                return self.lost();
            }
            let reply = if self.is_leaving { reply::SHUTTING_DOWN } else { reply::TIMED_OUT };
            log::info!("{} s={} peer={}", reply.codes(), self.session.id(), Peer(self.peer));
            self.session.close_with(&reply);
            // From here on it is the reading of the reply that is timed.
            self.clocks = Clocks { progress: now, line: None, transaction: None };
        }
        Next::Again
    }

    fn work_is_late(&mut self, now: Instant) {
        let Some(work) = &mut self.work else { return };
        while let Some(index) = work.late_look_up(now) {
            log::warn!("look-up timed out s={}; 451 4.4.3", self.session.id());
            self.session.recipient_checked(index, reply::LOOKUP_TIMEOUT);
        }
        if work.part_is_late(now) {
            log::error!("the spool did not answer in time s={}; 451 4.3.0", self.session.id());
            self.session.spooled(Err(reply::STORE_TIMEOUT));
        }
        let Some(delivering) = work.delivering.as_mut().filter(|d| d.deadline <= now) else {
            return;
        };
        let answers = if delivering.is_late {
            delivering.in_progress.leave_open()
        } else {
            delivering.in_progress.expire()
        };
        delivering.is_late = true;
        delivering.deadline = now + COMMIT_WAIT;
        for (index, reply) in answers {
            self.session.recipient_delivered(index, reply);
        }
        self.clocks.progress = now;
        self.forget_finished_work();
    }

    /// Gives the session what it did not take before, and carries its events to
    /// the pool, as long as either leads on.
    fn pass_on(&mut self, turn: &mut Turn<'_>) {
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

    fn carry(&mut self, event: Event, turn: &mut Turn<'_>) {
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

    fn work(&mut self, turn: &Turn<'_>) -> &mut Work {
        self.work.get_or_insert_with(|| Box::new(Work::new(turn.pool)))
    }

    fn accept(&mut self, index: RecipientIndex, result: Result<Mailbox, Reply>) {
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

    fn deliver(&mut self, transaction: Transaction, turn: &mut Turn<'_>) {
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

    /// The last recipient's reply was made: nothing is kept for the next.
    fn forget_finished_work(&mut self) {
        if self.session.phase() != Phase::Working {
            self.work = None;
        }
    }

    /// Notes since when the line and the transaction are being received.
    fn note_time(&mut self, now: Instant) {
        let lines = self.session.lines_taken();
        self.clocks.line = match self.clocks.line {
            _ if self.session.phase() != Phase::Line => None,
            Some((same, began)) if same == lines => Some((same, began)),
            _ => Some((lines, now)),
        };
        let number = self.session.id().transaction;
        self.clocks.transaction = match self.clocks.transaction {
            _ if !self.session.in_transaction() => None,
            Some((same, began)) if same == number => Some((same, began)),
            _ => Some((number, now)),
        };
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

/// A peer, for the log.
struct Peer(Option<IpAddr>);

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("local"),
        }
    }
}
