//! Removing messages and mailboxes: what is left is what the triggers leave.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, assert_whole, commits_in_log, deliver, deliver_prepared, deliveries, foreign, mailbox,
    number, octets, shared, spooled,
};
use postino_store::{Body, DeliveryError, MailStore, MailboxName, ReadError};
use rusqlite::{Connection, types::Value};
use std::{fs, ops::ControlFlow};

fn name(text: &str) -> MailboxName {
    MailboxName::new(text).unwrap()
}

/// Every row of every table.
fn rows(connection: &Connection) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for table in ["mailboxes", "messages", "bodies", "body_parts"] {
        let mut statement =
            connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = statement.column_count();
        let found = statement.query_map([], |row| {
            (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>()
        });
        rows.extend(found.unwrap().map(Result::unwrap));
    }
    rows
}

/// Mail of all kinds: shared and not, small, in parts, in many parts.
fn fill(place: &Place) -> Vec<(String, String)> {
    let store = place.open();
    let mut ids = Vec::new();
    for (who, seed, count) in [
        ("alice", 1, 100),
        ("alice", 2, 400_000),
        ("bob", 2, 400_000),
        ("bob", 1, 100),
        ("alice", 3, 6 << 20),
        ("alice", 4, 0),
        ("carol", 5, 300_000),
        ("carol", 1, 100),
        ("carol", 6, 7_000),
    ] {
        let who = format!("{who}@example.org");
        let body = spooled(octets(seed, count));
        let id = deliver_prepared(&store, mailbox(&who), body).unwrap();
        ids.push((who, id.to_string()));
    }
    ids
}

#[test]
fn removing_leaves_what_the_triggers_leave() {
    let (own, theirs) = (Place::new(), Place::new());
    let ids = fill(&own);
    fs::copy(own.path(), theirs.path()).unwrap();
    let (ours, others) = (foreign(&own.path()), foreign(&theirs.path()));
    assert!(rows(&ours) == rows(&others));
    let store = own.store();
    let reader = store.reader().unwrap();
    for (who, id) in ids.iter().filter(|(who, _)| who != "carol@example.org") {
        let found = reader.find(&name(who), id).unwrap();
        reader.remove(&name(who), &found).unwrap();
        others.execute("DELETE FROM messages WHERE id = ?1", [id]).unwrap();
        assert!(rows(&ours) == rows(&others), "after {id}");
        assert_whole(&own.path());
    }
    reader.remove_mailbox(&name("carol@example.org")).unwrap();
    others.execute("DELETE FROM mailboxes WHERE name = 'carol@example.org'", []).unwrap();
    assert!(rows(&ours) == rows(&others), "after the mailbox");
    assert_eq!(number(&ours, "SELECT count(*) FROM bodies"), 0);
    assert_whole(&own.path());
}

#[test]
fn a_mailbox_of_many_messages_goes_in_several_transactions_each_of_them_whole() {
    let place = Place::new();
    let store = place.open();
    let message = shared(Body::in_memory(b"text\r\n".to_vec()));
    for name in ["alice@example.org", "bob@example.org"] {
        let (batch, _) = deliveries(&message, &vec![mailbox(name); 1_000]);
        store.deliver_batch(&batch);
    }
    let before = commits_in_log(&place.path());
    store.reader().unwrap().remove_mailbox(&name("alice@example.org")).unwrap();
    assert!(commits_in_log(&place.path()) >= before + 4, "one transaction removes too many");
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT count(*) FROM mailboxes"), 1);
    assert_eq!(number(&database, "SELECT count(*) FROM messages"), 1_000);
    assert_whole(&place.path());
    deliver(&store, mailbox("alice@example.org")).unwrap();
    assert_whole(&place.path());
}

#[test]
fn what_a_removal_left_of_a_body_goes_with_the_next_start() {
    let place = Place::new();
    let store = place.open();
    let alice = mailbox("alice@example.org");
    let id = deliver_prepared(&store, alice.clone(), spooled(octets(1, 6 << 20))).unwrap();
    drop(store);
    let database = foreign(&place.path());
    // As the removal is after its first transaction.
    database
        .execute_batch(
            "UPDATE bodies SET digest = NULL, octets = -1;
             UPDATE mailboxes SET messages = 0, octets = 0",
        )
        .unwrap();
    database
        .set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .unwrap();
    database.execute("DELETE FROM messages WHERE id = ?1", [id.as_str()]).unwrap();
    let store = place.open();
    assert_eq!(number(&database, "SELECT count(*) FROM body_parts"), 0);
    // And is in nobody's way before.
    deliver_prepared(&store, alice, spooled(octets(1, 6 << 20))).unwrap();
    assert_whole(&place.path());
}

#[test]
fn a_lock_that_others_hold_for_long_is_told_and_nothing_is_removed() {
    let place = Place::new();
    let store = place.open();
    let alice = name("alice@example.org");
    deliver(&store, mailbox("alice@example.org")).unwrap();
    let reader = store.reader().unwrap();
    let mut found = Vec::new();
    let visited = reader.messages(&alice, &mut |each| {
        found.push(each.unwrap());
        ControlFlow::Continue(())
    });
    visited.unwrap();
    let others = foreign(&place.path());
    others.execute_batch("BEGIN IMMEDIATE").unwrap();
    for refused in [reader.remove(&alice, &found[0]), reader.remove_mailbox(&alice)] {
        let is_locked =
            matches!(refused, Err(ReadError::Store(DeliveryError::Locked { holder: None })));
        assert!(is_locked, "{refused:?}");
    }
    others.execute_batch("ROLLBACK").unwrap();
    reader.remove(&alice, &found[0]).unwrap();
    assert!(matches!(reader.remove(&alice, &found[0]), Err(ReadError::NoSuchMessage)));
    assert_whole(&place.path());
}
