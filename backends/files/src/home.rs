//! A user's home, where it is below that his mailbox lies, and the way down from it,
//! or from another directory, to the one place of an account.
//!
//! Lives here: what a home must be for mail to be put into it.
//! May not: make one: a home that is missing may be on a disk that is not mounted.
//! Holds: it is found by its path for each delivery; nobody but its user and root
//! can have put anything into the way below it.

use crate::{Dir, Files, process, root_error::RootError};
use std::{io, path::Path};

/// Whoever may do everything anyhow.
const ROOT_USER: u32 = 0;

/// The mode bit by which others may make and remove names.
const OTHERS_WRITE: u32 = 0o002;

/// What a directory is wanted for that is found unfit.
const DELIVER_IN_HOME: &str = "deliver below the home";
const DELIVER: &str = "deliver below";

/// A user's home, as whom the calling thread acts. Symbolic links lead to it as they
/// do for a login.
pub fn open(files: &dyn Files, home: Option<&Path>) -> Result<Dir, RootError> {
    let path = home.unwrap_or(Path::new(""));
    if !path.is_absolute() {
        let fault = "the user has none, or none that begins with /";
        return Err(unfit(DELIVER_IN_HOME, path, fault));
    }
    let dir = match files.open_root(path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(RootError::Missing {
                what: format!(
                    "the home {} is not there (not mounted?); its user gets 451; homes are never made",
                    path.display()
                ),
            });
        }
        Err(cause) => return Err(failed("open the home", path, cause)),
    };
    check(files, dir, DELIVER_IN_HOME)
}

/// The directory at `path`, which is `base` or lies below it, from where on no symbolic
/// link is followed; each on the way must be as a home must.
pub fn open_below(files: &dyn Files, base: &Path, path: &Path) -> Result<Dir, RootError> {
    let checked = |path: &Path, opened| match opened {
        Ok(dir) => check(files, dir, DELIVER),
        Err(cause) if io::Error::kind(&cause) == io::ErrorKind::NotFound => {
            Err(RootError::Missing {
                what: format!(
                    "{} is not there (not mounted?); accounts with a store of their own below \
                     it get 451; it is never made",
                    path.display()
                ),
            })
        }
        Err(cause) => Err(failed("open the directory", path, cause)),
    };
    let mut at = checked(base, files.open_root(base))?;
    for component in path.strip_prefix(base).unwrap_or(path) {
        let name = Path::new(component);
        at = checked(&at.path_to(name), files.open_dir(&at, name))?;
    }
    Ok(at)
}

/// Who may have put things into the directory.
fn check(files: &dyn Files, dir: Dir, doing: &'static str) -> Result<Dir, RootError> {
    let status =
        files.stat_dir(&dir).map_err(|cause| failed("look at the directory", dir.path(), cause))?;
    if status.owner != process::user() && status.owner != ROOT_USER {
        return Err(unfit(doing, dir.path(), "it belongs to another user"));
    }
    if status.mode & OTHERS_WRITE != 0 {
        let fault = "others may write to it; take that from them: chmod o-w";
        return Err(unfit(doing, dir.path(), fault));
    }
    Ok(dir)
}

fn unfit(doing: &'static str, path: &Path, fault: &'static str) -> RootError {
    failed(doing, path, io::Error::new(io::ErrorKind::PermissionDenied, fault))
}

fn failed(doing: &'static str, path: &Path, cause: io::Error) -> RootError {
    RootError::Failed { doing, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::{open, open_below};
    use crate::{Kernel, root_error::RootError};
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    #[test]
    fn only_a_home_that_is_there_and_its_users_alone_will_do() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, mode) in [("own", 0o711), ("shared", 0o775), ("open", 0o1777)] {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        }
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("own"), at("link")).unwrap();
        let kernel = Kernel::new();
        let said = |home: Option<&Path>| open(&kernel, home).unwrap_err().to_string();
        for name in ["own", "shared", "link"] {
            open(&kernel, Some(&at(name))).unwrap();
        }
        assert!(said(Some(&at("open"))).contains("others may write to it"));
        assert!(said(Some(&at("file"))).contains("Not a directory"));
        assert!(said(None).contains("has none"));
        assert!(said(Some(Path::new("home"))).contains("has none"));
        let missing = open(&kernel, Some(&at("missing"))).unwrap_err();
        assert!(matches!(missing, RootError::Missing { .. }) && !at("missing").exists());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(at("own"), Some(54_321), None).unwrap();
            assert!(said(Some(&at("own"))).contains("another user"));
        }
    }

    #[test]
    fn below_a_base_no_link_is_followed_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let kernel = Kernel::new();
        fs::create_dir_all(base.join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", base.join("link")).unwrap();
        let said = |path: &str| open_below(&kernel, base, &base.join(path)).unwrap_err();
        for path in ["", "a", "a/b"] {
            let dir = open_below(&kernel, base, &base.join(path)).unwrap();
            assert_eq!(dir.path(), base.join(path), "{path}");
        }
        assert!(matches!(said("link/b"), RootError::Failed { .. }));
        for path in ["a/missing", "missing/b"] {
            assert!(matches!(said(path), RootError::Missing { .. }) && !base.join(path).exists());
        }
        fs::set_permissions(base.join("a"), Permissions::from_mode(0o1777)).unwrap();
        assert!(said("a/b").to_string().contains("others may write to it"));
    }
}
