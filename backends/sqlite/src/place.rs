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
    fault::{Doing, Fault, Meaning},
    schema,
};
use postino_files::{
    Dir, Files, Identity, Kind, Lock, Space, Status, home, process,
    root::{RootError, open_or_make},
};
use rusqlite::{Connection, OpenFlags};
#[cfg(feature = "reader")]
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The mode of directories that have to be made.
const DIRECTORY_MODE: u32 = 0o700;

/// The database's own; SQLite gives it to the files beside it.
const FILE_MODE: u32 = 0o600;

/// What the file is called until it is whole, behind a number of its own.
const DRAFT_SUFFIX: &str = ".new";

/// No draft that is being written was last written so long ago.
#[cfg(feature = "reader")]
pub(crate) const DRAFT_OLD: Duration = Duration::from_secs(3_600);

/// What SQLite calls the files that may hold what a database does not hold yet.
const LOG_SUFFIXES: [&str; 2] = ["-wal", "-journal"];

/// What SQLite calls the files beside a database that it opens.
const BESIDE_SUFFIXES: [&str; 3] = ["-wal", "-journal", "-shm"];

/// Where the database is.
pub(crate) struct Place {
    path: PathBuf,
    /// Above the database of an account: where symbolic links end, and directories
    /// are never made.
    base: Option<PathBuf>,
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
        Self { path, base: None, files }
    }

    /// The place of an account's own database, below `base`.
    pub(crate) fn below(base: PathBuf, path: PathBuf, files: Arc<dyn Files>) -> Self {
        Self { path, base: Some(base), files }
    }

    /// The place of another database on the same disks.
    #[cfg(feature = "reader")]
    pub(crate) fn beside(&self, path: PathBuf) -> Self {
        Self::new(path, Arc::clone(&self.files))
    }

    #[cfg(feature = "reader")]
    pub(crate) fn files(&self) -> &dyn Files {
        &*self.files
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

    /// Whether whoever closes a connection may not be who has opened it.
    pub(crate) fn is_an_accounts(&self) -> bool {
        self.base.is_some()
    }

    /// The path without symbolic links; none where nothing is there. Links are
    /// followed: where the database lies is the administrator's choice, down to the base
    /// where there is one.
    fn find(&self) -> Result<Option<PathBuf>, Fault> {
        let failed = |error: &io::Error| Fault::file("look for", &self.path, error);
        if let Some(base) = &self.base {
            self.open_directory()?;
            let itself = fs::canonicalize(base).map_err(|error| failed(&error))?;
            return Ok(self.path.strip_prefix(base).ok().map(|below| itself.join(below)));
        }
        match fs::canonicalize(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some).map_err(|error| failed(&error)),
        }
    }

    /// The directory to make a database in.
    fn open_directory(&self) -> Result<Dir, Fault> {
        let Some(base) = &self.base else {
            let directory = open_or_make(&*self.files, self.directory(), DIRECTORY_MODE);
            return directory.map_err(|error| Fault::file("make", &self.path, &error));
        };
        match home::open_below(&*self.files, base, self.directory()) {
            Ok(directory) => Ok(directory),
            Err(RootError::Missing { what }) => Err(Fault::Missing { what }),
            Err(RootError::Failed { doing, path, cause }) if cause.raw_os_error().is_some() => {
                Err(Fault::file(doing, path, &cause))
            }
            Err(unfit) => Err(Fault::Refused { why: unfit.to_string() }),
        }
    }

    /// What is there now.
    pub(crate) fn look(&self) -> Result<Found, Fault> {
        let Some(path) = self.find()? else { return Ok(Found::Nothing) };
        match self.files.stat_path(&path) {
            Ok(status) if status.kind != Kind::File => {
                Err(Fault::Refused { why: "it is no regular file".to_owned() })
            }
            Ok(status) if self.is_an_accounts() && is_foreign(&status) => {
                let why = "it belongs to another user, or has several hard links";
                Err(Fault::Refused { why: why.to_owned() })
            }
            Ok(status) if status.size == 0 => Ok(Found::Nothing),
            Ok(status) => {
                self.check_beside(&path)?;
                Ok(Found::File { path, identity: status.identity })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(Fault::file("look at", path, &error)),
        }
    }

    /// Whether the files beside an account's database are such as SQLite makes: it
    /// would wait for whoever writes to a FIFO.
    fn check_beside(&self, path: &Path) -> Result<(), Fault> {
        if !self.is_an_accounts() {
            return Ok(());
        }
        for suffix in BESIDE_SUFFIXES {
            let beside = suffixed(path.as_os_str(), suffix);
            match self.files.stat_path(&beside) {
                Ok(status) if status.kind != Kind::File || is_foreign(&status) => {
                    let why = format!(
                        "{} beside it is no regular file, belongs to another user, or has several \
                         hard links",
                        beside.display()
                    );
                    return Err(Fault::Refused { why });
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Fault::file("look at", beside, &error));
                }
                _ => {}
            }
        }
        Ok(())
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
                let log = suffixed(path.as_os_str(), suffix);
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

    /// An error where there is one.
    fn check_no_log(&self) -> Result<(), Fault> {
        self.orphaned_log()?.map_or(Ok(()), |log| {
            Err(Fault::Refused {
                why: format!(
                    "there is a log without its database, {}, which may hold mail: put the database back, or move the log away",
                    log.display()
                ),
            })
        })
    }

    /// Makes an empty database, and the directories above it, durably; says whether
    /// it did, or another process was faster. An empty file in its place goes;
    /// anything else stays, and is an error.
    pub(crate) fn make(&self) -> Result<bool, Fault> {
        let failed = |error: &io::Error| Fault::file("make", &self.path, error);
        if let Err(refused) = self.check_no_log() {
            // Whoever was faster may have a log by now.
            return if self.is_made()? { Ok(false) } else { Err(refused) };
        }
        let (name, draft) = self.names().map_err(|e| failed(&e))?;
        let (name, draft) = (name, draft.as_path());
        let directory = self.open_directory()?;
        let _lock = self.lock(&directory)?;
        if self.is_made()? {
            return Ok(false);
        }
        drop(self.files.create(&directory, draft, FILE_MODE).map_err(|e| failed(&e))?);
        let made = fill(&self.directory().join(draft)).and_then(|()| {
            if self.files.stat(&directory, name).is_ok_and(|status| status.size == 0) {
                self.remove(&directory, name)?;
            }
            let is_ours = match self.files.rename(&directory, draft, &directory, name) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.is_made()? => {
                    false
                }
                Err(error) => return Err(failed(&error)),
            };
            self.files.sync_dir(&directory).map_err(|e| failed(&e))?;
            Ok(is_ours)
        });
        if !matches!(made, Ok(true)) {
            let _ = self.files.unlink(&directory, draft);
        }
        made
    }

    /// Makes a file of what `fill` writes to the path that it is given, durably; it
    /// has its name once it is whole. Anything in its place stays, and is an error;
    /// a failure leaves nothing. Old drafts of the same file go, which a killed process
    /// has left. `doing` has the file as its object.
    #[cfg(feature = "reader")]
    pub(crate) fn make_whole(
        &self,
        doing: &'static str,
        fill: impl FnOnce(&Path) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let failed = |error: &io::Error| Fault::file(doing, &self.path, error);
        match self.files.stat_path(&self.path) {
            Ok(_) => return Err(failed(&io::ErrorKind::AlreadyExists.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
        self.check_no_log()?;
        let (name, draft) = self.names().map_err(|e| failed(&e))?;
        let (name, draft) = (name, draft.as_path());
        let directory = self.files.open_root(self.directory()).map_err(|e| failed(&e))?;
        self.remove_drafts(&directory);
        drop(self.files.create(&directory, draft, FILE_MODE).map_err(|e| failed(&e))?);
        let made = fill(&self.directory().join(draft)).and_then(|()| {
            let whole = self.files.open(&directory, draft).map_err(|e| failed(&e))?;
            self.files.sync_file(&whole).map_err(|e| failed(&e))?;
            self.files.rename(&directory, draft, &directory, name).map_err(|e| failed(&e))
        });
        if made.is_err() {
            let _ = self.files.unlink(&directory, draft);
            return made;
        }
        self.files.sync_dir(&directory).map_err(|error| {
            let _ = self.files.unlink(&directory, name);
            failed(&error)
        })
    }

    /// Removes this user's drafts that nobody has written to for [`DRAFT_OLD`]. What
    /// stays is only in the way of nobody.
    #[cfg(feature = "reader")]
    fn remove_drafts(&self, directory: &Dir) {
        let files = &*self.files;
        let names = files.read_dir(directory, usize::MAX).unwrap_or_default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for name in names.iter().map(Path::new).filter(|name| self.is_draft(name)) {
            let Ok(status) = files.stat(directory, name) else { continue };
            let written = Duration::from_secs(u64::try_from(status.written).unwrap_or(0));
            if status.kind == Kind::File
                && status.owner == process::user()
                && now.saturating_sub(written) > DRAFT_OLD
                && let Err(error) = files.unlink(directory, name)
            {
                log::warn!("cannot remove {}: {error}", directory.path_to(name).display());
            }
        }
    }

    /// Whether a file of this name beside the database is a draft of it that was
    /// never completed, or is being written just now.
    #[cfg(feature = "reader")]
    pub(crate) fn is_draft(&self, name: &Path) -> bool {
        let own = self.path.file_name().unwrap_or_default().as_encoded_bytes();
        let number = name
            .as_os_str()
            .as_encoded_bytes()
            .strip_prefix(own)
            .and_then(|rest| rest.strip_prefix(b"."))
            .and_then(|rest| rest.strip_suffix(DRAFT_SUFFIX.as_bytes()));
        number.is_some_and(|number| number.len() == 16 && number.iter().all(u8::is_ascii_hexdigit))
    }

    /// The file's name in its directory, and one for its draft that no other process
    /// uses, should a lock not reach it.
    fn names(&self) -> io::Result<(&Path, PathBuf)> {
        let name = self.path.file_name().ok_or(io::ErrorKind::NotFound)?;
        let own = postino_files::random()?;
        Ok((Path::new(name), suffixed(name, &format!(".{own:016x}{DRAFT_SUFFIX}"))))
    }

    fn is_made(&self) -> Result<bool, Fault> {
        Ok(matches!(self.look()?, Found::File { .. }))
    }

    /// Keeps other processes from making one meanwhile: what is an empty file to one
    /// of them could be another one's new database by the time that he removes it.
    fn lock(&self, directory: &Dir) -> Result<postino_files::File, Fault> {
        let failed = |error: &io::Error| Fault::file("lock", self.directory(), error);
        let open = self.files.open(directory, Path::new(".")).map_err(|e| failed(&e))?;
        match self.files.try_lock(&open, Lock::Flock) {
            Ok(true) => Ok(open),
            Ok(false) => Err(Fault::Sqlite {
                doing: "make",
                meaning: Meaning::Locked,
                text: "another process makes it just now".to_owned(),
            }),
            Err(error) => Err(failed(&error)),
        }
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

/// Whether somebody else than the calling thread's user may have put it there, or may
/// change it.
fn is_foreign(status: &Status) -> bool {
    status.owner != process::user() || status.links > 1
}

/// A name with something behind it.
fn suffixed(name: &OsStr, suffix: &str) -> PathBuf {
    let mut suffixed = name.to_owned();
    suffixed.push(suffix);
    suffixed.into()
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
