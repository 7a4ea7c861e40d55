//! Reading what is stored, while others write to the database.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{HEADER, Place, deliver, deliver_prepared, deliveries, foreign, mailbox, number};
use common::{octets, shared, spooled};
use postino_sqlite::Sqlite;
use postino_store::{
    Body, DeliveryError, Flags, MailReader, MailStore, MailboxName, MessageInfo, ReadError,
};
use std::{
    fs,
    io::{self, Read},
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    process::Command,
};

fn reader(store: &Sqlite) -> &dyn MailReader {
    store.reader().unwrap()
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

/// Whether the log can be emptied: nobody reads.
fn nobody_reads(place: &Place) -> bool {
    number(&foreign(&place.path()), "PRAGMA wal_checkpoint(TRUNCATE)") == 0
}

fn listed(store: &Sqlite, mailbox: &str) -> Vec<MessageInfo> {
    let mut all = Vec::new();
    let visited = reader(store).messages(&name(mailbox), &mut |found| {
        all.push(found.unwrap());
        ControlFlow::Continue(())
    });
    visited.unwrap();
    all
}

#[test]
fn a_long_mailbox_is_listed_whole_and_nothing_is_held_meanwhile() {
    let place = Place::new();
    let server = place.open();
    let message = shared(Body::in_memory(b"text\r\n".to_vec()));
    for _ in 0..5 {
        let (batch, _) = deliveries(&message, &vec![mailbox("alice@example.org"); 230]);
        server.deliver_batch(&batch);
    }
    deliver(&server, mailbox("bob@example.org")).unwrap();
    // As a command does it: of another process, and without `open`.
    let store = place.store();
    let mut ids = Vec::new();
    let visited = reader(&store).messages(&name("alice@example.org"), &mut |found| {
        if ids.len().is_multiple_of(200) {
            assert!(nobody_reads(&place), "the listing reads at message {}", ids.len());
            deliver(&server, mailbox("bob@example.org")).unwrap();
        }
        ids.push(found.unwrap().id.to_string());
        ControlFlow::Continue(())
    });
    visited.unwrap();
    assert_eq!(ids.len(), 1_150);
    assert!(ids.is_sorted_by(|one, next| one < next), "some are listed twice or out of order");
    let counted = reader(&store).contents(&name("alice@example.org")).unwrap();
    assert_eq!((counted.messages, counted.octets), (1_150, 1_150 * (HEADER.len() as u64 + 6)));
}

#[test]
fn mailboxes_of_several_pages_are_listed_by_their_octets_and_impossible_ones_told() {
    let place = Place::new();
    let store = place.open();
    let mut names: Vec<_> = (0..600).map(|n| format!("{}@example.org", n * 7919 % 600)).collect();
    names.extend(["é@example.org", "Z@example.org", "a"].map(str::to_owned));
    store.init(&names.iter().map(|text| name(text)).collect::<Vec<_>>()).unwrap();
    foreign(&place.path())
        .execute_batch(
            "INSERT INTO mailboxes (name) VALUES ('../x'), (CAST(x'ff00' AS TEXT)), (x'00'), ('')",
        )
        .unwrap();
    let (mut found, mut strays) = (Vec::new(), Vec::new());
    let visited = reader(&store).mailboxes(&mut |each| {
        match each {
            Ok(name) => found.push(name.to_string()),
            Err(stray) => strays.push(stray),
        }
        ControlFlow::Continue(())
    });
    visited.unwrap();
    names.sort();
    assert_eq!(found, names);
    assert_eq!(strays.len(), 4, "{strays:?}");
    assert!(strays.iter().all(|stray| stray.path == place.path()));
}

#[test]
fn a_large_message_is_read_piece_by_piece_and_nothing_is_held_meanwhile() {
    let place = Place::new();
    let server = place.open();
    for count in [0, 1, 65_536 - HEADER.len(), 65_536, 200_000, 262_144, 262_145, 20 << 20] {
        let body = octets(count as u64, count);
        let id = deliver_prepared(&server, mailbox("alice@example.org"), spooled(body.clone()));
        let store = place.store();
        let alice = name("alice@example.org");
        let found = reader(&store).find(&alice, id.unwrap().as_str()).unwrap();
        assert_eq!(found.octets, (HEADER.len() + count) as u64);
        let open = reader(&store).open(&alice, &found).unwrap();
        assert_eq!(open.info, found);
        assert_eq!(open.reverse_path.as_deref(), Some("s@example.net"));
        assert_eq!(open.recipient.as_deref(), Some("alice@example.org"));
        assert_eq!(open.body.len(), found.octets);
        let mut read = open.body.reader();
        let mut all = vec![0; HEADER.len().min(100)];
        read.read_exact(&mut all).unwrap();
        assert!(nobody_reads(&place), "a message of {count} octets holds the database");
        deliver(&server, mailbox("bob@example.org")).unwrap();
        read.read_to_end(&mut all).unwrap();
        assert!(all == [HEADER, &body].concat(), "{count} octets read otherwise");
    }
}

#[test]
fn a_message_that_is_removed_under_its_reader_is_an_error() {
    for count in [200_000, 1 << 20] {
        let place = Place::new();
        let server = place.open();
        let alice = mailbox("alice@example.org");
        let id = deliver_prepared(&server, alice.clone(), spooled(octets(1, count))).unwrap();
        let store = place.store();
        let found = reader(&store).find(alice.name(), id.as_str()).unwrap();
        let open = reader(&store).open(alice.name(), &found).unwrap();
        let mut read = open.body.reader();
        read.read_exact(&mut vec![0; 70_000]).unwrap();
        foreign(&place.path()).execute("DELETE FROM messages", []).unwrap();
        // Another one of the same size must not be taken for it.
        deliver_prepared(&server, alice.clone(), spooled(octets(2, count))).unwrap();
        let error = read.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("was removed while it was read"), "{error}");
        assert!(matches!(reader(&store).open(alice.name(), &found), Err(ReadError::NoSuchMessage)));
    }
}

