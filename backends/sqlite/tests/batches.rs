//! What a batch is: one COMMIT, one body for a content, each failure alone.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, assert_whole, commits_in_log, deliver, deliver_prepared, deliveries, delivery, foreign,
    known_mailbox, mailbox, message, messages, number, octets, shared, spooled,
};
use postino_store::{Body, Delivery, DeliveryError, DeliveryId, MailStore};
use std::{fs, sync::Arc, thread};

const MIB: usize = 1 << 20;

#[test]
fn a_batch_of_256_is_one_commit() {
    let place = Place::new();
    let store = place.open();
    store.init(&[]).unwrap();
    let lane = store.lane(&mailbox("a@example.org"));
    assert_eq!((lane.at_once(), lane.together()), (1, 256));
    let before = commits_in_log(&place.path());
    let batch: Vec<Delivery> = (0..256)
        .map(|n| {
            let body = format!("message {n}\r\n");
            delivery(mailbox(&format!("u{}@example.org", n % 7)), body.as_bytes(), Arc::default())
        })
        .collect();
    store.deliver_batch(&batch);
    assert_eq!(commits_in_log(&place.path()) - before, 1);
    assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM messages"), 256);
    assert_whole(&place.path());
}

#[test]
fn a_recipients_failure_in_a_batch_is_his_alone() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("there@example.org")).unwrap();
    let message = shared(Body::in_memory(b"text\r\n".to_vec()));
    let names = [
        mailbox("a@example.org"),
        known_mailbox("unknown@example.org"),
        mailbox("withdrawn@example.org"),
        known_mailbox("there@example.org"),
    ];
    let (mut batch, answers) = deliveries(&message, &names);
    let gone = Arc::new(postino_store::Fate::default());
    gone.withdraw();
    batch[2] = delivery(mailbox("withdrawn@example.org"), b"late\r\n", gone);
    store.deliver_batch(&batch);
    let answers = answers.lock().unwrap();
    assert!(matches!(answers[0], Some(Ok(_))));
    assert!(matches!(answers[1], Some(Err(DeliveryError::NoSuchMailbox))));
    assert!(matches!(answers[3], Some(Ok(_))));
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT count(*) FROM messages"), 3);
    assert_eq!(number(&database, "SELECT count(*) FROM mailboxes"), 2);
    assert_whole(&place.path());
}

#[test]
fn a_body_that_cannot_be_read_is_its_recipients_failure_alone() {
    let place = Place::new();
    let store = place.open();
    for count in [1_000, 10 * MIB] {
        // It ends too early.
        let torn = Body::elsewhere(common::Spooled(octets(1, count)), count as u64 + 1);
        let torn = shared(torn);
        let (mut batch, torn_answer) = deliveries(&torn, &[mailbox("torn@example.org")]);
        let whole = shared(Body::in_memory(b"text\r\n".to_vec()));
        let (others, answers) = deliveries(&whole, &[mailbox("a@example.org")]);
        batch.extend(others);
        store.deliver_batch(&batch);
        assert!(matches!(torn_answer.lock().unwrap()[0], Some(Err(DeliveryError::Io(_)))));
        assert!(matches!(answers.lock().unwrap()[0], Some(Ok(_))));
        assert!(store.prepare(&torn, &[]).is_err());
    }
    assert_whole(&place.path());
    assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM messages"), 2);
}

#[test]
fn fifty_recipients_of_one_message_cost_one_body() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("first@example.org")).unwrap();
    let size = || {
        let database = foreign(&place.path());
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = database.query_row(checkpoint, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        fs::metadata(place.path()).unwrap().len()
    };
    let before = size();
    let body = octets(1, MIB);
    let message = shared(spooled(body.clone()));
    let mailboxes: Vec<_> = (0..50).map(|n| mailbox(&format!("u{n}@example.org"))).collect();
    let all: Vec<_> = mailboxes.iter().collect();
    let prepared = store.prepare(&message, &all).unwrap();
    let (batch, answers) = deliveries(&message, &mailboxes);
    let batch: Vec<_> =
        batch.into_iter().map(|each| each.with_prepared(prepared.clone())).collect();
    drop(prepared);
    store.deliver_batch(&batch);
    drop(batch);
    assert!(answers.lock().unwrap().iter().all(|answer| matches!(answer, Some(Ok(_)))));
    let grown = size() - before;
    assert!(grown < 1_258_291, "the database has grown by {grown} octets");
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT count(*) FROM bodies"), 2);
    assert_eq!(messages(&database, "u49@example.org"), [[common::HEADER, &body].concat()]);
    assert_whole(&place.path());
}

