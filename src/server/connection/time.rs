//! When a connection has waited long enough.
//!
//! Lives here: the clocks of a client's duties, and what follows where he or the
//! pool is late.
//! May not: wait; it says when it is to be asked.

use super::{Connection, Next};
use crate::{delivery::COMMIT_WAIT, protocol::Phase, reply};
use std::{
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

/// At a shutdown: how long a client that was told of a delivery may take to say
/// QUIT.
const LAST_COMMAND_WAIT: Duration = Duration::from_secs(1);

/// Since when which part of a client's duty takes.
pub(super) struct Clocks {
    /// The last octet in either direction, or the last answer of ours.
    pub(super) progress: Instant,
    /// The line being received: the count of those before it, and its beginning.
    pub(super) line: Option<(u32, Instant)>,
    /// The transaction being received: its number, and its beginning.
    pub(super) transaction: Option<(u32, Instant)>,
}

impl Connection {
    /// When [`Connection::time_passed`] is to be called, if nothing comes before.
    pub(in crate::server) fn deadline(&self) -> Option<Instant> {
        if self.lingers_until.is_some() {
            return self.lingers_until;
        }
        let work = self.work.as_ref().and_then(|work| work.deadline());
        [work, self.client_deadline()].into_iter().flatten().min()
    }

    /// When the client has taken too long; none while he waits for us.
    pub(super) fn client_deadline(&self) -> Option<Instant> {
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
    pub(in crate::server) fn time_passed(&mut self, now: Instant) -> Next {
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

    pub(super) fn work_is_late(&mut self, now: Instant) {
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

    /// Notes since when the line and the transaction are being received.
    pub(super) fn note_time(&mut self, now: Instant) {
        if self.session.is_spooling_the_last()
            && let Some(work) = &mut self.work
        {
            work.ended.get_or_insert(now);
        }
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
}

/// A peer, for the log.
struct Peer(Option<IpAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("local"),
        }
    }
}
