//! What happens where the memory of all sessions is in use.
//!
//! Lives here: who waits for memory, and whose message goes to the spool to make
//! room: the one that has been idle longest, first.
//! May not: count memory; the pool's budget does.

use super::{EventLoop, Lack, occasional::Occasional};
use crate::{delivery::Pool, reply};
use std::{
    collections::BTreeSet,
    mem,
    time::{Duration, Instant},
};

/// The least time between two searches for messages that could be spooled, for
/// each connection that is looked at: the loop has other things to do.
const RELIEF_INTERVAL: Duration = Duration::from_micros(2);
/// The part of the budget that a search makes free, as a divisor.
const RELIEF: u64 = 4;

/// Too little memory.
#[derive(Default)]
pub(super) struct Shortage {
    /// Slots of connections that wait for memory.
    starving: BTreeSet<usize>,
    /// When memory is made free.
    pub(super) relief_at: Option<Instant>,
    not_before: Option<Instant>,
    deferrals: Occasional,
    places: Occasional,
}

impl Shortage {
    /// Notes what there was too little memory for.
    pub(super) fn note(&mut self, lack: Lack, pool: &Pool, now: Instant) {
        if lack == Lack::default() {
            return;
        }
        if lack.has_no_place
            && let Some(others) = self.places.now(now)
        {
            log::warn!(
                "spool: as many messages over 256 KiB are under way as descriptors allow \
                 (LimitNOFILE); reply=\"{}\"; {others}",
                reply::OUT_OF_MEMORY.codes()
            );
        }
        if lack.starves || lack.defers {
            self.relief_at.get_or_insert(self.not_before.map_or(now, |at| at.max(now)));
        }
        if lack.defers
            && let Some(others) = self.deferrals.now(now)
        {
            log::warn!(
                "memory full: memory-budget, {} octets, is in use; reply=\"{}\"; {others}",
                pool.memory().limit(),
                reply::OUT_OF_MEMORY.codes()
            );
        }
    }
}

impl EventLoop {
    /// Has a connection wait for memory.
    pub(super) fn starve(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.is_starving = true;
            self.shortage.starving.insert(slot);
        }
    }

    /// There is memory again: whoever waits for it has a turn.
    pub(super) fn feed(&mut self) {
        for slot in mem::take(&mut self.shortage.starving) {
            self.queue(slot);
        }
    }

    /// Makes memory free, where that is due.
    pub(super) fn relieve(&mut self) {
        let now = Instant::now();
        if self.shortage.relief_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let connections = u32::try_from(self.connections.len()).unwrap_or(u32::MAX);
        self.shortage.not_before = Some(now + RELIEF_INTERVAL.saturating_mul(connections));
        let mut idle = BTreeSet::new();
        for (slot, connection) in self.connections.iter_mut() {
            if let Some(since) = connection.idle_with_body() {
                idle.insert((since, slot));
            }
        }
        let wanted = self.pool.memory().limit() / RELIEF;
        let mut freed = 0;
        for (_, slot) in idle {
            if freed >= wanted {
                break;
            }
            if let Some(connection) = self.connections.get_mut(slot) {
                freed += connection.relieve() as u64;
                // It may starve itself: its turn is to come all the same.
                self.queue(slot);
            }
        }
    }
}
