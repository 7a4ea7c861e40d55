//! Who is let in.
//!
//! Lives here: accepting in fair turns, the limit of connections, networks that
//! may connect, and the descriptor that is kept to refuse clients with where
//! there are no others.
//! May not: serve; a client that is let in gets its turns in the loop.

use super::{EventLoop, Transport, occasional::Occasional};
use crate::{
    reply::{self, Reply},
    server::{connection::Connection, listener::Listener},
};
use mio::Token;
use rustix::io::Errno;
use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

/// Connections accepted from one listener in a turn.
const ACCEPTS_MAX: usize = 64;
/// When accepting is tried again after it failed for want of descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// Which listeners may have more, and what stands against it.
#[derive(Default)]
pub(super) struct Accepting {
    ready: VecDeque<usize>,
    pub(super) retry_at: Option<Instant>,
    /// Closed to accept a client where there are no descriptors, who is refused.
    reserve: Option<OwnedFd>,
    /// Connections that are refusals: they take nobody's place.
    refusals: usize,
    errors: Occasional,
    not_allowed: Occasional,
    too_many: Occasional,
}

impl Accepting {
    /// The system has told of connections that wait.
    pub(super) fn is_ready(&mut self, listener: usize) {
        if !self.ready.contains(&listener) {
            self.ready.push_back(listener);
        }
    }

    /// A connection is gone.
    pub(super) fn has_left(&mut self, connection: &Connection) {
        self.refusals -= usize::from(connection.is_refusal);
        // It may be the descriptor that accepting waits for.
        self.retry_at = None;
    }

    /// There are no listeners any more.
    pub(super) fn stop(&mut self) {
        self.ready.clear();
        self.retry_at = None;
        // A copy of a listener's, which would go on listening.
        self.reserve = None;
    }
}

impl EventLoop {
    pub(super) fn can_accept(&self) -> bool {
        !self.accepting.ready.is_empty() && self.accepting.retry_at.is_none()
    }

    pub(super) fn accept(&mut self) {
        if !self.can_accept() {
            return;
        }
        let now = Instant::now();
        for _ in 0..self.accepting.ready.len() {
            let Some(listener) = self.accepting.ready.pop_front() else { return };
            if self.accept_from(listener, now) {
                self.accepting.ready.push_back(listener);
            }
        }
    }

    /// Accepts what is this turn's; says whether there may be more.
    fn accept_from(&mut self, listener: usize, now: Instant) -> bool {
        for _ in 0..ACCEPTS_MAX {
            let Some(open) = self.listeners.get(listener) else { return false };
            let error = match open.accept() {
                Ok(None) => return false,
                Ok(Some((transport, peer))) => match self.admit(transport, peer, now) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                // The client gave up before we came.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => continue,
                Err(error) => {
                    if matches!(error, Errno::MFILE | Errno::NFILE) {
                        self.refuse_by_reserve(listener);
                    }
                    error.into()
                }
            };
            self.accepting.retry_at = Some(now + RETRY);
            if let Some(others) = self.accepting.errors.now(now) {
                let open = self.connections.len();
                log::error!(
                    "cannot accept: {error}; {open} sessions are open; trying again; {others}"
                );
            }
            return true;
        }
        true
    }

    /// Accepts one client by the descriptor that is kept for that, and refuses
    /// it: the rest wait until there are descriptors.
    fn refuse_by_reserve(&mut self, listener: usize) {
        if self.accepting.reserve.take().is_some()
            && let Some(Ok(Some((transport, _)))) =
                self.listeners.get(listener).map(Listener::accept)
        {
            self.turn_away(&transport, &reply::TOO_MANY_CONNECTIONS);
        }
        self.keep_reserve();
    }

    /// Keeps a descriptor for [`EventLoop::refuse_by_reserve`]; a copy of one
    /// that is open, as opening one may block.
    pub(super) fn keep_reserve(&mut self) {
        self.accepting.reserve = self.listeners.first().and_then(Listener::spare_descriptor);
    }

    fn turn_away(&mut self, transport: &Transport, reply: &Reply) {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        Connection::turn_away(transport, &self.settings, number, reply);
    }

    pub(super) fn admit(
        &mut self,
        transport: Transport,
        peer: Option<IpAddr>,
        now: Instant,
    ) -> io::Result<()> {
        let refusal = self.refusal(peer, now);
        if let Some(reply) = &refusal
            && self.accepting.refusals >= self.settings.refusals_max
        {
            self.turn_away(&transport, reply);
            return Ok(());
        }
        let slot = self.connections.next_slot();
        transport.register(self.poll.registry(), Token(slot))?;
        let (number, settings) = (self.next_number, &self.settings);
        self.next_number = self.next_number.wrapping_add(1);
        let connection = match refusal {
            None => Connection::new(transport, peer, settings, number, now),
            Some(reply) => Connection::refused(transport, peer, settings, number, now, &reply),
        };
        self.accepting.refusals += usize::from(connection.is_refusal);
        self.connections.insert(connection);
        self.queue(slot);
        Ok(())
    }

    /// Why this client is not served, where that is so.
    fn refusal(&mut self, peer: Option<IpAddr>, now: Instant) -> Option<Reply> {
        if let Some(peer) = peer
            && !self.settings.allow.iter().any(|network| network.contains(peer))
        {
            if let Some(others) = self.accepting.not_allowed.now(now) {
                log::warn!("refused peer={peer}: in no network that allow names; {others}");
            }
            return Some(reply::PEER_NOT_ALLOWED);
        }
        let served = self.connections.len() - self.accepting.refusals;
        if served >= self.settings.connections_max {
            if let Some(others) = self.accepting.too_many.now(now) {
                log::warn!("refused: {served} sessions are open (max-connections); {others}");
            }
            return Some(reply::TOO_MANY_CONNECTIONS);
        }
        None
    }
}
