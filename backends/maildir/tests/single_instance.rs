//! Several recipients, one file: what each finds, in which order it comes to be,
//! and what becomes of it when something fails.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, mailbox, names, walk};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_maildir::{Maildir, Options};
use postino_store::{
    Body, Delivery, DeliveryError, DeliveryId, Fate, IfMissing, MailStore, Mailbox, Message,
    Timestamp,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

const HEADER: &[u8] = b"Return-Path: <s@example.net>\r\nReceived: by mx\r\n";
const BODY: &[u8] = b"Subject: x\r\n\r\ntext\r\n";
const STORED: &[u8] = b"Return-Path: <s@example.net>\nReceived: by mx\nSubject: x\n\ntext\n";

const THREE: [&str; 3] = ["alice", "bob", "carol"];

type Outcome = Result<DeliveryId, DeliveryError>;

fn message() -> Arc<Message> {
    let sender = "s@example.net".to_owned();
    let body = Body::in_memory(BODY.to_vec());
    let message = Message::new(Timestamp::now_utc(), sender, false, body);
    Arc::new(message.with_common_header(HEADER.to_vec()))
}

fn delivery(message: &Arc<Message>, mailbox: Mailbox, fate: Arc<Fate>) -> Delivery {
    let recipient = mailbox.name().to_string();
    Delivery::new(Arc::clone(message), mailbox, recipient, Vec::new(), fate, Box::new(|_| {}))
}

/// Prepares and delivers one after the other; all is over when it returns.
fn deliver_to(store: &Maildir, mailboxes: &[Mailbox]) -> Vec<Outcome> {
    let message = message();
    let prepared = store.prepare(&message, &mailboxes.iter().collect::<Vec<_>>()).unwrap();
    let deliver = |mailbox: &Mailbox| {
        let delivery = delivery(&message, mailbox.clone(), Arc::default());
        store.deliver(&delivery.with_prepared(prepared.clone()))
    };
    mailboxes.iter().map(deliver).collect()
}

fn all(if_missing: IfMissing) -> Vec<Mailbox> {
    THREE.iter().map(|name| mailbox(name, if_missing)).collect()
}

fn opened(place: &Place) -> (Arc<Failing>, Maildir) {
    let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let store = place.store("", files.clone());
    store.open().unwrap();
    (files, store)
}

/// The only message of a mailbox.
fn message_of(place: &Place, mailbox: &str) -> PathBuf {
    let new = place.root().join(mailbox).join("new");
    let names = names(&new);
    assert_eq!(names.len(), 1, "{mailbox}: {names:?}");
    new.join(&names[0])
}

/// The files in any `tmp`.
fn drafts(place: &Place) -> Vec<String> {
    let in_tmp =
        |path: &String| Path::new(path).parent().is_some_and(|parent| parent.ends_with("tmp"));
    walk(&place.root()).into_iter().filter(in_tmp).collect()
}

fn inode(path: &Path) -> (u64, u64) {
    let file = fs::metadata(path).unwrap();
    (file.ino(), file.nlink())
}

#[test]
fn recipients_share_one_file_and_each_has_an_id_of_his_own() {
    let place = Place::new();
    let (_, store) = opened(&place);
    let outcomes = deliver_to(&store, &all(IfMissing::Create));
    let mut inodes = Vec::new();
    for (name, outcome) in THREE.iter().zip(outcomes) {
        let path = message_of(&place, name);
        let id = outcome.unwrap();
        let file_name = path.file_name().unwrap().to_str().unwrap();
        let sizes = format!(",S={},W={}", STORED.len(), STORED.len() + 5);
        assert_eq!(file_name, format!("{id}.localhost{sizes}"));
        assert_eq!(fs::read(&path).unwrap(), STORED);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        inodes.push(inode(&path));
    }
    assert_eq!(inodes, [(inodes[0].0, 3); 3]);
    assert_eq!(drafts(&place), [""; 0]);
}

#[test]
fn the_file_is_synced_once_before_any_link_and_each_new_after_its_own() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", files.clone());
    store.open().unwrap();
    deliver_to(&store, &all(IfMissing::Create));
    files.take();
    deliver_to(&store, &all(IfMissing::Create));
    let lasting = [
        "create",
        "create_unnamed",
        "write",
        "sync_file",
        "rename",
        "link_unnamed",
        "sync_dir",
        "unlink",
    ];
    let order: Vec<String> = files
        .take()
        .iter()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let call = words.next().filter(|call| lasting.contains(call))?;
            let path = Path::new(words.next_back()?);
            let directory = if call == "link_unnamed" { path.parent()? } else { path };
            Some(format!("{call} {}", directory.display()))
        })
        .collect();
    assert_eq!(
        order,
        [
            "create_unnamed .",
            "write (unnamed)",
            "sync_file (unnamed)",
            "link_unnamed alice/new",
            "sync_dir alice/new",
            "link_unnamed bob/new",
            "sync_dir bob/new",
            "link_unnamed carol/new",
            "sync_dir carol/new",
        ]
    );
}

