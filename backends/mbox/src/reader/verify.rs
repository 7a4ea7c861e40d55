//! Checking the store, and mending what loses nothing by it.
//!
//! Lives here: the way through the directories, and what is to be said of what lies
//! in them.
//! May not: remove anything; what is in the way is moved into `.postino-lost`.
//! Holds: only what belongs to the store is touched: names that no mailbox has are
//! other programs', those with a dot in front not even spoken of. What is found is
//! told when all locks are given back, as whoever hears of it may take its time.

mod lost;
mod mailbox;

use super::{
    Reader,
    names::{LOST_AND_FOUND, NO_NAME, is_hidden, is_ours},
    replace::DRAFT,
};
use crate::{
    dotlock::{self, Standing},
    folder,
    mailbox::fault,
    owners::Owners,
};
use lost::Lost;
use postino_files::{Dir, Kind, Lock, Status};
use postino_store::{
    DeliveryError, FOLDER_LEVELS_MAX, Finding, FindingKind, ReadError, Remedy, Repair, Verified,
};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What an owner must be allowed to do with his mailbox.
const OWNER_BITS: u32 = 0o600;

impl Reader<'_> {
    /// Checks the whole store.
    pub(crate) fn verify(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError> {
        self.refuse_store_of_others()?;
        let root = self.root()?;
        let owners = self.owners(&root)?;
        let lost = Lost::below(&**self.files, &root, owners)?;
        let verified = Verified::default();
        let found = Vec::new();
        let mut check = Check { reader: *self, owners, lost, repair, report, found, verified };
        check.directory(&root, Path::new(""), self.template.depth())?;
        Ok(check.verified)
    }
}

/// A check on its way.
struct Check<'a> {
    reader: Reader<'a>,
    owners: Owners,
    lost: Lost<'a>,
    repair: Repair,
    report: &'a mut dyn FnMut(Finding),
    /// What was found, perhaps under locks that are still held, and not told yet.
    found: Vec<Finding>,
    verified: Verified,
}

/// What lies somewhere.
struct Entry<'a> {
    dir: &'a Dir,
    name: &'a Path,
    /// Below the root.
    below: &'a Path,
}

impl Entry<'_> {
    fn path(&self) -> PathBuf {
        self.dir.path_to(self.name)
    }
}

/// Whether what lies at this path has to do with the mailbox at `only`: a directory on
/// the way to it, itself, its lock file, its folders, or what a crash left beside it.
fn is_of(only: &Path, path: &Path) -> bool {
    let mut lock_file = only.as_os_str().to_owned();
    lock_file.push(dotlock::SUFFIX);
    let is_beside = path.parent() == only.parent();
    only.starts_with(path)
        || path.as_os_str() == lock_file
        || folder::directory(only).is_some_and(|directory| directory == path)
        || is_beside && is_ours(path.file_name().unwrap_or_default().as_bytes())
}

/// The names in the directory `above` of what has to do with the mailbox at `only`, but
/// for what a crash left: a spool of many accounts is not gone through for each.
fn names_of(only: &Path, above: &Path) -> Vec<OsString> {
    let mut below = only.strip_prefix(above).into_iter().flatten();
    let Some(name) = below.next() else { return Vec::new() };
    if below.next().is_some() {
        return vec![name.to_owned()];
    }
    let mut lock_file = name.to_owned();
    lock_file.push(dotlock::SUFFIX);
    let folders = folder::directory(only);
    let folders = folders.as_deref().and_then(Path::file_name).map(OsStr::to_owned);
    folders.into_iter().chain([name.to_owned(), lock_file]).collect()
}

