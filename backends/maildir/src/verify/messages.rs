//! The check of one mailbox's messages, in `new` and `cur`.
//!
//! Lives here: what can be wrong with a message and with what lies among them.
//! May not: take for a fault what a reader does meanwhile.

use crate::{
    read::{
        failure::{failed, is_missing},
        folder::{Entry, Folder, Look, Moved},
        names,
    },
    verify::{
        content::{self, Content},
        drafts::is_unused,
        findings::{Fault, Findings},
    },
};
use postino_files::{Dir, Files, Kind, Status};
use postino_store::ReadError;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

/// The bit of a mode that lets the owner read.
const OWNER_READS: u32 = 0o400;

/// Checks all messages of the mailbox at `path` below the root.
pub(crate) fn check(
    findings: &mut Findings<'_>,
    folder: &Folder,
    path: &Path,
) -> Result<(), ReadError> {
    let files = findings.files;
    let mut moved = Moved::default();
    let mut by_unique: HashMap<Vec<u8>, Entry> = HashMap::new();
    for entry in folder.entries(files)? {
        let (entry, look) = moved.look(files, folder, entry)?;
        let at = path.join(entry.directory).join(&entry.name);
        match look {
            Look::Gone => {}
            Look::Stray(_) => odd(findings, folder, &entry, &at),
            Look::Message(status) => {
                findings.verified.messages += 1;
                findings.verified.octets += status.size;
                message(findings, folder, &entry, &status, &at);
                same_name(findings, folder, &mut by_unique, entry, &at);
            }
        }
    }
    for directory in ["new", "cur"] {
        if let Some(dir) = folder.directory(directory) {
            hidden(findings, dir, &path.join(directory))?;
        }
    }
    Ok(())
}

fn message(
    findings: &mut Findings<'_>,
    folder: &Folder,
    entry: &Entry,
    status: &Status,
    at: &Path,
) {
    let base = names::base(&entry.name);
    let said = names::said_size(base);
    if names::has_lost_colon(base) {
        findings.tell(
            at,
            Fault::stray(
                "has its flags behind another character than a colon, so that nobody sees them",
                "it went through a file system without colons in names; rename it so that it \
                 ends with :2, and its letters",
            ),
        );
    }
    let Some(dir) = folder.directory(entry.directory) else { return };
    let name = Path::new(&entry.name);
    if status.size == 0 {
        if said != Some(0) {
            findings.move_away(
                dir,
                name,
                at,
                Fault::damage(
                    "is empty, as a power cut leaves what a program did not sync",
                    "look for the message in a backup or in the sender's log",
                ),
            );
        }
        return;
    }
    match look_inside(findings.files, folder, dir, name) {
        Err(cause) if is_missing(&cause) => {}
        Ok(_) | Err(_) if status.mode & OWNER_READS == 0 => findings.tell(
            at,
            Fault::damage(
                format!("cannot be read by its owner: its mode is {:04o}", status.mode),
                "chmod u+rw it",
            ),
        ),
        Err(cause) => findings.tell(
            at,
            Fault::damage(
                format!("cannot be read: {cause}"),
                "where it is no question of rights, check the disk, and look for the message \
                 in a backup",
            ),
        ),
        Ok(Content::Nulls) => findings.move_away(
            dir,
            name,
            at,
            Fault::damage(
                "holds NULs alone, as a power cut leaves on some file systems",
                "look for the message in a backup or in the sender's log",
            ),
        ),
        Ok(Content::NullsAsFar) => findings.tell(
            at,
            Fault::damage(
                format!(
                    "begins with {} MiB of NULs and ends with NULs; the rest of its {} octets \
                     was not looked at",
                    content::LOOKED_AT_MAX >> 20,
                    status.size
                ),
                "it is hardly a message; look into it, and move it away",
            ),
        ),
        Ok(Content::Plain) if said.is_some_and(|said| said != status.size) => {
            let said = said.unwrap_or_default();
            let reason = if said > status.size { "part of it is missing" } else { "it has grown" };
            findings.tell(
                at,
                Fault::damage(
                    format!("has {} octets, but its name says {said}: {reason}", status.size),
                    "compare it with a backup; it stays readable as it is",
                ),
            );
        }
        Ok(Content::Plain | Content::Packed) => {}
    }
}

fn look_inside(files: &dyn Files, folder: &Folder, dir: &Dir, name: &Path) -> io::Result<Content> {
    let file = files.open(dir, name)?;
    let status = files.stat_file(&file)?;
    match folder.objection(&status) {
        Some(why) => Err(io::Error::other(why)),
        None => content::look(files, &file, status.size),
    }
}

/// Whether another message has the name of this one.
fn same_name(
    findings: &mut Findings<'_>,
    folder: &Folder,
    by_unique: &mut HashMap<Vec<u8>, Entry>,
    entry: Entry,
    at: &Path,
) {
    let unique = names::unique(names::base(&entry.name)).to_owned();
    let Some(other) = by_unique.get(&unique) else {
        by_unique.insert(unique, entry);
        return;
    };
    // A reader may have renamed the one to the other meanwhile.
    let is_there =
        |entry: &Entry| matches!(folder.look(findings.files, entry), Ok(Look::Message(_)));
    if is_there(other) && is_there(&entry) {
        let other = Path::new(other.directory).join(&other.name);
        findings.tell(
            at,
            Fault::stray(
                format!("has the unique name of {} too, which is another file", other.display()),
                "compare the two; if they are one message remove one of them, else give one \
                 another name",
            ),
        );
    }
}

/// What lies among the messages, but is none.
fn odd(findings: &mut Findings<'_>, folder: &Folder, entry: &Entry, at: &Path) {
    let Some(dir) = folder.directory(entry.directory) else { return };
    let name = Path::new(&entry.name);
    let Ok(status) = findings.files.stat(dir, name) else { return };
    let Some(why) = folder.objection(&status) else { return };
    match status.kind {
        Kind::File => findings.tell(
            at,
            Fault::stray(
                format!("{why}; nobody reads it"),
                format!(
                    "if it is this mailbox's mail: chown {} it; if not, see who put it there",
                    folder.owner
                ),
            ),
        ),
        Kind::Directory | Kind::Other => {
            let advice = "no mail program puts that there; see who did";
            findings.move_away(
                dir,
                name,
                at,
                Fault::stray(format!("{why}, not a message"), advice),
            );
        }
    }
}

/// Hidden files, which no mail program shows: an rsync has them until they are whole.
fn hidden(findings: &mut Findings<'_>, dir: &Dir, path: &Path) -> Result<(), ReadError> {
    let files = findings.files;
    let names = files
        .read_dir(dir, usize::MAX)
        .map_err(|cause| failed("read the directory", dir.path(), cause))?;
    for name in names.iter().filter(|name| names::is_hidden(name)) {
        let (at, name): (PathBuf, _) = (path.join(name), Path::new(name));
        if files.stat(dir, name).is_ok_and(|status| is_unused(&status)) {
            let fault = Fault::stray(
                "is hidden from mail programs, and old",
                "it may be of an rsync that was broken off; if it is a message that is nowhere \
                 else, give it a name without the dot",
            );
            findings.move_away(dir, name, &at, fault);
        }
    }
    Ok(())
}
