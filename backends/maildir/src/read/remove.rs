//! Removing: a message, or a mailbox with all that is in it.
//!
//! Lives here: what may go with a mailbox, and the order of the calls: it is moved
//! out of everybody's sight in one step, which is durable before anything of it
//! goes.
//! May not: remove what is neither mail nor a mail program's own; follow a link.

use crate::{
    folder_name::{self, REMAINDER},
    location::Location,
    mailbox::{CUR, NEW, TMP},
    quota,
    read::{
        failure::{failed, is_missing},
        folder::Folder,
    },
};
use postino_files::{Dir, Files, Kind, marker};
use postino_store::{Class, DeliveryError, EnhancedCode, MessageInfo, ReadError};
use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
};

/// What a mail program's own files begin with.
const OTHERS: [&str; 4] = ["dovecot", "courier", quota::NAME, "maildirfolder"];
/// And one that is not a beginning.
const SUBSCRIPTIONS: &str = "subscriptions";

/// What is named of all that is in the way.
const NAMED_MAX: usize = 5;

/// How deep the directories are that a mail program has in a mailbox.
const DEPTH_MAX: usize = 16;

/// How often a directory is emptied into which others still deliver.
const TRIES_MAX: usize = 16;

/// Removes one message, durably.
pub(crate) fn message(
    files: &dyn Files,
    folder: &Folder,
    message: &MessageInfo,
) -> Result<(), ReadError> {
    let directory = folder.with(
        files,
        message,
        |dir, entry, _| files.unlink(dir, Path::new(&entry.name)).map(|()| entry.directory),
        "remove the file",
    )?;
    let Some(dir) = folder.directory(directory) else { return Ok(()) };
    files.sync_dir(dir).map_err(|cause| failed("sync the directory", dir.path(), cause))
}

/// Removes the mailbox at this place below the root, durably, and directories above it
/// that are empty then: one without a mailbox would say that the store is not there.
/// With an account its folders go; a folder goes alone.
pub(crate) fn mailbox(files: &dyn Files, root: &Dir, at: &Location) -> Result<(), ReadError> {
    let path = &*at.path;
    let mailbox = files
        .open_dir(root, path)
        .map_err(|cause| failed("open the mailbox", root.path_to(path), cause))?;
    refuse_others(files, &mailbox, !at.is_folder)?;
    let opened;
    let above = match parent(path) {
        None => root,
        Some(above) => {
            opened = files
                .open_dir(root, above)
                .map_err(|cause| failed("open the directory", root.path_to(above), cause))?;
            &opened
        }
    };
    let name = Path::new(path.file_name().unwrap_or_default());
    let random = postino_files::random();
    let random = random.map_err(|cause| failed("draw random bits for", mailbox.path(), cause))?;
    let remainder = OsString::from(format!("{}{REMAINDER}{random:016x}", marker::NAME));
    let remainder = Path::new(&remainder);
    files
        .rename(above, name, above, remainder)
        .map_err(|cause| failed("move away the mailbox", mailbox.path(), cause))?;
    let sync = |dir: &Dir| {
        files.sync_dir(dir).map_err(|cause| failed("sync the directory", dir.path(), cause))
    };
    sync(above)?;
    remove_tree(files, above, remainder, 0)
        .map_err(|cause| failed("remove what is left in", above.path_to(remainder), cause))?;
    sync(above)?;
    let mut empty = parent(path);
    while let Some(directory) = empty {
        // One that is not empty stays, and with it those above.
        let opened;
        let holder = match parent(directory) {
            None => root,
            Some(above) => match files.open_dir(root, above) {
                Ok(above) => {
                    opened = above;
                    &opened
                }
                Err(_) => break,
            },
        };
        let name = Path::new(directory.file_name().unwrap_or_default());
        if files.remove_dir(holder, name).is_err() {
            break;
        }
        sync(holder)?;
        empty = parent(directory);
    }
    Ok(())
}

/// Whether a path is that of a mailbox which was being removed.
pub(crate) fn is_remainder(path: &Path) -> bool {
    folder_name::is_remainder(path.file_name().unwrap_or_default().as_encoded_bytes())
}

