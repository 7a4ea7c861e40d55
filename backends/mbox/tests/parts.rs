//! One account's part of an mbox store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::mailbox;
use postino_files::{Kernel, testing::Recording};
use postino_mbox::{Mbox, Options};
use postino_store::{IfMissing, MailStore, PathTemplate, Repair, contract::parts};
use std::{fs, sync::Arc};

const IN_HOME: &str = "mail/inbox";

fn open(template: &str) -> Arc<dyn MailStore> {
    let template = PathTemplate::parse(template).unwrap();
    Arc::new(Mbox::new(template, Options::default(), Arc::new(Kernel::new())))
}

#[test]
fn of_a_home_only_the_mailbox_and_its_folders_are_seen() {
    let home = tempfile::tempdir().unwrap();
    parts::of_a_home_only_the_mailbox_and_its_folders_are_seen(home.path(), IN_HOME, &open);
}

#[test]
fn of_a_root_only_the_account_is_seen() {
    let root = tempfile::tempdir().unwrap();
    parts::of_a_root_only_the_account_is_seen(root.path(), &open);
}

#[test]
fn a_home_that_is_missing_is_never_made() {
    let place = tempfile::tempdir().unwrap();
    parts::a_home_that_is_missing_is_never_made(place.path(), IN_HOME, &open);
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
    let part = store.part(&mailbox("alice", IfMissing::Refuse)).unwrap().unwrap();
    let mut places = Vec::new();
    let reader = part.store.reader().unwrap();
    reader.verify(Repair::No, &mut |finding| places.push(finding.place)).unwrap();
    assert_eq!(places, [spool.path().join(".alice/Lists").display().to_string()]);
    let listed: Vec<_> = files.take().into_iter().filter(|it| it.contains("read_dir")).collect();
    assert!(listed.iter().all(|call| call.contains(".alice")), "{listed:?}");
}