#[test]
fn a_damaged_message_is_told_and_never_read_as_whole() {
    let place = Place::new();
    let store = place.open();
    let alice = mailbox("alice@example.org");
    let large = deliver_prepared(&store, alice.clone(), spooled(octets(1, 1 << 20))).unwrap();
    let small = deliver(&store, alice.clone()).unwrap();
    let others = foreign(&place.path());
    others
        .execute_batch(
            "UPDATE body_parts SET content = substr(content, 2) WHERE part = 3;
             UPDATE bodies SET content = 'x' WHERE content IS NOT NULL",
        )
        .unwrap();
    let found = reader(&store).find(alice.name(), large.as_str()).unwrap();
    let open = reader(&store).open(alice.name(), &found).unwrap();
    let error = open.body.reader().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    let found = reader(&store).find(alice.name(), small.as_str()).unwrap();
    let refused = reader(&store).open(alice.name(), &found).unwrap_err();
    assert!(matches!(refused, ReadError::Damaged { .. }), "{refused}");
    others.execute_batch("DELETE FROM bodies WHERE content IS NOT NULL").unwrap();
    let refused = reader(&store).open(alice.name(), &found).unwrap_err();
    assert!(refused.to_string().contains("has lost its body"), "{refused}");
}

#[test]
fn a_message_is_found_in_its_own_mailbox_alone() {
    let place = Place::new();
    let store = place.open();
    let id = deliver(&store, mailbox("alice@example.org")).unwrap();
    deliver(&store, mailbox("bob@example.org")).unwrap();
    let found = reader(&store).find(&name("alice@example.org"), id.as_str()).unwrap();
    let elsewhere = [
        reader(&store).find(&name("bob@example.org"), id.as_str()).map(drop),
        reader(&store).open(&name("bob@example.org"), &found).map(drop),
        reader(&store).remove(&name("bob@example.org"), &found),
    ];
    for result in elsewhere {
        assert!(matches!(result, Err(ReadError::NoSuchMessage)), "{result:?}");
    }
    let nowhere = reader(&store).find(&name("nobody@example.org"), id.as_str());
    assert!(matches!(nowhere, Err(ReadError::Store(DeliveryError::NoSuchMailbox))));
    assert_eq!(listed(&store, "alice@example.org"), [found]);
}