impl Check<'_> {
    /// Checks a directory below which mailboxes lie so many levels deep.
    fn directory(&mut self, dir: &Dir, above: &Path, levels: usize) -> Result<(), ReadError> {
        let template = self.reader.template;
        let only = template.only();
        let mut names = if let Some(only) = only.as_ref().filter(|_| !template.is_of_a_home()) {
            names_of(only, above)
        } else {
            let listed = self.reader.files.read_dir(dir, usize::MAX);
            listed.map_err(|cause| DeliveryError::io("list", dir.path(), cause))?
        };
        names.sort_unstable();
        for name in &names {
            let below = above.join(name);
            if only.as_ref().is_some_and(|only| !is_of(only, &below)) {
                continue;
            }
            let checked = self.entry(&Entry { dir, name: Path::new(name), below: &below }, levels);
            self.tell();
            checked?;
        }
        Ok(())
    }

    /// Checks what lies in a directory below which mailboxes lie so many levels deep.
    fn entry(&mut self, entry: &Entry<'_>, levels: usize) -> Result<(), ReadError> {
        let octets = entry.name.as_os_str().as_bytes();
        if is_ours(octets) {
            let is_left =
                [DRAFT, dotlock::ASIDE].iter().any(|of| octets.starts_with(of.as_bytes()));
            return if is_left { self.leftover(entry) } else { Ok(()) };
        }
        if entry.below == Path::new(LOST_AND_FOUND) {
            return Ok(());
        }
        match self.reader.files.stat(entry.dir, entry.name) {
            Ok(status) if levels > 1 => self.between(entry, &status, levels - 1),
            Ok(status) => self.place(entry, &status),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(DeliveryError::io("look at", entry.path(), cause).into()),
        }
    }

    /// Tells what was found, while no lock is held.
    fn tell(&mut self) {
        self.found.drain(..).for_each(&mut *self.report);
    }

    /// What lies above mailboxes.
    fn between(
        &mut self,
        entry: &Entry<'_>,
        status: &Status,
        levels: usize,
    ) -> Result<(), ReadError> {
        let advice = match status.kind {
            Kind::Directory if self.owners.has_dir(status.owner) => {
                return match self.reader.files.open_dir(entry.dir, entry.name) {
                    Ok(dir) => self.directory(&dir, entry.below, levels),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    Err(cause) => {
                        self.unopened(entry, &cause);
                        Ok(())
                    }
                };
            }
            Kind::Directory => {
                self.of_others(entry);
                return Ok(());
            }
            _ if is_hidden(entry.below) => return Ok(()),
            Kind::File => "if no program needs it, move it out of the store",
            Kind::Other => {
                "if it is a symbolic link, mount the directory there instead (mount --bind), as none is followed"
            }
        };
        let what = "lies where only directories of mailboxes should";
        self.stray(entry.path(), what, advice, Remedy::Nothing);
        Ok(())
    }

    /// A directory above mailboxes that cannot be opened.
    fn unopened(&mut self, entry: &Entry<'_>, cause: &io::Error) {
        let what = format!("cannot be opened ({cause}): no mailbox in it is served");
        let advice = "give the store's user the right to read and search it";
        self.damage(entry.path(), what, advice, Remedy::Nothing);
    }

    /// A directory above mailboxes that is not the store's.
    fn of_others(&mut self, entry: &Entry<'_>) {
        let what = "belongs to another user: no mailbox in it is served";
        let advice =
            "if it is the store's, run the server and this as that user; else move it away";
        self.stray(entry.path(), what, advice, Remedy::Nothing);
    }

    /// What lies where a mailbox, or its lock file, can.
    fn place(&mut self, entry: &Entry<'_>, status: &Status) -> Result<(), ReadError> {
        if let Some(of) = entry.name.as_os_str().as_bytes().strip_suffix(dotlock::SUFFIX.as_bytes())
        {
            let of = Path::new(OsStr::from_bytes(of));
            return match self.reader.files.stat(entry.dir, of) {
                // Its mailbox has it checked.
                Ok(_) => Ok(()),
                Err(_) => self.lonely_lock_file(entry),
            };
        }
        if self.reader.name_of(entry.below).is_none() {
            if let Some(inbox) = self.reader.inbox_of(entry.below)
                && status.kind == Kind::Directory
            {
                return self.folders(entry, &inbox);
            }
            if !is_hidden(entry.below) {
                let advice = "if no program needs it, move it out of the store";
                self.stray(entry.path(), NO_NAME, advice, Remedy::Nothing);
            }
            return Ok(());
        }
        let Some(fault) = fault(status, self.owners) else {
            if status.mode & OWNER_BITS != OWNER_BITS {
                let what =
                    format!("may not be read and written by its owner (mode {:o})", status.mode);
                let advice = format!("chmod u+rw {}", entry.path().display());
                self.damage(entry.path(), what, advice, Remedy::Nothing);
            }
            return self.mailbox(entry);
        };
        let (advice, remedy) = match status.kind {
            Kind::Directory => (
                "mail for this mailbox is refused for now; see what is in it and move it out of the store",
                Remedy::Nothing,
            ),
            Kind::Other => (
                "mail for this mailbox is refused for now; put the mailbox's file itself there, as no link is followed",
                self.put_away(entry),
            ),
            Kind::File if status.links > 1 => (
                "mail for this mailbox is refused for now; find the other name (find -inum) and remove it, or copy the file and put the copy in its place",
                Remedy::Nothing,
            ),
            Kind::File => (
                "mail for this mailbox is refused for now; see who put it there; if it is the store's, run the server and this as its owner",
                Remedy::Nothing,
            ),
        };
        self.stray(entry.path(), fault, advice, remedy);
        Ok(())
    }

    /// What lies where an account's folders can. Where its mailbox is not there it may
    /// be another program's, but for what is an mbox.
    fn folders(&mut self, entry: &Entry<'_>, inbox: &Path) -> Result<(), ReadError> {
        let inbox = Path::new(inbox.file_name().unwrap_or_default());
        let is_there = self.reader.files.stat(entry.dir, inbox);
        let is_there = is_there.is_ok_and(|status| status.kind == Kind::File);
        self.level(entry, FOLDER_LEVELS_MAX, is_there)
    }

    /// A directory in which folders lie, so many levels of them.
    fn level(
        &mut self,
        directory: &Entry<'_>,
        levels: usize,
        is_accounts: bool,
    ) -> Result<(), ReadError> {
        let files = &**self.reader.files;
        let failed = |path, cause| DeliveryError::io("look at", path, cause);
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let dir = match files.open_dir(directory.dir, directory.name) {
            Err(error) if gone(&error) => return Ok(()),
            // Where there is no mailbox it is nobody's concern.
            Err(_) if !is_accounts => return Ok(()),
            Err(cause) => {
                self.unopened(directory, &cause);
                return Ok(());
            }
            Ok(dir) => dir,
        };
        let status = files.stat_dir(&dir).map_err(|cause| failed(dir.path().into(), cause))?;
        if !self.owners.has_dir(status.owner) {
            if is_accounts {
                self.of_others(directory);
            }
            return Ok(());
        }
        let mut names =
            files.read_dir(&dir, usize::MAX).map_err(|cause| failed(dir.path().into(), cause))?;
        names.sort_unstable();
        for name in &names {
            let below = directory.below.join(name);
            let entry = Entry { dir: &dir, name: Path::new(name), below: &below };
            let octets = name.as_bytes();
            let status = match files.stat(&dir, entry.name) {
                Err(error) if gone(&error) => continue,
                status => status.map_err(|cause| failed(entry.path(), cause))?,
            };
            if octets.starts_with(DRAFT.as_bytes()) || octets.starts_with(dotlock::ASIDE.as_bytes())
            {
                self.leftover(&entry)?;
            } else if status.kind == Kind::Directory {
                if levels > 1 && folder::is_level(octets) {
                    self.level(&entry, levels - 1, is_accounts)?;
                }
            } else if is_accounts || matches!(self.reader.mailbox_at(&below), Ok(Some(_))) {
                self.place(&entry, &status)?;
            }
        }
        Ok(())
    }

    /// The lock file of a mailbox that is not there.
    fn lonely_lock_file(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        match self.standing(entry)? {
            Standing::Stale(reason, _) => {
                let what = format!("is a stale lock file without a mailbox: {reason}");
                let advice = "nobody needs it; see in the log what became of its process";
                let remedy = self.put_away(entry);
                self.stray(entry.path(), what, advice, remedy);
            }
            standing => self.lock_file(entry, &standing, Remedy::Nothing),
        }
        Ok(())
    }

    fn standing(&self, entry: &Entry<'_>) -> Result<Standing, DeliveryError> {
        let home = self.reader.locking.home();
        dotlock::standing(&**self.reader.files, entry.dir, entry.name, home)
    }

    /// Says how a lock file stands; `remedy` is for a stale one.
    fn lock_file(&mut self, entry: &Entry<'_>, standing: &Standing, remedy: Remedy) {
        match standing {
            Standing::Stale(reason, _) => {
                let what = format!("is a stale lock file: {reason}");
                let advice =
                    "the next delivery breaks it; see in the log what became of its process";
                self.stray(entry.path(), what, advice, remedy);
            }
            Standing::Obstructing(failure) => {
                let what = format!("stands where a lock file should ({})", failure.cause);
                let advice = "mail is delivered without a lock file, or not at all; move it out of the store";
                self.stray(entry.path(), what, advice, Remedy::Nothing);
            }
            Standing::Held | Standing::Absent => {}
        }
    }

    /// What a process that was killed has left, unless it still lives.
    fn leftover(&mut self, entry: &Entry<'_>) -> Result<(), ReadError> {
        let files = &**self.reader.files;
        let Ok(file) = files.open_update(entry.dir, entry.name) else { return Ok(()) };
        // Whoever makes a new mailbox holds this lock until it has its name.
        let is_left = files
            .try_lock(&file, Lock::Fcntl)
            .map_err(|cause| DeliveryError::io("lock", file.path(), cause))?;
        if is_left {
            let what = "was left when a command was killed; the mailbox itself is whole";
            let advice = "nobody needs it; look at it, then remove it";
            let remedy = self.put_away(entry);
            self.stray(entry.path(), what, advice, remedy);
        }
        Ok(())
    }

    /// Moves something into the place for what is lost.
    fn put_away(&self, entry: &Entry<'_>) -> Remedy {
        let Entry { dir, name, below } = entry;
        self.remedy(self.lost.name_for(below, "stray"), |new_name| {
            self.lost.take_in(dir, name, new_name)
        })
    }

    /// Does what can be done, where that is allowed.
    fn remedy(
        &self,
        new_name: Result<PathBuf, DeliveryError>,
        act: impl FnOnce(&Path) -> Result<(), DeliveryError>,
    ) -> Remedy {
        let new_name = match new_name {
            Ok(new_name) => new_name,
            Err(error) => {
                return Remedy::Failed {
                    doing: "name it anew".to_owned(),
                    cause: error.to_string(),
                };
            }
        };
        let doing = format!("move it to {}", self.lost.path_to(&new_name).display());
        match self.repair {
            Repair::No => Remedy::Possible(doing),
            Repair::Yes => match act(&new_name) {
                Ok(()) => Remedy::Done(doing),
                Err(error) => Remedy::Failed { doing, cause: error.to_string() },
            },
        }
    }

    fn stray(
        &mut self,
        at: impl AsRef<Path>,
        what: impl Into<String>,
        advice: impl Into<String>,
        remedy: Remedy,
    ) {
        self.note(FindingKind::Stray, at, what, advice, remedy);
    }

    fn damage(
        &mut self,
        at: impl AsRef<Path>,
        what: impl Into<String>,
        advice: impl Into<String>,
        remedy: Remedy,
    ) {
        self.note(FindingKind::Damage, at, what, advice, remedy);
    }

    /// Notes what was found.
    fn note(
        &mut self,
        kind: FindingKind,
        at: impl AsRef<Path>,
        what: impl Into<String>,
        advice: impl Into<String>,
        remedy: Remedy,
    ) {
        let place = at.as_ref().display().to_string();
        self.found.push(Finding { kind, place, what: what.into(), advice: advice.into(), remedy });
    }
}
