//! A mailbox's directories: opened, made at need, and durable before any use.
//!
//! Lives here: the way from the root down to `tmp` and `new`.
//! May not: make the root; follow a symbolic link.
//! Holds: the first delivery to a mailbox in this process syncs every directory
//! from the mailbox up to the root, even where all are there: who made them may
//! be about to sync them, or may have been killed before.

use crate::known::Known;
use postino_files::{Dir, Files};
use postino_store::DeliveryError;
use std::{io, path::Path, sync::Arc};

pub(crate) const TMP: &str = "tmp";
const NEW: &str = "new";
const CUR: &str = "cur";

/// The directories that a delivery needs.
pub(crate) struct Mailbox {
    pub(crate) tmp: Arc<Dir>,
    pub(crate) new: Arc<Dir>,
}

impl Mailbox {
    fn of(tmp: Dir, new: Dir) -> Self {
        Self { tmp: Arc::new(tmp), new: Arc::new(new) }
    }
}

/// Opens and makes mailboxes.
pub(crate) struct Directories {
    mode: u32,
    pub(crate) known: Known,
}

impl Directories {
    pub(crate) fn new(mode: u32, known: Known) -> Self {
        Self { mode, known }
    }

    /// The mailbox at `path` below the root, durable; none where it is missing.
    /// What is missing inside a mailbox is made.
    pub(crate) fn open(
        &self,
        files: &dyn Files,
        root: &Dir,
        path: &Path,
    ) -> Result<Option<Mailbox>, DeliveryError> {
        if let Some(mailbox) = self.open_known(files, root, path)? {
            return Ok(Some(mailbox));
        }
        match files.open_dir(root, path) {
            Ok(_) => self.establish(files, root, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("open the mailbox", root, path, cause)),
        }
    }

    /// The mailbox at `path` below the root, durable, made where it is missing.
    pub(crate) fn open_or_make(
        &self,
        files: &dyn Files,
        root: &Dir,
        path: &Path,
    ) -> Result<Mailbox, DeliveryError> {
        match self.open_known(files, root, path)? {
            Some(mailbox) => Ok(mailbox),
            None => self.establish(files, root, path),
        }
    }

    /// The short way: the mailbox is whole, and known to be durable.
    fn open_known(
        &self,
        files: &dyn Files,
        root: &Dir,
        path: &Path,
    ) -> Result<Option<Mailbox>, DeliveryError> {
        let open = |name| match files.open_dir(root, &path.join(name)) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("open the directory", root, &path.join(name), cause)),
        };
        let (Some(new), Some(tmp)) = (open(NEW)?, open(TMP)?) else { return Ok(None) };
        let status = files
            .stat_dir(&new)
            .map_err(|cause| DeliveryError::io("look at the directory", new.path(), cause))?;
        let durable = self.known.is_durable(path, status.identity);
        Ok(durable.then(|| Mailbox::of(tmp, new)))
    }

    /// The long way: one component after the other, made at need, then synced
    /// from the bottom up.
    fn establish(
        &self,
        files: &dyn Files,
        root: &Dir,
        path: &Path,
    ) -> Result<Mailbox, DeliveryError> {
        let mut chain: Vec<Dir> = Vec::new();
        for component in path {
            let (dir, _) =
                self.open_or_make_dir(files, chain.last().unwrap_or(root), component.as_ref())?;
            chain.push(dir);
        }
        let mailbox = chain.last().unwrap_or(root);
        let inner = |name: &str| {
            let (dir, made) = self.open_or_make_dir(files, mailbox, name.as_ref())?;
            if made {
                sync(files, &dir)?;
            }
            Ok(dir)
        };
        let (tmp, new) = (inner(TMP)?, inner(NEW)?);
        inner(CUR)?;
        for dir in chain.iter().rev() {
            sync(files, dir)?;
        }
        sync(files, root)?;
        let status = files
            .stat_dir(&new)
            .map_err(|cause| DeliveryError::io("look at the directory", new.path(), cause))?;
        self.known.note_durable(path, status.identity);
        Ok(Mailbox::of(tmp, new))
    }

    /// Also says whether it was made here.
    fn open_or_make_dir(
        &self,
        files: &dyn Files,
        parent: &Dir,
        name: &Path,
    ) -> Result<(Dir, bool), DeliveryError> {
        let open = || files.open_dir(parent, name);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                return opened
                    .map(|dir| (dir, false))
                    .map_err(|cause| failed("open the directory", parent, name, cause));
            }
        }
        let made = match files.make_dir(parent, name, self.mode) {
            Ok(()) => true,
            // Another worker or process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(cause) => return Err(failed("make the directory", parent, name, cause)),
        };
        let dir = open().map_err(|cause| failed("open the directory", parent, name, cause))?;
        Ok((dir, made))
    }
}

fn sync(files: &dyn Files, dir: &Dir) -> Result<(), DeliveryError> {
    files.sync_dir(dir).map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))
}

fn failed(doing: &'static str, parent: &Dir, name: &Path, cause: io::Error) -> DeliveryError {
    DeliveryError::io(doing, parent.path().join(name), cause)
}
