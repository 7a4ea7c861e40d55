//! Where goes what is taken out of the database.
//!
//! Lives here: files in `.postino-lost` beside it.
//! May not: overwrite any.
//! Holds: a file that was made is whole and on stable storage, its name too.

use crate::{
    fault::Fault,
    place::{Found, Place},
};
use postino_files::{
    Files,
    lost::{Lost, path_in},
};
use std::{
    io,
    path::{Path, PathBuf},
};

const DOING: &str = "keep a copy in";

/// Takes the next octets.
pub(crate) type Write<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Fault>;

/// The directory of the database itself, whatever link leads to it.
fn beside(place: &Place) -> Result<PathBuf, Fault> {
    let Found::File { path, .. } = place.look()? else { return Err(place.missing()) };
    Ok(path.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The directory for what is lost.
pub(crate) fn directory(place: &Place) -> Result<PathBuf, Fault> {
    let beside = beside(place)?;
    let files = place.files();
    let path = files.open_root(&beside).and_then(|beside| path_in(files, &beside));
    path.map_err(|error| Fault::file("look at", &beside, &error))
}

/// Makes a file of what `fill` writes, called `name`, with more behind it where that is
/// taken; gives its path.
pub(crate) fn keep(
    place: &Place,
    name: &str,
    fill: impl FnOnce(Write<'_>) -> Result<(), Fault>,
) -> Result<PathBuf, Fault> {
    let path = directory(place)?;
    let failed = |error: &io::Error| Fault::file(DOING, &path, error);
    let files = place.files();
    let lost = open(files, &beside(place)?).map_err(|e| failed(&e))?;
    let (name, copy) = lost.create(Path::new(name)).map_err(|e| failed(&e))?;
    let kept = fill(&mut |octets| files.write_all(&copy, octets).map_err(|e| failed(&e)))
        .and_then(|()| files.sync_file(&copy).map_err(|e| failed(&e)))
        .and_then(|()| files.sync_dir(lost.dir()).map_err(|e| failed(&e)));
    if let Err(fault) = kept {
        let _ = files.unlink(lost.dir(), &name);
        return Err(fault);
    }
    Ok(lost.dir().path_to(&name))
}

/// Moves a file beside the database there; gives its path.
pub(crate) fn take(place: &Place, from: &Path, name: &Path) -> Result<PathBuf, Fault> {
    let beside = beside(place)?;
    let files = place.files();
    let take = || open(files, &beside)?.take(&files.open_root(from)?, name, name);
    take().map_err(|error: io::Error| Fault::file("move", from.join(name), &error))
}

fn open<'a>(files: &'a dyn Files, beside: &Path) -> io::Result<Lost<'a>> {
    Lost::open(files, &files.open_root(beside)?)
}
