//! Folders: rows of an account, made where that is allowed, each found for itself.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, assert_whole, deliver, foreign, known_mailbox, mailbox, messages, number};
use postino_sqlite::Sqlite;
use postino_store::{
    DeliveryError, IfNoFolder, MailReader, MailStore, Mailbox, MailboxName, ReadError,
};
use std::ops::ControlFlow;

const ALICE: &str = "alice@example.org";

fn folder(name: &str, if_missing: IfNoFolder) -> Mailbox {
    mailbox(ALICE).in_folder(name, if_missing).unwrap()
}

fn reader(store: &Sqlite) -> &dyn MailReader {
    store.reader().unwrap()
}

fn listed(store: &Sqlite) -> Vec<String> {
    let mut names = Vec::new();
    let visited = reader(store).mailboxes(&mut |name| {
        names.push(name.unwrap().to_string());
        ControlFlow::Continue(())
    });
    visited.unwrap();
    names
}

fn parse(name: &str) -> MailboxName {
    MailboxName::parse(name).unwrap()
}

/// How many messages each of these has.
fn counts(place: &Place, names: &[&str]) -> Vec<usize> {
    let database = foreign(&place.path());
    names.iter().map(|name| messages(&database, name).len()).collect()
}

#[test]
fn a_folder_is_made_where_that_is_allowed_and_the_mailbox_takes_its_mail_where_not() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, folder("Lists", IfNoFolder::Inbox)).unwrap();
    assert_eq!(listed(&store), [ALICE]);
    deliver(&store, folder("Lists/2026", IfNoFolder::Create)).unwrap();
    deliver(&store, folder("Lists/2026", IfNoFolder::Inbox)).unwrap();
    assert_eq!(listed(&store), [ALICE, "alice@example.org/Lists/2026"]);
    assert_eq!(counts(&place, &[ALICE, "alice@example.org/Lists/2026"]), [1, 2]);
    assert_whole(&place.path());
}

#[test]
fn an_unknown_accounts_folder_is_unknown_too() {
    let place = Place::new();
    let store = place.open();
    let unknown = || known_mailbox("bob@example.org").in_folder("X", IfNoFolder::Create).unwrap();
    deliver(&store, mailbox(ALICE)).unwrap();
    assert!(matches!(deliver(&store, unknown()), Err(DeliveryError::NoSuchMailbox)));
    assert!(matches!(store.admit(&unknown(), None), Err(DeliveryError::NoSuchMailbox)));
    // A folder alone is enough to be known.
    deliver(&store, mailbox("bob@example.org")).unwrap();
    deliver(&store, unknown()).unwrap();
    foreign(&place.path())
        .execute("DELETE FROM mailboxes WHERE name = 'bob@example.org' AND folder = ''", [])
        .unwrap();
    store.admit(&known_mailbox("bob@example.org"), None).unwrap();
    deliver(&store, known_mailbox("bob@example.org")).unwrap();
    assert_eq!(counts(&place, &["bob@example.org", "bob@example.org/X"]), [1, 1]);
    assert_whole(&place.path());
}

#[test]
fn beyond_a_hundred_folders_the_mailbox_takes_the_mail() {
    let place = Place::new();
    let store = place.open();
    for n in 0..103 {
        deliver(&store, folder(&format!("f{n}"), IfNoFolder::Create)).unwrap();
    }
    deliver(&store, folder("f99", IfNoFolder::Create)).unwrap();
    let others = mailbox("bob@example.org").in_folder("f", IfNoFolder::Create).unwrap();
    deliver(&store, others).unwrap();
    let made = "SELECT count(*) FROM mailboxes WHERE name = 'alice@example.org' AND folder <> ''";
    assert_eq!(number(&foreign(&place.path()), made), 100);
    let names = [ALICE, "alice@example.org/f99", "alice@example.org/f100", "bob@example.org/f"];
    assert_eq!(counts(&place, &names), [3, 2, 0, 1]);
    assert_whole(&place.path());
}

