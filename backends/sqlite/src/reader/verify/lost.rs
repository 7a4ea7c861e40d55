//! Where goes what is taken out of the database.
//!
//! Lives here: files in `.postino-lost` beside it.
//! May not: overwrite any.
//! Holds: a file that was made is whole and on stable storage, its name too.

use crate::{
    fault::Fault,
    place::{Found, Place},
};
use postino_files::{Dir, Files};
use std::{
    io,
    path::{Path, PathBuf},
};

const DIRECTORY: &str = ".postino-lost";
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Names that are tried.
const NAMES_MAX: u32 = 1_000;

const DOING: &str = "keep a copy in";

/// Takes the next octets.
pub(crate) type Write<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Fault>;

/// The directory of the database itself, whatever link leads to it.
pub(crate) fn directory(place: &Place) -> Result<PathBuf, Fault> {
    let Found::File { path, .. } = place.look()? else { return Err(place.missing()) };
    Ok(path.parent().unwrap_or(Path::new("/")).join(DIRECTORY))
}

/// Makes a file of what `fill` writes, called `name` or, where that is taken, `name.1`
/// and so on; gives its path.
pub(crate) fn keep(
    place: &Place,
    name: &str,
    fill: impl FnOnce(Write<'_>) -> Result<(), Fault>,
) -> Result<PathBuf, Fault> {
    let path = directory(place)?;
    let failed = |error: &io::Error| Fault::file(DOING, &path, error);
    let files = place.files();
    let directory = open(files, &path).map_err(|e| failed(&e))?;
    let (name, copy) = free(Path::new(name), |name| files.create(&directory, name, FILE_MODE))
        .map_err(|e| failed(&e))?;
    let kept = fill(&mut |octets| files.write_all(&copy, octets).map_err(|e| failed(&e)))
        .and_then(|()| files.sync_file(&copy).map_err(|e| failed(&e)))
        .and_then(|()| files.sync_dir(&directory).map_err(|e| failed(&e)));
    if let Err(fault) = kept {
        let _ = files.unlink(&directory, &name);
        return Err(fault);
    }
    Ok(path.join(name))
}

/// Moves a file beside the database there; gives its path.
pub(crate) fn take(place: &Place, from: &Path, name: &Path) -> Result<PathBuf, Fault> {
    let path = directory(place)?;
    let failed = |error: &io::Error| Fault::file("move", from.join(name), error);
    let files = place.files();
    let take = || {
        let (from, to) = (files.open_root(from)?, open(files, &path)?);
        let (new, ()) = free(name, |new| files.rename(&from, name, &to, new))?;
        files.sync_dir(&to)?;
        files.sync_dir(&from)?;
        Ok(path.join(new))
    };
    take().map_err(|error: io::Error| failed(&error))
}

fn open(files: &dyn Files, path: &Path) -> io::Result<Dir> {
    let parent = files.open_root(path.parent().unwrap_or(Path::new("/")))?;
    let name = Path::new(DIRECTORY);
    match files.make_dir(&parent, name, DIRECTORY_MODE) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let directory = files.open_dir(&parent, name)?;
    files.sync_dir(&parent)?;
    Ok(directory)
}

/// Has something made under the first name that is free.
fn free<T>(name: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(PathBuf, T)> {
    for number in 0..NAMES_MAX {
        let mut new = name.as_os_str().to_owned();
        if number > 0 {
            new.push(format!(".{number}"));
        }
        let new = PathBuf::from(new);
        match make(&new) {
            Ok(done) => return Ok((new, done)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
