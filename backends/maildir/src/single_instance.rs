//! One file for all recipients of a message.
//!
//! Lives here: the file that [`prepare`](postino_store::MailStore::prepare) makes
//! where the copies are alike, and its way into each mailbox.
//! May not: decide any recipient's result before his own delivery: where there is
//! no file to share, each writes his copy and finds out himself what is wrong.
//! Holds: the file's name in `tmp` goes when the last delivery is done with it; a
//! crash leaves at most that one name, which cleaning takes.

use crate::{
    Maildir,
    mailbox::Mailbox,
    name::Name,
    write::{Draft, Published, Synced, Written},
};
use postino_files::Dir;
use postino_store::{Delivery, DeliveryError, Mailbox as Recipient, Message};
use std::{io, sync::atomic::Ordering};

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
    pub(crate) fn share(&self, message: &Message, recipients: &[&Recipient]) -> Option<Shared> {
        let header = message.common_header().filter(|_| recipients.len() > 1)?;
        let root = self.root.open(&*self.files).ok()?;
        let mailbox = recipients.iter().find_map(|each| self.mailbox(&root, each).ok())?;
        let group = self.group_of_files(&mailbox.tmp).ok()?;
        let name = self.names.next().ok()?;
        let draft = Draft::create(&self.files, &mailbox.tmp, &name, self.file_mode).ok()?;
        // After a failed sync the file is given up: none is ever linked from it.
        let synced = draft.write(header, message).and_then(Written::sync).ok()?;
        Some(Shared { synced, group })
    }

    /// Links the shared file into this mailbox; none where it has to be a copy.
    pub(crate) fn link(
        &self,
        shared: &Shared,
        delivery: &Delivery,
        mailbox: &Mailbox,
        name: &Name,
    ) -> Result<Option<Published>, DeliveryError> {
        if self.group_of_files(&mailbox.tmp)? != shared.group {
            return Ok(None);
        }
        delivery.begin_commit()?;
        match shared.synced.link(&mailbox.new, name)? {
            Ok(published) => Ok(Some(published)),
            Err(cause) => {
                let is_gone = cause.kind() == io::ErrorKind::NotFound;
                if !is_gone && !self.told_of_copies.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "single-instance: cannot link {} into {}: {cause}; recipients there get \
                         copies of their own; mailboxes that are to share files must lie in one \
                         file system that has hard links; this is logged once",
                        shared.synced.path().to_string_lossy().escape_debug(),
                        mailbox.new.path().to_string_lossy().escape_debug(),
                    );
                }
                Ok(None)
            }
        }
    }

    /// The group that a directory gives to files made in it; not asked where the
    /// group has no rights.
    fn group_of_files(&self, dir: &Dir) -> Result<Option<u32>, DeliveryError> {
        if self.file_mode & GROUP_BITS == 0 {
            return Ok(None);
        }
        match self.files.stat_dir(dir) {
            Ok(status) => Ok(status.gives_group),
            Err(cause) => Err(DeliveryError::io("look at the directory", dir.path(), cause)),
        }
    }
}
