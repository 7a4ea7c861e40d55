//! The store's root: whether it is there, and whether it is the right one.
//!
//! Lives here: the rules of the marker, so that a disk that is not mounted gives
//! 451 and never a 550, nor a mailbox in the mount point.
//! May not: open or make mailboxes.
//! Holds: the root is found by its path for each delivery, so that mounting
//! heals the store without a restart, and no open descriptor keeps it mounted.

use postino_files::{Dir, Files, Identity, marker};
use postino_store::{DeliveryError, PathTemplate};
use std::{
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

/// The root and what is asked of it.
pub(crate) struct Root {
    path: PathBuf,
    /// The store as `postino init` takes it.
    store: String,
    require_marker: bool,
    file_mode: u32,
    directory_mode: u32,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    opening: Option<Opening>,
    /// The root that is served without a marker.
    unmarked: Option<Identity>,
    /// No symbolic link leads to it.
    is_plain: bool,
}

impl Root {
    pub(crate) fn new(
        template: &PathTemplate,
        require_marker: bool,
        file_mode: u32,
        directory_mode: u32,
    ) -> Self {
        Self {
            path: template.root().to_owned(),
            store: format!("maildir:{template}"),
            require_marker,
            file_mode,
            directory_mode,
            state: Mutex::default(),
        }
    }

    pub(crate) fn opening(&self) -> Option<Opening> {
        self.state().opening
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the root is there and the right one, by one call, made for each
    /// delivery. Where it is not, [`Root::open`] says why.
    pub(crate) fn is_right(&self, files: &dyn Files) -> bool {
        match self.state().unmarked {
            None => marker::is_present_at(files, &self.path).unwrap_or(false),
            // The dot: it may be a symbolic link.
            Some(identity) => files
                .stat_path(&self.path.join("."))
                .is_ok_and(|status| status.identity == identity),
        }
    }

    /// Whether what lies below can be opened by its path, since that had no
    /// symbolic link in it when the store was opened.
    pub(crate) fn is_plain(&self) -> bool {
        self.state().is_plain
    }

    /// The root, if it is there and the right one.
    pub(crate) fn open(&self, files: &dyn Files) -> Result<Dir, DeliveryError> {
        let root = match files.open_root(&self.path) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.no_marker()),
            Err(cause) => return Err(self.failed("open the store's root", cause)),
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
            (false, Some(_)) => Err(DeliveryError::StoreMissing {
                what: format!(
                    "{} is not the directory that it was at the start and has no {} marker (not mounted?); every recipient gets 451; if it is right: restart postino",
                    self.path.display(),
                    marker::NAME,
                ),
            }),
        }
    }

    /// Finds out what the root is, and makes it and its marker where both the
    /// state of things and the configuration allow it.
    pub(crate) fn start(&self, files: &dyn Files) -> Result<(), DeliveryError> {
        let (opening, unmarked) = self.find(files)?;
        let is_plain = files.open_path(&self.path).is_ok();
        *self.state() = State { opening: Some(opening), unmarked, is_plain };
        Ok(())
    }

    fn find(&self, files: &dyn Files) -> Result<(Opening, Option<Identity>), DeliveryError> {
        let root = match files.open_root(&self.path) {
            Ok(root) => Some(root),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(self.failed("open the store's root", cause)),
        };
        if let Some(root) = &root
            && self.is_marked(files, root)?
        {
            return Ok((Opening::Marked, None));
        }
        if self.require_marker {
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
    pub(crate) fn make(&self, files: &dyn Files) -> Result<Dir, DeliveryError> {
        let root = open_or_make(files, &self.path, self.directory_mode)
            .map_err(|cause| self.failed("make the store's root", cause))?;
        if !self.is_marked(files, &root)? {
            marker::write(files, &root, self.file_mode)
                .map_err(|cause| self.failed("write the marker in", cause))?;
        }
        Ok(root)
    }

    /// What a missing mailbox means. Where the nearest directory on the way to it
    /// holds no mailbox at all it is the store that is missing, or this domain's
    /// part of it.
    pub(crate) fn no_such_mailbox(
        &self,
        files: &dyn Files,
        root: &Dir,
        mailbox: &Path,
    ) -> DeliveryError {
        let levels = mailbox.components().count();
        let above = mailbox.ancestors().skip(1).enumerate();
        for (at, path) in above.filter(|(_, path)| !path.as_os_str().is_empty()) {
            match files.open_dir(root, path) {
                Ok(nearest) => return self.missing_below(files, &nearest, at + 1),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(cause) => return self.failed("look for a mailbox below", cause),
            }
        }
        self.missing_below(files, root, levels)
    }

    /// Mailboxes would lie `levels` below this directory.
    fn missing_below(&self, files: &dyn Files, directory: &Dir, levels: usize) -> DeliveryError {
        match holds_mailbox(files, directory, levels) {
            Ok(true) => DeliveryError::NoSuchMailbox,
            Ok(false) => DeliveryError::StoreMissing {
                what: format!(
                    "{} holds no mailbox (not mounted?); every recipient gets 451; only if it is new: postino init {} MAILBOX",
                    directory.path().display(),
                    self.store,
                ),
            },
            Err(cause) => self.failed("look for mailboxes below", cause),
        }
    }

    fn is_marked(&self, files: &dyn Files, root: &Dir) -> Result<bool, DeliveryError> {
        marker::is_present(files, root)
            .map_err(|cause| self.failed("look for the marker in", cause))
    }

    fn no_marker(&self) -> DeliveryError {
        DeliveryError::StoreMissing {
            what: format!(
                "{} has no {} marker (not mounted?); every recipient gets 451; only if it is new: postino init {}",
                self.path.display(),
                marker::NAME,
                self.store,
            ),
        }
    }

    fn failed(&self, doing: &'static str, cause: io::Error) -> DeliveryError {
        DeliveryError::io(doing, &self.path, cause)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directory at `path`, made with those above it where they are missing;
/// each that was made is synced, and the one above it too.
fn open_or_make(files: &dyn Files, path: &Path, mode: u32) -> io::Result<Dir> {
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

/// Whether there is a mailbox so many levels below, among the names that are
/// looked at.
fn holds_mailbox(files: &dyn Files, directory: &Dir, levels: usize) -> io::Result<bool> {
    for name in files.read_dir(directory, NAMES_LOOKED_AT)? {
        let Ok(below) = files.open_dir(directory, Path::new(&name)) else { continue };
        let found = match levels {
            0 | 1 => files.stat(&below, Path::new("new")).is_ok(),
            _ => holds_mailbox(files, &below, levels - 1)?,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
