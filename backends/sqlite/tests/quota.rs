//! Quotas: exact, however many deliver at once.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    HEADER, Place, assert_whole, deliver, deliveries, delivery, foreign, mailbox, number, shared,
};
use postino_store::{Body, Delivery, DeliveryError, IfNoFolder, MailStore, Mailbox, Quota};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

const KIB: u64 = 1 << 10;

fn alice(octets: Option<u64>, messages: Option<u64>) -> Mailbox {
    mailbox("alice@example.org").with_quota(Quota { octets, messages })
}

fn is_over<T>(result: &Result<T, DeliveryError>) -> bool {
    matches!(result, Err(DeliveryError::OverQuota { .. }))
}

#[test]
fn two_thousand_deliveries_of_32_threads_never_exceed_it() {
    let place = Place::new();
    let store = place.open();
    let body = vec![b'x'; 1024 - HEADER.len()];
    let (stored, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..32 {
            let (store, body, stored, over) = (&store, &body, &stored, &over);
            scope.spawn(move || {
                // Into the mailbox, and into folders that share its quota.
                let to = || match n % 4 {
                    0 => alice(Some(500 * KIB), None),
                    k => alice(Some(500 * KIB), None)
                        .in_folder(&format!("f{k}"), IfNoFolder::Create)
                        .unwrap(),
                };
                for _ in 0..2000_usize.div_ceil(32) {
                    let one = delivery(to(), body, Arc::default());
                    match store.deliver(&one) {
                        Ok(_) => stored.fetch_add(1, Ordering::Relaxed),
                        result if is_over(&result) => over.fetch_add(1, Ordering::Relaxed),
                        Err(error) => panic!("{error}"),
                    };
                }
            });
        }
    });
    assert_eq!(stored.into_inner(), 500);
    assert_eq!(over.into_inner(), 32 * 63 - 500);
    let database = foreign(&place.path());
    assert_eq!(number(&database, "SELECT sum(octets) FROM mailboxes"), 500 * 1024);
    assert_eq!(number(&database, "SELECT sum(octets) FROM messages"), 500 * 1024);
    assert_whole(&place.path());
}

#[test]
fn in_a_batch_those_who_do_not_fit_are_refused_alone() {
    let place = Place::new();
    let store = place.open();
    let to = || alice(None, Some(3));
    let message = shared(Body::in_memory(b"text\r\n".to_vec()));
    let names = [to(), to(), to(), to(), mailbox("bob@example.org"), to()];
    let (batch, answers) = deliveries(&message, &names);
    store.deliver_batch(&batch);
    let answers = answers.lock().unwrap();
    let over: Vec<_> = answers.iter().map(|answer| is_over(answer.as_ref().unwrap())).collect();
    assert_eq!(over, [false, false, false, true, false, true]);
    let told = answers[3].as_ref().unwrap().as_ref().unwrap_err().to_string();
    assert_eq!(told, "over quota: 3 of 3 messages");
    assert_whole(&place.path());
}

#[test]
fn what_no_quota_will_ever_hold_is_told_apart_and_leaves_nothing() {
    let place = Place::new();
    let store = place.open();
    let large: Delivery = delivery(alice(Some(100), None), &[b'x'; 200], Arc::default());
    assert!(matches!(store.deliver(&large), Err(DeliveryError::LargerThanQuota)));
    assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM mailboxes"), 0);
    assert_whole(&place.path());
}

#[test]
fn admission_compares_the_declared_size() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, mailbox("alice@example.org")).unwrap();
    let query = "SELECT octets FROM mailboxes";
    let held = u64::try_from(number(&foreign(&place.path()), query)).unwrap();
    let admit = |octets, messages, size| store.admit(&alice(octets, messages), size);
    admit(Some(held + 10), None, Some(10)).unwrap();
    admit(Some(held + 10), Some(2), None).unwrap();
    assert!(is_over(&admit(Some(held + 10), None, Some(11))));
    assert!(is_over(&admit(Some(held), None, None)));
    assert!(is_over(&admit(None, Some(1), None)));
    let larger = admit(Some(held), None, Some(held + 1));
    assert!(matches!(larger, Err(DeliveryError::LargerThanQuota)));
}

#[test]
fn removing_makes_room_again() {
    let place = Place::new();
    let store = place.open();
    let to = || alice(None, Some(1));
    let id = deliver(&store, to()).unwrap();
    assert!(is_over(&deliver(&store, to())));
    let reader = store.reader().unwrap();
    let found = reader.find(to().name(), id.as_str()).unwrap();
    reader.remove(to().name(), &found).unwrap();
    deliver(&store, to()).unwrap();
    foreign(&place.path()).execute("DELETE FROM messages", []).unwrap();
    deliver(&store, to()).unwrap();
    assert_whole(&place.path());
}
