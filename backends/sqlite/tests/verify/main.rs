//! Each kind of damage is found, nothing in a database that is as it should be, and
//! mending loses no octet.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod damages;
mod files;

use common::{
    Place, assert_whole, deliver, deliver_prepared, foreign, mailbox, number, octets, shared,
    spooled,
};
use damages::{
    DAMAGES,
    Then::{Lost, Mended},
};
use postino_store::{
    DeliveryError, Finding, FindingKind::Damage, MailStore, Remedy, Repair, Verified,
};
use rusqlite::{Connection, config::DbConfig};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// Mail of each kind: a small body that two share, one of two parts and more, and a
/// small one of one message. Bodies 1, 2 and 3.
fn fill(place: &Place) {
    let store = place.open();
    for (who, seed, count) in
        [("alice", 1, 1_000), ("bob", 1, 1_000), ("alice", 2, 300_000), ("bob", 3, 70)]
    {
        let who = mailbox(&format!("{who}@example.org"));
        deliver_prepared(&store, who, spooled(octets(seed, count))).unwrap();
    }
}

/// A connection that does not run the triggers.
fn careless(path: &Path) -> Connection {
    let connection = foreign(path);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    connection
}

fn verify(place: &Place, repair: Repair) -> (Verified, Vec<Finding>) {
    let mut findings = Vec::new();
    let store = place.store();
    let verified = store.reader().unwrap().verify(repair, &mut |finding| findings.push(finding));
    (verified.unwrap(), findings)
}

/// What the database and the files beside it hold: the octets of each body.
fn contents(place: &Place) -> BTreeSet<Vec<u8>> {
    let database = foreign(&place.path());
    let mut numbers = database.prepare("SELECT id FROM bodies UNION SELECT body FROM body_parts");
    let numbers = numbers.as_mut().unwrap().query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let mut contents = BTreeSet::new();
    for id in numbers.map(Result::unwrap) {
        let mut octets: Vec<u8> = Vec::new();
        for query in [
            "SELECT CAST(content AS BLOB) FROM bodies WHERE id = ?1 AND content IS NOT NULL",
            "SELECT CAST(content AS BLOB) FROM body_parts WHERE body = ?1 ORDER BY part",
        ] {
            let mut statement = database.prepare(query).unwrap();
            let found = statement.query_map([id], |row| row.get::<_, Vec<u8>>(0)).unwrap();
            found.for_each(|each| octets.extend(each.unwrap()));
        }
        contents.insert(octets);
    }
    for entry in fs::read_dir(place.directory().join(".postino-lost")).into_iter().flatten() {
        contents.insert(fs::read(entry.unwrap().path()).unwrap());
    }
    contents
}

/// The messages that can be found in some mailbox.
fn messages(place: &Place) -> i64 {
    number(
        &foreign(&place.path()),
        "SELECT count(*) FROM messages m JOIN mailboxes b ON b.id = m.mailbox",
    )
}

