//! Whether the database is there, and is ours: never a wrong 550, nothing made in
//! a store that is not there, nothing of others touched.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, assert_whole, deliver, foreign, known_mailbox, mailbox, number, octets, shared, spooled,
    store_at,
};
use postino_sqlite::Sqlite;
use postino_store::{DeliveryError, MailStore, MailboxName};
use rusqlite::Connection;
use std::{
    fmt::Debug,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Barrier,
    thread,
};

#[track_caller]
fn missing<T: Debug>(result: Result<T, DeliveryError>) -> String {
    match result {
        Err(DeliveryError::StoreMissing { what }) => what,
        other => panic!("expected a missing store: {other:?}"),
    }
}

#[track_caller]
fn misconfigured<T: Debug>(result: Result<T, DeliveryError>) -> String {
    match result {
        Err(error @ DeliveryError::Misconfigured(_)) => error.to_string(),
        other => panic!("expected a refusal: {other:?}"),
    }
}

fn assert_missing(place: &Place, store: &Sqlite) {
    let before = place.names();
    for mailbox in [mailbox("alice@example.org"), known_mailbox("alice@example.org")] {
        missing(store.admit(&mailbox, None));
        missing(deliver(store, mailbox));
    }
    missing(store.prepare(&shared(spooled(octets(1, 1 << 20))), &[]).map(|_| ()));
    store.upkeep();
    assert_eq!(place.names(), before, "something was made in a store that is not there");
}

#[test]
fn an_absent_or_empty_file_is_made_with_its_directories() {
    for is_empty in [false, true] {
        let place = Place::new();
        let deep = place.directory().join("a/b/mail.db");
        let path = if is_empty { place.path() } else { deep };
        if is_empty {
            fs::write(&path, "").unwrap();
        }
        let store = store_at(path.clone(), false);
        store.open().unwrap();
        assert!(store.notice().unwrap().contains("is a new database"));
        deliver(&store, mailbox("alice@example.org")).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let file = format!("{}{suffix}", path.display());
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{file}");
        }
        let database = foreign(&path);
        assert_eq!(number(&database, "PRAGMA application_id"), 0x7073_746e);
        assert_eq!(number(&database, "PRAGMA user_version"), 1);
        assert_eq!(number(&database, "PRAGMA page_size"), 4096);
        let mode: String = database.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert_eq!(store_at(path.clone(), false).notice(), None);
        let again = store_at(path, true);
        again.open().unwrap();
        assert_eq!(again.notice(), None);
    }
}

#[test]
fn where_the_marker_is_required_only_init_makes_it() {
    for is_empty in [false, true] {
        let place = Place::new();
        if is_empty {
            fs::write(place.path(), "").unwrap();
        }
        let store = store_at(place.path(), true);
        let path = place.path().display().to_string();
        assert_eq!(
            missing(store.open()),
            format!(
                "there is no database {path} (not mounted?); every recipient gets 451; only if it is new: postino init sqlite:{path}"
            )
        );
        assert_missing(&place, &store);
        // As mounting does: it heals without another open.
        store_at(place.path(), true).init(&[MailboxName::new("bob").unwrap()]).unwrap();
        deliver(&store, known_mailbox("bob")).unwrap();
        store.open().unwrap();
        assert_whole(&place.path());
    }
}

#[test]
fn no_database_is_made_beside_the_log_of_one_that_is_gone() {
    for suffix in ["-wal", "-journal"] {
        for is_empty in [false, true] {
            let place = Place::new();
            if is_empty {
                fs::write(place.path(), "").unwrap();
            }
            let log = format!("{}{suffix}", place.path().display());
            fs::write(&log, "some mail").unwrap();
            let before = place.names();
            let init = |store: &Sqlite| store.init(&[MailboxName::new("bob").unwrap()]);
            for text in [
                misconfigured(place.store().open()),
                misconfigured(init(&place.store())),
                misconfigured(init(&store_at(place.path(), true))),
            ] {
                let why = format!(
                    "there is a log without its database, {log}, which may hold mail: put the database back, or move the log away"
                );
                assert!(text.contains(&why), "{text}");
            }
            assert_missing(&place, &place.store());
            assert_eq!(place.names(), before);
            assert_eq!(fs::read(&log).unwrap(), b"some mail");
            // An empty one holds nothing.
            fs::write(&log, "").unwrap();
            deliver(&place.open(), mailbox("alice@example.org")).unwrap();
        }
    }
}

