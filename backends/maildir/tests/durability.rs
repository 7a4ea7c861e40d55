//! The order of the calls: what makes an `Ok` true after a power cut.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, deliver, deliver_to, delivery, mailbox, names};
use postino_files::{
    Files, Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_maildir::Maildir;
use postino_store::{DeliveryError, Fate, IfMissing, MailStore};
use std::{
    fs,
    os::unix::fs::symlink,
    sync::{Arc, Mutex, mpsc},
    thread,
};

const TEMPLATE: &str = "/%d/%n/Maildir";

fn recorded(place: &Place) -> (Arc<Recording>, Maildir) {
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store(TEMPLATE, files.clone());
    store.open().unwrap();
    files.take();
    (files, store)
}

/// The lines with what differs from one delivery to the next left out.
fn readable(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| {
            line.split(' ')
                .map(|word| match word.rsplit_once('/') {
                    Some((directory, name)) if name.contains(".M") => {
                        let sizes = name.find(",S=").map_or("", |at| &name[at..]);
                        format!("{directory}/NAME{sizes}")
                    }
                    _ => word.to_owned(),
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// What a delivery does where the mailbox is known: three calls find the way, five
/// are the promise.
const KNOWN_MAILBOX: [&str; 8] = [
    "stat_path .postino",
    "open_path example.org/alice/Maildir/new",
    "stat_dir example.org/alice/Maildir/new",
    "create example.org/alice/Maildir/tmp/NAME",
    "write example.org/alice/Maildir/tmp/NAME",
    "sync_file example.org/alice/Maildir/tmp/NAME",
    "rename example.org/alice/Maildir/tmp/NAME example.org/alice/Maildir/new/NAME,S=46,W=50",
    "sync_dir example.org/alice/Maildir/new",
];

#[test]
fn the_file_is_synced_before_it_is_visible_and_its_name_after() {
    let place = Place::new();
    let (files, store) = recorded(&place);
    deliver_to(&store, "alice@example.org").unwrap();
    files.take();
    deliver_to(&store, "alice@example.org").unwrap();
    assert_eq!(readable(files.take()), KNOWN_MAILBOX);
}

/// Paths through a symbolic link are no way in: the root is opened first.
#[test]
fn a_root_behind_a_symbolic_link_takes_two_calls_more() {
    let place = Place::new();
    fs::create_dir(place.above().join("real")).unwrap();
    symlink("real", place.root()).unwrap();
    let (files, store) = recorded(&place);
    deliver_to(&store, "alice@example.org").unwrap();
    files.take();
    deliver_to(&store, "alice@example.org").unwrap();
    let way = [
        "open_root .",
        "stat .postino",
        "open_dir example.org/alice/Maildir/new",
        "stat_dir example.org/alice/Maildir/new",
    ];
    let lines = readable(files.take());
    assert_eq!(lines[..4], way);
    assert_eq!(lines[4..], KNOWN_MAILBOX[3..]);
}

#[test]
fn each_directory_that_is_made_and_each_above_it_is_synced_before_the_message_is_visible() {
    let place = Place::new();
    let (files, store) = recorded(&place);
    deliver_to(&store, "alice@example.org").unwrap();
    let lines = readable(files.take());
    let at = |wanted: &str| {
        lines
            .iter()
            .position(|line| line == wanted)
            .unwrap_or_else(|| panic!("no {wanted:?} in {lines:#?}"))
    };
    let visible = lines.iter().position(|line| line.starts_with("rename ")).unwrap();
    let mailbox = "example.org/alice/Maildir";
    for made in [
        "example.org",
        "example.org/alice",
        mailbox,
        &format!("{mailbox}/tmp"),
        &format!("{mailbox}/new"),
        &format!("{mailbox}/cur"),
    ] {
        let (made_at, synced_at) =
            (at(&format!("make_dir {made}")), at(&format!("sync_dir {made}")));
        let parent = made.rsplit_once('/').map_or(".", |(parent, _)| parent);
        let parent_synced_at = at(&format!("sync_dir {parent}"));
        assert!(made_at < synced_at, "{made} synced before it is made: {lines:#?}");
        assert!(made_at < parent_synced_at, "{parent} synced before {made} is made: {lines:#?}");
        assert!(synced_at < visible && parent_synced_at < visible, "{made}: {lines:#?}");
    }
}

/// The directories may have been made by a process that was killed before it
/// synced them.
#[test]
fn the_first_delivery_of_a_process_syncs_directories_that_others_made() {
    let place = Place::new();
    let (_, before) = recorded(&place);
    deliver_to(&before, "alice@example.org").unwrap();
    let (files, store) = recorded(&place);
    assert_chain_synced_before_rename(&files, &store);
    deliver_to(&store, "alice@example.org").unwrap();
    assert_eq!(readable(files.take()), KNOWN_MAILBOX, "the second one need not");
}

#[test]
fn a_mailbox_that_others_made_again_is_synced_again() {
    let place = Place::new();
    let (files, store) = recorded(&place);
    deliver_to(&store, "alice@example.org").unwrap();
    // File systems give the same inode numbers again.
    for _ in 0..3 {
        fs::remove_dir_all(place.root().join("example.org")).unwrap();
        for name in ["tmp", "cur", "new"] {
            fs::create_dir_all(place.root().join("example.org/alice/Maildir").join(name)).unwrap();
        }
        files.take();
        assert_chain_synced_before_rename(&files, &store);
    }
}

fn assert_chain_synced_before_rename(files: &Recording, store: &Maildir) {
    deliver_to(store, "alice@example.org").unwrap();
    let lines = readable(files.take());
    let visible = lines.iter().position(|line| line.starts_with("rename ")).unwrap();
    for directory in ["example.org/alice/Maildir", "example.org/alice", "example.org", "."] {
        let wanted = format!("sync_dir {directory}");
        assert!(lines[..visible].contains(&wanted), "no {wanted:?} in time: {lines:#?}");
    }
}

/// One delivery has made the directories and is about to sync them when another
/// finds them there: that other may not be Ok before they are synced.
#[test]
fn a_delivery_does_not_trust_directories_that_another_is_about_to_sync() {
    let place = Place::new();
    let root = place.root();
    let (reached, at_first_sync) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let gate = Mutex::new(Some((reached, released)));
    let files = Arc::new(Recording::observed(Arc::new(Kernel::new()), &root, move |line| {
        let first = line.starts_with("sync_dir example.org");
        let taken = if first { gate.lock().unwrap().take() } else { None };
        if let Some((reached, released)) = taken {
            reached.send(()).unwrap();
            released.recv().unwrap();
        }
    }));
    let store = Arc::new(place.store(TEMPLATE, files.clone()));
    store.open().unwrap();
    let first = {
        let store = Arc::clone(&store);
        thread::spawn(move || deliver_to(&store, "alice@example.org"))
    };
    at_first_sync.recv().unwrap();
    files.take();
    assert_chain_synced_before_rename(&files, &store);
    release.send(()).unwrap();
    first.join().unwrap().unwrap();
    assert_eq!(names(&root.join("example.org/alice/Maildir/new")).len(), 2);
}

/// Delivers, and asks at the first line that begins so whether the deadline
/// could still take the message back.
fn withdrawn_at(call: &'static str) -> (bool, Result<(), DeliveryError>, Vec<String>) {
    let place = Place::new();
    let fate = Arc::new(Fate::default());
    let withdrawn = Arc::new(Mutex::new(None));
    let files: Arc<dyn Files> = {
        let (fate, withdrawn) = (Arc::clone(&fate), Arc::clone(&withdrawn));
        Arc::new(Recording::observed(Arc::new(Kernel::new()), place.root(), move |line| {
            if line.starts_with(call) {
                withdrawn.lock().unwrap().get_or_insert_with(|| fate.withdraw());
            }
        }))
    };
    let store = place.store("", files);
    store.open().unwrap();
    let alice = mailbox("alice", IfMissing::Create);
    let result = store.deliver(&delivery(alice, b"text\r\n", false, fate)).map(drop);
    let withdrawn = withdrawn.lock().unwrap().expect("the call never came");
    let left = ["tmp", "new", "cur"].map(|name| names(&place.root().join("alice").join(name)));
    (withdrawn, result, left.concat())
}

#[test]
fn the_commit_begins_after_the_file_is_synced() {
    let (withdrawn, result, left) = withdrawn_at("sync_file alice/tmp/");
    assert!(withdrawn, "the commit had begun before the file was synced");
    assert!(matches!(result, Err(DeliveryError::Expired)), "{result:?}");
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_commit_begins_before_the_message_is_visible() {
    let (withdrawn, result, left) = withdrawn_at("rename alice/tmp/");
    assert!(!withdrawn, "the commit had not begun when the message became visible");
    result.unwrap();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_failed_sync_is_a_failed_delivery_and_never_tried_again() {
    for (call, fault) in [
        (Call::SyncFile, Fault::Io),
        (Call::SyncFile, Fault::Interrupted),
        (Call::SyncDir, Fault::Io),
        (Call::SyncDir, Fault::Interrupted),
    ] {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let store = place.store("", files.clone());
        store.open().unwrap();
        let alice = mailbox("alice", IfMissing::Create);
        deliver(&store, alice.clone()).unwrap();
        files.arm_only(call, 1, fault);
        let error = deliver(&store, alice).unwrap_err();
        assert!(matches!(error, DeliveryError::Io(_)), "{error:?}");
        assert_eq!(files.counted(), 1, "{call:?} after {fault:?}");
        assert_eq!(names(&place.root().join("alice/new")).len(), 1, "{call:?} after {fault:?}");
        assert!(names(&place.root().join("alice/tmp")).is_empty(), "{call:?} after {fault:?}");
    }
}

/// A network's file system may say that a rename failed which was done.
#[test]
fn a_rename_that_was_done_in_spite_of_its_error_leaves_nothing() {
    let place = Place::new();
    let root = place.root();
    let files = Recording::observed(Arc::new(Kernel::new()), place.root(), move |line| {
        if let ["rename", from, to] = line.split(' ').collect::<Vec<_>>()[..]
            && from.starts_with("alice/")
        {
            fs::rename(root.join(from), root.join(to)).unwrap();
        }
    });
    let store = place.store("", Arc::new(files));
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap_err();
    for directory in ["tmp", "new", "cur"] {
        assert!(names(&place.root().join("alice").join(directory)).is_empty(), "{directory}");
    }
}
