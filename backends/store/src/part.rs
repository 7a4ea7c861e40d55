//! What of a store is one account's.
//!
//! Lives here: [`Part`], the store as if that account were all of it.
//! May not: know where an account lies; the store says.

use crate::MailStore;
use std::path::PathBuf;

/// One account's part of a store of which each mailbox lies somewhere of its own.
pub struct Part {
    /// The same store, with this account alone: what its
    /// [`init`](MailStore::init) makes and its [`reader`](MailStore::reader) sees.
    /// It is not for deliveries.
    pub store: Box<dyn MailStore>,
    /// The paths of all that belongs to the account.
    pub places: Vec<PathBuf>,
}
