//! A mailbox's directories: opened, made at need, and durable before any use.
//!
//! Lives here: the way from the root down to `new`, and `tmp` beside it; whether an
//! account may have one more folder.
//! May not: make the root; follow a symbolic link; take a directory of a stranger's
//! for the mailbox of somebody who is known.
//! Holds: the first delivery to a mailbox in this process syncs every directory
//! from the mailbox up to the root, even where all are there: who made them may
//! be about to sync them, or may have been killed before.
//! No directory stays open from one delivery to the next.

use crate::{known::Known, location::Location};
use postino_files::{Dir, Files, process};
use postino_store::{DeliveryError, Failure};
use std::{ffi::OsString, io, path::Path};

pub(crate) const TMP: &str = "tmp";
pub(crate) const NEW: &str = "new";
pub(crate) const CUR: &str = "cur";

/// An empty file in each folder, but not in the inbox.
const IS_FOLDER: &str = "maildirfolder";

/// Folders of an account beyond which none is made by a delivery. A few more may
/// come where several are made at the same moment.
const FOLDERS_MAX: usize = 100;

/// Names of an account's directory among which folders are counted; one of more has
/// as many as it may.
const NAMES_MAX: usize = 1_000;

/// What a directory's mode has more than a file's.
const EXECUTE_BITS: u32 = 0o111;

/// Whoever may do everything anyhow.
const ROOT_USER: u32 = 0;

/// Whose a mailbox's directories have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Whoever lets this process use them.
    Anyones,
    /// The thread's user's or root's.
    Own,
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

    /// The `new` of the mailbox at `path`, found by its path alone, of which no
    /// component may be a symbolic link. None where it is not as this process
    /// knows it: [`Directories::open`] finds out.
    pub(crate) fn open_known(&self, files: &dyn Files, root: &Path, path: &Path) -> Option<Dir> {
        let path = root.join(path);
        let known = self.known.durable(&path)?;
        let new = files.open_path(&path.join(NEW)).ok()?;
        (files.stat_dir(&new).ok()?.identity == known).then_some(new)
    }

    /// Whether the mailbox at `path` is there, and as this process knows it: one
    /// call at the most. That a symbolic link has come to lead there is found at
    /// the delivery.
    pub(crate) fn is_as_known(&self, files: &dyn Files, root: &Path, path: &Path) -> bool {
        let path = root.join(path);
        let Some(known) = self.known.durable(&path) else { return false };
        let status = files.stat_path(&path.join(NEW));
        status.is_ok_and(|status| status.identity == known)
    }

    /// Knows nothing of the mailbox at `path` any more.
    pub(crate) fn forget(&self, root: &Path, path: &Path) {
        self.known.forget(&root.join(path));
    }

    /// The `new` of the mailbox at this place below the root, durable; none where the
    /// mailbox is missing. What is missing inside a mailbox is made.
    pub(crate) fn open(
        &self,
        files: &dyn Files,
        root: &Dir,
        location: &Location,
        whose: Whose,
    ) -> Result<Option<Dir>, DeliveryError> {
        let path = &location.path;
        if let Some(new) = self.open_durable(files, root, path)? {
            return Ok(Some(new));
        }
        match files.open_dir(root, path) {
            Ok(_) => self.establish(files, root, location, whose).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("open the mailbox", root, path, cause)),
        }
    }

    /// The same, but the mailbox is made where it is missing.
    pub(crate) fn open_or_make(
        &self,
        files: &dyn Files,
        root: &Dir,
        location: &Location,
        whose: Whose,
    ) -> Result<Dir, DeliveryError> {
        match self.open_durable(files, root, &location.path)? {
            Some(new) => Ok(new),
            None => self.establish(files, root, location, whose),
        }
    }

    /// None where it is not there, or not known to be durable.
    fn open_durable(
        &self,
        files: &dyn Files,
        root: &Dir,
        path: &Path,
    ) -> Result<Option<Dir>, DeliveryError> {
        let new = match files.open_dir(root, &path.join(NEW)) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed("open the directory", root, &path.join(NEW), cause)),
        };
        let status = files
            .stat_dir(&new)
            .map_err(|cause| DeliveryError::io("look at the directory", new.path(), cause))?;
        let known = self.known.durable(&root.path().join(path));
        Ok((known == Some(status.identity)).then_some(new))
    }

    /// The long way: one component after the other, made at need, then synced
    /// from the bottom up.
    fn establish(
        &self,
        files: &dyn Files,
        root: &Dir,
        location: &Location,
        whose: Whose,
    ) -> Result<Dir, DeliveryError> {
        let path = &location.path;
        let mut chain: Vec<Dir> = Vec::new();
        for component in path {
            let (dir, _) =
                self.open_or_make_dir(files, chain.last().unwrap_or(root), component.as_ref())?;
            check(files, &dir, whose)?;
            chain.push(dir);
        }
        let mailbox = chain.last().unwrap_or(root);
        let inner = |name: &str| {
            let (dir, made) = self.open_or_make_dir(files, mailbox, name.as_ref())?;
            check(files, &dir, whose)?;
            if made {
                sync(files, &dir)?;
            }
            Ok(dir)
        };
        inner(TMP)?;
        let new = inner(NEW)?;
        inner(CUR)?;
        if location.is_folder {
            let name = Path::new(IS_FOLDER);
            match files.create(mailbox, name, self.mode & !EXECUTE_BITS) {
                Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("create the file", mailbox, name, cause));
                }
                _ => {}
            }
        }
        for dir in chain.iter().rev() {
            sync(files, dir)?;
        }
        sync(files, root)?;
        let status = files
            .stat_dir(&new)
            .map_err(|cause| DeliveryError::io("look at the directory", new.path(), cause))?;
        self.known.note_durable(&root.path().join(path), status.identity);
        Ok(new)
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

/// Where others may make directories too, as below a root of mode 1777, it is theirs
/// to say what becomes of the files in them.
fn check(files: &dyn Files, dir: &Dir, whose: Whose) -> Result<(), DeliveryError> {
    if whose == Whose::Anyones {
        return Ok(());
    }
    let status = files
        .stat_dir(dir)
        .map_err(|cause| DeliveryError::io("look at the directory", dir.path(), cause))?;
    if status.owner == process::user() || status.owner == ROOT_USER {
        return Ok(());
    }
    let cause = io::Error::new(io::ErrorKind::InvalidInput, "it belongs to another user");
    let path = dir.path().to_owned();
    Err(DeliveryError::Misconfigured(Failure { doing: "deliver below", path, cause }))
}

/// Whether the account at `path` may get one more folder.
pub(crate) fn may_have_more(
    files: &dyn Files,
    root: &Dir,
    path: &Path,
) -> Result<bool, DeliveryError> {
    let names = files
        .open_dir(root, path)
        .and_then(|account| files.read_dir(&account, NAMES_MAX))
        .map_err(|cause| failed("count the folders in", root, path, cause))?;
    let is_folder = |name: &&OsString| name.as_encoded_bytes().starts_with(b".");
    let folders = names.iter().filter(is_folder).count();
    Ok(names.len() < NAMES_MAX && folders < FOLDERS_MAX)
}

fn sync(files: &dyn Files, dir: &Dir) -> Result<(), DeliveryError> {
    files.sync_dir(dir).map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))
}

fn failed(doing: &'static str, parent: &Dir, name: &Path, cause: io::Error) -> DeliveryError {
    DeliveryError::io(doing, parent.path().join(name), cause)
}
