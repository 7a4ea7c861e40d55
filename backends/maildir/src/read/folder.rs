//! One mailbox, open for reading: its messages and their ids.
//!
//! Lives here: the listing, and where a message has gone that a reader has moved
//! or given other flags meanwhile.
//! May not: change anything.

use crate::{
    mailbox::{CUR, NEW},
    read::{
        failure::{failed, is_missing},
        names,
    },
};
use postino_files::{Dir, Files, Kind, Status};
use postino_store::{DeliveryError, DeliveryId, MessageInfo, ReadError, Stray, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a message is looked for that moves whenever it is found.
const TRIES_MAX: usize = 8;

/// An open mailbox.
pub(crate) struct Folder {
    pub(crate) mailbox: Dir,
    pub(crate) owner: u32,
    /// `new`, `cur`, and their names; one of the two may be missing.
    directories: Vec<(&'static str, Dir)>,
}

/// A message's file, as a listing has it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) directory: &'static str,
    pub(crate) name: OsString,
    pub(crate) id: String,
}

/// What a look at an entry finds.
pub(crate) enum Look {
    Message(Status),
    Stray(Stray),
    /// No longer there.
    Gone,
}

impl Entry {
    fn hint(&self) -> OsString {
        Path::new(self.directory).join(&self.name).into_os_string()
    }
}

impl Folder {
    /// Opens the mailbox at `path` below the root.
    pub(crate) fn open(files: &dyn Files, root: &Dir, path: &Path) -> Result<Self, ReadError> {
        let mailbox = match files.open_dir(root, path) {
            Ok(mailbox) => mailbox,
            Err(cause) if is_missing(&cause) => return Err(no_such_mailbox()),
            Err(cause) => return Err(failed("open the mailbox", root.path_to(path), cause)),
        };
        let status = files
            .stat_dir(&mailbox)
            .map_err(|cause| failed("look at the mailbox", mailbox.path(), cause))?;
        let mut directories = Vec::with_capacity(2);
        for name in [NEW, CUR] {
            match files.open_dir(&mailbox, Path::new(name)) {
                Ok(directory) => directories.push((name, directory)),
                Err(cause) if is_missing(&cause) => {}
                Err(cause) => {
                    let path = mailbox.path_to(Path::new(name));
                    return Err(failed("open the directory", path, cause));
                }
            }
        }
        if directories.is_empty() {
            return Err(no_such_mailbox());
        }
        Ok(Self { mailbox, owner: status.owner, directories })
    }

    /// `new` or `cur`.
    pub(crate) fn directory(&self, name: &str) -> Option<&Dir> {
        self.directories.iter().find(|(own, _)| *own == name).map(|(_, dir)| dir)
    }

    /// Where an entry's file lies.
    pub(crate) fn path_to(&self, entry: &Entry) -> PathBuf {
        self.mailbox.path().join(entry.hint())
    }

    /// All that could be messages, in the order of their arrival. `new` is read
    /// before `cur`: a message that goes there meanwhile is seen twice, not never,
    /// and once is left of it.
    pub(crate) fn entries(&self, files: &dyn Files) -> Result<Vec<Entry>, ReadError> {
        let mut entries: Vec<Entry> = Vec::new();
        for (directory, dir) in &self.directories {
            let names = files
                .read_dir(dir, usize::MAX)
                .map_err(|cause| failed("read the directory", dir.path(), cause))?;
            let names = names.into_iter().filter(|name| !names::is_hidden(name));
            entries.extend(names.map(|name| Entry { directory, name, id: String::new() }));
        }
        entries.sort_by_cached_key(|entry| {
            let base = names::base(&entry.name);
            (names::arrival(base), base.to_owned(), entry.directory == CUR, entry.name.clone())
        });
        self.forget_moved(files, &mut entries);
        let mut taken = HashSet::with_capacity(entries.len());
        for entry in &mut entries {
            // Places differ, so that there is always one.
            let free = names::ids(entry.directory, &entry.name).find(|id| !taken.contains(id));
            entry.id = free.unwrap_or_else(|| entry.directory.to_owned());
            taken.insert(entry.id.clone());
        }
        Ok(entries)
    }

    /// Leaves out those of one base whose file is no longer there, or is there
    /// under another name too.
    fn forget_moved(&self, files: &dyn Files, entries: &mut Vec<Entry>) {
        let mut at = 0;
        let mut stays = vec![true; entries.len()];
        for alike in entries.chunk_by(|a, b| names::base(&a.name) == names::base(&b.name)) {
            let mut seen = HashSet::new();
            for (n, entry) in alike.iter().enumerate().rev().filter(|_| alike.len() > 1) {
                let status = self
                    .directory(entry.directory)
                    .map(|dir| files.stat(dir, Path::new(&entry.name)));
                let is_new = match status {
                    Some(Ok(status)) => seen.insert(status.identity),
                    Some(Err(cause)) => !is_missing(&cause),
                    None => false,
                };
                if let Some(stays) = stays.get_mut(at + n) {
                    *stays = is_new;
                }
            }
            at += alike.len();
        }
        let mut stays = stays.into_iter();
        entries.retain(|_| stays.next().unwrap_or(true));
    }

    /// What lies there now.
    pub(crate) fn look(&self, files: &dyn Files, entry: &Entry) -> Result<Look, ReadError> {
        let Some(dir) = self.directory(entry.directory) else { return Ok(Look::Gone) };
        match files.stat(dir, Path::new(&entry.name)) {
            Ok(status) => Ok(match self.objection(&status) {
                None => Look::Message(status),
                Some(why) => Look::Stray(Stray { path: self.path_to(entry), why }),
            }),
            Err(cause) if is_missing(&cause) => Ok(Look::Gone),
            Err(cause) => Err(failed("look at", self.path_to(entry), cause)),
        }
    }

    /// Why something cannot be a message of this mailbox.
    pub(crate) fn objection(&self, status: &Status) -> Option<String> {
        match status.kind {
            Kind::Directory => Some("is a directory".to_owned()),
            Kind::Other => Some("is a symbolic link, a FIFO, a socket or a device".to_owned()),
            Kind::File if status.owner != self.owner => Some(format!(
                "belongs to user {}, but its mailbox to user {}",
                status.owner, self.owner
            )),
            Kind::File => None,
        }
    }

    /// The entry of this id.
    pub(crate) fn find(&self, files: &dyn Files, id: &str) -> Result<Entry, ReadError> {
        let mut entries = self.entries(files)?.into_iter();
        entries.find(|entry| entry.id == id).ok_or(ReadError::NoSuchMessage)
    }

    /// Where a message is now that was here: found by its base and not by its id,
    /// which could be another message's by now.
    fn moved(&self, files: &dyn Files, gone: Entry) -> Result<Option<Entry>, ReadError> {
        let base = names::base(&gone.name);
        for info in LIKELY {
            let mut name = OsStr::from_bytes(base).to_owned();
            name.push(info);
            let likely = Entry { directory: CUR, name, id: gone.id.clone() };
            if likely.name != gone.name && !matches!(self.look(files, &likely)?, Look::Gone) {
                return Ok(Some(likely));
            }
        }
        let mut entries = self.entries(files)?.into_iter();
        let found = entries.find(|entry| names::base(&entry.name) == base);
        Ok(found.map(|entry| Entry { id: gone.id, ..entry }))
    }

    /// Does something with a message's file, which it is told the directory of, as
    /// often as it has moved before that was done (`NotFound`).
    pub(crate) fn with<T>(
        &self,
        files: &dyn Files,
        message: &MessageInfo,
        mut act: impl FnMut(&Dir, &Entry, &Status) -> Result<T, io::Error>,
        doing: &'static str,
    ) -> Result<T, ReadError> {
        let id = message.id.as_str();
        let mut next = match hinted(&message.hint, id) {
            Some(entry) => entry,
            None => self.find(files, id)?,
        };
        for _ in 0..TRIES_MAX {
            let status = match self.look(files, &next)? {
                Look::Message(status) => Some(status),
                Look::Stray(stray) => return Err(ReadError::Stray(stray)),
                Look::Gone => None,
            };
            if let (Some(status), Some(dir)) = (status, self.directory(next.directory)) {
                match act(dir, &next, &status) {
                    Err(cause) if is_missing(&cause) => {}
                    done => return done.map_err(|cause| failed(doing, self.path_to(&next), cause)),
                }
            }
            if names::is_place(id) {
                break;
            }
            next = self.moved(files, next)?.ok_or(ReadError::NoSuchMessage)?;
        }
        Err(ReadError::NoSuchMessage)
    }
}

/// Where a mail program moves what it has found in `new`, or has marked as seen.
const LIKELY: [&str; 2] = [":2,", ":2,S"];

/// The entry that a hint names, if it can be one of this id.
fn hinted(hint: &OsStr, id: &str) -> Option<Entry> {
    let hint = hint.as_bytes();
    let at = hint.iter().position(|octet| *octet == b'/')?;
    let (directory, name) = hint.split_at_checked(at)?;
    let directory = [NEW, CUR].into_iter().find(|own| own.as_bytes() == directory)?;
    let name = OsStr::from_bytes(name.get(1..)?);
    let is_name = !name.is_empty() && !names::is_hidden(name) && !name.as_bytes().contains(&b'/');
    let is_right = is_name && names::ids(directory, name).any(|own| own == id);
    is_right.then(|| Entry { directory, name: name.to_owned(), id: id.to_owned() })
}

/// A message's facts.
pub(crate) fn info(entry: &Entry, status: &Status) -> MessageInfo {
    let seconds = u64::try_from(status.written).unwrap_or(0);
    MessageInfo {
        id: DeliveryId::new(&*entry.id),
        octets: status.size,
        received: Timestamp { since_epoch: Duration::from_secs(seconds), offset_minutes: 0 },
        flags: Some(names::flags(&entry.name)),
        hint: entry.hint(),
    }
}

/// Where messages are that have moved since they were listed: found out when the
/// first is asked for, and again when that is out of date.
#[derive(Default)]
pub(crate) struct Moved(Option<HashMap<Vec<u8>, Place>>);

/// The directory, and the name in it.
type Place = (&'static str, OsString);

impl Moved {
    /// The entry, and what lies there now.
    pub(crate) fn look(
        &mut self,
        files: &dyn Files,
        folder: &Folder,
        mut entry: Entry,
    ) -> Result<(Entry, Look), ReadError> {
        for _ in 0..TRIES_MAX {
            let look = folder.look(files, &entry)?;
            if !matches!(look, Look::Gone) {
                return Ok((entry, look));
            }
            // One that is not in the last listing was gone by then.
            let is_known =
                |(directory, name): &Place| (*directory, name) == (entry.directory, &entry.name);
            if self.0.is_none() || self.place(&entry).is_some_and(is_known) {
                self.list(files, folder)?;
            }
            let Some((directory, name)) = self.place(&entry).cloned() else { break };
            entry = Entry { directory, name, id: entry.id };
        }
        Ok((entry, Look::Gone))
    }

    fn place(&self, entry: &Entry) -> Option<&Place> {
        self.0.as_ref()?.get(names::base(&entry.name))
    }

    fn list(&mut self, files: &dyn Files, folder: &Folder) -> Result<(), ReadError> {
        let entries = folder.entries(files)?.into_iter();
        let place =
            |entry: Entry| (names::base(&entry.name).to_owned(), (entry.directory, entry.name));
        self.0 = Some(entries.map(place).collect());
        Ok(())
    }
}

fn no_such_mailbox() -> ReadError {
    ReadError::Store(DeliveryError::NoSuchMailbox)
}
