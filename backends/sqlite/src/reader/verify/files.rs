//! The files: the database, and what SQLite has beside it.
//!
//! Lives here: who may read and change them.
//! May not: open any of them: closing it would drop SQLite's locks.

use super::{
    lost,
    report::{Mend, Report},
};
use crate::{
    fault::Fault,
    place::{DRAFT_OLD, Found},
};
use postino_files::{Kind, Status};
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What nobody but the owner needs.
const OTHERS: u32 = 0o077;

/// Writing by everybody.
const ALL_WRITE: u32 = 0o002;

/// What SQLite has beside a database while it is used.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Names in the directory that are looked at.
const NAMES_MAX: usize = 10_000;

pub(crate) fn check(report: &mut Report<'_>) -> Result<(), Fault> {
    let place = report.place();
    let Found::File { path, .. } = place.look()? else { return Err(place.missing()) };
    let Some(database) = status(report, &path)? else { return Err(place.missing()) };
    check_access(report, &path, &database);
    for suffix in BESIDE {
        let mut beside = path.clone().into_os_string();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        let Some(found) = status(report, &beside)? else { continue };
        if found.kind != Kind::File {
            report.damage(
                &beside.display().to_string(),
                "is no regular file, but SQLite needs one there".to_owned(),
                "stop postino, find out who put it there, and remove it",
                None,
            );
            continue;
        }
        if found.owner != database.owner {
            report.damage(
                &beside.display().to_string(),
                format!("belongs to uid {}, and the database to {}", found.owner, database.owner),
                "give it to the database's owner with chown, and run programs that use the database as that user",
                None,
            );
        }
        check_access(report, &beside, &found);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    if let Some(found) = status(report, directory)?
        && found.mode & ALL_WRITE != 0
    {
        report.stray(
            &directory.display().to_string(),
            format!("can be written by everybody (mode {:04o})", found.mode),
            "take that right away with chmod, or move the database: whoever can write there can put another file in its place",
            None,
        );
    }
    check_drafts(report, directory)
}

/// What a killed process has left of a database that it was making.
fn check_drafts(report: &mut Report<'_>, directory: &Path) -> Result<(), Fault> {
    let place = report.place();
    let files = place.files();
    let names = files
        .open_root(directory)
        .and_then(|open| files.read_dir(&open, NAMES_MAX))
        .map_err(|error| Fault::file("list", directory, &error))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for name in names.iter().map(Path::new).filter(|name| place.is_draft(name)) {
        let path = directory.join(name);
        let Some(found) = status(report, &path)? else { continue };
        let written = Duration::from_secs(u64::try_from(found.written).unwrap_or(0));
        if found.kind != Kind::File || now.saturating_sub(written) < DRAFT_OLD {
            continue;
        }
        let to = lost::directory(place)?;
        let mend = Mend::new(format!("move it to {}", to.display()), || {
            lost::take(place, directory, name)
                .map(|path| format!("moved it to {}", path.display()))
                .map_err(|fault| fault.error(&path).to_string())
        });
        report.stray(
            &path.display().to_string(),
            "is a draft of a database or a backup that was never completed".to_owned(),
            "remove it: no reply has promised anything that is in it",
            Some(mend),
        );
    }
    Ok(())
}

fn check_access(report: &mut Report<'_>, path: &Path, found: &Status) {
    let place = path.display().to_string();
    if found.mode & OTHERS != 0 {
        report.stray(
            &place,
            format!("is open to others than its owner (mode {:04o})", found.mode),
            "chmod 0600 it",
            None,
        );
    }
    if found.links > 1 {
        report.stray(
            &place,
            format!("has {} names", found.links),
            "remove the other ones, before a program uses the database by one of them: each name has a log of its own, and two logs destroy it",
            None,
        );
    }
}

fn status(report: &Report<'_>, path: &Path) -> Result<Option<Status>, Fault> {
    match report.place().files().stat_path(path) {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::file("look at", path, &error)),
    }
}
