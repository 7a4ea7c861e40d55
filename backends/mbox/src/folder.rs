//! Where an account's folders lie.
//!
//! Lives here: folder `Lists/2026` of the mailbox `alice` is the file
//! `.alice/Lists/2026` beside it, as Dovecot's layout `fs` has it; which names can
//! be such files; what lies there.
//! May not: make, lock or change anything.
//! Holds: no mailbox has a dot in front, so that no folder's directory is in
//! another's way; no name leads out of that directory, and no link is followed. What
//! a stranger puts where it is to be keeps no mail out of the mailbox.

use crate::{
    dotlock,
    mailbox::{self, unfit},
    owners::Owners,
};
use postino_files::{Dir, Files, Kind, Status, marker, process, root};
use postino_store::{DeliveryError, FOLDER_LEVELS_MAX};
use std::{
    ffi::OsString,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// Whoever may do everything anyhow.
const ROOT_USER: u32 = 0;

/// What begins the names of files that Dovecot keeps among folders.
const DOVECOTS: [&str; 2] = ["dovecot.", "dovecot-"];

/// Names that a directory of folders may have: its owner chooses their number, and we
/// the memory for them.
const NAMES_MAX: usize = 10_000;

/// The directory of the folders of the mailbox at `inbox`; none where that would be
/// taken for a file of the store's own.
pub(crate) fn directory(inbox: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(inbox.file_name()?);
    let is_ours = name.as_encoded_bytes().starts_with(marker::NAME.as_bytes());
    (!is_ours).then(|| inbox.with_file_name(name))
}

/// The file of a folder; none where it can have none.
pub(crate) fn path(inbox: &Path, folder: &str) -> Option<PathBuf> {
    let directory = directory(inbox)?;
    folder.split('/').all(|level| is_level(level.as_bytes())).then(|| directory.join(folder))
}

/// Whether a directory or file of this name belongs to a folder.
pub(crate) fn is_level(name: &[u8]) -> bool {
    !name.starts_with(b".")
        && !name.ends_with(dotlock::SUFFIX.as_bytes())
        && !DOVECOTS.iter().any(|begin| name.starts_with(begin.as_bytes()))
}

/// What there is of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    There,
    Absent,
    /// It cannot be made: a level of it is a file or a stranger's, or it is itself a
    /// level of others.
    Obstructed,
}

/// Looks for the file of a folder.
pub(crate) fn look(files: &dyn Files, root: Dir, path: &Path) -> Result<Standing, DeliveryError> {
    let mut dir = root;
    let mut levels = path.iter().peekable();
    while let Some(level) = levels.next() {
        let name = Path::new(level);
        let is_last = levels.peek().is_none();
        let full = dir.path_to(name);
        let status = match files.stat(&dir, name) {
            Ok(status) => status,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::Absent),
            Err(cause) => return Err(DeliveryError::io("look at the folder", full, cause)),
        };
        match status.kind {
            Kind::Directory | Kind::Other if !is_last && is_strangers(&status) => {
                return Ok(Standing::Obstructed);
            }
            Kind::Directory if !is_last => {
                dir = match files.open_dir(&dir, name) {
                    Ok(below) => below,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Ok(Standing::Absent);
                    }
                    Err(cause) => {
                        return Err(DeliveryError::io("open the directory", full, cause));
                    }
                };
            }
            Kind::File if is_last => {
                return mailbox::check(&status, &full).map(|()| Standing::There);
            }
            Kind::Directory | Kind::File => return Ok(Standing::Obstructed),
            Kind::Other => return Err(unfit(&full, "is no directory, perhaps a symbolic link")),
        }
    }
    Ok(Standing::Absent)
}

/// An account, by the file of its mailbox.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) files: &'a dyn Files,
    /// The store's.
    pub(crate) root: &'a Dir,
    /// Below the root.
    pub(crate) inbox: &'a Path,
}

/// Something that lies where a folder can.
pub(crate) struct Entry<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) name: &'a Path,
    /// Below the root.
    pub(crate) path: &'a Path,
    pub(crate) status: Status,
}

/// What takes the entries.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&Entry<'_>) -> ControlFlow<()>;