#[test]
fn those_who_have_a_mailbox_share_whoever_has_none() {
    let place = Place::new();
    let (_, store) = opened(&place);
    deliver_to(&store, &all(IfMissing::Create)[1..]);
    let outcomes = deliver_to(&store, &all(IfMissing::Refuse));
    assert!(matches!(outcomes[0], Err(DeliveryError::NoSuchMailbox)), "{outcomes:?}");
    assert!(outcomes[1].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    let news = ["bob", "carol"].map(|name| place.root().join(name).join("new"));
    let last = news.map(|new| inode(&new.join(names(&new).pop().unwrap())));
    assert_eq!(last, [(last[0].0, 2); 2]);
}

#[test]
fn one_recipient_or_headers_that_differ_share_nothing() {
    let place = Place::new();
    let (files, store) = opened(&place);
    let alice = mailbox("alice", IfMissing::Create);
    files.arm_only(Call::CreateUnnamed, 1, Fault::Io);
    store.prepare(&message(), &[&alice]).unwrap();
    let body = Body::in_memory(BODY.to_vec());
    let differing = Message::new(Timestamp::now_utc(), String::new(), false, body);
    store.prepare(&differing, &[&alice, &alice]).unwrap();
    assert_eq!(files.counted(), 0);
    assert_eq!(names(&place.root()), [".postino"]);
}

#[test]
fn no_mailbox_is_touched_before_its_own_delivery() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", files.clone());
    store.open().unwrap();
    deliver_to(&store, &all(IfMissing::Create));
    files.take();
    let mailboxes = all(IfMissing::Create);
    store.prepare(&message(), &mailboxes.iter().collect::<Vec<_>>()).unwrap();
    let calls = files.take();
    assert!(!calls.is_empty() && THREE.iter().all(|name| !calls.iter().any(|c| c.contains(name))));
}

#[test]
fn only_so_many_files_are_shared_at_the_same_time() {
    let place = Place::new();
    let (files, store) = opened(&place);
    let mailboxes = all(IfMissing::Create);
    let mailboxes: Vec<_> = mailboxes.iter().collect();
    files.arm_only(Call::CreateUnnamed, usize::MAX, Fault::Io);
    let prepared: Vec<_> =
        (0..100).map(|_| store.prepare(&message(), &mailboxes).unwrap()).collect();
    assert_eq!(files.counted(), 64);
    drop(prepared);
    store.prepare(&message(), &mailboxes).unwrap();
    assert_eq!(files.counted(), 65);
}

#[test]
fn no_store_or_no_mailbox_is_left_for_each_recipient_to_find_out() {
    let place = Place::new();
    let (_, store) = opened(&place);
    deliver_to(&store, &[mailbox("dave", IfMissing::Create)]);
    for outcome in deliver_to(&store, &all(IfMissing::Refuse)) {
        assert!(matches!(outcome, Err(DeliveryError::NoSuchMailbox)), "{outcome:?}");
    }
    fs::remove_file(place.root().join(".postino")).unwrap();
    for outcome in deliver_to(&store, &all(IfMissing::Create)) {
        assert!(matches!(outcome, Err(DeliveryError::StoreMissing { .. })), "{outcome:?}");
    }
    assert_eq!(names(&place.root()), ["dave"]);
}

/// Delivers with the `n`th call failing; says whether it came.
fn delivered_with_fault(n: usize, fault: Fault, in_existing: bool) -> bool {
    let place = Place::new();
    let (files, store) = opened(&place);
    let before = usize::from(in_existing);
    if in_existing {
        deliver_to(&store, &all(IfMissing::Create));
    }
    files.arm(n, fault);
    let outcomes = deliver_to(&store, &all(IfMissing::Create));
    let came = files.disarm();
    let when = format!("call {n} failed ({fault:?}): {outcomes:?}");
    for (name, outcome) in THREE.iter().zip(&outcomes) {
        assert!(outcome.is_ok() || came, "{when}");
        let new = place.root().join(name).join("new");
        let stored = names(&new);
        assert_eq!(stored.len(), before + usize::from(outcome.is_ok()), "{name}: {when}");
        for message in stored {
            assert_eq!(fs::read(new.join(message)).unwrap(), STORED, "{name}: {when}");
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(failed <= 1, "one call's failure is one recipient's at the most: {when}");
    assert!(drafts(&place).is_empty(), "{:?}: {when}", drafts(&place));
    came
}

#[test]
fn whichever_call_fails_each_recipient_has_the_message_or_an_error() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Interrupted, Fault::ShortWrite] {
        for in_existing in [false, true] {
            let calls =
                (1..1_000).take_while(|n| delivered_with_fault(*n, fault, in_existing)).count();
            assert!((20..999).contains(&calls), "{fault:?}: {calls} calls");
        }
    }
}

