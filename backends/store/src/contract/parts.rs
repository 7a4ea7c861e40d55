//! The rules of [one account's part](crate::Part) of a store whose mailboxes are files,
//! each run in an empty directory of the caller's.
//!
//! Lives here: what a part shows, and what it never makes.
//! May not: know the store; the caller says where it has a mailbox in a home.

use crate::{
    DeliveryError, IfMissing, MailReader, MailStore, Mailbox, MailboxName, Part, ReadError, Repair,
};
use std::{fs, ops::ControlFlow, path::Path, sync::Arc};

/// From a template to a store.
pub type Open<'a> = &'a dyn Fn(&str) -> Arc<dyn MailStore>;

/// `in_home` is where the store of `%h/` and that has a mailbox.
pub fn of_a_home_only_the_mailbox_and_its_folders_are_seen(
    home: &Path,
    in_home: &str,
    open: Open<'_>,
) {
    let store = open(&format!("%h/{in_home}"));
    let part = part_of(&*store, "alice", home);
    let folder = name("alice").in_folder("Lists/2026").expect("a folder's name");
    part.store.init(&[name("alice"), folder]).expect("init of the part");
    // A user's other things are none of a mail store's.
    for directory in ["other/new", "other/cur", "mail/other/new", ".hidden/new"] {
        fs::create_dir_all(home.join(directory)).expect("a directory in the home");
    }
    for file in ["notes", "x.lock", "mail/old", ".profile"] {
        fs::write(home.join(file), "text").expect("a file in the home");
    }
    let reader = part.store.reader().expect("a reading side");
    assert_eq!(names(reader), ["alice", "alice/Lists/2026"]);
    assert_eq!(findings(reader), [""; 0]);
    assert!(!home.join(".postino").exists(), "a home has a marker");
    assert!(part.places.contains(&home.join(in_home)), "{:?}", part.places);
}

/// What lies beside the account's is none of the part's.
pub fn of_a_root_only_the_account_is_seen(root: &Path, open: Open<'_>) {
    let store = open(&format!("{}/%d/%n", root.display()));
    let (alice, bob) = (name("alice@d.example"), name("bob@d.example"));
    store.init(&[alice, bob]).expect("init of the store");
    fs::write(root.join("d.example/stray.lock"), "").expect("a stray file");
    let part = part_of(&*store, "bob@d.example", Path::new("/nowhere"));
    let reader = part.store.reader().expect("a reading side");
    assert_eq!(names(reader), ["bob@d.example"]);
    assert_eq!(findings(reader), [""; 0]);
    assert_eq!(part.places.last(), Some(&root.join("d.example/bob")));
}

/// It may be on a disk that is not mounted.
pub fn a_home_that_is_missing_is_never_made(place: &Path, in_home: &str, open: Open<'_>) {
    let home = place.join("alice");
    let part = part_of(&*open(&format!("%h/{in_home}")), "alice", &home);
    let made = part.store.init(&[name("alice")]);
    assert!(matches!(made, Err(DeliveryError::StoreMissing { .. })), "{made:?}");
    let reader = part.store.reader().expect("a reading side");
    let listed = reader.mailboxes(&mut |_| ControlFlow::Continue(()));
    let is_missing = matches!(listed, Err(ReadError::Store(DeliveryError::StoreMissing { .. })));
    assert!(is_missing && !home.exists(), "{listed:?}");
}

fn name(name: &str) -> MailboxName {
    MailboxName::new(name).expect("a mailbox's name")
}

fn part_of(store: &dyn MailStore, account: &str, home: &Path) -> Part {
    let mailbox = Mailbox::new(name(account), IfMissing::Refuse).with_home(home.to_owned());
    store.part(&mailbox).expect("an account's part").expect("the store has parts")
}

fn names(reader: &dyn MailReader) -> Vec<String> {
    let mut names = Vec::new();
    let visited = reader.mailboxes(&mut |found| {
        names.push(found.map_or_else(|stray| stray.why, |name| name.to_string()));
        ControlFlow::Continue(())
    });
    visited.expect("a listing");
    names
}

fn findings(reader: &dyn MailReader) -> Vec<String> {
    let mut findings = Vec::new();
    let checked = reader.verify(Repair::No, &mut |finding| findings.push(finding.place));
    checked.expect("a check");
    findings
}
