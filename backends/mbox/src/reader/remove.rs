//! Removing a message, or a mailbox.
//!
//! Lives here: what is looked at under the locks before anything goes.
//! May not: remove a message but the one of the id.

use super::{
    Reader,
    access::{Held, Opened, Patience},
    listing::{TRIES, read},
    replace,
    scan::{Found, Scanner},
};
use crate::{id, lock::Locks, mailbox::Chain, tail};
use postino_files::{Kind, Status};
use postino_store::{DeliveryError, Failure, MessageInfo, ReadError};
use std::{io, ops::ControlFlow, path::Path};

impl Reader<'_> {
    /// Removes a message, durably.
    pub(crate) fn remove(&self, path: &Path, message: &MessageInfo) -> Result<(), ReadError> {
        for _ in 0..TRIES {
            let opened = self.open_mailbox(self.root()?, path)?;
            refuse_read_only(&opened)?;
            let Some(held) = self.hold_mbox(&opened, Patience::None)? else { continue };
            let (status, end) = self.mend(&opened, &held)?;
            let found = self.locate(&opened, message, end)?.ok_or(ReadError::NoSuchMessage)?;
            let gap = found.at..found.next;
            let (files, mailbox) = (&**self.files, &opened.mailbox);
            return Ok(replace::without(files, self.locking, mailbox, &status, gap)?);
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    /// Removes an account's mailbox with its folders, durably: these first, so that a
    /// crash leaves what removing it again removes.
    pub(crate) fn remove_account(&self, inbox: &Path) -> Result<(), ReadError> {
        let mut folders = Vec::new();
        let root = self.root()?;
        self.visit_folders(&root, inbox, &mut |entry| {
            if entry.status.kind == Kind::File {
                folders.push(entry.path.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        for folder in folders {
            match self.remove_mailbox(&folder) {
                // Somebody else has, or no mail lies there.
                Err(ReadError::Store(DeliveryError::NoSuchMailbox) | ReadError::Stray(_)) => {}
                removed => removed?,
            }
        }
        self.remove_mailbox(inbox)
    }

    /// Removes a mailbox, durably, and the directories above it that then are empty:
    /// one that no mailbox lies in would pass for a store that is missing.
    pub(crate) fn remove_mailbox(&self, path: &Path) -> Result<(), ReadError> {
        let files = &**self.files;
        for _ in 0..TRIES {
            let opened = self.open_mailbox(self.root()?, path)?;
            refuse_read_only(&opened)?;
            let Some(held) = self.hold_mbox(&opened, Patience::None)? else { continue };
            let (dir, name) = (opened.mailbox.chain.dir(), &opened.mailbox.name);
            files
                .unlink(dir, name)
                .map_err(|cause| DeliveryError::io("remove", dir.path_to(name), cause))?;
            if let Some(locks) = &held.locks {
                locks.set_torn(None); // it is gone with all the rest
            }
            files
                .sync_dir(dir)
                .map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))?;
            drop(held); // the lock file goes too
            return Ok(self.remove_empty_above(&opened.mailbox.chain, path)?);
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    fn remove_empty_above(&self, chain: &Chain, path: &Path) -> Result<(), DeliveryError> {
        let files = &**self.files;
        for (dir, above) in chain.upwards().zip(path.ancestors().skip(1)) {
            let name = Path::new(above.file_name().unwrap_or_default());
            match files.remove_dir(dir, name) {
                Ok(()) => files
                    .sync_dir(dir)
                    .map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))?,
                // Something else lies in it, or it may stay for all we know.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Cuts what a crash has left, as a delivery does: the places that the lock file
    /// names do not hold for a file that lacks a message. Gives what the file then
    /// is, and its length.
    pub(super) fn mend(
        &self,
        opened: &Opened,
        held: &Held<'_>,
    ) -> Result<(Status, u64), ReadError> {
        let (files, file) = (&**self.files, &opened.mailbox.file);
        let torn = held.locks.as_ref().and_then(Locks::torn);
        let healed = tail::heal(files, file, held.status.size, torn.as_ref());
        let end = healed.map_err(|unstored| unstored.error)?.length;
        if let Some(locks) = &held.locks {
            locks.set_torn(None);
        }
        let status = files
            .stat_file(file)
            .map_err(|cause| DeliveryError::io("look at the mailbox", file.path(), cause))?;
        Ok((status, end))
    }

    /// Where a message is in a mailbox that is locked.
    fn locate(
        &self,
        opened: &Opened,
        message: &MessageInfo,
        end: u64,
    ) -> Result<Option<Found>, ReadError> {
        let file = &opened.mailbox.file;
        let failed = |cause| read(file, cause);
        let Some((at, digest)) = id::parse(message.id.as_str()) else { return Ok(None) };
        // The hint may be of a mailbox that was longer.
        for found in [self.again(file, message), self.one(file, at, end)] {
            let found = found.map_err(failed)?;
            if let Some(found) = found.filter(|found| found.digest == digest && found.next <= end) {
                return Ok(Some(found));
            }
        }
        let mut scanner = Scanner::new(&**self.files, file, self.format, 0, end);
        while let Some(found) = scanner.message().map_err(failed)? {
            if found.digest == digest {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn refuse_read_only(opened: &Opened) -> Result<(), DeliveryError> {
    if opened.is_read_only {
        let path = opened.mailbox.file.path().to_owned();
        let cause = io::ErrorKind::ReadOnlyFilesystem.into();
        return Err(DeliveryError::Misconfigured(Failure { doing: "change", path, cause }));
    }
    Ok(())
}
