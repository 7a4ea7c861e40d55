//! Bodies that no message refers to, and that could not be removed yet.
//!
//! Lives here: which they are.
//! May not: know how they are removed, or why they could not be.
//! Holds: none stands here twice, and none that is still being written.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The rows of the bodies.
#[derive(Default)]
pub(crate) struct Remains(Mutex<Vec<i64>>);

impl Remains {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// Keeps one in mind for later.
    pub(crate) fn keep(&self, row: i64) {
        let mut rows = self.rows();
        if !rows.contains(&row) {
            rows.push(row);
        }
    }

    /// All of them; whoever takes them removes them, or keeps them again.
    pub(crate) fn take(&self) -> Vec<i64> {
        std::mem::take(&mut *self.rows())
    }

    fn rows(&self) -> MutexGuard<'_, Vec<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
