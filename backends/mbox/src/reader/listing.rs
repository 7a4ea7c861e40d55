//! The messages of a mailbox, all or one.
//!
//! Lives here: going through a mailbox in parts, each under the locks, and starting
//! anew when others have moved messages between two of them.
//! May not: give a message to the caller while a lock is held.
//! Holds: what is found is what one state of the mailbox had, flags and what is
//! appended apart; of each message some hundred octets are kept.

use super::{
    Reader,
    access::{Held, NO_MBOX, Opened, Patience, stray},
    places::Place,
    scan::{Found, Scanner, hinted},
};
use crate::id;
use postino_files::{File, Status};
use postino_store::{DeliveryError, MessageInfo, ReadError, Visit};
use std::{io, ops::ControlFlow, path::Path};

/// Octets after which others get their turn; a message is always gone through as a
/// whole.
const PART_OCTETS: u64 = 4 * 1024 * 1024;

/// Times that a mailbox is gone through which others change meanwhile.
pub(super) const TRIES: usize = 5;

impl Reader<'_> {
    /// Visits the messages.
    pub(crate) fn messages(
        &self,
        path: &Path,
        visit: Visit<'_, MessageInfo>,
    ) -> Result<(), ReadError> {
        for found in self.gather(path)? {
            if visit(Ok(found.info())) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    /// The message of this id: at its place, or where others have moved it. Only the
    /// first of many that were moved is searched for.
    pub(crate) fn find(&self, path: &Path, id: &str) -> Result<MessageInfo, ReadError> {
        let Some((at, digest)) = id::parse(id) else {
            // Whether the mailbox is there is to be told all the same.
            self.open_mailbox(self.root()?, path)?;
            return Err(ReadError::NoSuchMessage);
        };
        let opened = self.open_mailbox(self.root()?, path)?;
        if let Some(held) = self.hold_mbox(&opened, Patience::None)? {
            let file = &opened.mailbox.file;
            let known = self.places.of(digest, &held.status);
            let moved = if let Place::At(at) = known { Some(at) } else { None };
            for at in [Some(at), moved].into_iter().flatten() {
                let found =
                    self.one(file, at, held.sound.end).map_err(|cause| read(file, cause))?;
                if let Some(found) = found.filter(|found| found.digest == digest) {
                    return Ok(found.info());
                }
            }
            if known == Place::Nowhere {
                return Err(ReadError::NoSuchMessage);
            }
        }
        let found = self.gather(path)?.into_iter().find(|found| found.digest == digest);
        found.map(|found| found.info()).ok_or(ReadError::NoSuchMessage)
    }

    /// The message that begins there, if one does.
    pub(super) fn one(&self, file: &File, at: u64, limit: u64) -> io::Result<Option<Found>> {
        if at >= limit {
            return Ok(None);
        }
        Scanner::new(&**self.files, file, self.format, at, limit).message()
    }

    /// The message that was found, if it still is where it was.
    pub(super) fn again(&self, file: &File, message: &MessageInfo) -> io::Result<Option<Found>> {
        let Some((_, digest)) = id::parse(message.id.as_str()) else { return Ok(None) };
        let Some((at, next)) = hinted(message) else { return Ok(None) };
        Ok(self.one(file, at, next)?.filter(|found| found.digest == digest && found.next == next))
    }

    /// All messages.
    pub(super) fn gather(&self, path: &Path) -> Result<Vec<Found>, ReadError> {
        for _ in 0..TRIES {
            let opened = self.open_mailbox(self.root()?, path)?;
            let lock = |patience| self.hold_mbox(&opened, patience);
            if let Some((found, status)) = self.go_through(&opened, &lock)? {
                self.places.keep(status, &found);
                return Ok(found);
            }
        }
        Err(DeliveryError::Locked { holder: None }.into())
    }

    /// All messages of a mailbox as they are under the locks that `lock` takes, and
    /// what the file was at the end; none where it was changed meanwhile.
    pub(super) fn go_through<'a>(
        &self,
        opened: &'a Opened,
        lock: &dyn Fn(Patience) -> Result<Option<Held<'a>>, ReadError>,
    ) -> Result<Option<(Vec<Found>, Status)>, ReadError> {
        let file = &opened.mailbox.file;
        let mut found: Vec<Found> = Vec::new();
        let mut at = 0;
        let mut before: Option<Status> = None;
        loop {
            let patience = if before.is_some() { Patience::Some } else { Patience::None };
            let Some(held) = lock(patience)? else { return Ok(None) };
            let end = held.sound.end;
            if let Some(before) = before
                && !self
                    .goes_on(file, &before, &held.status, found.last())
                    .map_err(|cause| read(file, cause))?
            {
                return Ok(None);
            }
            let mut scanner = Scanner::new(&**self.files, file, self.format, at, end);
            if at == 0 && !held.sound.is_mbox {
                scanner.skip_to_message().map_err(|cause| read(file, cause))?;
            }
            let part_end = at.saturating_add(PART_OCTETS);
            while scanner.at() < part_end.min(end) {
                match scanner.message().map_err(|cause| read(file, cause))? {
                    Some(message) => found.push(message),
                    None => return Ok(None),
                }
            }
            at = scanner.at();
            if at >= end {
                return Ok(Some((found, held.status)));
            }
            before = Some(held.status);
        }
    }

    /// Whether what was found still lies where it was: nobody has written, or only
    /// behind it.
    fn goes_on(
        &self,
        file: &File,
        before: &Status,
        now: &Status,
        last: Option<&Found>,
    ) -> io::Result<bool> {
        if (before.size, before.changed) == (now.size, now.changed) {
            return Ok(true);
        }
        let Some(last) = last else { return Ok(false) };
        let again = self.one(file, last.at, last.next)?;
        Ok(now.size >= before.size && again.is_some_and(|again| again.digest == last.digest))
    }

    /// Locks a mailbox that is to be read; what is no mbox is not.
    pub(super) fn hold_mbox<'a>(
        &'a self,
        opened: &'a Opened,
        patience: Patience,
    ) -> Result<Option<Held<'a>>, ReadError> {
        match self.hold(opened, patience)? {
            Some(held) if !held.sound.is_mbox => Err(stray(opened.mailbox.file.path(), NO_MBOX)),
            held => Ok(held),
        }
    }
}

/// The error of a call that read the mailbox.
pub(super) fn read(file: &File, cause: io::Error) -> ReadError {
    DeliveryError::io("read the mailbox", file.path(), cause).into()
}
