//! A user's home, where it is below that his mailbox lies.
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

/// A user's home, as whom the calling thread acts. Symbolic links lead to it as they
/// do for a login.
pub fn open(files: &dyn Files, home: Option<&Path>) -> Result<Dir, RootError> {
    let path = home.unwrap_or(Path::new(""));
    let failed = |doing, cause| RootError::Failed { doing, path: path.to_owned(), cause };
    let unfit = |fault| {
        let cause = io::Error::new(io::ErrorKind::PermissionDenied, fault);
        failed("deliver below the home", cause)
    };
    if !path.is_absolute() {
        return Err(unfit("the user has none, or none that begins with /"));
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
        Err(cause) => return Err(failed("open the home", cause)),
    };
    let status = files.stat_dir(&dir).map_err(|cause| failed("look at the home", cause))?;
    if status.owner != process::user() && status.owner != ROOT_USER {
        return Err(unfit("it belongs to another user"));
    }
    if status.mode & OTHERS_WRITE != 0 {
        return Err(unfit("others may write to it; take that from them: chmod o-w"));
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::open;
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
}
