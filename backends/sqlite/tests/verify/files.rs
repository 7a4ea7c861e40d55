//! Damage that is done to the files themselves.

use crate::{
    careless,
    common::{Place, deliver, mailbox},
    fill, verify,
};
use postino_store::{
    Finding,
    FindingKind::{Damage, Stray},
    Remedy, Repair,
};
use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    time::{Duration, SystemTime},
};

/// Overwrites the file itself, which nobody uses.
fn overwrite(place: &Place, at: u64, count: usize) {
    assert_eq!(place.names(), ["mail.db"], "the database is in use");
    let mut file = fs::File::options().write(true).open(place.path()).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&vec![0xa5; count]).unwrap();
}

#[test]
fn a_file_that_something_else_was_written_into_is_found_damaged_and_not_mended() {
    for (at, count, expected) in [
        (0, 100, "file is not a database"),
        (3 * 4096, 4096, "has a damaged structure"),
        (8 * 4096, 8 * 4096, "has a damaged structure"),
    ] {
        let place = Place::new();
        fill(&place);
        overwrite(&place, at, count);
        let before = fs::read(place.path()).unwrap();
        let (_, findings) = verify(&place, Repair::Yes);
        let is_found =
            findings.iter().any(|found| found.kind == Damage && found.what.contains(expected));
        assert!(is_found, "octets {at} to {}: {findings:#?}", at + count as u64);
        assert!(!findings.iter().any(|found| matches!(found.remedy, Remedy::Done(_))));
        assert!(fs::read(place.path()).unwrap() == before, "it was written");
    }
}

#[test]
fn an_index_that_does_not_fit_its_table_is_found() {
    let place = Place::new();
    fill(&place);
    let others = careless(&place.path());
    others
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '(body)', '(octets)')
                 WHERE name = 'messages_by_body';
             PRAGMA writable_schema = RESET",
        )
        .unwrap();
    drop(others);
    let others = careless(&place.path());
    others
        .execute_batch(
            "REINDEX messages_by_body;
             PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '(octets)', '(body)')
                 WHERE name = 'messages_by_body';
             PRAGMA writable_schema = RESET",
        )
        .unwrap();
    drop(others);
    let (_, findings) = verify(&place, Repair::No);
    let is_found = findings.iter().any(|found| found.what.contains("missing from index"));
    assert!(is_found, "{findings:#?}");
}

#[test]
fn files_that_others_can_reach_are_found() {
    let place = Place::new();
    fill(&place);
    let server = place.open();
    deliver(&server, mailbox("alice@example.org")).unwrap();
    let log = place.directory().join("mail.db-wal");
    let found = |expected: &str, kind| {
        let (_, findings) = verify(&place, Repair::Yes);
        let is_it = |found: &Finding| found.what.contains(expected) && found.kind == kind;
        assert!(findings.iter().any(is_it), "{expected}: {findings:#?}");
        assert_eq!(findings.len(), 1, "{findings:#?}");
    };
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    assert_eq!(verify(&place, Repair::Yes).1, []);
    for path in [&place.path(), &log] {
        mode(path, 0o644);
        found("is open to others than its owner (mode 0644)", Stray);
        mode(path, 0o600);
    }
    mode(place.directory(), 0o777);
    found("can be written by everybody (mode 0777)", Stray);
    mode(place.directory(), 0o700);
    let second = place.directory().join("second.db");
    fs::hard_link(place.path(), &second).unwrap();
    found("has 2 names", Stray);
    fs::remove_file(&second).unwrap();
    if chown(&log, Some(12_345), None).is_ok() {
        found("belongs to uid 12345", Damage);
        chown(&log, Some(0), None).unwrap();
    }
    assert_eq!(verify(&place, Repair::Yes).1, []);
}

#[test]
fn a_draft_that_a_killed_process_has_left_is_moved_away() {
    let place = Place::new();
    fill(&place);
    let draft = place.directory().join("mail.db.0123456789abcdef.new");
    fs::write(&draft, "draft").unwrap();
    fs::write(place.directory().join("mail.db.mine.new"), "mine").unwrap();
    assert_eq!(verify(&place, Repair::Yes).1, [], "somebody may be at it");
    let long_ago = SystemTime::now() - Duration::from_secs(7_200);
    for name in ["mail.db.0123456789abcdef.new", "mail.db.mine.new"] {
        let file = fs::File::options().write(true).open(place.directory().join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let (_, findings) = verify(&place, Repair::Yes);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(matches!(findings[0].remedy, Remedy::Done(_)), "{findings:#?}");
    assert!(!draft.exists() && findings[0].kind == Stray);
    let moved = place.directory().join(".postino-lost/mail.db.0123456789abcdef.new");
    assert_eq!(fs::read(moved).unwrap(), b"draft");
}
