//! Accounts that are over quota: since when, and how many messages that stopped.
//!
//! Lives here: the count of each such account, for the log, until a message is
//! stored for it again.
//! May not: decide anything; whether there is room is the store's to say.
//! Holds: the table is bounded.

use crate::{escape, sys::local_time};
use postino_store::Timestamp;
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Accounts that are known at the most; beyond, the one goes that was longest
/// without mail.
const ACCOUNTS_MAX: usize = 1_000;

/// The accounts that are over quota, as far as they were tried.
#[derive(Default)]
pub(super) struct FullAccounts(Mutex<HashMap<Box<str>, Full>>);

/// An account has had no room for some messages.
#[derive(Clone, Copy)]
pub(super) struct Full {
    since: SystemTime,
    last: Instant,
    messages: u64,
}

impl FullAccounts {
    /// There was no room for a message.
    pub(super) fn note(&self, account: &str) -> Full {
        let (mut known, last) = (self.known(), Instant::now());
        if let Some(full) = known.get_mut(account) {
            (full.last, full.messages) = (last, full.messages.saturating_add(1));
            return *full;
        }
        if known.len() >= ACCOUNTS_MAX {
            let oldest = known.iter().min_by_key(|(_, full)| full.last);
            if let Some(oldest) = oldest.map(|(account, _)| account.clone()) {
                known.remove(&oldest);
            }
        }
        let full = Full { since: SystemTime::now(), last, messages: 1 };
        known.insert(account.into(), full);
        full
    }

    /// A message was stored: the log is told where there was no room before.
    pub(super) fn has_room(&self, account: &str) {
        let full = self.known().remove(account);
        if let Some(full) = full {
            let account = escape::value(account.as_bytes());
            log::info!("has room again: mailbox={account}; {full}");
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Full>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `37 deferred or refused since Tue, 24 Nov 2026 02:58:11 +0100`: it may be for days.
impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Timestamp {
            since_epoch: self.since.duration_since(UNIX_EPOCH).unwrap_or_default(),
            offset_minutes: local_time::offset_minutes(self.since),
        };
        write!(f, "{} deferred or refused since {}", self.messages, since.rfc5322())
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCOUNTS_MAX, FullAccounts};

    #[test]
    fn an_account_s_messages_are_counted_until_one_is_stored() {
        let full = FullAccounts::default();
        full.note("b");
        let first = full.note("a");
        let second = full.note("a");
        assert_eq!((first.messages, second.messages, first.since), (1, 2, second.since));
        assert!(second.to_string().starts_with("2 deferred or refused since "));
        full.has_room("a");
        assert_eq!(full.note("a").messages, 1);
        assert_eq!(full.note("b").messages, 2);
    }

    #[test]
    fn of_too_many_accounts_the_one_longest_without_mail_goes() {
        let full = FullAccounts::default();
        for number in 0..ACCOUNTS_MAX {
            full.note(&number.to_string());
        }
        full.note("0");
        full.note("one more");
        assert_eq!(full.known().len(), ACCOUNTS_MAX);
        assert_eq!((full.note("0").messages, full.note("1").messages), (3, 1));
    }
}