#[test]
fn each_damage_is_found_and_mending_loses_no_octet() {
    for (name, damage, kind, at, what, then) in DAMAGES {
        let place = Place::new();
        fill(&place);
        assert_eq!(verify(&place, Repair::Yes).1, [], "before {name}");
        careless(&place.path()).execute_batch(damage).unwrap_or_else(|e| panic!("{name}: {e}"));
        let is_it = |finding: &Finding| {
            let database = place.path().display().to_string();
            let is_there = finding.place.starts_with(if at.is_empty() { &database } else { *at });
            is_there && finding.what.contains(what) && finding.kind == *kind
        };
        let before = contents(&place);
        let found_messages = messages(&place);
        let (_, looked) = verify(&place, Repair::No);
        let found: Vec<_> = looked.iter().filter(|finding| is_it(finding)).collect();
        assert!(!found.is_empty(), "{name}: {looked:#?}");
        assert!(!found[0].advice.is_empty());
        let is_possible = matches!(found[0].remedy, Remedy::Possible(_));
        assert_eq!(is_possible, *then == Mended, "{name}: {found:?}");
        assert!(contents(&place) == before, "{name}: looking has changed it");
        let (_, mended) = verify(&place, Repair::Yes);
        let after = contents(&place);
        assert!(before.is_subset(&after), "{name}: octets are lost");
        assert!(messages(&place) >= found_messages, "{name}: messages are lost");
        let (_, again) = verify(&place, Repair::No);
        if *then == Mended {
            let remedy = &mended.iter().find(|finding| is_it(finding)).unwrap().remedy;
            assert!(matches!(remedy, Remedy::Done(_)), "{name}: {remedy:?}");
            assert!(!again.iter().any(is_it), "{name}: {again:#?}");
        } else if *then == Lost {
            let remedy = &mended.iter().find(|finding| is_it(finding)).unwrap().remedy;
            let Remedy::Failed { cause, .. } = remedy else { panic!("{name}: {remedy:?}") };
            assert!(cause.starts_with("it is lost; kept a copy in "), "{name}: {cause}");
            let (_, still) = verify(&place, Repair::Yes);
            for found in [again, still, verify(&place, Repair::No).1] {
                assert_eq!(found.len(), 1, "{name}: {found:#?}");
                assert!(found[0].what.starts_with("does not hold what was stored: "), "{name}");
                assert_eq!((found[0].kind, &found[0].remedy), (Damage, &Remedy::Nothing), "{name}");
            }
        } else {
            assert!(again.iter().any(is_it), "{name}: {again:#?}");
        }
    }
}

#[test]
fn what_is_mended_whole_is_found_whole_again() {
    for name in [
        "a part is cut otherwise",
        "a body has content and parts",
        "a body has another content beside its parts",
        "a body has other parts beside its content",
        "a body's size is wrong",
        "a body of messages has no digest",
        "a body belongs to nobody",
        "a small body belongs to nobody",
        "a delivery of long ago has left a body",
        "parts of no body",
        "a body's row is missing",
        "a message's mailbox is missing",
        "a message's size is wrong",
        "a mailbox's counters are wrong",
    ] {
        let place = Place::new();
        fill(&place);
        let (_, damage, ..) = DAMAGES.iter().find(|case| case.0 == name).unwrap();
        careless(&place.path()).execute_batch(damage).unwrap();
        verify(&place, Repair::Yes);
        assert_eq!(verify(&place, Repair::No).1, [], "{name}");
        assert_whole(&place.path());
    }
}

#[test]
fn a_damaged_body_does_not_swallow_new_mail_once_it_is_mended() {
    let place = Place::new();
    fill(&place);
    careless(&place.path())
        .execute_batch("UPDATE body_parts SET content = zeroblob(65536) WHERE part = 2")
        .unwrap();
    verify(&place, Repair::Yes);
    let store = place.open();
    let body = octets(2, 300_000);
    let id = deliver_prepared(&store, mailbox("bob@example.org"), spooled(body.clone())).unwrap();
    let stored = common::message(&foreign(&place.path()), id.as_str());
    assert!(stored.ends_with(&body), "new mail was stored as the damaged one");
}

#[test]
fn a_damaged_body_is_still_its_messages_after_a_repair_and_sound_once_it_is_restored() {
    let place = Place::new();
    fill(&place);
    let wrong = "UPDATE body_parts SET content = zeroblob(65536) WHERE part = 2";
    careless(&place.path()).execute_batch(wrong).unwrap();
    verify(&place, Repair::Yes);
    // The start of a server removes bodies that it takes for broken off.
    drop(place.open());
    let database = foreign(&place.path());
    let id: String =
        database.query_row("SELECT id FROM messages WHERE body = 2", [], |row| row.get(0)).unwrap();
    let (whole, at) = (octets(2, 300_000), 2 * 65_536);
    let mut damaged = whole.clone();
    damaged[at..at + 65_536].fill(0);
    assert!(common::message(&database, &id).ends_with(&damaged));
    let store = place.store();
    let reader = store.reader().unwrap();
    let alice = postino_store::MailboxName::new("alice@example.org").unwrap();
    let mut read = Vec::new();
    let found = reader.find(&alice, &id).unwrap();
    let opened = reader.open(&alice, &found).unwrap();
    std::io::Read::read_to_end(&mut opened.body.reader(), &mut read).unwrap();
    assert!(read.ends_with(&damaged));
    database
        .execute(
            "UPDATE body_parts SET content = ?1 WHERE body = 2 AND part = 2",
            [&whole[at..at + 65_536]],
        )
        .unwrap();
    drop(database);
    let (_, found) = verify(&place, Repair::Yes);
    assert!(matches!(found[0].remedy, Remedy::Done(_)), "{found:?}");
    assert_eq!(verify(&place, Repair::No).1, []);
    assert_whole(&place.path());
}

