//! Each in a process of its own, as only root can try it.

use super::{Assumed, Ids};
use crate::sys::credentials::Identity;
use rustix::thread::{CapabilitiesSecureBits, set_capabilities_secure_bits};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
};

const UID: u32 = 54_321;
const GID: u32 = 54_322;
const OTHER_GID: u32 = 54_323;

/// A program of the user's that prints each way in which it is not refused.
const TRIES: &str = include_str!("tries.py");

/// Runs a program where the kernel's numbers of groups are in another order.
const NAMESPACE: &str = include_str!("namespace.py");

fn user() -> Identity {
    Identity { uid: UID, gid: GID, groups: vec![OTHER_GID, GID] }
}

/// Whether this is the process in which a test of this name is to run; it is started
/// where it is not.
fn in_child(name: &str) -> bool {
    const CHILD: &str = "POSTINO_TEST_ASSUMES";
    if !rustix::process::getuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "these tests need root");
        println!("only root can try this");
        return false;
    }
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let filter = format!("sys::thread_identity::tests::{name}");
    let passes = |command: &mut Command| {
        let child = command.args(["--exact", &filter]).env(CHILD, "1").output().unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{child:?}");
    };
    passes(&mut Command::new(&program));
    let namespace =
        |program: &Path| Command::new("python3").args(["-c", NAMESPACE]).arg(program).output();
    if namespace(Path::new("true")).is_ok_and(|output| output.status.success()) {
        passes(Command::new("python3").args(["-c", NAMESPACE]).arg(&program));
    } else {
        println!("this system has no user namespaces for us");
    }
    false
}

#[test]
fn files_made_meanwhile_are_the_users_and_other_threads_stay_root() {
    if !in_child("files_made_meanwhile_are_the_users_and_other_threads_stay_root") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let ours = Ids::of_this_thread().unwrap();
    fs::write(directory.path().join("secret"), "").unwrap();
    let shared = directory.path().join("shared");
    fs::create_dir(&shared).unwrap();
    chown(&shared, Some(0), Some(OTHER_GID)).unwrap();
    let mode =
        |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(directory.path(), 0o755);
    mode(&directory.path().join("secret"), 0o600);
    mode(&shared, 0o770);

    let (ask, asked) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let other = thread::spawn(move || {
        for () in asked {
            tell.send(Ids::of_this_thread().unwrap()).unwrap();
        }
    });
    let assumed = Assumed::take(&user()).unwrap();
    let ids = Ids::of_this_thread().unwrap();
    assert_eq!((ids.users, ids.groups), ([0, UID, 0], [0, GID, 0]));
    assert_eq!(ids.supplementary, [GID, OTHER_GID]);
    // By one of his other groups.
    let file = shared.join("file");
    fs::write(&file, "").unwrap();
    let status = fs::metadata(&file).unwrap();
    assert_eq!((status.uid(), status.gid()), (UID, GID));
    assert!(fs::read(directory.path().join("secret")).is_err());
    assert!(fs::write(directory.path().join("file"), "").is_err());
    assert!(Assumed::take(&user()).is_err(), "not from one user to the next");
    ask.send(()).unwrap();
    assert_eq!(told.recv().unwrap(), ours);
    drop(assumed);
    assert_eq!(Ids::of_this_thread().unwrap(), ours);
    fs::read(directory.path().join("secret")).unwrap();
    drop(ask);
    other.join().unwrap();
}

#[test]
fn a_panic_gives_the_ids_back() {
    if !in_child("a_panic_gives_the_ids_back") {
        return;
    }
    let before = Ids::of_this_thread().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _assumed = Assumed::take(&user()).unwrap();
        panic!("as the test wished");
    }));
    assert!(result.is_err());
    assert_eq!(Ids::of_this_thread().unwrap(), before);
}

#[test]
fn what_cannot_be_assumed_leaves_the_thread_as_it_was() {
    if !in_child("what_cannot_be_assumed_leaves_the_thread_as_it_was") {
        return;
    }
    let before = Ids::of_this_thread().unwrap();
    let too_many = vec![GID; 100_000];
    for identity in [
        Identity { uid: 0, ..user() },
        Identity { uid: u32::MAX, ..user() },
        Identity { gid: u32::MAX, ..user() },
        Identity { groups: vec![u32::MAX], ..user() },
        Identity { groups: too_many, ..user() },
    ] {
        assert!(Assumed::take(&identity).is_err());
        assert_eq!(Ids::of_this_thread().unwrap(), before);
    }
}

#[test]
fn a_thread_that_would_keep_roots_rights_as_another_user_does_not_become_him() {
    if !in_child("a_thread_that_would_keep_roots_rights_as_another_user_does_not_become_him") {
        return;
    }
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).unwrap();
    let before = Ids::of_this_thread().unwrap();
    let error = Assumed::take(&user()).unwrap_err();
    assert!(error.to_string().contains("no-setuid-fixup"), "{error}");
    assert_eq!(Ids::of_this_thread().unwrap(), before);
}

#[test]
fn the_user_can_neither_signal_nor_limit_nor_trace_what_acts_for_him() {
    if !in_child("the_user_can_neither_signal_nor_limit_nor_trace_what_acts_for_him") {
        return;
    }
    let (ready, is_ready) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let _assumed = Assumed::take(&user()).unwrap();
        ready.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
        let _ = ended.recv();
    });
    let thread_id = is_ready.recv().unwrap().to_string();
    let calls = [libc::SYS_tgkill, libc::SYS_prlimit64].map(|number| number.to_string());
    let tries = Command::new("python3")
        .args(["-c", TRIES, &std::process::id().to_string(), &thread_id])
        .args(calls)
        .uid(UID)
        .gid(GID)
        .output()
        .unwrap();
    drop(end);
    worker.join().unwrap();
    let output = String::from_utf8_lossy(&tries.stdout);
    assert!(tries.status.success() && output.is_empty(), "{output}{tries:?}");
}
