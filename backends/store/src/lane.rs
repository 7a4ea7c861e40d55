//! Lanes: order, fairness and batches of deliveries by one mechanism.
//!
//! Lives here: the value with which a store names what its mailboxes share.
//! May not: queue anything; that is the pool's work.

/// Where deliveries queue: a key, and how they are taken from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    key: String,
    at_once: usize,
    together: usize,
}

impl Lane {
    /// A lane for what `key` names: the thing really shared (the Maildir, the
    /// mbox file, the database), not the mailbox. `at_once` deliveries or
    /// batches run in it at the same time, and up to `together` deliveries are
    /// taken as one batch; both are at least 1.
    pub fn of(key: impl Into<String>, at_once: usize, together: usize) -> Self {
        Self { key: key.into(), at_once: at_once.max(1), together: together.max(1) }
    }

    /// What the deliveries in this lane share.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How many batches run at the same time.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// How many deliveries make a batch at the most.
    pub fn together(&self) -> usize {
        self.together
    }
}
