//! How long strangers' lock files count.

use super::{Dotlock, NoDotlock};
use crate::strangers::Strangers;
use postino_files::{
    Files, Kernel,
    process::{self, Home},
    testing::{Call, Failing, Fault},
};
use postino_store::DeliveryError;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    sync::Arc,
    time::Duration,
};

#[test]
fn a_strangers_lock_file_counts_for_five_minutes_however_young_it_is_kept() {
    if process::user() != 0 {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (files, home) = (Kernel::new(), Home::of_this_process());
    let dir = files.open_root(directory.path()).unwrap();
    let strangers = Strangers::default();
    let take = || Dotlock::take(&files, &dir, Path::new("bob"), &home, &strangers).map(drop);
    let plant = |text: &str, mode| {
        fs::write(at("bob.lock"), text).unwrap();
        fs::set_permissions(at("bob.lock"), Permissions::from_mode(mode)).unwrap();
        chown(at("bob.lock"), Some(54_321), None).unwrap();
    };
    let is_locked = |taken: Result<(), NoDotlock>| match taken {
        Err(NoDotlock::Error(DeliveryError::Locked { holder })) => {
            holder.is_some_and(|holder| holder.contains("uid 54321"))
        }
        _ => false,
    };
    // Of a process that lives, and made anew each time.
    plant("1\n", 0o644);
    assert!(is_locked(take()));
    strangers.age(Duration::from_secs(200));
    fs::remove_file(at("bob.lock")).unwrap();
    plant("1\n", 0o644);
    assert!(is_locked(take()));
    strangers.age(Duration::from_secs(101));
    take().unwrap();
    assert!(!at("bob.lock").exists());
    // The next one has its own time.
    plant("1\n", 0o644);
    assert!(is_locked(take()));
    // A mailbox of that name is no lock file, and stays.
    strangers.age(Duration::from_secs(301));
    plant("From alice\n", 0o644);
    assert!(matches!(take(), Err(NoDotlock::Obstructed(_))));
    assert!(at("bob.lock").exists());
}

#[test]
fn a_strangers_lock_file_that_cannot_be_opened_counts_no_longer_than_others() {
    if process::user() != 0 {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("bob.lock");
    let home = Home::of_this_process();
    let files = Failing::new(Arc::new(Kernel::new()));
    let dir = files.open_root(directory.path()).unwrap();
    let strangers = Strangers::default();
    let take = || {
        // What a lease does is no other error to us.
        files.arm_only(Call::Open, 1, Fault::Io);
        let taken = Dotlock::take(&files, &dir, Path::new("bob"), &home, &strangers).map(drop);
        assert!(files.disarm());
        taken
    };
    fs::write(&lock, "1\n").unwrap();
    chown(&lock, Some(54_321), None).unwrap();
    assert!(matches!(take(), Err(NoDotlock::Error(DeliveryError::Locked { .. }))));
    strangers.age(Duration::from_secs(301));
    assert!(matches!(take(), Err(NoDotlock::Obstructed(_))));
    // Whoever the mailbox belongs to has a fault of the disk told.
    chown(&lock, Some(0), None).unwrap();
    assert!(matches!(take(), Err(NoDotlock::Error(DeliveryError::Io(_)))));
}
