//! The place of the database: its directory, and the file that it is.
//!
//! Lives here: whether the file is there and which one it is; making it, whole or
//! not at all.
//! May not: open a file that SQLite has open: closing it would drop SQLite's locks
//! on it (POSIX locks vanish when any descriptor of the file closes).
//! Holds: a database that is not there is made by [`Place::make`] alone, which
//! overwrites nothing, and makes none beside the log of one that is gone: SQLite
//! would write that log into it.

use crate::{
    fault::{Doing, Fault},
    schema,
};
use postino_files::{Dir, Files, Identity, Kind, Space, root::open_or_make};
use rusqlite::{Connection, OpenFlags};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The mode of directories that have to be made.
const DIRECTORY_MODE: u32 = 0o700;

/// The database's own; SQLite gives it to the files beside it.
const FILE_MODE: u32 = 0o600;

/// What the file is called until it is whole.
const DRAFT_SUFFIX: &str = ".new";

/// What SQLite calls the files that may hold what a database does not hold yet.
const LOG_SUFFIXES: [&str; 2] = ["-wal", "-journal"];

/// Where the database is.
pub(crate) struct Place {
    path: PathBuf,
    files: Arc<dyn Files>,
}

/// What is at the place.
pub(crate) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    /// A file, with its path without symbolic links.
    File { path: PathBuf, identity: Identity },
}

impl Place {
    pub(crate) fn new(path: PathBuf, files: Arc<dyn Files>) -> Self {
        Self { path, files }
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that the database lies in.
    pub(crate) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// What is there now. Symbolic links are followed: where the database lies is
    /// the administrator's choice.
    pub(crate) fn look(&self) -> Result<Found, Fault> {
        let path = match fs::canonicalize(&self.path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(Fault::file("look for", &self.path, &error)),
        };
        match self.files.stat_path(&path) {
            Ok(status) if status.kind != Kind::File => {
                Err(Fault::Refused { why: "it is no regular file".to_owned() })
            }
            Ok(status) if status.size == 0 => Ok(Found::Nothing),
            Ok(status) => Ok(Found::File { path, identity: status.identity }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(Fault::file("look at", path, &error)),
        }
    }

    /// Which file is at this path, which was found before; none where none is.
    pub(crate) fn identity(&self, path: &Path) -> Result<Option<Identity>, Fault> {
        match self.files.stat_path(path) {
            Ok(status) => Ok(Some(status.identity)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault::file("look at", path, &error)),
        }
    }

    /// The room on the file system.
    pub(crate) fn space(&self) -> Result<Space, Fault> {
        let directory = self.directory();
        self.files
            .open_root(directory)
            .and_then(|open| self.files.space(&open))
            .map_err(|error| Fault::file("ask for the room on the disk of", directory, &error))
    }

    /// The error of a database that is not there.
    pub(crate) fn missing(&self) -> Fault {
        let path = self.path.display();
        Fault::Missing {
            what: format!(
                "there is no database {path} (not mounted?); every recipient gets 451; only if it is new: postino init sqlite:{path}"
            ),
        }
    }

    /// The log of a database that is gone: there may be mail in it.
    fn orphaned_log(&self) -> Result<Option<PathBuf>, Fault> {
        // An empty file may be reached by a symbolic link; SQLite has the log beside
        // the file itself.
        let itself = fs::canonicalize(&self.path).ok();
        for path in [Some(&self.path), itself.as_ref()].into_iter().flatten() {
            for suffix in LOG_SUFFIXES {
                let mut log = path.clone().into_os_string();
                log.push(suffix);
                let log = PathBuf::from(log);
                match self.files.stat_path(&log) {
                    Ok(status) if status.size > 0 => return Ok(Some(log)),
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Fault::file("look at", log, &error));
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// Makes an empty database, and the directories above it, durably. An empty
    /// file in its place goes; anything else stays, and is an error.
    pub(crate) fn make(&self) -> Result<(), Fault> {
        if let Some(log) = self.orphaned_log()? {
            return Err(Fault::Refused {
                why: format!(
                    "there is a log without its database, {}, which may hold mail: put the database back, or move the log away",
                    log.display()
                ),
            });
        }
        let failed = |error: &io::Error| Fault::file("make", &self.path, error);
        let name = self.path.file_name().ok_or_else(|| failed(&io::ErrorKind::NotFound.into()))?;
        let (name, mut draft) = (Path::new(name), name.to_owned());
        draft.push(DRAFT_SUFFIX);
        let draft = Path::new(&draft);
        let directory =
            open_or_make(&*self.files, self.directory(), DIRECTORY_MODE).map_err(|e| failed(&e))?;
        // What a crash left of an earlier try.
        self.remove(&directory, draft)?;
        drop(self.files.create(&directory, draft, FILE_MODE).map_err(|e| failed(&e))?);
        let made = fill(&self.directory().join(draft)).and_then(|()| {
            if self.files.stat(&directory, name).is_ok_and(|status| status.size == 0) {
                self.remove(&directory, name)?;
            }
            let renamed = self.files.rename(&directory, draft, &directory, name);
            renamed.and_then(|()| self.files.sync_dir(&directory)).map_err(|e| failed(&e))
        });
        if made.is_err() {
            let _ = self.files.unlink(&directory, draft);
        }
        made
    }

    fn remove(&self, directory: &Dir, name: &Path) -> Result<(), Fault> {
        match self.files.unlink(directory, name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Fault::file("remove", directory.path_to(name), &error))
            }
            _ => Ok(()),
        }
    }
}

/// Makes a database of an empty file that nobody else knows yet, and syncs it.
fn fill(path: &Path) -> Result<(), Fault> {
    let doing = "make";
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).doing(doing)?;
    // A failure leaves nothing: the file goes, so it needs no journal on the disk.
    connection
        .execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = FULL;
             BEGIN IMMEDIATE",
        )
        .and_then(|()| schema::make(&connection))
        .and_then(|()| connection.execute_batch("COMMIT"))
        .doing(doing)?;
    connection.close().map_err(|(_, error)| Fault::sqlite(doing, &error))
}
