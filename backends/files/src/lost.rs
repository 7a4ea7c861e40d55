//! `.postino-lost`, where a repair puts what it takes out of a store.
//!
//! Lives here: the directory in the store's root, whose it has to be, the names in it,
//! from which each thing's place can be read, and the move.
//! May not: overwrite or remove anything.
//! Holds: what was moved is durable in its new place before it goes from the old; nobody
//! reads there but the user of the store. In a root of another's, as a spool is, each
//! user has a directory of his own: what one takes out is none of the next one's.

use crate::{Dir, File, Files, process, random};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// The directory's name, as that of all files of ours in a root; behind it stands a
/// user's number in a root of another's.
pub const NAME: &str = ".postino-lost";

/// Whoever may do everything anyhow.
const ROOT_USER: u32 = 0;

const DIRECTORY_MODE: u32 = 0o700;

/// What is made there.
const FILE_MODE: u32 = 0o600;

/// What others may do in a directory.
const OTHERS: u32 = 0o077;

/// Octets of a name, without what tells it from others alike: most file systems take 255.
const NAME_OCTETS_MAX: usize = 200;

/// Names that are tried; each but the first has random bits.
const TRIES_MAX: usize = 8;

/// The open directory.
pub struct Lost<'a> {
    files: &'a dyn Files,
    dir: Dir,
}

impl<'a> Lost<'a> {
    /// Opens the one of this root; makes it, durably, where there is none.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` for one that belongs to anybody but this process's user and the
    /// root's owner, or in which others may do anything.
    pub fn open(files: &'a dyn Files, root: &Dir) -> io::Result<Self> {
        let owner = files.stat_dir(root)?.owner;
        let name = &*name(owner);
        let is_new = match files.make_dir(root, name, DIRECTORY_MODE) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => false,
            made => made.map(|()| true)?,
        };
        let dir = files.open_dir(root, name)?;
        let status = files.stat_dir(&dir)?;
        let is_theirs = status.owner != process::user() && status.owner != owner;
        if is_theirs || status.mode & OTHERS != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{} belongs to user {} and has mode {:04o}, so that others could read mail there; see who made it, then: chown {owner} and chmod 700 it",
                    dir.path().display(),
                    status.owner,
                    status.mode & 0o7777,
                ),
            ));
        }
        if is_new {
            files.sync_dir(&dir)?;
            files.sync_dir(root)?;
        }
        Ok(Self { files, dir })
    }

    /// The directory itself.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Moves there what has this name in `from`, and came from `whence`, a path below the
    /// root; gives its new path.
    pub fn take(&self, from: &Dir, name: &Path, whence: &Path) -> io::Result<PathBuf> {
        let (new, ()) = free(whence, |new| self.files.rename(from, name, &self.dir, new))?;
        self.files.sync_dir(&self.dir)?;
        self.files.sync_dir(from)?;
        Ok(self.dir.path_to(&new))
    }

    /// Makes an empty file there for what comes from `whence`; gives its name too.
    pub fn create(&self, whence: &Path) -> io::Result<(PathBuf, File)> {
        free(whence, |new| self.files.create(&self.dir, new, FILE_MODE))
    }
}

/// The path of the directory in this root, for this process's user.
pub fn path_in(files: &dyn Files, root: &Dir) -> io::Result<PathBuf> {
    Ok(root.path_to(&name(files.stat_dir(root)?.owner)))
}

/// Its name in a root that belongs to this user.
fn name(owner: u32) -> PathBuf {
    match process::user() {
        user if user == ROOT_USER || user == owner => NAME.into(),
        user => format!("{NAME}-{user}").into(),
    }
}

/// Has something made under a name that is free.
fn free<T>(whence: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    let (name, is_whole) = name_of(whence.as_os_str());
    for n in 0..TRIES_MAX {
        let mut new = name.clone();
        if n > 0 || !is_whole {
            new.push(format!("%.{:016x}", random()?));
        }
        let new = PathBuf::from(new);
        match make(&new) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            done => return Ok((new, done?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The path as one name: `%2F` for each slash, `%25` for each percent sign. Behind it
/// `%.` and random bits, which stand for nothing, tell what would be alike. Says
/// whether it is the whole path: a long one is cut.
fn name_of(path: &OsStr) -> (OsString, bool) {
    let mut name = Vec::new();
    for octet in path.as_bytes() {
        let piece: &[u8] = match octet {
            b'/' => b"%2F",
            b'%' => b"%25",
            octet => std::slice::from_ref(octet),
        };
        if name.len() + piece.len() > NAME_OCTETS_MAX {
            return (OsString::from_vec(name), false);
        }
        name.extend_from_slice(piece);
    }
    (OsString::from_vec(name), true)
}

#[cfg(test)]
mod tests {
    use super::{Lost, NAME};
    use crate::{Files, Kernel};
    use std::{
        fs::{self, Permissions},
        io,
        os::unix::fs::{MetadataExt, PermissionsExt, chown},
        path::Path,
    };

    #[test]
    fn what_comes_from_one_place_has_names_of_its_own_however_long_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = Kernel::new();
        let root = kernel.open_root(directory.path()).unwrap();
        let long = format!("a@b/{}", "%".repeat(251));
        for whence in ["a%/b", &long] {
            let mut paths = Vec::new();
            for n in 0..3 {
                fs::write(directory.path().join("x"), n.to_string()).unwrap();
                let lost = Lost::open(&kernel, &root).unwrap();
                paths.push(lost.take(&root, Path::new("x"), Path::new(whence)).unwrap());
            }
            let texts: Vec<_> =
                paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
            assert_eq!(texts, ["0", "1", "2"]);
            let first = paths[0].file_name().unwrap().to_str().unwrap();
            if whence == long {
                // Cut where a whole octet of the path ends.
                assert!(first.starts_with(&format!("a@b%2F{}%.", "%25".repeat(64))), "{first}");
            } else {
                assert_eq!(first, "a%25%2Fb");
            }
        }
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_not_taken() {
        let directory = tempfile::tempdir().unwrap();
        let kernel = Kernel::new();
        let root = kernel.open_root(directory.path()).unwrap();
        drop(Lost::open(&kernel, &root).unwrap());
        let path = directory.path().join(NAME);
        let status = fs::metadata(&path).unwrap();
        assert_eq!(status.mode() & 0o7777, 0o700);
        let refused = || {
            let refused = Lost::open(&kernel, &root).map(drop).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            refused.to_string()
        };
        fs::set_permissions(&path, Permissions::from_mode(0o710)).unwrap();
        assert!(refused().contains("has mode 0710"));
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        drop(Lost::open(&kernel, &root).unwrap());
        if status.uid() == 0 {
            chown(&path, Some(65_534), None).unwrap();
            assert!(refused().contains("belongs to user 65534"));
            // The user of the store may have made it before.
            chown(directory.path(), Some(65_534), None).unwrap();
            drop(Lost::open(&kernel, &root).unwrap());
        }
    }
}
