//! Users of this system that a test makes, and removes again.

use crate::program::{all_here, are_root, bounded, run, succeed};
use std::sync::{Mutex, PoisonError};

/// Whoever adds or removes a user locks the files; one at a time.
static FILES: Mutex<()> = Mutex::new(());

/// Whether users can be made here.
pub(crate) fn can_make() -> bool {
    all_here(&["useradd", "userdel"]) && are_root()
}

/// A user who is there as long as this.
pub(crate) struct Made {
    name: String,
}

impl Made {
    /// One of this uid without a home.
    pub(crate) fn new(name: &str, uid: u32) -> Self {
        Self::of(name, &["--no-create-home", "--no-user-group", "--uid", &uid.to_string()])
    }

    fn of(name: &str, flags: &[&str]) -> Self {
        let _alone = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        // Of an earlier run that was killed.
        let _ = run(bounded("userdel").arg(name));
        succeed(bounded("useradd").args(flags).arg(name));
        Self { name: name.to_owned() }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _alone = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = run(bounded("userdel").arg(&self.name));
    }
}
