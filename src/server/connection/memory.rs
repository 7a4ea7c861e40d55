//! How much a connection may keep of what its client sends.
//!
//! Lives here: how much is read at once, by the memory that is free, and what is
//! given back where others need it.
//! May not: count for all sessions; the pool's budget does.

use super::{
    Connection, Turn,
    work::{self, BODY_OCTETS_MIN, Refused},
};
use crate::{
    delivery::Pool,
    protocol::{PART_OCTETS, Phase},
    reply::{self, Reply},
};
use std::time::Instant;

/// Octets of a message that are read at once, in a turn.
pub(in crate::server) const READ_OCTETS: usize = 64 * 1024;
/// Octets of commands that are read at once, and where memory is full: what the
/// session cannot take yet is kept for each of many clients.
const COMMAND_OCTETS: usize = 4 * 1024;
const COMMAND_OCTETS_MIN: usize = 512;

/// Too little memory in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Lack {
    /// The connection waits for some.
    pub(in crate::server) starves: bool,
    /// A recipient or a message was deferred for that.
    pub(in crate::server) defers: bool,
    /// A large message was deferred, as there are too many of them.
    pub(in crate::server) has_no_place: bool,
}

impl Lack {
    /// Notes why a message was refused; gives the reply.
    pub(super) fn note(&mut self, refused: Refused) -> Reply {
        match refused {
            Refused::Memory => self.defers = true,
            Refused::Place => self.has_no_place = true,
            Refused::Octets(reply) => return reply,
        }
        reply::OUT_OF_MEMORY
    }
}

impl Connection {
    /// Whether it can read but for want of memory.
    pub(super) fn has_to_starve(&self, turn: &mut Turn<'_>) -> bool {
        let starves = || self.can_read() && self.read_room(turn.pool) == 0;
        if !starves() {
            return false;
        }
        turn.lack.starves = true;
        turn.pool.memory().want();
        starves()
    }

    /// How much may be read at once now.
    pub(super) fn read_room(&self, pool: &Pool) -> usize {
        let memory = pool.memory().room();
        match self.session.phase() {
            Phase::Data => {
                let (kept, capacity) = self.session.kept();
                let memory = usize::try_from(memory).unwrap_or(usize::MAX);
                let is_spooling = self.work.as_ref().is_some_and(|work| work.is_spooling());
                // What it has at least is with the spool now.
                let least = if is_spooling { 0 } else { BODY_OCTETS_MIN };
                read_room(kept, capacity, memory, least)
            }
            _ if memory > 0 => COMMAND_OCTETS,
            _ => COMMAND_OCTETS_MIN,
        }
    }

    /// Notes what is kept for the client.
    pub(super) fn note_memory(&mut self, turn: &Turn<'_>) {
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
    pub(in crate::server) fn idle_with_body(&self) -> Option<Instant> {
        let (kept, capacity) = self.session.kept();
        let uses_memory = kept >= BODY_OCTETS_MIN || capacity > BODY_OCTETS_MIN;
        (uses_memory && self.lingers_until.is_none()).then_some(self.clocks.progress)
    }

    /// Gives memory back, by the spool if need be; a turn must follow. Says how
    /// much it will be.
    pub(in crate::server) fn relieve(&mut self) -> usize {
        work::relieve(&mut self.session)
    }
}

/// How much of a message may be read, where so much of it is kept in a buffer of
/// this capacity, and so much memory is free: as much as makes the buffer not
/// grow beyond that, or up to its least.
fn read_room(kept: usize, capacity: usize, memory: usize, least: usize) -> usize {
    let wanted = READ_OCTETS.min(PART_OCTETS.saturating_sub(kept)).max(1);
    let grown = (2 * capacity).min(PART_OCTETS).max(kept + wanted);
    if kept + wanted <= capacity || grown - capacity <= memory {
        wanted
    } else {
        capacity.max(least).saturating_sub(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::{BODY_OCTETS_MIN, READ_OCTETS, read_room};
    use crate::protocol::PART_OCTETS;

    #[test]
    fn a_message_grows_only_as_far_as_there_is_memory() {
        let plenty = usize::MAX;
        let room = |kept, capacity, memory| read_room(kept, capacity, memory, BODY_OCTETS_MIN);
        assert_eq!(room(0, 0, plenty), READ_OCTETS);
        assert_eq!(room(PART_OCTETS - 10, PART_OCTETS, plenty), 10);
        assert_eq!(room(70_000, 70_000, 70_000), READ_OCTETS);
        assert_eq!(room(70_000, 70_000, 69_999), 0, "its buffer would be doubled");
        assert_eq!(room(70_000, 80_000, 0), 10_000, "what there is can be filled");
        assert_eq!(room(0, 0, 0), BODY_OCTETS_MIN);
        assert_eq!(room(BODY_OCTETS_MIN, BODY_OCTETS_MIN, 0), 0);
        assert_eq!(read_room(0, 0, 0, 0), 0);
    }
}
