//! Which file a mailbox or folder is, below the root.
//!
//! Lives here: the template with the names that no mailbox may have here.
//! May not: touch a file.

use crate::{dotlock, folder};
use postino_files::marker;
use postino_store::{DeliveryError, MailboxName, PathTemplate};
use std::path::PathBuf;

/// The most octets a file name can have.
const NAME_OCTETS_MAX: usize = 255;

/// Makes names into paths.
pub(crate) struct Paths {
    template: PathTemplate,
}

impl Paths {
    pub(crate) fn new(template: PathTemplate) -> Self {
        Self { template }
    }

    pub(crate) fn template(&self) -> &PathTemplate {
        &self.template
    }

    /// The file of a mailbox or of a folder in it, below the root.
    pub(crate) fn of(&self, mailbox: &MailboxName) -> Result<PathBuf, DeliveryError> {
        let inbox = self.inbox(mailbox)?;
        let Some(folder) = folder_of(mailbox) else { return Ok(inbox) };
        folder::path(&inbox, folder).ok_or_else(|| {
            DeliveryError::UnusableName("the folder's file would be taken for another one".into())
        })
    }

    /// The file that deliveries to this mailbox go to if all is well: where a folder
    /// can have none, its mailbox's.
    pub(crate) fn aim(&self, mailbox: &MailboxName) -> Result<PathBuf, DeliveryError> {
        let inbox = self.inbox(mailbox)?;
        Ok(folder_of(mailbox).and_then(|folder| folder::path(&inbox, folder)).unwrap_or(inbox))
    }

    /// The file of the account's mailbox itself.
    pub(crate) fn inbox(&self, mailbox: &MailboxName) -> Result<PathBuf, DeliveryError> {
        let components = self
            .template
            .expand(mailbox)
            .map_err(|error| DeliveryError::UnusableName(error.to_string()))?;
        let unusable = |what: &str| Err(DeliveryError::UnusableName(what.to_owned()));
        let file = components.last().map(String::as_str).unwrap_or_default();
        if file.ends_with(dotlock::SUFFIX) {
            return unusable("its file would be taken for another mailbox's lock file");
        }
        if file.len() + dotlock::SUFFIX.len() > NAME_OCTETS_MAX {
            return unusable("its lock file's name would be longer than 255 octets");
        }
        if components.first().is_some_and(|first| first.starts_with(marker::NAME)) {
            return unusable("the name is the marker's");
        }
        Ok(components.iter().collect())
    }
}

/// The folder; none for the mailbox itself, which may be called INBOX in any case.
pub(crate) fn folder_of(mailbox: &MailboxName) -> Option<&str> {
    mailbox.folder().filter(|folder| !folder.eq_ignore_ascii_case("inbox"))
}