#[test]
fn flags_are_those_of_the_row_as_far_as_they_are_known() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    let flags = || listed(&store, "alice@example.org").remove(0).flags;
    assert_eq!(flags(), Some(Flags::default()));
    foreign(&place.path()).execute("UPDATE messages SET flags = 'SFx'", []).unwrap();
    assert_eq!(flags(), Some(Flags::from_letters("FS")));
}

#[test]
fn reading_makes_no_database_and_changes_none() {
    let place = Place::new();
    let missing = |error: ReadError| {
        assert!(matches!(error, ReadError::Store(DeliveryError::StoreMissing { .. })), "{error}");
    };
    let store = place.store();
    missing(reader(&store).mailboxes(&mut |_| ControlFlow::Continue(())).unwrap_err());
    missing(reader(&store).identity().unwrap_err());
    missing(reader(&store).verify(postino_store::Repair::Yes, &mut |_| {}).unwrap_err());
    assert!(place.names().is_empty(), "{:?}", place.names());
    let server = place.open();
    deliver(&server, mailbox("alice@example.org")).unwrap();
    drop(server);
    for mode in ["WAL", "DELETE"] {
        let others = foreign(&place.path());
        others.pragma_update(None, "journal_mode", mode).unwrap();
        drop(others);
        let before = fs::read(place.path()).unwrap();
        let store = place.store();
        assert_eq!(listed(&store, "alice@example.org").len(), 1);
        assert_eq!(
            reader(&store).verify(postino_store::Repair::No, &mut |_| {}).unwrap().messages,
            1
        );
        drop(store);
        assert_eq!(place.names(), ["mail.db"], "{mode}");
        assert!(fs::read(place.path()).unwrap() == before, "{mode}: it was changed");
    }
}

/// No test of its own: what the next one starts as another user.
#[test]
fn child() {
    let Some(path) = std::env::var_os("POSTINO_SQLITE_READ") else { return };
    let store = common::store_at(path.into(), false);
    let refused = reader(&store).mailboxes(&mut |_| ControlFlow::Continue(())).unwrap_err();
    println!("refused: {refused}");
}

#[test]
fn who_lacks_the_rights_is_told_so() {
    let place = Place::new();
    place.open();
    let program = place.directory().join("program");
    // Not by this process: a child that another test starts just then would hold the
    // copy open for writing, and it could not be run.
    assert!(
        Command::new("cp")
            .arg(std::env::current_exe().unwrap())
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    fs::set_permissions(place.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    for mode in [0o600, 0o644] {
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        let run = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .args(["--exact", "child", "--nocapture"])
            .env("POSTINO_SQLITE_READ", place.path())
            .output();
        let Ok(output) = run else { return };
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() && !said.contains("running") {
            return; // not root, who alone can become another user
        }
        assert!(said.contains("a reader's rights"), "{mode:o}: {output:?}");
        assert_eq!(place.names(), ["mail.db", "program"]);
    }
}

#[test]
fn a_store_is_the_same_by_whichever_path_it_is_reached() {
    let (place, other) = (Place::new(), Place::new());
    place.open();
    other.open();
    let link = place.directory().join("link.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let identity = |store: &Sqlite| reader(store).identity().unwrap();
    assert_eq!(identity(&place.store()), identity(&common::store_at(link, false)));
    assert_ne!(identity(&place.store()), identity(&other.store()));
}
