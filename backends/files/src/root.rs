//! The store's root: whether it is there, and whether it is the right one.
//!
//! Lives here: the rules of the marker, the same for every store of files, so
//! that a disk that is not mounted gives 451 and never a 550, nor a mailbox in the
//! mount point.
//! May not: open or make mailboxes, or know what one is: the store says.
//! Holds: the root is found by its path for each delivery, so that mounting
//! heals the store without a restart, and no descriptor that is kept open between
//! deliveries keeps it mounted.

pub use crate::root_error::RootError;

use crate::{Dir, Files, Identity, Space, home, marker, process};
use rustix::io::Errno;
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Names in a directory among which a mailbox is looked for, to tell a missing
/// mailbox from a missing store.
const NAMES_LOOKED_AT: usize = 256;

/// The mode of directories that have to be made above the root.
const PARENT_MODE: u32 = 0o755;

/// What the root was when the store was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It has its marker.
    Marked,
    /// It was absent or empty: root and marker are made. A surprise, where the
    /// store's disk is to be mounted there.
    Fresh,
    /// It holds something but no marker: served as long as it is the same
    /// directory; `postino init` marks it.
    Unmarked,
}

/// What a store tells of itself.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the root lies; empty where there is none, as mailboxes lie below the
    /// [homes](home) of their users.
    pub path: PathBuf,
    /// Where `path` and the one mailbox in it are an account's own place: the directory,
    /// that or one above it, from which on no symbolic link is followed. `path` is never
    /// made then and has no marker.
    pub base: Option<PathBuf>,
    /// Whether `path` is one of these homes: never made, and without a marker.
    pub is_home: bool,
    /// The store's URL as `postino init` takes it.
    pub store: String,
    /// Whether only `postino init` may write the marker.
    pub require_marker: bool,
    /// The marker's mode.
    pub file_mode: u32,
    /// The mode of a root that is made.
    pub directory_mode: u32,
    /// Whether what lies under this name in a directory is a mailbox.
    pub is_mailbox: fn(&dyn Files, &Dir, &Path) -> bool,
}

/// The root and what is asked of it.
#[derive(Debug)]
pub struct Root {
    setup: Setup,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    opening: Option<Opening>,
    /// The root that is served without a marker.
    unmarked: Option<Identity>,
    /// No symbolic link leads to it.
    is_plain: bool,
}

impl Root {
    /// The root of this store; touches nothing yet.
    pub fn new(setup: Setup) -> Self {
        Self { setup, state: Mutex::default() }
    }

    /// What [`Root::start`] found; none before it, or where it failed.
    pub fn opening(&self) -> Option<Opening> {
        self.state().opening
    }

