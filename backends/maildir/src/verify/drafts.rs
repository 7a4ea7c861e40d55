//! The check of a mailbox's `tmp`.
//!
//! Lives here: what is too old there for anybody to be writing it still.
//! May not: take a delivery that is under way for a stray.

use crate::{
    clean,
    read::failure::failed,
    verify::findings::{Fault, Findings},
};
use postino_files::{Dir, Kind, Status};
use postino_store::ReadError;
use std::path::Path;

/// Checks `tmp`, which lies at `path` below the root.
pub(crate) fn check(findings: &mut Findings<'_>, tmp: &Dir, path: &Path) -> Result<(), ReadError> {
    let files = findings.files;
    let names = files
        .read_dir(tmp, usize::MAX)
        .map_err(|cause| failed("read the directory", tmp.path(), cause))?;
    for name in names {
        let (at, name) = (path.join(&name), Path::new(&name));
        let Ok(status) = files.stat(tmp, name) else { continue };
        let fault = match status.kind {
            Kind::File if clean::is_dovecots(name) || !is_unused(&status) => continue,
            Kind::File => Fault::stray(
                "is a draft that nobody has used for 36 hours",
                "whoever wrote it was not told that it is stored, and has the message still; \
                 the next delivery here removes it",
            ),
            Kind::Directory => Fault::stray("is a directory among drafts", ODD),
            Kind::Other => {
                Fault::stray("is a symbolic link, a FIFO, a socket or a device among drafts", ODD)
            }
        };
        findings.move_away(tmp, name, &at, fault);
    }
    Ok(())
}

const ODD: &str = "no mail program puts that there; see who did";

/// Whether nobody has used it for so long that nobody will.
pub(crate) fn is_unused(status: &Status) -> bool {
    status.used < clean::oldest_in_use()
}
