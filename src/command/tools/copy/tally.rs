//! What a copy has come to so far.
//!
//! Lives here: the counts, what has failed as soon as it has, and whether to stop.
//! May not: decide what is copied.

use super::progress::Screen;
use crate::escape;
use postino_store::{DeliveryError, MailboxName};
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// The counts, which all threads add to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) mailboxes: Count,
    /// Messages that were stored, or would be.
    pub(super) copied: Count,
    /// Their octets.
    pub(super) octets: Count,
    /// Messages that the target had.
    pub(super) already: Count,
    /// What was not copied: messages, and mailboxes that could not be listed.
    pub(super) failed: Count,
    /// Messages, whatever became of them, and their octets.
    pub(super) done: Count,
    pub(super) done_octets: Count,
    /// Why to stop: what no other message would escape.
    stop: Mutex<Option<DeliveryError>>,
    is_stopped: AtomicBool,
    /// Where failures are shown.
    pub(super) screen: Screen,
}

/// A number that several threads add to.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// Says what was not copied, and why: a mailbox, or one message in it.
    pub(super) fn fail(&self, mailbox: &MailboxName, id: Option<&str>, why: &dyn fmt::Display) {
        let id = id.map(|id| format!(" {id}")).unwrap_or_default();
        self.say_failed(&format!("not copied: {mailbox}{id}: {why}"));
    }

    /// Says what stands in the source and was not read.
    pub(super) fn fail_unread(&self, stray: &dyn fmt::Display) {
        self.say_failed(&format!("not read: {stray}"));
    }

    /// Counts a failure, and shows it.
    pub(super) fn say_failed(&self, line: &str) {
        self.failed.add(1);
        self.screen.say(&escape::visible(line.as_bytes()));
    }

    /// Has everybody stop.
    pub(super) fn stop(&self, why: DeliveryError) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Whether nothing more is to be begun.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Why everybody had to stop.
    pub(super) fn take_stop(&self) -> Option<DeliveryError> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The line at the end.
    pub(super) fn summary(&self, dry_run: bool, took: Duration) -> String {
        format!(
            "mailboxes={} {}={} already_there={} octets={} failed={} seconds={:.1}",
            self.mailboxes.get(),
            if dry_run { "to_copy" } else { "copied" },
            self.copied.get(),
            self.already.get(),
            self.octets.get(),
            self.failed.get(),
            took.as_secs_f64()
        )
    }
}