#[test]
fn a_folders_messages_are_found_in_it_alone() {
    let place = Place::new();
    let store = place.open();
    let id = deliver(&store, folder("A", IfNoFolder::Create)).unwrap();
    deliver(&store, folder("B", IfNoFolder::Create)).unwrap();
    let reader = reader(&store);
    let in_a = parse("alice@example.org/A");
    let found = reader.find(&in_a, id.as_str()).unwrap();
    assert!(reader.open(&in_a, &found).is_ok());
    assert_eq!(reader.contents(&in_a).unwrap().messages, 1);
    assert_eq!(reader.contents(&parse(ALICE)).unwrap().messages, 0);
    for elsewhere in [ALICE, "alice@example.org/B"] {
        let elsewhere = parse(elsewhere);
        let error = reader.find(&elsewhere, id.as_str()).unwrap_err();
        assert!(matches!(error, ReadError::NoSuchMessage));
        assert!(matches!(reader.remove(&elsewhere, &found), Err(ReadError::NoSuchMessage)));
    }
    let mut ids = Vec::new();
    let visited = reader.messages(&in_a, &mut |message| {
        ids.push(message.unwrap().id);
        ControlFlow::Continue(())
    });
    visited.unwrap();
    assert_eq!(ids, [id]);
    reader.remove(&in_a, &found).unwrap();
    assert_eq!(counts(&place, &["alice@example.org/A", "alice@example.org/B"]), [0, 1]);
    assert_whole(&place.path());
}

#[test]
fn a_folder_goes_alone_and_an_account_with_all_of_them() {
    let place = Place::new();
    let store = place.open();
    store.init(&[parse("alice@example.org/Empty"), parse("bob@example.org")]).unwrap();
    for name in ["A", "A/B", "C"] {
        for _ in 0..300 {
            deliver(&store, folder(name, IfNoFolder::Create)).unwrap();
        }
    }
    reader(&store).remove_mailbox(&parse("alice@example.org/A")).unwrap();
    let missing = reader(&store).remove_mailbox(&parse("alice@example.org/A")).unwrap_err();
    assert!(matches!(missing, ReadError::Store(DeliveryError::NoSuchMailbox)));
    let left = ["", "/A/B", "/C", "/Empty"].map(|folder| format!("{ALICE}{folder}"));
    assert_eq!(listed(&store), [&left[..], &["bob@example.org".to_owned()]].concat());
    assert_whole(&place.path());
    reader(&store).remove_mailbox(&parse(ALICE)).unwrap();
    assert_eq!(listed(&store), ["bob@example.org"]);
    assert_eq!(number(&foreign(&place.path()), "SELECT count(*) FROM messages"), 0);
    assert_whole(&place.path());
}

#[test]
fn folders_are_listed_behind_their_account_over_several_pages() {
    let place = Place::new();
    let store = place.open();
    let mut names: Vec<_> =
        (0..300).flat_map(|n| [format!("u{n}"), format!("u{n}/F/G"), format!("u{n}/F")]).collect();
    names.extend(["u1!".to_owned(), "u1!/F".to_owned()]);
    let mut names: Vec<_> = names.iter().map(|name| parse(name)).collect();
    store.init(&names).unwrap();
    names.sort();
    assert_eq!(listed(&store), names.iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn a_database_of_before_there_were_folders_is_refused_and_says_what_differs() {
    let place = Place::new();
    place.open();
    let database = foreign(&place.path());
    database
        .execute_batch(
            "DROP TABLE mailboxes;
             CREATE TABLE mailboxes (
                 id INTEGER PRIMARY KEY,
                 name TEXT NOT NULL UNIQUE,
                 messages INTEGER NOT NULL DEFAULT 0,
                 octets INTEGER NOT NULL DEFAULT 0
             )",
        )
        .unwrap();
    let refused = place.store().open().unwrap_err();
    assert!(matches!(refused, DeliveryError::Misconfigured(_)), "{refused:?}");
    let text = refused.to_string();
    assert!(text.contains("its schema was changed: the table \"mailboxes\""), "{text}");
}
