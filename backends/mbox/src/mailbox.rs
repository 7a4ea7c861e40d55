//! From the store's root to a mailbox's open file.
//!
//! Lives here: the directories above a mailbox, its file, made at need, and what
//! a file must be to be delivered to.
//! May not: make the root; follow a symbolic link; read or write the file.
//! Holds: the first delivery to a file in this process makes its name and every
//! directory up to the root durable, even where all are there: who made them may
//! have been killed before.

use crate::owners::Owners;
use postino_files::{Dir, File, Files, Identity, Kind, Status};
use postino_store::{DeliveryError, Failure};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Mailboxes remembered as durable, about 150 octets each.
const KNOWN_MAX: usize = 4096;

/// Tries to open a file that others make and remove meanwhile.
const TRIES: usize = 3;

/// Opens and makes mailboxes.
pub(crate) struct Mailboxes {
    file_mode: u32,
    directory_mode: u32,
    /// By the whole path; whatever is forgotten is only synced again.
    known: Mutex<HashMap<PathBuf, Identity>>,
}

/// The directories down to a mailbox: the root first, the mailbox's own last.
pub(crate) struct Chain {
    root: Dir,
    below: Vec<Dir>,
}

impl Chain {
    /// The store's root.
    pub(crate) fn root(&self) -> &Dir {
        &self.root
    }

    /// The directory that the mailbox lies in.
    pub(crate) fn dir(&self) -> &Dir {
        self.below.last().unwrap_or(&self.root)
    }

    /// The directories above that one, up to the root.
    #[cfg(feature = "reader")]
    pub(crate) fn upwards(&self) -> impl Iterator<Item = &Dir> {
        self.below.iter().rev().skip(1).chain(Some(&self.root).filter(|_| !self.below.is_empty()))
    }
}

/// A mailbox that is there, not locked yet.
pub(crate) struct Mailbox {
    pub(crate) chain: Chain,
    pub(crate) name: PathBuf,
    pub(crate) file: File,
}

impl Mailbox {
    /// Whether the file still has its name.
    pub(crate) fn is_named(&self, files: &dyn Files) -> Result<bool, DeliveryError> {
        let failed = |cause| DeliveryError::io("look at the mailbox", self.file.path(), cause);
        let status = files.stat_file(&self.file).map_err(failed)?;
        let named = look(files, self.chain.dir(), &self.name)?;
        Ok(named.is_some_and(|named| named.identity == status.identity))
    }
}

impl Mailboxes {
    pub(crate) fn new(file_mode: u32, directory_mode: u32) -> Self {
        Self { file_mode, directory_mode, known: Mutex::default() }
    }

    /// The mode of the files that are made.
    pub(crate) fn file_mode(&self) -> u32 {
        self.file_mode
    }

    /// The directories down to the mailbox at `path`, made where `make` says so;
    /// none where one is missing.
    pub(crate) fn chain(
        &self,
        files: &dyn Files,
        root: Dir,
        path: &Path,
        make: bool,
    ) -> Result<Option<Chain>, DeliveryError> {
        self.chain_of(Owners::to_deliver(), files, root, path, make)
    }