/// Whether the account has fewer folders than `max`.
pub(crate) fn has_fewer(account: &Account<'_>, max: usize) -> Result<bool, DeliveryError> {
    let mut count = 0;
    visit(account, &mut |_| {
        count += 1;
        if count < max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(count < max)
}

/// Visits whatever lies where folders of an account can, directories apart, in the
/// order of names.
pub(crate) fn visit(account: &Account<'_>, visit: Visit<'_>) -> Result<(), DeliveryError> {
    let Account { files, root, inbox } = *account;
    let Some(path) = directory(inbox) else { return Ok(()) };
    let failed = |cause| DeliveryError::io("open the directory", root.path_to(&path), cause);
    let opened = match open_parent(files, root, &path)? {
        Some(parent) => open_own(files, &parent, Path::new(path.file_name().unwrap_or_default())),
        None => return Ok(()),
    };
    match opened.map_err(failed)? {
        Some(dir) => visit_level(files, &dir, &path, FOLDER_LEVELS_MAX, visit).map(drop),
        None => Ok(()),
    }
}

/// The directory that a path below the root ends in; none where there is none.
pub(crate) fn open_parent(
    files: &dyn Files,
    root: &Dir,
    path: &Path,
) -> Result<Option<Dir>, DeliveryError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match files.open_dir(root, parent) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(DeliveryError::io("open the directory", root.path().join(parent), cause)),
    }
}

/// None where there is no directory of this name, or a stranger's.
fn open_own(files: &dyn Files, parent: &Dir, name: &Path) -> io::Result<Option<Dir>> {
    let opened = files.stat(parent, name).and_then(|status| {
        let is_own = status.kind == Kind::Directory && !is_strangers(&status);
        is_own.then(|| files.open_dir(parent, name)).transpose()
    });
    match opened {
        Err(error) if root::is_no_directory(&error) => Ok(None),
        opened => opened,
    }
}

/// Whether whoever delivers, and is not root, finds here what neither he nor root made.
fn is_strangers(status: &Status) -> bool {
    process::user() != ROOT_USER && !Owners::to_deliver().has_dir(status.owner)
}

fn visit_level(
    files: &dyn Files,
    dir: &Dir,
    above: &Path,
    levels: usize,
    visit: Visit<'_>,
) -> Result<ControlFlow<()>, DeliveryError> {
    let mut names = files
        .read_dir(dir, NAMES_MAX + 1)
        .map_err(|cause| DeliveryError::io("list", dir.path(), cause))?;
    if names.len() > NAMES_MAX {
        return Err(unfit(dir.path(), "has more names in it than the folders of an account"));
    }
    names.retain(|name| is_level(name.as_encoded_bytes()));
    names.sort_unstable();
    for name in &names {
        let name = Path::new(name);
        let failed = |cause| DeliveryError::io("look at", dir.path_to(name), cause);
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let status = match files.stat(dir, name) {
            Ok(status) => status,
            Err(error) if gone(&error) => continue,
            Err(cause) => return Err(failed(cause)),
        };
        let path = above.join(name);
        let flow = if status.kind != Kind::Directory {
            visit(&Entry { dir, name, path: &path, status })
        } else if levels > 1 {
            match files.open_dir(dir, name) {
                Ok(below) => visit_level(files, &below, &path, levels - 1, visit)?,
                Err(error) if gone(&error) => continue,
                Err(cause) => return Err(failed(cause)),
            }
        } else {
            continue;
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::path;
    use std::path::Path;

    #[test]
    fn a_folder_is_a_file_below_its_mailboxs_hidden_directory() {
        let of = |inbox: &str, folder| path(Path::new(inbox), folder);
        let expected = Some("d/.alice/Lists/2026".into());
        assert_eq!(of("d/alice", "Lists/2026"), expected);
        for folder in ["x.lock", "x.lock/y", "dovecot-uidvalidity", "dovecot.index", "a/.b"] {
            assert_eq!(of("alice", folder), None, "{folder}");
        }
        assert!(of("alice", "dovecot").is_some() && of("alice", "x.lockx").is_some());
        // The marker, and what else is the store's.
        for inbox in ["postino", "postino-lost"] {
            assert_eq!(of(inbox, "a"), None);
        }
    }
}
