//! The rules of the root and its marker: a disk that is not mounted is 451,
//! never 550, and never made again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, deliver, deliver_to, mailbox, names, walk};
use postino_files::{Kernel, testing::Recording};
use postino_maildir::{Maildir, Opening, Options};
use postino_store::{DeliveryError, IfMissing, MailStore, MailboxName};
use std::{fs, os::unix::fs::symlink, path::PathBuf, sync::Arc};

fn store(place: &Place, require_marker: bool) -> Maildir {
    place.store_with("", Arc::new(Kernel::new()), Options { require_marker, ..Options::default() })
}

fn missing<T: std::fmt::Debug>(result: Result<T, DeliveryError>) -> String {
    match result {
        Err(DeliveryError::StoreMissing { what }) => what,
        other => panic!("not StoreMissing: {other:?}"),
    }
}

/// Asks and delivers, with both answers to a missing mailbox: the store is
/// missing, and nothing is made.
fn assert_missing(place: &Place, store: &Maildir) {
    let before = walk(place.above());
    for if_missing in [IfMissing::Create, IfMissing::Refuse] {
        missing(store.admit(&mailbox("alice", if_missing), None));
        missing(deliver(store, mailbox("alice", if_missing)));
    }
    assert_eq!(walk(place.above()), before, "something was made in a store that is not there");
}

#[test]
fn an_absent_root_is_made_with_its_marker() {
    let place = Place::new();
    let store = store(&place, false);
    assert_eq!(store.opening(), None);
    store.open().unwrap();
    assert_eq!(store.opening(), Some(Opening::Fresh));
    assert_eq!(names(&place.root()), [".postino"]);
    deliver_to(&store, "alice").unwrap();
    store.open().unwrap();
    assert_eq!(store.opening(), Some(Opening::Marked));
}

#[test]
fn an_empty_root_gets_its_marker_even_with_lost_and_found() {
    let place = Place::new();
    fs::create_dir_all(place.root().join("lost+found")).unwrap();
    let store = store(&place, false);
    store.open().unwrap();
    assert_eq!(store.opening(), Some(Opening::Fresh));
    assert_eq!(names(&place.root()), [".postino", "lost+found"]);
}

#[test]
fn a_root_that_holds_something_is_served_unmarked_as_long_as_it_is_the_same() {
    let place = Place::new();
    fs::create_dir_all(place.root().join("bob")).unwrap();
    let store = store(&place, false);
    store.open().unwrap();
    assert_eq!(store.opening(), Some(Opening::Unmarked));
    assert_eq!(names(&place.root()), ["bob"]);
    deliver_to(&store, "alice").unwrap();

    let away = place.above().join("away");
    fs::rename(place.root(), &away).unwrap();
    assert_missing(&place, &store);
    fs::create_dir(place.root()).unwrap();
    assert_missing(&place, &store);
    fs::remove_dir(place.root()).unwrap();
    fs::rename(&away, place.root()).unwrap();
    deliver_to(&store, "alice").unwrap();
}

#[test]
fn where_the_marker_is_required_only_init_writes_it() {
    for root_exists in [false, true] {
        let place = Place::new();
        if root_exists {
            fs::create_dir_all(place.root()).unwrap();
        }
        let store = store(&place, true);
        let root = place.root().display().to_string();
        assert_eq!(
            missing(store.open()),
            format!(
                "{root} has no .postino marker (not mounted?); every recipient gets 451; only if it is new: postino init maildir:{root}"
            )
        );
        assert_missing(&place, &store);
        // As mounting does: it heals without another open.
        store.init(&[MailboxName::new("bob").unwrap()]).unwrap();
        deliver_to(&store, "alice").unwrap();
        store.open().unwrap();
        assert_eq!(store.opening(), Some(Opening::Marked));
    }
}

#[test]
fn a_marker_lost_while_running_makes_the_store_missing_until_it_is_back() {
    let place = Place::new();
    let store = store(&place, false);
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    let (marker, away) = (place.root().join(".postino"), place.above().join("away"));
    fs::rename(&marker, &away).unwrap();
    assert_missing(&place, &store);
    fs::rename(&away, &marker).unwrap();
    deliver_to(&store, "alice").unwrap();
    // Unmounted: the mount point is empty.
    fs::rename(place.root(), &away).unwrap();
    assert_missing(&place, &store);
    fs::create_dir(place.root()).unwrap();
    assert_missing(&place, &store);
    assert!(names(&place.root()).is_empty());
}

