//! A mailbox without a part of it, in the place of the mailbox.
//!
//! Lives here: the new file: written, synced and locked before it gets the name.
//! May not: be called without the locks.
//! Holds: whenever it is broken off, the name means the whole old file or the whole
//! new one; what others without these locks have written to the old one meanwhile
//! stops it.
//!
//! The mailbox is another file then. Whoever had the old one open and waited for the
//! kernel's lock alone must look at the name again once it has the lock, as deliveries
//! here do; a program that does not, writes to a file that nobody sees any more. The
//! lock file keeps those away that heed it. Moving the rest up within the file would
//! be no better: a crash amid it leaves a mixture to everybody.

use crate::{lock::Locking, mailbox::Mailbox};
use postino_files::{Dir, File, Files, Lock, Status};
use postino_store::{DeliveryError, Failure};
use std::{cell::Cell, io, ops::Range, path::PathBuf};

/// What the new file's name begins with until it is whole.
pub(super) const DRAFT: &str = ".postino-new-";

/// Its mode until it has the old one's access.
const MODE: u32 = 0o600;

/// Octets that are copied at once.
const PIECE_OCTETS: usize = 128 * 1024;

/// Takes `gap` out of a mailbox of which this was seen under the locks.
pub(super) fn without(
    files: &dyn Files,
    locking: &Locking,
    mailbox: &Mailbox,
    seen: &Status,
    gap: Range<u64>,
) -> Result<(), DeliveryError> {
    let Mailbox { chain, name, file } = mailbox;
    let dir = chain.dir();
    let draft = Draft::make(files, dir)?;
    let failed = |doing, cause| DeliveryError::io(doing, draft.path(), cause);
    files
        .set_access(&draft.file, seen.owner, seen.group, seen.mode)
        .map_err(|cause| failed("give the mailbox's access to", cause))?;
    // Whoever finds the new file under the name finds it locked until all is done;
    // the first lock is for who looks for drafts that nobody has any more.
    let _ = files.try_lock(&draft.file, Lock::Fcntl);
    let _locks = locking.take_kernel(files, &draft.file)?;
    for part in [0..gap.start, gap.end..seen.size] {
        copy(files, file, part, &draft.file)?;
    }
    files.sync_file(&draft.file).map_err(|cause| failed("sync", cause))?;
    let look = |status: io::Result<Status>| {
        status.map_err(|cause| DeliveryError::io("look at the mailbox", file.path(), cause))
    };
    let now = look(files.stat_file(file))?;
    let named = look(files.stat(dir, name))?;
    if (now.size, now.changed) != (seen.size, seen.changed) || named.identity != seen.identity {
        return Err(DeliveryError::Locked { holder: None });
    }
    files.rename_over(dir, &draft.name, dir, name).map_err(|cause| {
        DeliveryError::io("put the new mailbox in the place of", file.path(), cause)
    })?;
    draft.keep.set(true);
    files.sync_dir(dir).map_err(|cause| DeliveryError::io("sync the directory", dir.path(), cause))
}

/// Appends a part of one file to another.
pub(super) fn copy(
    files: &dyn Files,
    from: &File,
    part: Range<u64>,
    to: &File,
) -> Result<(), DeliveryError> {
    let mut buffer = vec![0; PIECE_OCTETS];
    let mut at = part.start;
    while at < part.end {
        let rest = usize::try_from(part.end - at).unwrap_or(usize::MAX);
        let piece = buffer.get_mut(..rest.min(PIECE_OCTETS)).unwrap_or_default();
        let count = files
            .read_at(from, piece, at)
            .map_err(|cause| DeliveryError::io("read the mailbox", from.path(), cause))?;
        if count == 0 {
            let (path, cause) = (from.path().to_owned(), io::ErrorKind::UnexpectedEof.into());
            return Err(DeliveryError::Io(Failure { doing: "read the mailbox", path, cause }));
        }
        files
            .write_all(to, piece.get(..count).unwrap_or_default())
            .map_err(|cause| DeliveryError::io("write to", to.path(), cause))?;
        at += count as u64;
    }
    Ok(())
}

/// The new file under a name of its own; removed when dropped, unless it got the
/// mailbox's.
struct Draft<'a> {
    files: &'a dyn Files,
    dir: &'a Dir,
    name: PathBuf,
    file: File,
    keep: Cell<bool>,
}

impl<'a> Draft<'a> {
    fn make(files: &'a dyn Files, dir: &'a Dir) -> Result<Self, DeliveryError> {
        let made = postino_files::random().and_then(|random| {
            let name = PathBuf::from(format!("{DRAFT}{random:016x}"));
            let file = files.create(dir, &name, MODE)?;
            Ok(Self { files, dir, name, file, keep: Cell::new(false) })
        });
        made.map_err(|cause| DeliveryError::io("make a file in", dir.path(), cause))
    }

    fn path(&self) -> PathBuf {
        self.dir.path_to(&self.name)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let Self { files, dir, name, .. } = self;
        // Nobody else removes it, so it is worth a second call.
        if !self.keep.get() && files.unlink(dir, name).or_else(|_| files.unlink(dir, name)).is_err()
        {
            log::warn!("cannot remove {}; nobody needs it", self.path().display());
        }
    }
}