#[test]
fn what_is_taken_out_lies_beside_for_its_owner_alone_and_overwrites_nothing() {
    let place = Place::new();
    fill(&place);
    let lost = place.directory().join(".postino-lost");
    for _ in 0..2 {
        careless(&place.path())
            .execute_batch("INSERT INTO body_parts (body, part, content) VALUES (99, 0, 'text')")
            .unwrap();
        let (_, mended) = verify(&place, Repair::Yes);
        let is_new = |path: &PathBuf| fs::read(path).unwrap() != b"kept";
        let mut files = fs::read_dir(&lost).unwrap().map(|entry| entry.unwrap().path());
        let path = files.find(is_new).unwrap();
        assert_eq!(
            mended[0].remedy,
            Remedy::Done(format!("kept a copy in {} and removed them", path.display()))
        );
        assert_eq!(fs::read(&path).unwrap(), b"text");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::write(&path, "kept").unwrap();
    }
    assert_eq!(fs::read(lost.join("mail.db-body-99")).unwrap(), b"kept");
    assert_eq!(fs::metadata(&lost).unwrap().permissions().mode() & 0o7777, 0o700);
    // Where it cannot be kept nothing is taken out.
    fs::remove_dir_all(&lost).unwrap();
    fs::create_dir(&lost).unwrap();
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o777)).unwrap();
    careless(&place.path())
        .execute_batch("INSERT INTO body_parts (body, part, content) VALUES (99, 0, 'text')")
        .unwrap();
    let fails = || {
        let (_, failed) = verify(&place, Repair::Yes);
        assert!(matches!(failed[0].remedy, Remedy::Failed { .. }), "{failed:?}");
    };
    fails();
    assert_eq!(fs::read_dir(&lost).unwrap().count(), 0, "others could read it");
    fs::remove_dir(&lost).unwrap();
    symlink("/tmp", &lost).unwrap();
    fails();
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT count(*) FROM body_parts WHERE body = 99"), 1);
}

#[track_caller]
fn is_locked(error: &DeliveryError) -> bool {
    assert!(matches!(error, DeliveryError::Locked { .. }), "{error}");
    true
}

#[test]
fn nothing_is_found_while_mail_is_delivered_and_removed() {
    let place = Place::new();
    fill(&place);
    let server = place.open();
    let (is_over, delivered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 10.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // A body that later ones overtake, and that is given up.
                let message = shared(spooled(octets(seed + 1_000_000, 600_000)));
                let prepared = server.prepare(&message, &[]).unwrap();
                let who = mailbox("alice@example.org");
                // As the pool does, where somebody else writes just now.
                let large = || spooled(octets(seed, 400_000));
                while deliver_prepared(&server, who.clone(), large())
                    .is_err_and(|error| is_locked(&error))
                {}
                while deliver(&server, who.clone()).is_err_and(|error| is_locked(&error)) {}
                drop(prepared);
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            let others = foreign(&place.path());
            others.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                others
                    .execute(
                        "DELETE FROM messages WHERE id IN (SELECT id FROM messages
                             WHERE octets > 100 ORDER BY random() LIMIT 1)",
                        [],
                    )
                    .unwrap();
            }
        });
        let checked = std::panic::catch_unwind(|| {
            while delivered.load(Ordering::Relaxed) < 40 {
                assert_eq!(verify(&place, Repair::Yes).1, []);
            }
        });
        is_over.store(true, Ordering::Relaxed);
        checked.unwrap();
    });
    assert_whole(&place.path());
}
