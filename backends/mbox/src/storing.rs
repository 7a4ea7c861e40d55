//! Deliveries to one file: locked, mended at its end, appended to, synced, answered.
//!
//! Lives here: which file a message goes into, the order of the steps, and what a
//! failure of all means for each.
//! May not: wait for a lock; say how a file is locked, mended or written.
//! Holds: each delivery has one result; a file that readers put another in the place
//! of while it was written to is no mailbox any more, and what went into it is
//! stored again.

use crate::{
    Mbox,
    append::Appender,
    batch::Batch,
    error::{self, Unstored},
    folder::{self, Account, Standing},
    mailbox::{self, Mailbox as OpenMailbox},
    quota::Limits,
    tail,
};
use postino_store::{
    Delivery, DeliveryError, DeliveryId, FOLDERS_MAX, IfMissing, IfNoFolder, Mailbox,
};
use std::path::Path;

/// Tries to lock a file under whose name readers put others.
const TRIES: usize = 3;

/// What takes the result of the delivery at a place of the batch.
type Give<'a> = &'a mut dyn FnMut(usize, Result<DeliveryId, DeliveryError>);

/// Where a message for a folder goes.
enum Place {
    /// The account's mailbox.
    Inbox,
    /// The folder, which may be made.
    Folder { make: bool },
}

/// How an attempt to store under the locks ended.
enum Attempt {
    Ended,
    /// The file that was locked is not the one under its name any more; what has no
    /// result yet is to be stored in the one that is.
    Replaced,
}

impl Mbox {
    /// Stores what was gathered, if anything, and answers it.
    pub(crate) fn store_batch(&self, batch: Option<Batch<'_>>) {
        if let Some(Batch { path, deliveries, .. }) = batch {
            self.store(&path, &deliveries, &mut |at, result| {
                if let Some(delivery) = deliveries.get(at) {
                    delivery.finish(result);
                }
            });
        }
    }

    /// Stores deliveries to one file and gives each its result, once.
    pub(crate) fn store(&self, path: &Path, deliveries: &[&Delivery], give: Give<'_>) {
        let mut waiting = vec![true; deliveries.len()];
        let failure = self.try_store(path, deliveries, &mut |at, result| {
            if let Some(waiting) = waiting.get_mut(at) {
                *waiting = false;
            }
            give(at, result);
        });
        let Err(Unstored { error, is_final }) = failure else { return };
        let waiting = || waiting.iter().enumerate().filter(|(_, waits)| **waits);
        let is_full =
            matches!(error, DeliveryError::StorageFull(_) | DeliveryError::MailboxFull(_));
        for (at, _) in waiting() {
            match deliveries.get(at) {
                // A large message for which there is no room is not to take others
                // with it.
                Some(delivery) if is_full && !is_final && deliveries.len() > 1 => {
                    self.store(path, &[*delivery], &mut |_, result| give(at, result));
                }
                _ => give(at, Err(error::copy(&error))),
            }
        }
    }

