//! The write-ahead log's size.
//!
//! Lives here: when a checkpoint is due, and what a log that does not shrink means.
//! May not: make a checkpoint.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// So many pages of it are copied into the database at the latest.
const PAGES: u32 = 1_000;

/// Beyond so many the writer has to wait for the end of a checkpoint: only a log
/// that is copied to its end begins anew.
const PAGES_WHILE_WRITING: u32 = 4 * PAGES;

/// A page in the log, with its header.
const PAGE_OCTETS: u64 = 4096 + 24;

/// A log of this size is told of.
const OCTETS_TOLD: u64 = 64 << 20;

/// How often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What is known of the log.
pub(crate) struct Wal {
    /// As of the last commit.
    pages: AtomicU32,
    /// From so many on a checkpoint is due.
    due: AtomicU32,
    told: Mutex<Option<Instant>>,
}

impl Default for Wal {
    fn default() -> Self {
        Self { pages: AtomicU32::new(0), due: AtomicU32::new(PAGES), told: Mutex::default() }
    }
}

impl Wal {
    /// After each commit of ours.
    pub(crate) fn note(&self, pages: i32) {
        let pages = u32::try_from(pages).unwrap_or(0);
        if pages < self.pages.swap(pages, Ordering::Relaxed) {
            // It has begun anew.
            self.due.store(PAGES, Ordering::Relaxed);
        }
    }

    /// Whether a checkpoint is due.
    pub(crate) fn is_due(&self) -> bool {
        self.pages.load(Ordering::Relaxed) >= self.due.load(Ordering::Relaxed)
    }

    /// Its size as of the last commit.
    pub(crate) fn octets(&self) -> u64 {
        u64::from(self.pages.load(Ordering::Relaxed)) * PAGE_OCTETS
    }

    /// Whether the writer has to wait for a checkpoint that has copied so many pages
    /// while writing went on.
    pub(crate) fn outgrows(&self, copied: i32) -> bool {
        // What was written meanwhile is not in that number.
        let written = self.pages.load(Ordering::Relaxed);
        written != pages(copied) && written >= PAGES_WHILE_WRITING
    }

    /// A checkpoint of the database at `path` has copied so many of the log's pages.
    pub(crate) fn checkpointed(&self, log: i32, copied: i32, path: &std::path::Path) {
        // Where it begins anew it is soon smaller, and that is noted.
        self.due.store(pages(log).saturating_add(PAGES), Ordering::Relaxed);
        let octets = u64::from(pages(log)) * PAGE_OCTETS;
        if log != copied && octets > OCTETS_TOLD {
            self.tell(path, octets);
        }
    }

    /// A checkpoint has failed: it is not due again at once.
    pub(crate) fn put_off(&self) {
        self.due.store(self.pages.load(Ordering::Relaxed).saturating_add(PAGES), Ordering::Relaxed);
    }

    /// Says that readers keep the log from beginning anew, now and then.
    fn tell(&self, path: &std::path::Path, octets: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            *told = Some(Instant::now());
            log::warn!(
                "write-ahead log of {} has {} MiB: another process has been reading for long and keeps it from shrinking; end its transaction; next line in {} s",
                path.to_string_lossy().escape_debug(),
                octets >> 20,
                TOLD_EVERY.as_secs()
            );
        }
    }
}

/// -1 where there is no log.
fn pages(count: i32) -> u32 {
    u32::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{PAGES, Wal};

    #[test]
    fn a_checkpoint_is_due_again_a_thousand_pages_later_or_after_a_new_beginning() {
        let wal = Wal::default();
        wal.note(999);
        assert!(!wal.is_due());
        wal.note(1_000);
        assert!(wal.is_due());
        wal.due.store(1_000 + PAGES, super::Ordering::Relaxed);
        wal.note(1_999);
        assert!(!wal.is_due());
        wal.note(7);
        assert!(!wal.is_due());
        wal.note(1_000);
        assert!(wal.is_due());
    }
}
