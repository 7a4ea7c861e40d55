//! The ids of stored messages.
//!
//! Lives here: an id that sorts by time as text, and that nobody has twice.
//! May not: know the database; its primary key would refuse a second one.

use postino_store::Timestamp;
use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// Gives ids, each greater than the last one of this process.
#[derive(Default)]
pub(crate) struct Ids {
    /// Microseconds since 1970.
    last: AtomicU64,
}

impl Ids {
    /// 16 digits, microseconds since 1970, `R`, and 64 random bits: 1795515020809269R806be9ba17adad43.
    pub(crate) fn next(&self) -> io::Result<String> {
        let now = Timestamp::now_utc().since_epoch.as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        // A clock that stands or goes back changes no order.
        let step = |last: u64| Some(now.max(last.saturating_add(1)));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .unwrap_or_else(|last| last);
        let own = now.max(last.saturating_add(1));
        Ok(format!("{own:016}R{:016x}", postino_files::random()?))
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn ids_ascend_and_are_visible() {
        let ids = Ids::default();
        let ids: Vec<_> = (0..1_000).map(|_| ids.next().unwrap()).collect();
        assert!(ids.is_sorted());
        for id in ids {
            assert!(id.len() == 33 && id.bytes().all(|octet| octet.is_ascii_alphanumeric()));
        }
    }
}
