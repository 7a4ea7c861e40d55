//! Users of this system that a test makes, and removes again.

use crate::program::{all_here, are_root, bounded, run, succeed};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Whoever adds or removes a user locks the files; one at a time.
static FILES: Mutex<()> = Mutex::new(());

/// Whether users can be made here.
pub(crate) fn can_make() -> bool {
    all_here(&["useradd", "userdel"]) && are_root()
}

/// A user who is there as long as this.
pub(crate) struct Made {
    name: String,
    home: PathBuf,
}

impl Made {
    /// One of this uid without a home.
    pub(crate) fn new(name: &str, uid: u32) -> Self {
        Self::of(
            name,
            Path::new("/"),
            &["--no-create-home", "--no-user-group", "--uid", &uid.to_string()],
        )
    }

    /// One of the next uid with a group of his own.
    pub(crate) fn with_home(name: &str, home: &Path) -> Self {
        let place = home.to_str().unwrap();
        Self::of(name, home, &["--create-home", "--user-group", "--home-dir", place])
    }

    fn of(name: &str, home: &Path, flags: &[&str]) -> Self {
        let _alone = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        // Of an earlier run that was killed.
        let _ = run(bounded("userdel").arg(name));
        succeed(bounded("useradd").args(flags).arg(name));
        Self { name: name.to_owned(), home: home.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The uid and gid of one with a home.
    pub(crate) fn ids(&self) -> (u32, u32) {
        let status = fs::metadata(&self.home).unwrap();
        (status.uid(), status.gid())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _alone = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = run(bounded("userdel").arg(&self.name));
    }
}
