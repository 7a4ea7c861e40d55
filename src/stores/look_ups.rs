//! Few questions at a time to one account's store, of whose user each can be made to
//! hang.
//!
//! Lives here: how many are asked together, how long a further one waits, and what it
//! means that it waits in vain.
//! May not: know a store.
//! Holds: whatever a user does to his store, few of the threads that all accounts
//! share wait for it.

use postino_store::DeliveryError;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Questions to one store at the same time.
const TOGETHER: usize = 4;

/// Once one of them takes so long, no other waits for its end.
const HANGS_AFTER: Duration = Duration::from_secs(1);

/// A store that was found locked is not asked again for so long: each question would
/// wait a moment for the lock.
const LOCKED_FOR: Duration = Duration::from_millis(100);

/// The questions to one store.
#[derive(Default)]
pub(super) struct LookUps {
    asked: Mutex<Asked>,
    has_ended: Condvar,
}

#[derive(Default)]
struct Asked {
    /// Since when each of them is under way.
    since: Vec<Instant>,
    locked: Option<Instant>,
}

/// One that is under way, until it is dropped.
struct LookUp<'a> {
    all: &'a LookUps,
    since: Instant,
}

impl LookUps {
    /// Asks, in its turn; the store counts as locked where there is none.
    pub(super) fn ask<T>(
        &self,
        ask: impl FnOnce() -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError> {
        let _look_up = self.begin()?;
        let result = ask();
        if let Err(DeliveryError::Locked { .. }) = &result {
            self.asked().locked = Some(Instant::now());
        }
        result
    }

    fn begin(&self) -> Result<LookUp<'_>, DeliveryError> {
        let mut asked = self.asked();
        loop {
            if asked.locked.is_some_and(|locked| locked.elapsed() < LOCKED_FOR) {
                return Err(DeliveryError::Locked { holder: None });
            }
            if asked.since.len() < TOGETHER {
                break;
            }
            let longest = asked.since.iter().map(Instant::elapsed).max().unwrap_or_default();
            let Some(rest) = HANGS_AFTER.checked_sub(longest).filter(|rest| !rest.is_zero()) else {
                return Err(DeliveryError::Locked { holder: None });
            };
            let waited = self.has_ended.wait_timeout(asked, rest);
            (asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let since = Instant::now();
        asked.since.push(since);
        Ok(LookUp { all: self, since })
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LookUp<'_> {
    fn drop(&mut self) {
        let mut asked = self.all.asked();
        if let Some(at) = asked.since.iter().position(|since| *since == self.since) {
            asked.since.swap_remove(at);
        }
        drop(asked);
        self.all.has_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::{HANGS_AFTER, LookUps, TOGETHER};
    use postino_store::DeliveryError;
    use std::{
        sync::{Barrier, mpsc},
        thread,
        time::Instant,
    };

    #[test]
    fn whoever_finds_all_places_hanging_waits_no_longer() {
        let look_ups = LookUps::default();
        let inside = Barrier::new(TOGETHER + 1);
        let (end, hang) = mpsc::channel::<()>();
        let hang = std::sync::Mutex::new(hang);
        thread::scope(|scope| {
            for _ in 0..TOGETHER {
                scope.spawn(|| {
                    look_ups.ask(|| {
                        inside.wait();
                        let _ = hang.lock().unwrap().recv();
                        Ok(())
                    })
                });
            }
            inside.wait();
            let began = Instant::now();
            for _ in 0..3 {
                let refused = look_ups.ask(|| Ok(()));
                assert!(matches!(refused, Err(DeliveryError::Locked { .. })));
            }
            assert!(began.elapsed() < 2 * HANGS_AFTER);
            drop(end);
        });
        look_ups.ask(|| Ok(())).unwrap();
    }

    #[test]
    fn a_store_that_was_found_locked_is_not_asked_again_at_once() {
        let look_ups = LookUps::default();
        let locked = || Err::<(), _>(DeliveryError::Locked { holder: None });
        assert!(look_ups.ask(locked).is_err());
        assert!(look_ups.ask(|| Ok(())).is_err());
    }
}
