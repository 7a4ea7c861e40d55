//! A copy made while mail is delivered: whole, of one moment, and a store at once.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, assert_whole, deliver, deliver_prepared, foreign, mailbox, message, number, octets,
    spooled, store_at,
};
use postino_store::{DeliveryError, MailStore, ReadError};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

/// 30 MiB in large bodies, and some small ones.
fn fill(place: &Place) {
    let store = place.open();
    for seed in 0..15 {
        let body = octets(seed, 2 << 20);
        deliver_prepared(&store, mailbox("alice@example.org"), spooled(body)).unwrap();
        deliver(&store, mailbox("bob@example.org")).unwrap();
    }
}

#[test]
fn a_backup_under_load_is_whole_and_holds_no_delivery() {
    let (place, other) = (Place::new(), Place::new());
    fill(&place);
    let server = place.open();
    let (is_over, answered) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let target = other.path();
    let (mut steps, mut during) = (Vec::new(), 0);
    let mut before = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 100.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let body = spooled(octets(seed, if seed % 4 == 0 { 300_000 } else { 900 }));
                let id = deliver_prepared(&server, mailbox("carol@example.org"), body).unwrap();
                answered.lock().unwrap().push(id.to_string());
            }
        });
        while answered.lock().unwrap().len() < 10 {
            thread::yield_now();
        }
        before.clone_from(&answered.lock().unwrap());
        let done = place.store().backup(&target, &mut |done, all| {
            // Mail goes on being delivered between two steps of it.
            let known = answered.lock().unwrap().len();
            if done < all {
                while !is_over.load(Ordering::Relaxed) && answered.lock().unwrap().len() < known + 2
                {
                    thread::yield_now();
                }
                during += 1;
                // One that begins anew with each delivery would never end.
                is_over.store(during > 100, Ordering::Relaxed);
            }
            steps.push((done, all));
        });
        is_over.store(true, Ordering::Relaxed);
        done.unwrap();
    });
    assert!(during > 3, "it was one step: {steps:?}");
    assert!(steps.is_sorted(), "{steps:?}");
    assert!(steps.iter().all(|(_, all)| *all == steps[0].1), "it began anew: {steps:?}");
    assert_eq!(steps.last().map(|(done, all)| done == all), Some(true));
    assert_eq!(other.names(), ["mail.db"]);
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o600);
    let copy = foreign(&target);
    assert_eq!(number(&copy, "PRAGMA application_id"), 0x7073_746e);
    for id in &before {
        assert!(!message(&copy, id).is_empty());
    }
    assert!(before.len() < answered.lock().unwrap().len());
    drop(copy);
    assert_whole(&target);
    assert_whole(&place.path());
    let store = store_at(target.clone(), true);
    store.open().unwrap();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    let verified = store.reader().unwrap().verify(postino_store::Repair::No, &mut |finding| {
        panic!("{finding:?}");
    });
    assert!(verified.unwrap().messages >= 30);
}

#[test]
fn nothing_is_overwritten() {
    let (place, other) = (Place::new(), Place::new());
    fill(&place);
    let backup = |target: &std::path::Path| {
        let store = place.store();
        store.reader().unwrap().backup(target, &mut |_, _| {}).unwrap_err().to_string()
    };
    fs::write(other.path(), "").unwrap();
    assert!(backup(&other.path()).contains("already exists"), "{}", backup(&other.path()));
    assert_eq!(fs::read(other.path()).unwrap(), b"");
    fs::remove_file(other.path()).unwrap();
    symlink(other.directory().join("nowhere"), other.path()).unwrap();
    assert!(backup(&other.path()).contains("already exists"));
    fs::remove_file(other.path()).unwrap();
    assert!(backup(&place.path()).contains("already exists"));
    // A log that SQLite would write into the copy.
    let log = other.directory().join("mail.db-wal");
    fs::write(&log, "some mail").unwrap();
    assert!(backup(&other.path()).contains("a log without its database"));
    assert_eq!(other.names(), ["mail.db-wal"]);
    fs::remove_file(log).unwrap();
    // One that comes while it is being made.
    let store = place.store();
    let mut comes = |_, _| fs::write(other.path(), "other").unwrap();
    let refused = store.backup(&other.path(), &mut comes).unwrap_err();
    assert!(refused.to_string().contains("File exists"), "{refused}");
    assert_eq!(fs::read(other.path()).unwrap(), b"other");
    assert_eq!(other.names(), ["mail.db"]);
    assert_whole(&place.path());
}

#[test]
fn a_failed_backup_leaves_nothing() {
    let (place, other) = (Place::new(), Place::new());
    let store = place.store();
    let missing = store.backup(&other.path(), &mut |_, _| {}).unwrap_err();
    let is_missing = matches!(missing, ReadError::Store(DeliveryError::StoreMissing { .. }));
    assert!(is_missing, "{missing}");
    fill(&place);
    let nowhere = other.directory().join("nowhere/mail.db");
    let refused = store.backup(&nowhere, &mut |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
    // The draft goes while it is written.
    let mut goes = |_, _| {
        for name in other.names() {
            fs::remove_file(other.directory().join(name)).unwrap();
        }
    };
    store.backup(&other.path(), &mut goes).unwrap_err();
    assert!(other.names().is_empty(), "{:?}", other.names());
    assert_whole(&place.path());
}

#[test]
fn what_a_killed_backup_has_left_goes_with_the_next_one() {
    let (place, other) = (Place::new(), Place::new());
    deliver(&place.open(), mailbox("alice@example.org")).unwrap();
    let make = |name: &str, minutes: u64| {
        let path = other.directory().join(name);
        let time = SystemTime::now() - Duration::from_secs(minutes * 60);
        let file = fs::File::create(&path).unwrap();
        file.set_modified(time).unwrap();
        path
    };
    make("mail.db.0123456789abcdef.new", 61);
    make("mail.db.1123456789abcdef.new", 6_100);
    let kept = [
        // Another backup writes it.
        "mail.db.2123456789abcdef.new",
        "other.db.0123456789abcdef.new",
        "mail.db.0123456789abcdef.new.gz",
        "mail.db.new",
        "mail.db.3123456789abcdef.new",
        "mail.db.4123456789abcdef.new",
        "mail.db.5123456789abcdef.new",
    ];
    make(kept[0], 58);
    kept[1..4].iter().for_each(|name| drop(make(name, 61)));
    symlink("mail.db.new", other.directory().join(kept[4])).unwrap();
    fs::create_dir(other.directory().join(kept[5])).unwrap();
    let theirs = make(kept[6], 61);
    let is_root = fs::metadata(&theirs).unwrap().uid() == 0;
    if is_root {
        chown(&theirs, Some(65_534), None).unwrap();
    }
    place.store().backup(&other.path(), &mut |_, _| {}).unwrap();
    let mut expected = vec!["mail.db"];
    expected.extend(&kept[..if is_root { 7 } else { 6 }]);
    expected.sort_unstable();
    let mut names = other.names();
    names.sort_unstable();
    assert_eq!(names, expected);
}
