//! One file for all recipients of a message.
//!
//! Lives here: the file that [`prepare`](postino_store::MailStore::prepare) makes
//! where the copies are alike, and its way into each mailbox.
//! May not: touch a mailbox before its recipient's own delivery, which waits in
//! its own lane: one that hangs is nobody else's; decide any recipient's result:
//! where there is no file to share, each writes his copy and finds out himself
//! what is wrong.
//! Holds: the file has no name but those in mailboxes, so that nothing is left of
//! it whatever happens.

use crate::{
    Maildir, mailbox,
    name::{self, Name, Sizes},
    quota::Account,
    write::{self, Published},
};
use postino_files::{Dir, File};
use postino_store::{Delivery, DeliveryError, Mailbox, Message};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bits of a mode by which it matters which group a file has.
const GROUP_BITS: u32 = 0o070;
/// Files that may be shared at the same time, each an open descriptor; further
/// messages are copied.
const SHARED_MAX: usize = 64;

/// A message that is whole and on stable storage, but in no mailbox yet.
pub(crate) struct Shared {
    file: File,
    sizes: Sizes,
    /// The group that its directory gave it.
    group: Option<u32>,
    _place: Place,
}

/// One of [`SHARED_MAX`].
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        // Given back by the drop, also where there were too many.
        (taken.fetch_add(1, Ordering::Relaxed) < SHARED_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Maildir {
    /// Writes the message once, to a file without a name on the root's file
    /// system. None where copies differ, or where that cannot be done.
    pub(crate) fn share(&self, message: &Message, mailboxes: &[&Mailbox]) -> Option<Shared> {
        let header = message
            .common_header()
            .filter(|_| mailboxes.len() > 1 && name::kept(message).is_none())?;
        let place = Place::take(&self.shared)?;
        let files = &*self.files;
        let root = self.root.open(files).ok()?;
        let group = match self.file_mode & GROUP_BITS {
            0 => None,
            _ => files.stat_dir(&root).ok()?.gives_group,
        };
        let file = files.create_unnamed(&root, self.file_mode).ok()?;
        let sizes = write::write(files, &file, header, message).ok()?;
        // After a failed sync the file is given up: none is ever linked from it.
        files.sync_file(&file).ok()?;
        Some(Shared { file, sizes, group, _place: place })
    }

    /// Links the shared file into the recipient's mailbox; none where it has to be
    /// a copy.
    pub(crate) fn link(
        &self,
        shared: &Shared,
        delivery: &Delivery,
        name: &Name,
        account: Option<&Account<'_>>,
    ) -> Result<Option<Published>, DeliveryError> {
        let (new, _) = self.mailbox(delivery.mailbox())?;
        if self.group_of_files(&new)? != shared.group {
            return Ok(None);
        }
        let path = new.path().to_owned();
        if let Some(account) = account {
            account.check(shared.sizes.octets)?;
        }
        delivery.begin_commit()?;
        match Published::link(&self.files, &shared.file, new, name, shared.sizes)? {
            Ok(published) => Ok(Some(published)),
            Err(cause) => {
                if !self.told_of_copies.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "single-instance: cannot link a file of {} into {}: {cause}; recipients \
                         there get copies of their own; mailboxes that are to share files must \
                         lie on the root's file system, which must have hard links and files \
                         without a name (O_TMPFILE); this is logged once",
                        self.root.path().to_string_lossy().escape_debug(),
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
