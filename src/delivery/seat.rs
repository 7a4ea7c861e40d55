//! What each thread of a crew does just now, for whoever watches it.
//!
//! Lives here: [`Seat`], in which one thread notes since when it works, and for
//! whom.
//! May not: judge how long is too long; `crew` does.
//! Holds: noting costs the thread a few atomic steps, no lock and no wake-up.

use crate::transaction::TransactionId;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

// The two low bits of the state; above them are the nanoseconds at which the
// piece of work began, which tell it from every other.
const FREE: u64 = 0;
const IDLE: u64 = 1;
const WORKING: u64 = 2;
const STUCK: u64 = 3;
const KIND: u64 = 3;

/// One thread's place in a crew. A cache line of its own, as every piece of work
/// writes to it.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Seat {
    state: AtomicU64,
    /// Session and transaction; 0 where none was noted.
    transaction: AtomicU64,
}

/// A piece of work that a seat was seen with.
#[derive(Clone, Copy)]
pub(super) struct Piece(u64);

impl Piece {
    /// When it began, counted as [`Seat::begin`] was told.
    pub(super) fn began(self) -> Duration {
        Duration::from_nanos(self.0 >> 2)
    }
}

impl Seat {
    /// Takes the seat, if nobody has it.
    pub(super) fn take(&self) -> bool {
        self.state.compare_exchange(FREE, IDLE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives the seat back.
    pub(super) fn leave(&self) {
        self.state.store(FREE, Ordering::Release);
    }

    /// A piece of work begins.
    pub(super) fn begin(&self, at: Duration) {
        self.transaction.store(0, Ordering::Relaxed);
        // Enough for a century.
        let nanoseconds = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.state.store(nanoseconds << 2 | WORKING, Ordering::Release);
    }

    /// Notes for whom the work is, as soon as that is known.
    pub(super) fn serves(&self, id: TransactionId) {
        let word = u64::from(id.session) << 32 | u64::from(id.transaction);
        self.transaction.store(word, Ordering::Relaxed);
    }

    /// The piece of work is done; says whether it was [stuck](Seat::mark_stuck).
    pub(super) fn end(&self) -> bool {
        self.state.swap(IDLE, Ordering::AcqRel) & KIND == STUCK
    }

    /// The piece of work under way, unless it is known to be stuck.
    pub(super) fn piece(&self) -> Option<Piece> {
        let state = self.state.load(Ordering::Acquire);
        (state & KIND == WORKING).then_some(Piece(state))
    }

    /// Marks this piece of work as stuck; says whether it is, and not done
    /// meanwhile.
    pub(super) fn mark_stuck(&self, piece: Piece) -> bool {
        let stuck = piece.0 | STUCK;
        self.state.compare_exchange(piece.0, stuck, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// For whom the work is.
    pub(super) fn transaction(&self) -> Option<TransactionId> {
        let word = self.transaction.load(Ordering::Relaxed);
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default();
        (word != 0).then(|| TransactionId { session: half(word >> 32), transaction: half(word) })
    }
}

#[cfg(test)]
mod tests {
    use super::Seat;
    use crate::transaction::TransactionId;
    use std::time::Duration;

    #[test]
    fn only_the_piece_of_work_that_was_seen_becomes_stuck() {
        let seat = Seat::default();
        assert!(seat.take() && !seat.take() && seat.piece().is_none());
        let first = Duration::new(7, 123_456_789);
        seat.begin(first);
        let seen = seat.piece().expect("it works");
        assert_eq!((seen.began(), seat.transaction()), (first, None));
        assert!(!seat.end());

        seat.begin(first + Duration::from_nanos(1));
        assert!(!seat.mark_stuck(seen), "another piece of work");
        let id = TransactionId { session: 0x7f3a, transaction: 2 };
        seat.serves(id);
        let seen = seat.piece().expect("it works");
        assert!(seat.mark_stuck(seen) && seat.piece().is_none());
        assert_eq!(seat.transaction(), Some(id));
        assert!(seat.end() && seat.piece().is_none());

        seat.leave();
        assert!(seat.take());
    }
}
