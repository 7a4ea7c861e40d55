//! That root reads, and mends, what belongs to the store's owner, as that owner, and
//! that another user is told as whom to read.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    FROM_LINE, Place, STORED, alice, deliver_to, leave_lock, listed, mailboxes, read, reading,
};
use postino_files::Kernel;
use postino_mbox::{Mbox, Options};
use postino_store::{DeliveryError, MailStore, PathTemplate, ReadError, Remedy, Repair};
use std::{
    env, fs, io,
    ops::ControlFlow,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

const OWNER: u32 = 12_345;
const GROUP: u32 = 12_346;

/// A store of that owner with alice's mailbox, below a directory; none where that
/// cannot be made, as only root can.
fn anothers(place: &Place) -> Option<Mbox> {
    let store = place.store_with("/%d/%n", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice@example.org").unwrap();
    deliver_to(&store, "alice@example.org").unwrap();
    give(&place.root()).then_some(store)
}

/// Gives all that lies there to the owner.
fn give(root: &Path) -> bool {
    let mut all: Vec<PathBuf> =
        common::walk(root).into_iter().map(|path| root.join(path)).collect();
    all.push(root.to_owned());
    all.iter().all(|path| chown(path, Some(OWNER), Some(GROUP)).is_ok())
}

fn name() -> postino_store::MailboxName {
    postino_store::MailboxName::new("alice@example.org").unwrap()
}

#[test]
fn root_reads_and_mends_a_store_as_its_owner() {
    let place = Place::new();
    let Some(store) = anothers(&place) else { return println!("SKIPPED: only root can") };
    let path = place.root().join("example.org/alice");
    assert_eq!(mailboxes(reading(&store)), (vec!["alice@example.org".to_owned()], vec![]));
    let found = listed(reading(&store), &name());
    assert_eq!(
        read(reading(&store), &name(), &found[1]),
        b"Return-Path: <s@example.net>\nSubject: x\n\ntext\n"
    );
    let verified = reading(&store).verify(Repair::No, &mut |found| panic!("{found:?}")).unwrap();
    assert_eq!((verified.mailboxes, verified.messages), (1, 2));

    reading(&store).remove(&name(), &found[0]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), STORED);

    fs::write(&path, format!("rubbish\n{STORED}\0\0\0")).unwrap();
    let mut done = 0;
    let report = &mut |found: postino_store::Finding| {
        assert!(matches!(found.remedy, Remedy::Done(_)), "{found:?}");
        done += 1;
    };
    reading(&store).verify(Repair::Yes, report).unwrap();
    assert_eq!((done, fs::read_to_string(&path).unwrap()), (2, STORED.to_owned()));
    let all = common::walk(&place.root());
    assert_eq!(all.iter().filter(|path| path.starts_with(".postino-lost/")).count(), 2);
    for path in all {
        let status = fs::metadata(place.root().join(&path)).unwrap();
        let expected = if path == ".postino-lost" { (0, 0) } else { (OWNER, GROUP) };
        assert_eq!((status.uid(), status.gid()), expected, "{path}");
    }
    // Deliveries do not go there all the same.
    assert!(deliver_to(&store, "alice@example.org").is_err());
}

#[test]
fn root_believes_the_owner_s_lock_file() {
    let place = Place::new();
    let store = place.open();
    fs::write(place.alice(), format!("{STORED}{}", &STORED[..60])).unwrap();
    leave_lock(&place, STORED.len(), 2 * STORED.len());
    if !give(&place.root()) {
        return println!("SKIPPED: only root can");
    }
    reading(&store).verify(Repair::Yes, &mut |_| {}).unwrap();
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED, "{FROM_LINE}");
    assert_eq!(listed(reading(&store), &alice()).len(), 1);
}

#[test]
fn what_is_neither_roots_nor_the_stores_is_a_stray_for_root_too() {
    let place = Place::new();
    let Some(store) = anothers(&place) else { return println!("SKIPPED: only root can") };
    let path = place.root().join("example.org/alice");
    chown(&path, Some(OWNER + 1), None).unwrap();
    let (names, strays) = mailboxes(reading(&store));
    assert_eq!((names.len(), strays.len()), (0, 1));
    let listing = reading(&store).messages(&name(), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(listing, Err(ReadError::Stray(_))));
    let report = &mut |found: postino_store::Finding| {
        assert!(!found.advice.contains("chown") && found.remedy == Remedy::Nothing, "{found:?}");
    };
    reading(&store).verify(Repair::Yes, report).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().uid(), OWNER + 1);
}

const CHILD: &str = "POSTINO_MBOX_OTHERS_ROOT";

/// Not a test of its own: it reads as a user to whom the store does not belong.
#[test]
fn child_of_another_user() {
    let Some(root) = env::var_os(CHILD) else { return };
    let template = format!("{}/%d/%n", Path::new(&root).display());
    let template = PathTemplate::parse(&template).unwrap();
    let store = Mbox::new(template, Options::default(), Arc::new(Kernel::new()));
    let refused = |result: Result<(), ReadError>| {
        let Err(ReadError::Store(DeliveryError::Misconfigured(failure))) = &result else {
            panic!("{result:?}");
        };
        assert_eq!(failure.cause.kind(), io::ErrorKind::PermissionDenied);
        assert!(failure.cause.to_string().contains(&format!("uid {OWNER}")), "{failure}");
    };
    refused(reading(&store).mailboxes(&mut |_| ControlFlow::Continue(())));
    refused(reading(&store).messages(&name(), &mut |_| ControlFlow::Continue(())));
    refused(reading(&store).find(&name(), "0-ba7816bf8f01").map(drop));
    refused(reading(&store).verify(Repair::No, &mut |found| panic!("{found:?}")).map(drop));
    println!("\nto the end");
}

#[test]
fn whoever_is_not_the_store_s_owner_is_told_as_whom_to_read() {
    let place = Place::new();
    let Some(_store) = anothers(&place) else { return println!("SKIPPED: only root can") };
    for path in [place.above(), &place.root(), &place.root().join("example.org")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = place.above().join("program");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    // The directory may be another's than the mailbox.
    for owner in [OWNER, 0] {
        chown(place.root().join("example.org"), Some(owner), None).unwrap();
        let output = Command::new(&program)
            .args(["--exact", "child_of_another_user", "--nocapture"])
            .env(CHILD, place.root())
            .current_dir("/")
            .uid(OWNER + 1)
            .gid(GROUP + 1)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("\nto the end"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}
