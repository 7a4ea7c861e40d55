//! The rules of the root hold for this store too: a disk that is not mounted is
//! 451, never 550, and what is made is durable.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, deliver, deliver_to, mailbox, names, walk};
use postino_files::{Kernel, testing::Recording};
use postino_mbox::{Mbox, Opening, Options};
use postino_store::{DeliveryError, IfMissing, MailStore, MailboxName};
use std::{fs, sync::Arc};

fn missing<T: std::fmt::Debug>(result: Result<T, DeliveryError>) -> String {
    match result {
        Err(DeliveryError::StoreMissing { what }) => what,
        other => panic!("not StoreMissing: {other:?}"),
    }
}

fn assert_missing(place: &Place, store: &Mbox) {
    let before = walk(place.above());
    for if_missing in [IfMissing::Create, IfMissing::Refuse] {
        missing(store.admit(&mailbox("alice", if_missing), None));
        missing(deliver(store, mailbox("alice", if_missing)));
    }
    assert_eq!(walk(place.above()), before, "something was made in a store that is not there");
}

#[test]
fn an_absent_root_is_made_and_a_lost_marker_makes_the_store_missing() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(store.opening(), Some(Opening::Fresh));
    assert!(store.notice().unwrap().contains(".postino"));
    deliver_to(&store, "alice").unwrap();
    let (marker, away) = (place.root().join(".postino"), place.above().join("away"));
    fs::rename(&marker, &away).unwrap();
    assert_missing(&place, &store);
    fs::rename(&away, &marker).unwrap();
    deliver_to(&store, "alice").unwrap();
    fs::rename(place.root(), &away).unwrap();
    fs::create_dir(place.root()).unwrap();
    assert_missing(&place, &store);
}

#[test]
fn where_the_marker_is_required_only_init_writes_it() {
    let place = Place::new();
    let options = Options { require_marker: true, ..Options::default() };
    let store = place.store_with("", Arc::new(Kernel::new()), options);
    let root = place.root().display().to_string();
    assert!(missing(store.open()).ends_with(&format!("postino init mbox:{root}")));
    assert_missing(&place, &store);
    store.init(&[MailboxName::new("bob").unwrap()]).unwrap();
    assert_eq!(names(&place.root()), [".postino", "bob"]);
    deliver_to(&store, "alice").unwrap();
    deliver(&store, mailbox("bob", IfMissing::Refuse)).unwrap();
}

#[test]
fn a_store_or_domain_without_any_mailbox_is_missing_and_knows_nobody_unknown() {
    let place = Place::new();
    let store = place.store_with("/%d/%n", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    let ask = |name| store.admit(&mailbox(name, IfMissing::Refuse), None);
    missing(ask("alice@full.example"));
    fs::create_dir_all(place.root().join("empty.example")).unwrap();
    fs::write(place.root().join("empty.example/README"), "no mailbox").unwrap();
    fs::write(place.root().join("empty.example/carol.lock"), "").unwrap();
    store.init(&[MailboxName::new("bob@full.example").unwrap()]).unwrap();
    assert!(missing(ask("alice@empty.example")).contains("empty.example holds no mailbox"));
    for unknown in ["alice@full.example", "alice@unknown.example"] {
        assert!(matches!(ask(unknown), Err(DeliveryError::NoSuchMailbox)), "{unknown}");
    }
    fs::remove_file(place.root().join("full.example/bob")).unwrap();
    for unknown in ["alice@full.example", "alice@unknown.example"] {
        missing(ask(unknown));
    }
}

#[test]
fn names_are_synced_up_to_the_root_once_a_process() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store_with("/%d/%n", files.clone(), Options::default());
    store.open().unwrap();
    let synced = |store: &Mbox| {
        files.take();
        deliver_to(store, "alice@example.org").unwrap();
        let lines = files.take().into_iter();
        lines.filter(|line| line.starts_with("sync")).collect::<Vec<_>>()
    };
    let all = ["sync_file example.org/alice", "sync_dir example.org", "sync_dir ."];
    assert_eq!(synced(&store), all);
    assert_eq!(synced(&store), all[..1]);
    // Another file, as a reader makes it that removes messages.
    fs::remove_file(place.root().join("example.org/alice")).unwrap();
    assert_eq!(synced(&store), all);
    let other = place.store_with("/%d/%n", files.clone(), Options::default());
    assert_eq!(synced(&other), all);

    files.take();
    store.init(&[MailboxName::new("bob@example.net").unwrap()]).unwrap();
    let lines = files.take();
    for wanted in ["sync_file example.net/bob", "sync_dir example.net", "sync_dir ."] {
        assert!(lines.iter().any(|line| line == wanted), "no {wanted}: {lines:#?}");
    }
}

#[test]
fn the_room_is_told() {
    let place = Place::new();
    let room = place.open().room().unwrap().unwrap();
    assert!(room.octets >= room.octets_free && room.octets_free > 0);
}