#[test]
fn mail_in_the_log_of_a_database_that_was_away_is_there_when_it_is_back() {
    let (place, away) = (Place::new(), Place::new());
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    // As a kill leaves the three.
    for name in ["mail.db", "mail.db-wal"] {
        fs::copy(place.directory().join(name), away.directory().join(name)).unwrap();
    }
    let aside = away.directory().join("aside");
    fs::rename(away.path(), &aside).unwrap();
    misconfigured(away.store().open());
    fs::rename(&aside, away.path()).unwrap();
    away.open();
    assert_eq!(number(&foreign(&away.path()), "SELECT count(*) FROM messages"), 1);
    assert_whole(&away.path());
}

#[test]
fn what_a_crash_left_of_a_making_is_no_hindrance() {
    let place = Place::new();
    fs::write(place.directory().join("mail.db.00c0ffee00c0ffee.new"), "half of it").unwrap();
    place.open();
    assert_eq!(place.names()[0], "mail.db");
}

#[test]
fn all_of_several_first_starts_at_once_use_one_database() {
    for round in 0..10 {
        let place = Place::new();
        if round % 2 == 1 {
            fs::write(place.path(), "").unwrap();
        }
        let start = Barrier::new(6);
        let stores: Vec<_> = thread::scope(|scope| {
            let starts: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let store = place.store();
                        start.wait();
                        store.open().map(|()| store)
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect()
        });
        assert_eq!(stores.iter().filter(|store| store.notice().is_some()).count(), 1);
        for store in &stores {
            deliver(store, mailbox("alice@example.org")).unwrap();
        }
        assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM messages"), 6);
        assert_whole(&place.path());
        drop(stores);
        assert_eq!(place.names(), ["mail.db"]);
    }
}

#[test]
fn a_database_that_is_gone_while_running_is_missing_until_it_is_back() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    store.upkeep();
    let files = ["mail.db", "mail.db-wal", "mail.db-shm"];
    let away = place.directory().join("away");
    fs::create_dir(&away).unwrap();
    for name in files {
        fs::rename(place.directory().join(name), away.join(name)).unwrap();
    }
    assert_missing(&place, &store);
    fs::write(place.path(), "").unwrap();
    assert_missing(&place, &store);
    fs::remove_file(place.path()).unwrap();
    for name in files {
        fs::rename(away.join(name), place.directory().join(name)).unwrap();
    }
    deliver(&store, mailbox("alice@example.org")).unwrap();
    assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM messages"), 2);
    assert_whole(&place.path());
}

#[test]
fn another_database_in_its_place_is_used_and_keeps_its_log() {
    let (place, other) = (Place::new(), Place::new());
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    let new = other.open();
    new.init(&[MailboxName::new("bob").unwrap()]).unwrap();
    for name in ["mail.db", "mail.db-wal", "mail.db-shm"] {
        fs::rename(other.directory().join(name), place.directory().join(name)).unwrap();
    }
    assert!(matches!(
        deliver(&store, known_mailbox("alice@example.org")),
        Err(DeliveryError::NoSuchMailbox)
    ));
    deliver(&store, known_mailbox("bob")).unwrap();
    assert_whole(&place.path());
}

#[test]
fn a_database_without_any_mailbox_knows_nobody_missing() {
    let place = Place::new();
    let store = place.open();
    let alice = || known_mailbox("alice@example.org");
    assert!(missing(store.admit(&alice(), None)).contains("holds no mailbox"));
    missing(deliver(&store, alice()));
    deliver(&store, mailbox("bob@example.org")).unwrap();
    assert!(matches!(store.admit(&alice(), None), Err(DeliveryError::NoSuchMailbox)));
    assert!(matches!(deliver(&store, alice()), Err(DeliveryError::NoSuchMailbox)));
}

