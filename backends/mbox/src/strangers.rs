//! Lock files of strangers: of neither the mailbox's owner nor root.
//!
//! Lives here: since when a mailbox has been met with one: whoever can make such a
//! file can also keep it young, or make it anew each minute.
//! May not: touch the disk; be needed: what is forgotten only counts anew.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Mailboxes remembered, about 150 octets each.
const MAILBOXES_MAX: usize = 1024;

/// By the lock file's path: when one was met there first.
#[derive(Default)]
pub(crate) struct Strangers(Mutex<HashMap<PathBuf, Instant>>);

impl Strangers {
    /// One is there: for how long that has been so, as far as we know. Whether it is
    /// the same one does not matter.
    pub(crate) fn met(&self, lock_file: &Path) -> Duration {
        let mut met = self.lock();
        if let Some(first) = met.get(lock_file) {
            return first.elapsed();
        }
        if met.len() >= MAILBOXES_MAX
            && let Some(any) = met.keys().next().cloned()
        {
            met.remove(&any);
        }
        met.insert(lock_file.to_owned(), Instant::now());
        Duration::ZERO
    }

    /// There is none any more.
    pub(crate) fn gone(&self, lock_file: &Path) {
        self.lock().remove(lock_file);
    }

    /// As if all had been met earlier.
    #[cfg(test)]
    pub(crate) fn age(&self, by: Duration) {
        for first in self.lock().values_mut() {
            *first -= by;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
