//! What this process knows of mailboxes: a bounded memory.
//!
//! Lives here: which mailboxes are durable from the root down, and when their
//! `tmp` was cleaned.
//! May not: be needed: whatever is forgotten is only done again.

use postino_files::Identity;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Mailboxes remembered, about 200 octets each.
const MAILBOXES_MAX: usize = 4096;

/// The least time between two cleanings of a mailbox.
const CLEANING_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The memory, by the mailbox's whole path.
pub(crate) struct Known(Mutex<HashMap<PathBuf, Mailbox>>);

struct Mailbox {
    /// Its `new`: a mailbox that was removed and made again is another one.
    new: Identity,
    cleaned: Option<Instant>,
}

impl Known {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// The `new` of a mailbox that is durable from the root down.
    pub(crate) fn durable(&self, path: &Path) -> Option<Identity> {
        self.mailboxes().get(path).map(|mailbox| mailbox.new)
    }

    /// Notes that it is durable.
    pub(crate) fn note_durable(&self, path: &Path, new: Identity) {
        let mut mailboxes = self.mailboxes();
        if let Some(mailbox) = mailboxes.get_mut(path) {
            mailbox.new = new;
            return;
        }
        if mailboxes.len() >= MAILBOXES_MAX
            && let Some(any) = mailboxes.keys().next().cloned()
        {
            mailboxes.remove(&any);
        }
        mailboxes.insert(path.to_owned(), Mailbox { new, cleaned: None });
    }

    /// Knows nothing of it any more.
    pub(crate) fn forget(&self, path: &Path) {
        self.mailboxes().remove(path);
    }

    /// Whether the mailbox's `tmp` is to be cleaned; says so once a day.
    pub(crate) fn cleaning_is_due(&self, path: &Path) -> bool {
        let mut mailboxes = self.mailboxes();
        let Some(mailbox) = mailboxes.get_mut(path) else { return false };
        let due = mailbox.cleaned.is_none_or(|cleaned| cleaned.elapsed() >= CLEANING_INTERVAL);
        if due {
            mailbox.cleaned = Some(Instant::now());
        }
        due
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<PathBuf, Mailbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, MAILBOXES_MAX};
    use postino_files::Identity;
    use std::path::Path;

    #[test]
    fn the_memory_is_bounded_and_tells_a_mailbox_made_again_from_the_old_one() {
        let known = Known::new();
        let old = Identity { device: 1, inode: 2, born: Some((1, 0)) };
        let new = Identity { born: Some((2, 0)), ..old };
        known.note_durable(Path::new("alice"), old);
        assert_eq!(known.durable(Path::new("alice")), Some(old));
        assert_ne!(known.durable(Path::new("alice")), Some(new));
        assert_eq!(known.durable(Path::new("bob")), None);
        known.forget(Path::new("alice"));
        assert_eq!(known.durable(Path::new("alice")), None);
        for n in 0..2 * MAILBOXES_MAX {
            known.note_durable(Path::new(&n.to_string()), old);
        }
        assert_eq!(known.mailboxes().len(), MAILBOXES_MAX);
    }

    #[test]
    fn a_mailbox_is_cleaned_once_a_day() {
        let known = Known::new();
        let alice = Path::new("alice");
        assert!(!known.cleaning_is_due(alice));
        known.note_durable(alice, Identity { device: 1, inode: 2, born: None });
        assert!(known.cleaning_is_due(alice));
        known.note_durable(alice, Identity { device: 1, inode: 3, born: None });
        assert!(!known.cleaning_is_due(alice));
    }
}
