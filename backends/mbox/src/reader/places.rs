//! Where messages were when a mailbox was last gone through.
//!
//! Lives here: the places of one mailbox's messages, by their digests, so that of
//! many that others have moved each is found without going through all of it.
//! May not: be believed; whoever gets a place looks at what stands there now.
//! Holds: some 20 octets for each message of one mailbox, the last one.

use super::scan::Found;
use crate::id::TextDigest;
use postino_files::Status;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Of a mailbox with more messages nothing is kept.
const MESSAGES_MAX: usize = 1024 * 1024;

/// Remembers one mailbox's messages.
#[derive(Default)]
pub(crate) struct Places(Mutex<Option<Known>>);

struct Known {
    /// What the file was then.
    status: Status,
    /// Where the first message of each digest began.
    begins: HashMap<TextDigest, u64>,
}

/// What is known of a message's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It began here, and may still.
    At(u64),
    /// The file is as it was, and has no such message.
    Nowhere,
    Unknown,
}

impl Places {
    /// Keeps all that was found in a file of which this was seen at the end.
    pub(super) fn keep(&self, status: Status, found: &[Found]) {
        let known = (found.len() <= MESSAGES_MAX).then(|| {
            // The last one that is put in stays.
            let begins = found.iter().rev().map(|found| (found.digest, found.at)).collect();
            Known { status, begins }
        });
        *self.known() = known;
    }

    /// The place of a message in a file that is this now, under its locks.
    pub(super) fn of(&self, digest: TextDigest, now: &Status) -> Place {
        let known = self.known();
        let Some(Known { status, begins }) = &*known else { return Place::Unknown };
        let state = |status: &Status| (status.identity, status.size, status.changed);
        match begins.get(&digest) {
            Some(at) => Place::At(*at),
            None if state(status) == state(now) => Place::Nowhere,
            None => Place::Unknown,
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
