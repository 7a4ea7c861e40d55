//! A mailbox's file, open and for a moment locked, to look at what is in it.
//!
//! Lives here: opening as strictly as a delivery does, and the locks with what was
//! found under them.
//! May not: change the file.
//! Holds: no octet is read of what may not be a mailbox.

use super::Reader;
use crate::{
    error,
    lock::Locks,
    mailbox::{self, Mailbox},
    owners::Owners,
    tail::{self, Sound},
};
use postino_files::{Dir, File, Files, Status};
use postino_store::{DeliveryError, ReadError, Stray};
use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a look that has begun waits for others' locks before it gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// How a file is opened.
type Open = fn(&dyn Files, &Dir, &Path) -> io::Result<File>;

/// For the locks, which are locks for writing.
const TO_LOCK: Open = |files, dir, name| files.open_update(dir, name);

/// For reading alone.
pub(super) const TO_READ: Open = |files, dir, name| files.open(dir, name);

/// A mailbox's file, open to be locked, or only to be read.
pub(super) struct Opened {
    pub(super) mailbox: Mailbox,
    /// Of a file system on which nothing can be changed, nor locked: nobody here
    /// writes to it.
    pub(super) is_read_only: bool,
    /// To whom it may belong.
    pub(super) owners: Owners,
}

/// A mailbox under its locks.
pub(super) struct Held<'a> {
    pub(super) locks: Option<Locks<'a>>,
    pub(super) status: Status,
    /// What of it is mail.
    pub(super) sound: Sound,
}

/// Whether to wait for others' locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    Some,
}

impl Reader<'_> {
    /// The root and the directories down to the mailbox.
    pub(super) fn root(&self) -> Result<Dir, ReadError> {
        Ok(self.root.open_to_read(&**self.files).map_err(error::of_root)?)
    }

    /// To whom the mailboxes below a root may belong.
    pub(super) fn owners(&self, root: &Dir) -> Result<Owners, ReadError> {
        let status = self
            .files
            .stat_dir(root)
            .map_err(|cause| DeliveryError::io("look at the store's root", root.path(), cause))?;
        Ok(Owners::to_read(status.owner))
    }

    /// Opens a mailbox to be looked at under its locks.
    pub(super) fn open_mailbox(&self, root: Dir, path: &Path) -> Result<Opened, ReadError> {
        let files = &**self.files;
        let missing = || ReadError::Store(DeliveryError::NoSuchMailbox);
        let owners = self.owners(&root)?;
        let chain = self.mailboxes.chain_of(owners, files, root, path, false)?;
        let chain = chain.ok_or_else(missing)?;
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let (file, is_read_only) = open_strictly(files, chain.dir(), &name, TO_LOCK, owners)
            .map(|file| (file, false))
            .or_else(|error| match error {
                ReadError::Store(DeliveryError::Misconfigured(failure))
                    if failure.cause.kind() == io::ErrorKind::ReadOnlyFilesystem =>
                {
                    Ok((open_strictly(files, chain.dir(), &name, TO_READ, owners)?, true))
                }
                error => Err(error),
            })?;
        Ok(Opened { mailbox: Mailbox { chain, name, file }, is_read_only, owners })
    }

    /// Opens a mailbox's file to read a text in it.
    pub(super) fn open_to_read(&self, path: &Path) -> Result<File, ReadError> {
        let files = &**self.files;
        let missing = || ReadError::Store(DeliveryError::NoSuchMailbox);
        let root = self.root()?;
        let owners = self.owners(&root)?;
        let chain = self.mailboxes.chain_of(owners, files, root, path, false)?;
        let chain = chain.ok_or_else(missing)?;
        let name = Path::new(path.file_name().unwrap_or_default());
        open_strictly(files, chain.dir(), name, TO_READ, owners)
    }

    /// Locks a mailbox and looks at its end; none where the file is not the one
    /// under its name any more.
    pub(super) fn hold<'a>(
        &'a self,
        opened: &'a Opened,
        patience: Patience,
    ) -> Result<Option<Held<'a>>, ReadError> {
        let Mailbox { chain, name, file } = &opened.mailbox;
        let files = &**self.files;
        if opened.is_read_only {
            return self.look(opened, None);
        }
        let locks = patiently(patience, || self.locking.take(files, chain.dir(), name, file))?;
        self.look(opened, Some(locks))
    }

    /// What [`Reader::hold`] does when the locks are taken.
    pub(super) fn look<'a>(
        &'a self,
        opened: &'a Opened,
        locks: Option<Locks<'a>>,
    ) -> Result<Option<Held<'a>>, ReadError> {
        let Mailbox { chain, name, file } = &opened.mailbox;
        let files = &**self.files;
        let failed = |cause| DeliveryError::io("look at the mailbox", file.path(), cause);
        let status = files.stat_file(file).map_err(failed)?;
        let is_there = match files.stat(chain.dir(), name) {
            Ok(named) => named.identity == status.identity,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(cause) => return Err(failed(cause).into()),
        };
        if !is_there {
            if let Some(locks) = &locks {
                locks.set_torn(None); // what was torn is not there any more
            }
            return Ok(None);
        }
        refuse(&status, file.path(), opened.owners)?;
        let torn = locks.as_ref().and_then(Locks::torn);
        let sound = tail::look(files, file, status.size, torn.as_ref())
            .map_err(|cause| DeliveryError::io("read the mailbox", file.path(), cause))?;
        Ok(Some(Held { locks, status, sound }))
    }
}

/// Tries to lock until that succeeds or is no use any more.
pub(super) fn patiently<T>(
    patience: Patience,
    mut take: impl FnMut() -> Result<T, DeliveryError>,
) -> Result<T, DeliveryError> {
    let began = Instant::now();
    loop {
        match take() {
            Err(DeliveryError::Locked { .. })
                if patience == Patience::Some && began.elapsed() < PATIENCE =>
            {
                thread::sleep(PAUSE);
            }
            taken => return taken,
        }
    }
}

/// Opens what lies under this name, if it is a file that mail may lie in.
pub(super) fn open_strictly(
    files: &dyn Files,
    dir: &Dir,
    name: &Path,
    open: Open,
    owners: Owners,
) -> Result<File, ReadError> {
    let path = dir.path_to(name);
    let failed = |doing, cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => DeliveryError::NoSuchMailbox,
        _ => DeliveryError::io(doing, &path, cause),
    };
    // A device must not even be opened.
    let status = files.stat(dir, name).map_err(|cause| failed("look at the mailbox", cause))?;
    refuse(&status, &path, owners)?;
    let file = open(files, dir, name).map_err(|cause| failed("open the mailbox", cause))?;
    let status = files.stat_file(&file).map_err(|cause| failed("look at the mailbox", cause))?;
    refuse(&status, &path, owners)?;
    Ok(file)
}

fn refuse(status: &Status, path: &Path, owners: Owners) -> Result<(), ReadError> {
    owners.refuse_others(status.owner, path)?;
    mailbox::fault(status, owners).map_or(Ok(()), |why| Err(stray(path, why)))
}

/// The error that says why this is not read.
pub(super) fn stray(path: &Path, why: &str) -> ReadError {
    ReadError::Stray(Stray { path: path.to_owned(), why: why.to_owned() })
}

/// Why a file that begins with something else is no mailbox.
pub(super) const NO_MBOX: &str = "does not begin with a From_ line, so it is no mbox";