    /// The same where these users may own them.
    pub(crate) fn chain_of(
        &self,
        owners: Owners,
        files: &dyn Files,
        root: Dir,
        path: &Path,
        make: bool,
    ) -> Result<Option<Chain>, DeliveryError> {
        let mut chain = Chain { root, below: Vec::new() };
        for component in path.parent().unwrap_or(Path::new("")) {
            let parent = chain.dir();
            let name = Path::new(component);
            let failed =
                |cause| DeliveryError::io("open the directory", parent.path().join(name), cause);
            let opened = match files.open_dir(parent, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !make {
                        return Ok(None);
                    }
                    match files.make_dir(parent, name, self.directory_mode) {
                        // Another worker or process was faster.
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            let path = parent.path().join(name);
                            return Err(DeliveryError::io("make the directory", path, error));
                        }
                        _ => files.open_dir(parent, name).map_err(failed)?,
                    }
                }
                opened => opened.map_err(failed)?,
            };
            let status = files.stat_dir(&opened).map_err(|cause| {
                DeliveryError::io("look at the directory", opened.path(), cause)
            })?;
            owners.refuse_others(status.owner, opened.path())?;
            if !owners.has_dir(status.owner) {
                return Err(unfit(opened.path(), "belongs to another user"));
            }
            chain.below.push(opened);
        }
        Ok(Some(chain))
    }

    /// The mailbox at `path`, made where `make` says so; none where it is missing.
    pub(crate) fn open(
        &self,
        files: &dyn Files,
        root: Dir,
        path: &Path,
        make: bool,
    ) -> Result<Option<Mailbox>, DeliveryError> {
        let Some(chain) = self.chain(files, root, path, make)? else { return Ok(None) };
        let name = PathBuf::from(path.file_name().unwrap_or_default());
        let dir = chain.dir();
        for _ in 0..TRIES {
            if look(files, dir, &name)?.is_none() {
                if !make {
                    return Ok(None);
                }
                match files.create(dir, &name, self.file_mode) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(DeliveryError::io(
                            "make the mailbox",
                            dir.path_to(&name),
                            error,
                        ));
                    }
                    _ => {}
                }
            }
            match files.open_update(dir, &name) {
                Ok(file) => return Ok(Some(Mailbox { chain, name, file })),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => {
                    return Err(DeliveryError::io("open the mailbox", dir.path_to(&name), cause));
                }
            }
        }
        Err(DeliveryError::Locked { holder: None })
    }

    /// Makes the name of a mailbox durable, and the directories above it.
    pub(crate) fn sync_names(
        &self,
        files: &dyn Files,
        mailbox: &Mailbox,
        path: &Path,
        identity: Identity,
    ) -> Result<(), DeliveryError> {
        let chain = &mailbox.chain;
        let path = chain.root.path().join(path);
        if self.known().get(&path) == Some(&identity) {
            return Ok(());
        }
        for dir in chain.below.iter().rev().chain([&chain.root]) {
            files
                .sync_dir(dir)
                .map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))?;
        }
        let mut known = self.known();
        if known.len() >= KNOWN_MAX
            && let Some(any) = known.keys().next().cloned()
        {
            known.remove(&any);
        }
        known.insert(path, identity);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, Identity>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lies under a mailbox's name, where it can be one.
pub(crate) fn look(
    files: &dyn Files,
    dir: &Dir,
    name: &Path,
) -> Result<Option<Status>, DeliveryError> {
    match files.stat(dir, name) {
        Ok(status) => check(&status, &dir.path_to(name)).map(|()| Some(status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(DeliveryError::io("look at the mailbox", dir.path_to(name), cause)),
    }
}

/// Refuses what only looks like a mailbox: whoever can put a link or a FIFO there
/// must not choose what is written to.
pub(crate) fn check(status: &Status, path: &Path) -> Result<(), DeliveryError> {
    fault(status, Owners::to_deliver()).map_or(Ok(()), |fault| Err(unfit(path, fault)))
}

/// Why this is no mailbox, as the end of a sentence.
pub(crate) fn fault(status: &Status, owners: Owners) -> Option<&'static str> {
    Some(match status.kind {
        Kind::Directory => "is a directory",
        Kind::Other => "is no regular file, perhaps a symbolic link",
        Kind::File if status.links > 1 => "has several hard links",
        Kind::File if !owners.has(status.owner) => "belongs to another user",
        Kind::File => return None,
    })
}

pub(crate) fn unfit(path: &Path, fault: &'static str) -> DeliveryError {
    let cause = io::Error::new(io::ErrorKind::InvalidInput, format!("it {fault}"));
    let path = path.to_owned();
    DeliveryError::Misconfigured(Failure { doing: "deliver to", path, cause })
}
