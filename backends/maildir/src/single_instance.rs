//! One file for all recipients of a message.
//!
//! Lives here: the file that [`prepare`](postino_store::MailStore::prepare) makes
//! where the copies are alike, and its way into each mailbox.
//! May not: decide any recipient's result before his own delivery: where there is
//! no file to share, each writes his copy and finds out himself what is wrong.
//! Holds: the file's name in `tmp` goes when the last delivery is done with it; a
//! crash leaves at most that one name, which cleaning takes.

use crate::{
    Maildir, mailbox,
    name::Name,
    write::{Published, Synced, Written},
};
use postino_files::Dir;
use postino_store::{Delivery, DeliveryError, Mailbox, Message};
use std::{io, path::Path, sync::atomic::Ordering};

/// Bits of a mode by which it matters which group a file has.
const GROUP_BITS: u32 = 0o070;

/// A message that is whole and on stable storage, but in no mailbox yet.
pub(crate) struct Shared {
    synced: Synced,
    /// The group that its directory gave it.
    group: Option<u32>,
}

impl Maildir {
    /// Writes the message once, in the `tmp` of the first mailbox that there is
    /// or can be made. None where copies differ, or where that cannot be done.
    pub(crate) fn share(&self, message: &Message, mailboxes: &[&Mailbox]) -> Option<Shared> {
        let header = message.common_header().filter(|_| mailboxes.len() > 1)?;
        let name = self.names.next().ok()?;
        let draft = mailboxes.iter().find_map(|mailbox| self.draft(mailbox, &name).ok())?;
        let group = self.group_of_files(draft.mailbox_new()).ok()?;
        // After a failed sync the file is given up: none is ever linked from it.
        let synced = draft.write(header, message).and_then(Written::sync).ok()?;
        Some(Shared { synced, group })
    }

    /// Links the shared file into the recipient's mailbox; none where it has to be
    /// a copy.
    pub(crate) fn link(
        &self,
        shared: &Shared,
        delivery: &Delivery,
        name: &Name,
    ) -> Result<Option<Published>, DeliveryError> {
        let new = self.mailbox(delivery.mailbox())?;
        if self.group_of_files(&new)? != shared.group {
            return Ok(None);
        }
        let path = new.path().to_owned();
        delivery.begin_commit()?;
        match shared.synced.link(new, name)? {
            Ok(published) => Ok(Some(published)),
            Err(cause) => {
                let is_gone = cause.kind() == io::ErrorKind::NotFound;
                if !is_gone && !self.told_of_copies.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "single-instance: cannot link {} into {}: {cause}; recipients there get \
                         copies of their own; mailboxes that are to share files must lie in one \
                         file system that has hard links; this is logged once",
                        shared.synced.path().to_string_lossy().escape_debug(),
                        path.to_string_lossy().escape_debug(),
                    );
                }
                Ok(None)
            }
        }
    }

    /// The group that a mailbox's `tmp` gives to files made in it; not asked where
    /// the group has no rights.
    fn group_of_files(&self, new: &Dir) -> Result<Option<u32>, DeliveryError> {
        if self.file_mode & GROUP_BITS == 0 {
            return Ok(None);
        }
        let tmp = Path::new("..").join(mailbox::TMP);
        match self.files.stat(new, &tmp) {
            Ok(status) => Ok(status.gives_group),
            Err(cause) => Err(DeliveryError::io("look at the directory", new.path_to(&tmp), cause)),
        }
    }
}
