//! To whom the mailboxes of a store may belong.
//!
//! Lives here: who reads and writes, and whose files that may be.
//! May not: touch the disk or give a file another owner.
//! Holds: deliveries go to this process's user's mailboxes alone; root may also look
//! into those of the user to whom the store's root belongs.

use postino_files::process;
use postino_store::{DeliveryError, Failure};
use std::{io, path::Path};

/// Whoever may do everything anyhow.
const ROOT_USER: u32 = 0;

/// Whose files are mailboxes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owners {
    user: u32,
    /// To whom the store's root belongs; the user for a delivery.
    store: u32,
}

impl Owners {
    /// For a delivery.
    pub(crate) fn to_deliver() -> Self {
        let user = process::user();
        Self { user, store: user }
    }

    /// For reading a store whose root belongs to this user.
    #[cfg(feature = "reader")]
    pub(crate) fn to_read(store: u32) -> Self {
        Self { user: process::user(), store }
    }

    /// Whether a mailbox may belong to this user.
    pub(crate) fn has(self, owner: u32) -> bool {
        owner == self.user || (self.user == ROOT_USER && owner == self.store)
    }

    /// The user as whom the store is to be read, if that is another. A root of the
    /// superuser's tells nothing: any user's mailboxes may lie in it.
    pub(crate) fn other(self) -> Option<u32> {
        let is_other = ![ROOT_USER, self.user].contains(&self.store) && self.user != ROOT_USER;
        is_other.then_some(self.store)
    }

    /// Refuses what belongs to the user to whom the whole store does, where that is
    /// another: none of it could be read.
    pub(crate) fn refuse_others(self, owner: u32, path: &Path) -> Result<(), DeliveryError> {
        let Some(other) = self.other().filter(|other| *other == owner) else { return Ok(()) };
        let why = format!("it belongs to uid {other}, as the store does; run this as that user");
        let cause = io::Error::new(io::ErrorKind::PermissionDenied, why);
        let path = path.to_owned();
        Err(DeliveryError::Misconfigured(Failure { doing: "read", path, cause }))
    }

    /// Whether a directory above mailboxes may: where others may make some too, as in
    /// a spool of mode 1777, it is theirs to say what lies in them.
    pub(crate) fn has_dir(self, owner: u32) -> bool {
        owner == ROOT_USER || self.has(owner)
    }
}
