//! When to look at which connection again.
//!
//! Lives here: one queue of moments, with one entry at most for each connection.
//! May not: know why a connection waits; it says when, and decides anew then.
//! Holds: a connection whose deadline moves away, as it does with every octet,
//! costs nothing here: its entry stays, and is replaced when it comes due.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// The queue; connections are named by their slots.
#[derive(Default)]
pub(super) struct Timers {
    entries: BTreeSet<(Instant, usize)>,
}

impl Timers {
    /// Has `slot` come due at `deadline` or before. `armed` is the slot's entry,
    /// which this keeps.
    pub(super) fn arm(&mut self, slot: usize, armed: &mut Option<Instant>, deadline: Instant) {
        match *armed {
            Some(earlier) if earlier <= deadline => return,
            Some(later) => drop(self.entries.remove(&(later, slot))),
            None => {}
        }
        self.entries.insert((deadline, slot));
        *armed = Some(deadline);
    }

    /// Forgets the slot's entry.
    pub(super) fn disarm(&mut self, slot: usize, armed: Option<Instant>) {
        if let Some(moment) = armed {
            self.entries.remove(&(moment, slot));
        }
    }

    /// Takes an entry that has come due.
    pub(super) fn due(&mut self, now: Instant) -> Option<usize> {
        let (moment, _) = *self.entries.first()?;
        if moment > now {
            return None;
        }
        self.entries.pop_first().map(|(_, slot)| slot)
    }

    /// How long until the next entry comes due.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        self.entries.first().map(|(moment, _)| moment.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;
    use std::time::{Duration, Instant};

    #[test]
    fn a_deadline_that_moves_away_leaves_its_entry_and_one_that_comes_nearer_replaces_it() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut armed = None;
        timers.arm(7, &mut armed, after(10));
        timers.arm(7, &mut armed, after(20));
        assert_eq!((armed, timers.wait(start)), (Some(after(10)), Some(Duration::from_secs(10))));
        timers.arm(7, &mut armed, after(5));
        assert_eq!(timers.due(after(4)), None);
        assert_eq!(timers.due(after(5)), Some(7));
        assert_eq!(timers.due(after(30)), None, "one entry for each connection");
    }
}