#[test]
fn a_database_that_is_not_postinos_is_refused_and_not_touched() {
    let foreign_tables = "CREATE TABLE t (a); INSERT INTO t VALUES (1);";
    for (make, why) in [
        (foreign_tables.to_owned(), "it is not postino's (application_id 0,"),
        (format!("{foreign_tables} PRAGMA application_id = 7"), "(application_id 7,"),
        (
            format!("{foreign_tables} PRAGMA application_id = 1886614638; PRAGMA user_version = 9"),
            "a newer postino made it (schema version 9, this one knows 1)",
        ),
        (
            format!("{foreign_tables} PRAGMA application_id = 1886614638"),
            "its schema has no version that postino has made",
        ),
        (
            format!("{foreign_tables} PRAGMA application_id = 1886614638; PRAGMA user_version = 1"),
            "the table \"t\" is not postino's",
        ),
    ] {
        let place = Place::new();
        Connection::open(place.path()).unwrap().execute_batch(&make).unwrap();
        let before = fs::read(place.path()).unwrap();
        for require_marker in [false, true] {
            let store = store_at(place.path(), require_marker);
            for result in [
                store.open(),
                store.init(&[MailboxName::new("bob").unwrap()]),
                store.admit(&mailbox("alice@example.org"), None),
                deliver(&store, mailbox("alice@example.org")).map(drop),
            ] {
                let text = misconfigured(result);
                assert!(text.contains(why), "{text}");
            }
        }
        assert_eq!(fs::read(place.path()).unwrap(), before);
        assert_eq!(place.names(), ["mail.db"]);
    }
}

#[test]
fn a_foreign_database_with_a_log_is_not_recovered() {
    let place = Place::new();
    let other = Connection::open(place.path()).unwrap();
    other
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        .unwrap();
    let names = place.names();
    misconfigured(place.store().open());
    assert_eq!(place.names(), names);
    drop(other);
}

#[test]
fn what_is_no_database_at_all_is_refused() {
    let place = Place::new();
    fs::write(place.path(), "From me to you\n".repeat(1_000)).unwrap();
    let error = place.store().open().unwrap_err();
    assert!(matches!(error, DeliveryError::Io(_)), "{error:?}");
    assert!(error.to_string().contains("file is not a database"), "{error}");
    fs::remove_file(place.path()).unwrap();
    fs::create_dir(place.path()).unwrap();
    assert!(misconfigured(place.store().open()).contains("it is no regular file"));
}

#[test]
fn the_database_may_be_reached_by_symbolic_links() {
    let place = Place::new();
    fs::create_dir(place.directory().join("real")).unwrap();
    symlink("real", place.directory().join("link")).unwrap();
    let store = store_at(place.directory().join("link/mail.db"), false);
    store.open().unwrap();
    symlink("real/mail.db", place.path()).unwrap();
    deliver(&place.open(), mailbox("alice@example.org")).unwrap();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    assert_eq!(
        number(&foreign(&place.directory().join("real/mail.db")), "SELECT count(*) FROM messages"),
        2
    );
}

#[test]
fn a_path_with_any_characters_is_a_path() {
    let place = Place::new();
    let path = place.directory().join("a?b#c%41&mode=ro ü.db");
    let store = store_at(path.clone(), false);
    store.open().unwrap();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    assert_whole(&path);
}

#[test]
fn it_tells_its_room_and_its_directory() {
    let place = Place::new();
    let store = place.store();
    assert_eq!(store.directory(), place.directory());
    assert_eq!(store_at("mail.db".into(), false).directory(), std::path::Path::new("."));
    let room = store.room().unwrap().unwrap();
    assert!(room.octets >= room.octets_free && room.octets > 0);
}