    /// Those without a result yet have the error.
    fn try_store(
        &self,
        path: &Path,
        deliveries: &[&Delivery],
        give: Give<'_>,
    ) -> Result<(), Unstored> {
        let Some(first) = deliveries.first() else { return Ok(()) };
        if deliveries.iter().all(|delivery| delivery.is_withdrawn()) {
            return Err(DeliveryError::Expired.into());
        }
        let inbox = self.paths.inbox(first.mailbox().name())?;
        let mut waiting: Vec<_> = deliveries.iter().copied().enumerate().collect();
        for _ in 0..TRIES {
            let wanted = first.mailbox();
            let (path, mailbox) = match self.place(wanted, path, &inbox)? {
                Place::Inbox => {
                    (&*inbox, self.mailbox(&inbox, wanted.home(), wanted.if_missing())?)
                }
                Place::Folder { make } => {
                    let root = self.root_for(wanted.home())?;
                    match self.mailboxes.open(&*self.files, root, path, make)? {
                        Some(mailbox) => (path, mailbox),
                        None => continue, // it has gone since
                    }
                }
            };
            let those: Vec<_> = waiting.iter().map(|(_, delivery)| *delivery).collect();
            let mut given = Vec::new();
            let attempt =
                self.try_store_in(&mailbox, path, &inbox, &those, &mut |nth, result| {
                    if let Some((at, _)) = waiting.get(nth) {
                        given.push(*at);
                        give(*at, result);
                    }
                })?;
            match attempt {
                Attempt::Ended => return Ok(()),
                Attempt::Replaced => waiting.retain(|(at, _)| !given.contains(at)),
            }
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    fn try_store_in(
        &self,
        mailbox: &OpenMailbox,
        path: &Path,
        inbox: &Path,
        deliveries: &[&Delivery],
        give: Give<'_>,
    ) -> Result<Attempt, Unstored> {
        let files = &*self.files;
        let OpenMailbox { chain, name, file } = mailbox;
        let limits = Limits::of(deliveries);
        let home = deliveries.first().and_then(|delivery| delivery.mailbox().home());
        // Its lock is that of the account's quota.
        let account = match limits {
            Limits::None => None,
            _ if path == inbox => None,
            _ => Some(self.mailbox(inbox, home, IfMissing::Create)?),
        };
        let account = account.as_ref();
        let locks = account
            .map(|OpenMailbox { chain, name, file }| {
                self.locking.take(files, chain.dir(), name, file)
            })
            .transpose()?;
        if let (Some(account), Some(locks)) = (account, &locks)
            && !account.is_named(files)?
        {
            locks.set_torn(None);
            return Ok(Attempt::Replaced);
        }
        let _account_locks = locks;
        let locks = self.locking.take(files, chain.dir(), name, file)?; // given back on drop
        let status = files
            .stat_file(file)
            .map_err(|cause| DeliveryError::io("look at the mailbox", file.path(), cause))?;
        // Readers that remove messages may put a new file under the name.
        let is_replaced = || -> Result<bool, DeliveryError> {
            let named = mailbox::look(files, chain.dir(), name)?;
            Ok(named.is_none_or(|named| named.identity != status.identity))
        };
        if is_replaced()? {
            locks.set_torn(None); // what was torn is not there any more
            return Ok(Attempt::Replaced);
        }
        mailbox::check(&status, file.path())?;
        let tail = tail::heal(files, file, status.size, locks.torn().as_ref())?;
        locks.set_torn(None);
        let account = Account { files, root: chain.root(), inbox };
        let held = match limits {
            Limits::None => None,
            _ => Some(self.counts.held_beside(&account, path, file, limits)?),
        };
        let appender = Appender { files, file, locks: &locks, tail, format: self.format, held };
        let (written, ids) = appender.append(deliveries, give)?; // cut back on drop
        if !ids.is_empty() {
            self.mailboxes
                .sync_names(files, mailbox, path, status.identity)
                .map_err(Unstored::by_sync)?;
            // Some do so without the locks.
            if is_replaced()? {
                return Ok(Attempt::Replaced);
            }
            let lengths = (tail.length, written.length());
            self.counts.grown(status.identity, lengths, ids.len());
            written.keep();
        }
        for (at, id) in ids {
            give(at, Ok(id)); // from here 250 is true
        }
        Ok(Attempt::Ended)
    }

    /// Whether a message for the folder at `path` goes there.
    fn place(&self, mailbox: &Mailbox, path: &Path, inbox: &Path) -> Result<Place, DeliveryError> {
        if path == inbox {
            return Ok(Place::Inbox);
        }
        let files = &*self.files;
        let root = || self.root_for(mailbox.home());
        match folder::look(files, root()?, path)? {
            Standing::There => return Ok(Place::Folder { make: false }),
            Standing::Absent if mailbox.if_no_folder() == IfNoFolder::Create => {
                // The mailbox that it is to lie in is there, or is made.
                self.mailbox(inbox, mailbox.home(), mailbox.if_missing())?;
                let account = Account { files, root: &root()?, inbox };
                if folder::has_fewer(&account, FOLDERS_MAX)? {
                    return Ok(Place::Folder { make: true });
                }
            }
            Standing::Absent | Standing::Obstructed => {}
        }
        Ok(Place::Inbox)
    }
}
