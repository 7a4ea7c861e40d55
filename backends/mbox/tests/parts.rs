//! One account's part of a store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::mailbox;
use postino_files::{Kernel, testing::Recording};
use postino_mbox::{Mbox, Options};
use postino_store::{
    DeliveryError, IfMissing, MailReader, MailStore, MailboxName, Part, PathTemplate, ReadError,
    Repair,
};
use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

fn store(template: &str) -> Mbox {
    let template = PathTemplate::parse(template).unwrap();
    Mbox::new(template, Options::default(), Arc::new(Kernel::new()))
}

fn part_of(store: &Mbox, name: &str, home: &Path) -> Part {
    let mailbox = mailbox(name, IfMissing::Refuse).with_home(home.to_owned());
    store.part(&mailbox).unwrap().unwrap()
}

fn names(reader: &dyn MailReader) -> Vec<String> {
    let mut names = Vec::new();
    let visited = reader.mailboxes(&mut |found| {
        names.push(found.unwrap().to_string());
        ControlFlow::Continue(())
    });
    visited.unwrap();
    names
}

fn findings(reader: &dyn MailReader) -> Vec<String> {
    let mut findings = Vec::new();
    let checked = reader.verify(Repair::No, &mut |finding| findings.push(finding.place));
    checked.unwrap();
    findings
}

#[test]
fn of_a_home_only_the_mailbox_and_its_folders_are_seen() {
    let home = tempfile::tempdir().unwrap();
    let store = store("%h/mail/inbox");
    let part = part_of(&store, "alice", home.path());
    let alice = MailboxName::new("alice").unwrap();
    let folder = alice.in_folder("Lists/2026").unwrap();
    part.store.init(&[alice, folder]).unwrap();
    // A user's other things are none of a mail store's.
    for directory in ["other/new", "other/cur", "mail/other/new", ".hidden/new"] {
        fs::create_dir_all(home.path().join(directory)).unwrap();
    }
    for file in ["notes", "x.lock", "mail/old", ".profile"] {
        fs::write(home.path().join(file), "text").unwrap();
    }
    let reader = part.store.reader().unwrap();
    assert_eq!(names(reader), ["alice", "alice/Lists/2026"]);
    assert!(findings(reader).is_empty(), "{:?}", findings(reader));
    assert!(!home.path().join(".postino").exists());
    assert!(part.places.contains(&home.path().join("mail/inbox")));
}

#[test]
fn of_a_root_only_the_account_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let store = store(&format!("{}/%d/%n", root.path().display()));
    let [alice, bob] = ["alice@d.example", "bob@d.example"].map(MailboxName::new);
    store.init(&[alice.unwrap(), bob.unwrap()]).unwrap();
    fs::write(root.path().join("d.example/stray.lock"), "").unwrap();
    let part = part_of(&store, "bob@d.example", Path::new("/nowhere"));
    assert_eq!(names(part.store.reader().unwrap()), ["bob@d.example"]);
    assert!(findings(part.store.reader().unwrap()).is_empty());
    assert_eq!(part.places.last(), Some(&root.path().join("d.example/bob")));
}

#[test]
fn a_spool_is_not_gone_through_for_each_account() {
    let spool = tempfile::tempdir().unwrap();
    let template = PathTemplate::parse(&format!("{}/%n", spool.path().display())).unwrap();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), spool.path()));
    let store = Mbox::new(template, Options::default(), files.clone());
    // As an old spool is: without a marker.
    for name in ["alice", "bob"] {
        fs::write(spool.path().join(name), "").unwrap();
    }
    fs::create_dir(spool.path().join(".alice")).unwrap();
    fs::write(spool.path().join(".alice/Lists"), "no mbox").unwrap();
    let part = part_of(&store, "alice", Path::new("/nowhere"));
    let place = spool.path().join(".alice/Lists").display().to_string();
    assert_eq!(findings(part.store.reader().unwrap()), [place]);
    let listed: Vec<_> = files.take().into_iter().filter(|it| it.contains("read_dir")).collect();
    assert!(listed.iter().all(|call| call.contains(".alice")), "{listed:?}");
}

#[test]
fn a_home_that_is_missing_is_never_made() {
    let place = tempfile::tempdir().unwrap();
    let home = place.path().join("alice");
    let part = part_of(&store("%h/mail/inbox"), "alice", &home);
    let made = part.store.init(&[MailboxName::new("alice").unwrap()]);
    assert!(matches!(made, Err(DeliveryError::StoreMissing { .. })), "{made:?}");
    let listed = part.store.reader().unwrap().mailboxes(&mut |_| ControlFlow::Continue(()));
    let is_missing = matches!(listed, Err(ReadError::Store(DeliveryError::StoreMissing { .. })));
    assert!(is_missing && !home.exists(), "{listed:?}");
}
