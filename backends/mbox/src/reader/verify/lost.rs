//! `.postino-lost`, where a repair puts what it takes away.
//!
//! Lives here: its making, and moving or copying into it.
//! May not: overwrite or remove anything.
//! Holds: what is there is durable before it goes from where it was.

use super::super::replace;
use crate::owners::Owners;
use postino_files::{Dir, File, Files, lost};
use postino_store::{DeliveryError, Failure};
use std::{
    ffi::OsString,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

/// Nobody but the store's user sees what is in it.
const DIRECTORY_MODE: u32 = 0o700;

/// The mode of what is copied into it.
const FILE_MODE: u32 = 0o600;

/// So much of a path becomes part of a name.
const PATH_OCTETS_MAX: usize = 180;

/// The place for what is lost.
pub(super) struct Lost<'a> {
    files: &'a dyn Files,
    root: &'a Dir,
    path: PathBuf,
    owners: Owners,
}

impl<'a> Lost<'a> {
    /// Of this root; made at need.
    pub(super) fn below(
        files: &'a dyn Files,
        root: &'a Dir,
        owners: Owners,
    ) -> Result<Self, DeliveryError> {
        let path = lost::path_in(files, root)
            .map_err(|cause| DeliveryError::io("look at", root.path(), cause))?;
        Ok(Self { files, root, path, owners })
    }

    /// A name that nothing there has, for something that lies below the root.
    pub(super) fn name_for(&self, below: &Path, what: &str) -> Result<PathBuf, DeliveryError> {
        let random = postino_files::random().map_err(|cause| {
            DeliveryError::io("make a name in", self.path_to(Path::new("")), cause)
        })?;
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        let path = parts.join("_");
        let end = (0..=PATH_OCTETS_MAX).rev().find(|end| path.is_char_boundary(*end));
        let path = path.get(..end.unwrap_or(0).min(path.len())).unwrap_or(&path);
        Ok(OsString::from(format!("{path}.{what}.{random:016x}")).into())
    }

    /// The path to call something by that is in there.
    pub(super) fn path_to(&self, name: &Path) -> PathBuf {
        self.path.join(name)
    }

    /// Moves a file there.
    pub(super) fn take_in(
        &self,
        dir: &Dir,
        name: &Path,
        new_name: &Path,
    ) -> Result<(), DeliveryError> {
        let lost = self.open()?;
        let files = self.files;
        files
            .rename(dir, name, &lost, new_name)
            .map_err(|cause| DeliveryError::io("move", dir.path_to(name), cause))?;
        self.sync(&lost)?;
        self.sync(dir)
    }

    /// Copies a part of a file there.
    pub(super) fn copy_in(
        &self,
        file: &File,
        part: Range<u64>,
        new_name: &Path,
    ) -> Result<(), DeliveryError> {
        let lost = self.open()?;
        let files = self.files;
        let failed = |doing, cause| DeliveryError::io(doing, lost.path().join(new_name), cause);
        let copy =
            files.create(&lost, new_name, FILE_MODE).map_err(|cause| failed("make", cause))?;
        let copied = files
            .stat_file(file)
            .and_then(|of| files.set_access(&copy, of.owner, of.group, FILE_MODE))
            .map_err(|cause| failed("give the mailbox's owner", cause))
            .and_then(|()| replace::copy(files, file, part, &copy))
            .and_then(|()| files.sync_file(&copy).map_err(|cause| failed("sync", cause)))
            .and_then(|()| self.sync(&lost));
        if copied.is_err() {
            // Half a copy of what still is where it was.
            let _ = files.unlink(&lost, new_name);
        }
        copied
    }

    fn open(&self) -> Result<Dir, DeliveryError> {
        let (files, name) = (self.files, Path::new(self.path.file_name().unwrap_or_default()));
        let failed = |doing, cause| DeliveryError::io(doing, &self.path, cause);
        match files.make_dir(self.root, name, DIRECTORY_MODE) {
            // What root has made stays root's: under its name the owner of the store
            // can have put something else by now.
            Ok(()) => self.sync(self.root)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(failed("make the directory", cause)),
        }
        let lost =
            files.open_dir(self.root, name).map_err(|cause| failed("open the directory", cause))?;
        let status =
            files.stat_dir(&lost).map_err(|cause| failed("look at the directory", cause))?;
        if !self.owners.has(status.owner) || status.mode & 0o077 != 0 {
            let cause = io::Error::new(
                io::ErrorKind::PermissionDenied,
                "it must belong to the store's user alone (mode 700)",
            );
            let (doing, path) = ("put mail into", lost.path().to_owned());
            return Err(DeliveryError::Misconfigured(Failure { doing, path, cause }));
        }
        Ok(lost)
    }

    fn sync(&self, dir: &Dir) -> Result<(), DeliveryError> {
        self.files
            .sync_dir(dir)
            .map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))
    }
}