/// The directory above, where that is not the root.
pub(crate) fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// Goes through what lies in a mailbox before anything of it goes.
fn refuse_others(files: &dyn Files, mailbox: &Dir, is_account: bool) -> Result<(), ReadError> {
    let mut others = Vec::new();
    find_others(files, mailbox, is_account, &mut others)?;
    let Some(first) = others.first() else { return Ok(()) };
    let mut what = first.clone();
    for other in others.iter().skip(1).take(NAMED_MAX - 1) {
        what.push_str(", ");
        what.push_str(other);
    }
    if others.len() > NAMED_MAX {
        what.push_str(", ...");
    }
    Err(ReadError::Store(DeliveryError::Other {
        class: Class::Permanent,
        code: EnhancedCode::new(2, 0),
        cause: format!(
            "{} also holds what is no mail: {what}; nothing was removed; move that away first",
            mailbox.path().display(),
        )
        .into(),
    }))
}

fn find_others(
    files: &dyn Files,
    folder: &Dir,
    is_account: bool,
    others: &mut Vec<String>,
) -> Result<(), ReadError> {
    let read = |dir: &Dir| {
        let names = files.read_dir(dir, usize::MAX);
        names.map_err(|cause| failed("read the directory", dir.path(), cause))
    };
    for name in read(folder)? {
        let at = Path::new(&name);
        let kind = match files.stat(folder, at) {
            Ok(status) => status.kind,
            Err(cause) if is_missing(&cause) => continue,
            Err(cause) => return Err(failed("look at", folder.path_to(at), cause)),
        };
        let mut note = |path: &Path| others.push(folder.path_to(path).display().to_string());
        match kind {
            Kind::Directory if [TMP, NEW, CUR].iter().any(|own| name == **own) => {
                let dir = files
                    .open_dir(folder, at)
                    .map_err(|cause| failed("open the directory", folder.path_to(at), cause))?;
                for inner in read(&dir)? {
                    let kind = files.stat(&dir, Path::new(&inner)).map(|status| status.kind);
                    if matches!(kind, Ok(Kind::Directory)) {
                        note(&at.join(inner));
                    }
                }
            }
            Kind::Directory if is_account && is_folder(files, folder, &name) => {
                let dir = files
                    .open_dir(folder, at)
                    .map_err(|cause| failed("open the directory", folder.path_to(at), cause))?;
                find_others(files, &dir, false, others)?;
            }
            Kind::File | Kind::Directory if is_mail_programs(&name) => {}
            _ => note(at),
        }
    }
    Ok(())
}

/// Whether it is a folder as Maildir++ has them beside the inbox: `.Sent`.
fn is_folder(files: &dyn Files, mailbox: &Dir, name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
        && files.open_dir(mailbox, &Path::new(name).join(CUR)).is_ok()
}

fn is_mail_programs(name: &OsStr) -> bool {
    let name_octets = name.as_encoded_bytes();
    name == SUBSCRIPTIONS || OTHERS.iter().any(|other| name_octets.starts_with(other.as_bytes()))
}

/// Removes a directory with all that is in it; links themselves, never what they
/// lead to.
fn remove_tree(files: &dyn Files, above: &Dir, name: &Path, depth: usize) -> io::Result<()> {
    if depth > DEPTH_MAX {
        return Err(io::Error::other("directories lie in it too deep"));
    }
    let mut removed = Ok(());
    for _ in 0..TRIES_MAX {
        let dir = files.open_dir(above, name)?;
        for inner in files.read_dir(&dir, usize::MAX)? {
            let inner = Path::new(&inner);
            match files.stat(&dir, inner) {
                Ok(status) if status.kind == Kind::Directory => {
                    remove_tree(files, &dir, inner, depth + 1)?;
                }
                Ok(_) => match files.unlink(&dir, inner) {
                    Err(cause) if !is_missing(&cause) => return Err(cause),
                    _ => {}
                },
                Err(cause) if is_missing(&cause) => {}
                Err(cause) => return Err(cause),
            }
        }
        removed = files.remove_dir(above, name);
        match &removed {
            // A delivery that had begun before has put its message there.
            Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
    }
    removed
}