    /// What an administrator should be told of [`Root::opening`], as one line.
    pub fn notice(&self) -> Option<String> {
        let root = self.setup.path.display();
        match self.opening()? {
            Opening::Marked => None,
            Opening::Fresh => Some(format!(
                "{root} was absent or empty: it has a new {} marker; if the store's disk is to be mounted there, mount it and restart",
                marker::NAME,
            )),
            Opening::Unmarked => Some(format!(
                "{root} has no {} marker, so a disk that is not mounted can't be told; to mark it: postino init {}",
                marker::NAME,
                self.setup.store,
            )),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.setup.path
    }

    /// Whether there is none: each mailbox lies below its user's home, or it is that of
    /// one, or an account's own place.
    pub fn has_no_marker(&self) -> bool {
        self.setup.path.as_os_str().is_empty() || self.setup.base.is_some() || self.setup.is_home
    }

    /// The home that it is.
    fn home(&self) -> Option<&Path> {
        self.setup.is_home.then_some(self.path())
    }

    /// Below what the mailbox of a user with this home lies.
    pub fn path_for<'a>(&'a self, home: Option<&'a Path>) -> &'a Path {
        if self.setup.path.as_os_str().is_empty() {
            home.unwrap_or(self.path())
        } else {
            self.path()
        }
    }

    /// The same, opened: the root, or the home where there is none.
    pub fn open_for(&self, files: &dyn Files, home: Option<&Path>) -> Result<Dir, RootError> {
        match &self.setup.base {
            Some(base) => home::open_below(files, base, self.path()),
            None if self.has_no_marker() => home::open(files, self.home().or(home)),
            None => self.open(files),
        }
    }

    /// Whether the root is there and the right one, by one call, made for each
    /// delivery. Where it is not, [`Root::open`] says why.
    pub fn is_right(&self, files: &dyn Files) -> bool {
        if self.has_no_marker() {
            return false;
        }
        match self.state().unmarked {
            None => marker::is_present_at(files, &self.setup.path).unwrap_or(false),
            // The dot: it may be a symbolic link.
            Some(identity) => files
                .stat_path(&self.setup.path.join("."))
                .is_ok_and(|status| status.identity == identity),
        }
    }

    /// Whether what lies below can be opened by its path, since that had no
    /// symbolic link in it when the store was opened.
    pub fn is_plain(&self) -> bool {
        self.state().is_plain
    }

    /// The root, if it is there and the right one.
    pub fn open(&self, files: &dyn Files) -> Result<Dir, RootError> {
        if let Some(home) = self.home() {
            return home::open(files, Some(home));
        }
        self.must_be_one()?;
        let root = match files.open_root(&self.setup.path) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.no_marker()),
            Err(cause) => return Err(self.unopened("open the store's root", cause)),
        };
        let unmarked = self.state().unmarked;
        if let Some(identity) = unmarked {
            let status = files
                .stat_dir(&root)
                .map_err(|cause| self.failed("look at the store's root", cause))?;
            if status.identity == identity {
                return Ok(root);
            }
        }
        match (self.is_marked(files, &root)?, unmarked) {
            (true, _) => Ok(root),
            (false, None) => Err(self.no_marker()),
            (false, Some(_)) => Err(RootError::Missing {
                what: format!(
                    "{} is not the directory that it was at the start and has no {} marker (not mounted?); every recipient gets 451; if it is right: restart postino",
                    self.setup.path.display(),
                    marker::NAME,
                ),
            }),
        }
    }

    /// The root, to read what is in it: one without a marker will do if it holds
    /// anything at all, and nothing is ever made.
    pub fn open_to_read(&self, files: &dyn Files) -> Result<Dir, RootError> {
        if let Some(home) = self.home() {
            return home::open(files, Some(home));
        }
        self.must_be_one()?;
        let root = match files.open_root(&self.setup.path) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(RootError::Missing {
                    what: format!("{} is not there (not mounted?)", self.setup.path.display()),
                });
            }
            Err(cause) => return Err(self.unopened("open the store's root", cause)),
        };
        if marker::is_present(files, &root).unwrap_or(false) {
            return Ok(root);
        }
        let is_empty = marker::is_new(files, &root)
            .map_err(|cause| self.failed("read the store's root", cause))?;
        if is_empty && !self.is_marked(files, &root)? {
            return Err(RootError::Missing {
                what: format!(
                    "{} is empty and has no {} marker (not mounted?)",
                    self.setup.path.display(),
                    marker::NAME,
                ),
            });
        }
        Ok(root)
    }

    /// Finds out what the root is, and makes it and its marker where both the
    /// state of things and the configuration allow it.
    pub fn start(&self, files: &dyn Files) -> Result<(), RootError> {
        if self.has_no_marker() {
            return Ok(());
        }
        let (opening, unmarked) = self.find(files)?;
        let is_plain = files.open_path(&self.setup.path).is_ok();
        *self.state() = State { opening: Some(opening), unmarked, is_plain };
        Ok(())
    }

    fn find(&self, files: &dyn Files) -> Result<(Opening, Option<Identity>), RootError> {
        let root = match files.open_root(&self.setup.path) {
            Ok(root) => Some(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(self.unopened("open the store's root", cause)),
        };
        if let Some(root) = &root
            && self.is_marked(files, root)?
        {
            return Ok((Opening::Marked, None));
        }
        if self.setup.require_marker {
            return Err(self.no_marker());
        }
        if let Some(root) = root {
            let is_new = marker::is_new(files, &root)
                .map_err(|cause| self.failed("read the store's root", cause))?;
            if !is_new {
                let status = files
                    .stat_dir(&root)
                    .map_err(|cause| self.failed("look at the store's root", cause))?;
                return Ok((Opening::Unmarked, Some(status.identity)));
            }
        }
        self.make(files)?;
        Ok((Opening::Fresh, None))
    }

    /// Makes the root, directories above it included, and the marker, durably.
    /// What is there stays as it is.
    pub fn make(&self, files: &dyn Files) -> Result<Dir, RootError> {
        if let Some(home) = self.home() {
            return home::open(files, Some(home));
        }
        self.must_be_one()?;
        let root = open_or_make(files, &self.setup.path, self.setup.directory_mode)
            .map_err(|cause| self.unopened("make the store's root", cause))?;
        if !self.is_marked(files, &root)? {
            marker::write(files, &root, self.setup.file_mode)
                .map_err(|cause| self.failed("write the marker in", cause))?;
        }
        Ok(root)
    }

    /// Whether a missing mailbox means that its recipient is unknown. Where the
    /// nearest directory on the way to it holds no mailbox at all it is the store
    /// that is missing, or this domain's part of it.
    pub fn knows_missing(
        &self,
        files: &dyn Files,
        root: &Dir,
        mailbox: &Path,
    ) -> Result<(), RootError> {
        let levels = mailbox.components().count();
        let above = mailbox.ancestors().skip(1).enumerate();
        for (at, path) in above.filter(|(_, path)| !path.as_os_str().is_empty()) {
            match files.open_dir(root, path) {
                Ok(nearest) => return self.missing_below(files, &nearest, at + 1),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return Err(self.failed("look for a mailbox below", cause)),
            }
        }
        self.missing_below(files, root, levels)
    }

    /// How much room there is on the root's disk.
    pub fn space(&self, files: &dyn Files) -> Result<Space, RootError> {
        let root = self.open(files)?;
        files.space(&root).map_err(|cause| self.failed("ask for the room on the disk of", cause))
    }

    /// The same of a user's home; none where there is a root.
    pub fn space_of_home(
        &self,
        files: &dyn Files,
        home: Option<&Path>,
    ) -> Result<Option<Space>, RootError> {
        if !self.has_no_marker() {
            return Ok(None);
        }
        let dir = self.open_for(files, home)?;
        let doing = "ask for the room on the disk of";
        let path = dir.path().to_owned();
        let failed = |cause| RootError::Failed { doing, path, cause };
        files.space(&dir).map(Some).map_err(failed)
    }

    /// Mailboxes would lie `levels` below this directory.
    fn missing_below(
        &self,
        files: &dyn Files,
        directory: &Dir,
        levels: usize,
    ) -> Result<(), RootError> {
        match holds_mailbox(files, directory, levels, self.setup.is_mailbox) {
            Ok(true) => Ok(()),
            Ok(false) => Err(RootError::Missing {
                what: format!(
                    "{} holds no mailbox (not mounted?); every recipient gets 451; only if it is new: postino init {} MAILBOX",
                    directory.path().display(),
                    self.setup.store,
                ),
            }),
            Err(cause) => Err(self.failed("look for mailboxes below", cause)),
        }
    }

    fn must_be_one(&self) -> Result<(), RootError> {
        if !self.has_no_marker() {
            return Ok(());
        }
        let what = format!(
            "{} has no directory of its own: where its mailboxes lie only its users' names tell",
            self.setup.store
        );
        Err(RootError::Missing { what })
    }

    fn is_marked(&self, files: &dyn Files, root: &Dir) -> Result<bool, RootError> {
        marker::is_present(files, root)
            .map_err(|cause| self.failed("look for the marker in", cause))
    }

    fn no_marker(&self) -> RootError {
        RootError::Missing {
            what: format!(
                "{} has no {} marker (not mounted?); every recipient gets 451; only if it is new: postino init {}",
                self.setup.path.display(),
                marker::NAME,
                self.setup.store,
            ),
        }
    }

    /// Where one user of several cannot open it, what that one needs.
    fn unopened(&self, doing: &'static str, cause: io::Error) -> RootError {
        if cause.kind() != io::ErrorKind::PermissionDenied {
            return self.failed(doing, cause);
        }
        let why = format!(
            "{cause}; uid {} has to be able to search it and all above it, as by chmod a+x",
            process::user()
        );
        self.failed(doing, io::Error::new(cause.kind(), why))
    }

    fn failed(&self, doing: &'static str, cause: io::Error) -> RootError {
        RootError::Failed { doing, path: self.setup.path.clone(), cause }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory at `path`, made with those above it where they are missing;
/// each that was made is synced, and the one above it too.
pub fn open_or_make(files: &dyn Files, path: &Path, mode: u32) -> io::Result<Dir> {
    match files.open_root(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = open_or_make(files, parent, PARENT_MODE)?;
    let name = Path::new(name);
    match files.make_dir(&parent, name, mode) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let dir = files.open_dir(&parent, name)?;
    files.sync_dir(&dir)?;
    files.sync_dir(&parent)?;
    Ok(dir)
}

/// Visits the paths of all names so many levels below a directory, those of its own
/// names where `levels` is 1, each directory's in the order of their octets. Names
/// that begin as the [marker](marker::NAME) does are left out at the top, and what
/// [is no directory](is_no_directory) is not gone into. A directory on the way that
/// cannot be looked into is visited too, with the cause: there may be anything below.
///
/// # Errors
///
/// The directory itself cannot be read.
pub fn visit_below(
    files: &dyn Files,
    directory: &Dir,
    levels: usize,
    visit: &mut dyn FnMut(&Path, io::Result<()>),
) -> io::Result<()> {
    visit_names(files, directory, Path::new(""), levels, visit)
}

fn visit_names(
    files: &dyn Files,
    directory: &Dir,
    above: &Path,
    levels: usize,
    visit: &mut dyn FnMut(&Path, io::Result<()>),
) -> io::Result<()> {
    let mut names = files.read_dir(directory, usize::MAX)?;
    names.sort_unstable();
    let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(marker::NAME.as_bytes());
    for name in names.iter().filter(|name| !(above.as_os_str().is_empty() && is_ours(name))) {
        let path = above.join(name);
        if levels <= 1 {
            visit(&path, Ok(()));
            continue;
        }
        let below = files.open_dir(directory, Path::new(name));
        match below.and_then(|below| visit_names(files, &below, &path, levels - 1, visit)) {
            Err(cause) if !is_no_directory(&cause) => visit(&path, Err(cause)),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a directory could not be opened since there is none: nothing at all, or a
/// file or a symbolic link. Any other cause says nothing of what lies there.
pub fn is_no_directory(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || Errno::from_io_error(cause) == Some(Errno::LOOP)
}

/// Whether there is a mailbox so many levels below, among the names that are
/// looked at.
fn holds_mailbox(
    files: &dyn Files,
    directory: &Dir,
    levels: usize,
    is_mailbox: fn(&dyn Files, &Dir, &Path) -> bool,
) -> io::Result<bool> {
    for name in files.read_dir(directory, NAMES_LOOKED_AT)? {
        let name = Path::new(&name);
        let found = if levels <= 1 {
            is_mailbox(files, directory, name)
        } else {
            let Ok(below) = files.open_dir(directory, name) else { continue };
            holds_mailbox(files, &below, levels - 1, is_mailbox)?
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