#[test]
fn after_a_failed_sync_no_file_is_linked() {
    let place = Place::new();
    let (files, store) = opened(&place);
    files.arm_only(Call::SyncFile, 1, Fault::Io);
    assert!(deliver_to(&store, &all(IfMissing::Create)).iter().all(Result::is_ok));
    for name in THREE {
        assert_eq!(inode(&message_of(&place, name)).1, 1);
    }
    assert_eq!(drafts(&place), [""; 0]);
}

/// Lines that were logged, of all tests of this process.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

#[test]
fn where_no_link_is_possible_a_recipient_gets_a_copy_and_that_is_logged_once() {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    for fault in [Fault::OtherDevice, Fault::TooManyLinks, Fault::NotPermitted, Fault::NotSupported]
    {
        let place = Place::new();
        let (files, store) = opened(&place);
        for _ in 0..2 {
            for name in THREE {
                let _ = fs::remove_dir_all(place.root().join(name));
            }
            files.arm_only(Call::LinkUnnamed, 2, fault);
            let outcomes = deliver_to(&store, &all(IfMissing::Create));
            assert!(
                files.disarm() && outcomes.iter().all(Result::is_ok),
                "{fault:?}: {outcomes:?}"
            );
            let [alice, bob, carol] = THREE.map(|name| message_of(&place, name));
            assert_eq!(inode(&alice), inode(&carol));
            assert_eq!((inode(&alice).1, inode(&bob).1), (2, 1), "{fault:?}");
            assert_eq!(fs::read(bob).unwrap(), STORED);
            assert_eq!(drafts(&place), [""; 0]);
        }
        let root = place.root().display().to_string();
        let logged = LOGGED.lock().unwrap();
        let lines: Vec<_> = logged.iter().filter(|line| line.contains(&root)).collect();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with("WARN single-instance: cannot link a file of "), "{lines:#?}");
    }
}

#[test]
fn a_recipient_who_deletes_the_only_copy_takes_it_from_nobody() {
    let place = Place::new();
    let (_, store) = opened(&place);
    let message = message();
    let mailboxes = all(IfMissing::Create);
    let prepared = store.prepare(&message, &mailboxes.iter().collect::<Vec<_>>()).unwrap();
    let deliver = |at: usize| {
        let delivery = delivery(&message, mailboxes[at].clone(), Arc::default());
        store.deliver(&delivery.with_prepared(prepared.clone())).unwrap();
        message_of(&place, THREE[at])
    };
    fs::remove_file(deliver(0)).unwrap();
    for at in 1..THREE.len() {
        assert_eq!(fs::read(deliver(at)).unwrap(), STORED);
    }
}

#[test]
fn what_is_withdrawn_never_appears() {
    let place = Place::new();
    let root = place.root();
    let fate = Arc::new(Fate::default());
    let late = Arc::clone(&fate);
    // Right before the last call that comes before the link.
    let files = Recording::observed(Arc::new(Kernel::new()), &root, move |line| {
        if line == "stat_dir bob/new" {
            late.withdraw();
        }
    });
    let store = place.store("", Arc::new(files));
    store.open().unwrap();
    let message = message();
    let mailboxes = all(IfMissing::Create);
    let prepared = store.prepare(&message, &mailboxes.iter().collect::<Vec<_>>()).unwrap();
    let deliver = |at: usize, fate| {
        let delivery = delivery(&message, mailboxes[at].clone(), fate);
        store.deliver(&delivery.with_prepared(prepared.clone()))
    };
    deliver(0, Arc::default()).unwrap();
    assert!(matches!(deliver(1, fate), Err(DeliveryError::Expired)));
    assert_eq!(names(&root.join("bob/new")), [""; 0]);
    assert_eq!(drafts(&place), [""; 0]);
    assert_eq!(inode(&message_of(&place, "alice")).1, 1);
}

/// The group of a file comes from the directory that it is made in.
#[test]
fn mailboxes_of_different_groups_share_no_file_where_groups_have_rights() {
    for (file_mode, links) in [(0o600, 3), (0o660, 2)] {
        let place = Place::new();
        let options = Options { file_mode, ..Options::default() };
        let store = place.store_with("", Arc::new(Kernel::new()), options);
        store.open().unwrap();
        let in_group = |directory: &Path, group| {
            let changed = std::os::unix::fs::chown(directory, None, Some(group));
            let mode = fs::Permissions::from_mode(0o2770);
            changed.is_ok() && fs::set_permissions(directory, mode).is_ok()
        };
        if !in_group(&place.root(), 12_345) {
            return; // Only root may.
        }
        for (name, group) in THREE.iter().zip([12_345, 12_345, 54_321]) {
            let directory = place.root().join(name);
            fs::create_dir(&directory).unwrap();
            assert!(in_group(&directory, group));
        }
        assert!(deliver_to(&store, &all(IfMissing::Create)).iter().all(Result::is_ok));
        assert_eq!(inode(&message_of(&place, "alice")).1, links);
        let carol = fs::metadata(message_of(&place, "carol")).unwrap();
        assert!(file_mode == 0o600 || carol.gid() == 54_321);
    }
}
