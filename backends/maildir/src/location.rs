//! Where a mailbox lies below the root.
//!
//! Lives here: from a name to a path, for accounts and for the folders in them.
//! May not: touch a file.

use crate::{Maildir, folder_name};
use postino_store::{DeliveryError, MailboxName};
use std::path::PathBuf;

/// A mailbox's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Below the root.
    pub(crate) path: PathBuf,
    /// Whether it is a folder in an account's Maildir, and not that itself.
    pub(crate) is_folder: bool,
}

impl Maildir {
    /// Where the Maildir of a mailbox's account lies.
    pub(crate) fn account(&self, mailbox: &MailboxName) -> Result<Location, DeliveryError> {
        match self.template.expand(mailbox) {
            Ok(components) => Ok(Location { path: components.iter().collect(), is_folder: false }),
            Err(error) => Err(DeliveryError::UnusableName(error.to_string())),
        }
    }

    /// Where the mailbox itself lies.
    pub(crate) fn location(&self, mailbox: &MailboxName) -> Result<Location, DeliveryError> {
        let mut location = self.account(mailbox)?;
        let Some(folder) = mailbox.folder() else { return Ok(location) };
        if let Some(directory) = folder_name::directory(folder)? {
            location.path.push(directory);
            location.is_folder = true;
        }
        Ok(location)
    }

    /// Where its mail goes: that of a folder that can have no directory to the account's
    /// mailbox. Addresses that mean one are refused; what a rule says is no fault of
    /// the sender's.
    pub(crate) fn target(&self, mailbox: &MailboxName) -> Result<Location, DeliveryError> {
        match self.location(mailbox) {
            Err(_) if mailbox.folder().is_some() => self.account(mailbox),
            location => location,
        }
    }
}