#[test]
fn equal_bodies_of_other_transactions_are_one_too() {
    let place = Place::new();
    let store = place.open();
    for count in [0, 1, 256 * 1024, 256 * 1024 + 1, MIB] {
        let body = octets(count as u64, count);
        for n in 0..3 {
            let body = if n == 1 { Body::in_memory(body.clone()) } else { spooled(body.clone()) };
            deliver_prepared(&store, mailbox(&format!("u{n}@example.org")), body).unwrap();
        }
    }
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT count(*) FROM bodies"), 5);
    assert_eq!(number(&database, "SELECT count(*) FROM bodies WHERE content IS NULL"), 2);
    assert_eq!(
        number(&database, "SELECT max(length(content)) FROM body_parts"),
        64 * 1024,
        "no part is larger"
    );
    assert_whole(&place.path());
}

#[test]
fn what_was_written_ahead_and_is_not_needed_goes() {
    let place = Place::new();
    let store = place.open();
    let message = shared(spooled(octets(1, 9 * MIB)));
    let prepared = store.prepare(&message, &[]).unwrap();
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT count(*) FROM body_parts"), 144);
    drop(prepared);
    assert_eq!(number(&database, "SELECT count(*) FROM bodies"), 0);
    assert_whole(&place.path());

    // Two transactions at the same time: the second one's own goes.
    let [one, other] = [1, 1].map(|seed| shared(spooled(octets(seed, MIB))));
    let prepared = [&one, &other].map(|message| store.prepare(message, &[]).unwrap());
    assert_eq!(number(&database, "SELECT count(*) FROM bodies"), 2);
    for ((message, prepared), name) in
        [&one, &other].into_iter().zip(prepared).zip(["a@example.org", "b@example.org"])
    {
        let (batch, _) = deliveries(message, &[mailbox(name)]);
        let batch: Vec<_> =
            batch.into_iter().map(|each| each.with_prepared(prepared.clone())).collect();
        store.deliver_batch(&batch);
    }
    assert_eq!(number(&database, "SELECT count(*) FROM bodies"), 1);
    assert_eq!(number(&database, "SELECT count(*) FROM messages"), 2);
    assert_whole(&place.path());
}

#[test]
fn a_body_that_vanishes_before_its_delivery_is_written_again() {
    let place = Place::new();
    let store = place.open();
    let body = octets(1, MIB);
    let deliver_after = |vanish: &dyn Fn(&rusqlite::Connection)| -> DeliveryId {
        let message = shared(spooled(body.clone()));
        let prepared = store.prepare(&message, &[]).unwrap();
        vanish(&foreign(&place.path()));
        let (batch, answers) = deliveries(&message, &[mailbox("a@example.org")]);
        let batch: Vec<_> =
            batch.into_iter().map(|each| each.with_prepared(prepared.clone())).collect();
        store.deliver_batch(&batch);
        answers.lock().unwrap()[0].take().unwrap().unwrap()
    };
    // Another postino's start takes it for what a crash left.
    let id = deliver_after(&|_| place.store().open().unwrap());
    // It was stored before, and the last message of it is deleted.
    let again = deliver_after(&|database| {
        assert_eq!(database.execute("DELETE FROM messages WHERE id = ?1", [id.as_str()]), Ok(1));
        assert_eq!(number(database, "SELECT count(*) FROM bodies"), 0);
    });
    let stored = message(&foreign(&place.path()), again.as_str());
    assert_eq!(stored, [common::HEADER, &body].concat());
    assert_whole(&place.path());
}

#[test]
fn small_messages_are_stored_while_large_ones_are_written_ahead() {
    let place = Place::new();
    let store = place.open();
    let began =
        |database: &rusqlite::Connection| number(database, "SELECT count(*) FROM body_parts") > 0;
    let bodies: Vec<_> = (0..4).map(|seed| spooled(octets(seed, 16 * MIB))).collect();
    thread::scope(|scope| {
        let large: Vec<_> = bodies
            .into_iter()
            .map(|body| {
                let store = &store;
                scope.spawn(move || deliver_prepared(store, mailbox("large@example.org"), body))
            })
            .collect();
        let database = foreign(&place.path());
        while !began(&database) {
            thread::yield_now();
        }
        // None is ever told that the database is locked, and all go in between.
        let mut small = 0;
        while number(&database, "SELECT count(*) FROM messages WHERE octets > 1000000") == 0 {
            deliver(&store, mailbox("small@example.org")).unwrap();
            small += 1;
        }
        assert!(small > 1, "no small message came in between");
        for thread in large {
            thread.join().unwrap().unwrap();
        }
    });
    assert_whole(&place.path());
}