#[test]
fn a_root_without_any_mailbox_knows_nobody_missing() {
    let place = Place::new();
    let store = store(&place, false);
    store.open().unwrap();
    let alice = || mailbox("alice", IfMissing::Refuse);
    assert!(missing(store.admit(&alice(), None)).contains("holds no mailbox"));
    missing(deliver(&store, alice()));
    deliver_to(&store, "bob").unwrap();
    assert!(matches!(store.admit(&alice(), None), Err(DeliveryError::NoSuchMailbox)));
    assert!(matches!(deliver(&store, alice()), Err(DeliveryError::NoSuchMailbox)));
}

#[test]
fn a_domain_without_any_mailbox_knows_nobody_missing_either() {
    let place = Place::new();
    let store = place.store("/%d/%n", Arc::new(Kernel::new()));
    store.init(&[MailboxName::new("bob@full.example").unwrap()]).unwrap();
    store.open().unwrap();
    // A mount point whose disk is not there, and what is no mailbox.
    fs::create_dir(place.root().join("empty.example")).unwrap();
    fs::write(place.root().join("README"), "").unwrap();
    let ask = |name| store.admit(&mailbox(name, IfMissing::Refuse), None);
    assert!(missing(ask("alice@empty.example")).contains("empty.example holds no mailbox"));
    for unknown in ["alice@full.example", "alice@unknown.example"] {
        assert!(matches!(ask(unknown), Err(DeliveryError::NoSuchMailbox)), "{unknown}");
    }
    fs::remove_dir_all(place.root().join("full.example/bob")).unwrap();
    for unknown in ["alice@full.example", "alice@empty.example", "alice@unknown.example"] {
        missing(ask(unknown));
    }
}

#[test]
fn init_makes_root_marker_and_mailboxes_and_marks_a_root_that_holds_something() {
    let place = Place::new();
    let mailboxes = ["alice", "bob"].map(|name| MailboxName::new(name).unwrap());
    let deep = place.store("/a/b/%u", Arc::new(Kernel::new()));
    deep.init(&mailboxes).unwrap();
    assert_eq!(names(&place.root().join("a/b")), [".postino", "alice", "bob"]);
    assert_eq!(names(&place.root().join("a/b/bob")), ["cur", "new", "tmp"]);
    let marker = fs::read(place.root().join("a/b/.postino")).unwrap();
    deep.init(&[]).unwrap();
    assert_eq!(fs::read(place.root().join("a/b/.postino")).unwrap(), marker);

    let other = Place::new();
    fs::create_dir_all(other.root().join("carol/cur")).unwrap();
    let store = store(&other, true);
    missing(store.open());
    store.init(&[]).unwrap();
    assert_eq!(names(&other.root()), [".postino", "carol"]);
    store.open().unwrap();
}

#[test]
fn init_syncs_each_directory_that_it_makes_and_the_one_above() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.above()));
    let store = place.store("", files.clone());
    store.init(&[MailboxName::new("alice").unwrap()]).unwrap();
    let lines = files.take();
    for made in ["root", "root/alice", "root/alice/tmp", "root/alice/new", "root/alice/cur"] {
        let parent = made.rsplit_once('/').map_or(".", |(parent, _)| parent);
        let at = lines.iter().position(|line| *line == format!("make_dir {made}")).unwrap();
        for synced in [made, parent] {
            let wanted = format!("sync_dir {synced}");
            assert!(lines[at..].contains(&wanted), "no {wanted:?} after {made}: {lines:#?}");
        }
    }
}

#[test]
fn the_root_may_be_reached_by_a_symbolic_link() {
    let place = Place::new();
    let real: PathBuf = place.above().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, place.root()).unwrap();
    let store = store(&place, false);
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    assert_eq!(names(&real.join("alice/new")).len(), 1);
}
