//! Trying again while others hold a lock.
//!
//! Lives here: how long, and how often.
//! May not: hold a lock meanwhile.

use postino_store::{DeliveryError, ReadError};
use std::{
    thread,
    time::{Duration, Instant},
};

/// The first sleep, doubled each time up to the longest.
const SLEEP_MIN: Duration = Duration::from_millis(10);
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// One wait, from when it is made.
pub(super) struct LockWait {
    began: Instant,
    longest: Duration,
    sleep: Duration,
}

impl LockWait {
    /// A wait of so long at the most.
    pub(super) fn at_most(longest: Duration) -> Self {
        Self { began: Instant::now(), longest, sleep: SLEEP_MIN }
    }

    /// Sleeps; says whether to try again, which is not so once the wait is over.
    pub(super) fn sleep(&mut self) -> bool {
        let rest = self.longest.saturating_sub(self.began.elapsed());
        if rest.is_zero() {
            return false;
        }
        thread::sleep(self.sleep.min(rest));
        self.sleep = (self.sleep * 2).min(SLEEP_MAX);
        true
    }
}

/// An error that may be a lock.
pub(super) trait MayBeLocked {
    /// Whether it is one.
    fn is_locked(&self) -> bool;
}

impl MayBeLocked for DeliveryError {
    fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}

impl MayBeLocked for ReadError {
    fn is_locked(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_locked())
    }
}

/// Acts, again and again while a lock is in the way.
pub(super) fn unlocked<T, E: MayBeLocked>(
    longest: Duration,
    mut act: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut wait = LockWait::at_most(longest);
    loop {
        match act() {
            Err(error) if error.is_locked() && wait.sleep() => {}
            result => return result,
        }
    }
}
