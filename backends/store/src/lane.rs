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
    account: Option<Account>,
}

/// What several lanes have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    key: String,
    at_once: usize,
}

impl Lane {
    /// A lane for what `key` names: the thing really shared (the Maildir, the
    /// mbox file, the database), not the mailbox. `at_once` deliveries or
    /// batches run in it at the same time, and up to `together` deliveries are
    /// taken as one batch; both are at least 1.
    pub fn of(key: impl Into<String>, at_once: usize, together: usize) -> Self {
        Self { key: key.into(), at_once: at_once.max(1), together: together.max(1), account: None }
    }

    /// Caps the lane together with others: `at_once` batches, at least 1, run at the
    /// same time in all lanes within this account. Each of them gives the same number.
    #[must_use]
    pub fn within(mut self, account: impl Into<String>, at_once: usize) -> Self {
        self.account = Some(Account { key: account.into(), at_once: at_once.max(1) });
        self
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

    /// The account that caps it, and how many batches run at the same time in all of
    /// its lanes; none where nothing but the lane itself does.
    pub fn account(&self) -> Option<(&str, usize)> {
        self.account.as_ref().map(|account| (&*account.key, account.at_once))
    }
}
