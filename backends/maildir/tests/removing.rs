//! Removing messages and mailboxes: that it lasts, and what it leaves alone.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, deliver_to,
    foreign::{Foreign, alice},
    names, walk,
};
use postino_files::{
    Kernel,
    testing::{Failing, Fault, Recording},
};
use postino_store::{MailReader, MailStore, MailboxName};
use std::{fs, os::unix::fs::symlink, sync::Arc};

#[test]
fn a_removal_is_durable_before_it_is_told() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", files.clone());
    MailStore::open(&store).unwrap();
    let id = deliver_to(&store, "alice").unwrap();
    let found = store.find(&alice(), id.as_str()).unwrap();
    files.take();
    store.remove(&alice(), &found).unwrap();
    let lines = files.take();
    let end = &lines[lines.len() - 2..];
    assert!(
        end[0].starts_with("unlink alice/new/") && end[1] == "sync_dir alice/new",
        "{lines:#?}"
    );

    deliver_to(&store, "alice").unwrap();
    files.take();
    store.remove_mailbox(&alice()).unwrap();
    let lines = files.take();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
    let renamed = at("rename alice .postino-removed-");
    assert_eq!(lines[renamed + 1], "sync_dir .");
    assert!(renamed < at("unlink ") && at("unlink ") < at("remove_dir "), "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "sync_dir .");
    assert_eq!(names(&place.root()), [".postino"]);
}

#[test]
fn a_mailbox_goes_with_its_folders_but_not_with_what_is_no_mail() {
    let foreign = Foreign::new();
    for directory in [".Sent/cur", ".Sent/new", ".Sent/tmp", "dovecot.index.d"] {
        fs::create_dir_all(foreign.path(directory)).unwrap();
    }
    foreign
        .write("cur/17.x", "text")
        .write(".Sent/cur/18.y", "sent")
        .write(".Sent/maildirfolder", "")
        .write("dovecot-uidlist", "3")
        .write("maildirsize", "0S")
        .write("subscriptions", "Sent");
    let outside = foreign.place.above().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "kept").unwrap();
    symlink(&outside, foreign.path("cur/link")).unwrap();
    for other in ["notes.txt", ".Sent/notes.txt", "backup", "cur/directory", ".ssh"] {
        if other.ends_with("txt") {
            foreign.write(other, "notes");
        } else {
            fs::create_dir(foreign.path(other)).unwrap();
        }
        let before = walk(foreign.place.above());
        let refused = foreign.store.remove_mailbox(&alice()).unwrap_err().to_string();
        assert!(refused.contains(foreign.path(other).to_str().unwrap()), "{other}: {refused}");
        assert_eq!(walk(foreign.place.above()), before);
        if other.ends_with("txt") {
            fs::remove_file(foreign.path(other)).unwrap();
        } else {
            fs::remove_dir(foreign.path(other)).unwrap();
        }
    }
    foreign.store.remove_mailbox(&alice()).unwrap();
    assert_eq!(walk(&foreign.place.root()), [""; 0]);
    assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
}

/// Wherever it is broken off: the mailbox is whole, or it is gone.
#[test]
fn a_removal_of_a_mailbox_that_fails_leaves_it_whole_or_out_of_sight() {
    for n in 1.. {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let store = place.store("/%d/%n/Maildir", files.clone());
        MailStore::open(&store).unwrap();
        let name = MailboxName::new("alice@example.org").unwrap();
        for _ in 0..3 {
            deliver_to(&store, "alice@example.org").unwrap();
        }
        files.arm(n, Fault::Io);
        let result = store.remove_mailbox(&name);
        if !files.disarm() {
            result.unwrap();
            assert_eq!(names(&place.root()), [".postino"]);
            break;
        }
        let left = names(&place.root().join("example.org/alice/Maildir/new")).len();
        match store.contents(&name) {
            Ok(contents) => assert_eq!((contents.messages, left), (3, 3), "call {n}"),
            Err(error) => assert_eq!((error.to_string(), left), ("no such mailbox".to_owned(), 0)),
        }
    }
}
