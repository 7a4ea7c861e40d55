//! Where a repair puts what it takes out of a mailbox.
//!
//! Lives here: the directory for it in the store's root, the names in it, from which
//! each thing's place can be read, and the move.
//! May not: overwrite or remove anything.
//! Holds: what was moved is durable in its new place before it goes from the old.

use postino_files::{Dir, Files};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// Beside the mailboxes, and named as files of ours in the root are.
const NAME: &str = ".postino-lost";

/// Nobody else reads mail there.
const MODE: u32 = 0o700;

/// How many things are moved there from one place.
const ALIKE_MAX: u32 = 1_000;

/// Where a thing goes that lies at `path` below the root.
pub(crate) fn place_of(root: &Dir, path: &Path) -> PathBuf {
    root.path().join(NAME).join(name_of(path))
}

/// Moves a thing of this name in `from`, whose path below the root is `path`; gives
/// its new place.
pub(crate) fn move_there(
    files: &dyn Files,
    root: &Dir,
    from: &Dir,
    name: &Path,
    path: &Path,
) -> io::Result<PathBuf> {
    let lost = open_or_make(files, root)?;
    for n in 0..ALIKE_MAX {
        let mut new_name = name_of(path);
        if n > 0 {
            new_name.push(format!("%.{n}"));
        }
        let new_name = Path::new(&new_name);
        match files.rename(from, name, &lost, new_name) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => {
                renamed?;
                files.sync_dir(&lost)?;
                files.sync_dir(from)?;
                return Ok(lost.path_to(new_name));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn open_or_make(files: &dyn Files, root: &Dir) -> io::Result<Dir> {
    let open = || files.open_dir(root, Path::new(NAME));
    match open() {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    match files.make_dir(root, Path::new(NAME), MODE) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => return Err(cause),
        _ => {}
    }
    let lost = open()?;
    files.sync_dir(&lost)?;
    files.sync_dir(root)?;
    Ok(lost)
}

/// The path as one name: `%2F` for each slash, `%25` for each percent sign. Behind it
/// `%.1`, which stands for nothing, tells what came from one place.
fn name_of(path: &Path) -> OsString {
    let mut name = Vec::new();
    for octet in path.as_os_str().as_bytes() {
        match octet {
            b'/' => name.extend_from_slice(b"%2F"),
            b'%' => name.extend_from_slice(b"%25"),
            octet => name.push(*octet),
        }
    }
    OsString::from_vec(name)
}

/// Whether a name in the root is that directory's.
pub(crate) fn is_it(name: &OsStr) -> bool {
    name == NAME
}
