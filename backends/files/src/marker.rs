//! The marker: the file that tells a store's root from an empty directory, such
//! as the mount point of a disk that is not there.
//!
//! Lives here: its name, its two lines (the format and a random id), and how it
//! comes to be there whole or not at all.
//! May not: decide what follows from its absence; [`root`](crate::root) does.

use crate::{Dir, Files, Kind, random};
use std::{io, ops::ControlFlow, path::Path};

/// The marker's name in the root.
pub const NAME: &str = ".postino";

/// Its first line.
pub const FORMAT: &str = "postino store 1";

/// The name it has until it is whole.
const DRAFT: &str = ".postino.new";

/// Tries to write it while others do.
const TRIES_MAX: u32 = 100;

/// Names that [`is_new`] looks at: more of ours than this are not to be expected.
const NAMES_LOOKED_AT: usize = 1_000;

/// Whether the marker is there.
pub fn is_present(files: &dyn Files, root: &Dir) -> io::Result<bool> {
    match files.stat(root, Path::new(NAME)) {
        Ok(status) if status.kind == Kind::File => Ok(true),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, "the marker is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the marker is there, by the root's path alone: one call, made for each
/// delivery.
pub fn is_present_at(files: &dyn Files, root: &Path) -> io::Result<bool> {
    Ok(files.stat_path(&root.join(NAME))?.kind == Kind::File)
}

/// Whether the root holds nothing yet: `lost+found` apart, and files of ours,
/// whose names all begin as the marker's.
pub fn is_new(files: &dyn Files, root: &Dir) -> io::Result<bool> {
    let (mut is_new, mut left) = (true, NAMES_LOOKED_AT);
    files.visit_dir(root, &mut |name| {
        let name = name.as_encoded_bytes();
        is_new = name.starts_with(NAME.as_bytes()) || name == b"lost+found";
        left -= 1;
        if is_new && left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(is_new)
}

/// Writes the marker, durably; one that is there stays as it is. Several processes
/// may do so at once: each takes away the others' drafts until one is whole.
pub fn write(files: &dyn Files, root: &Dir, mode: u32) -> io::Result<()> {
    for rest in (0..TRIES_MAX).rev() {
        match write_draft(files, root, mode) {
            Ok(()) => break,
            Err(error) => match error.kind() {
                // Another one's was whole before, or is about to be.
                io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists if rest > 0 => {
                    if is_present(files, root)? {
                        break;
                    }
                }
                _ => return Err(error),
            },
        }
    }
    files.sync_dir(root)
}

fn write_draft(files: &dyn Files, root: &Dir, mode: u32) -> io::Result<()> {
    let draft = Path::new(DRAFT);
    // What a crash left of an earlier try.
    match files.unlink(root, draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = files.create(root, draft, mode)?;
    let content = format!("{FORMAT}\n{:016x}{:016x}\n", random()?, random()?);
    let written = files
        .write_all(&file, content.as_bytes())
        .and_then(|()| files.sync_file(&file))
        .and_then(|()| files.rename(root, draft, root, Path::new(NAME)));
    if written.is_err() {
        let _ = files.unlink(root, draft);
    }
    written
}
