//! That removing takes one message and loses no other, whatever happens.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, STORED, alice, deliver_to, delivery, leave_lock, listed, mailbox, messages, names,
    reading,
};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_mbox::{Format, LockKind, Mbox, Options};
use postino_store::{IfMissing, MailStore, ReadError};
use std::{
    collections::HashSet,
    env, fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

fn deliver_body(store: &Mbox, body: &[u8]) -> String {
    let delivery = delivery(mailbox("alice", IfMissing::Create), body, Arc::default());
    store.deliver(&delivery).unwrap().to_string()
}

/// Three messages, the second large, and what stands of them.
fn three(store: &Mbox, place: &Place) -> (Vec<String>, Vec<u8>) {
    let large = b"From a line\r\n".repeat(30_000);
    let ids = [&b"one\r\n"[..], &large, b"three\r\n"].map(|body| deliver_body(store, body));
    (ids.to_vec(), fs::read(place.alice()).unwrap())
}

fn remove(store: &Mbox, id: &str) -> Result<(), ReadError> {
    let message = reading(store).find(&alice(), id)?;
    reading(store).remove(&alice(), &message)
}

fn offset(id: &str) -> usize {
    id.split_once('-').unwrap().0.parse().unwrap()
}

#[test]
fn all_other_octets_and_the_file_s_access_stay() {
    for format in [Format::Mboxrd, Format::Mboxo] {
        for gone in 0..3 {
            let place = Place::new();
            let options = Options { format, file_mode: 0o640, ..Options::default() };
            let store = place.open_with(options);
            let (ids, before) = three(&store, &place);
            let ends = [offset(&ids[1]), offset(&ids[2]), before.len()];
            remove(&store, &ids[gone]).unwrap();
            let wanted = [&before[..offset(&ids[gone])], &before[ends[gone]..]].concat();
            assert!(fs::read(place.alice()).unwrap() == wanted, "{gone}");
            let mode = fs::metadata(place.alice()).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o640);
            assert_eq!(names(&place.root()), [".postino", "alice"]);
        }
    }
}

#[test]
fn a_file_keeps_its_group() {
    let place = Place::new();
    let store = place.open();
    let id = deliver_to(&store, "alice").unwrap().to_string();
    // Only root can give it any.
    if std::os::unix::fs::chown(place.alice(), None, Some(12_345)).is_ok() {
        remove(&store, &id).unwrap();
        let group = std::os::unix::fs::MetadataExt::gid(&fs::metadata(place.alice()).unwrap());
        assert_eq!(group, 12_345);
    }
}

#[test]
fn a_message_that_was_moved_is_the_one_that_goes() {
    let place = Place::new();
    let store = place.open();
    let (ids, before) = three(&store, &place);
    let last = reading(&store).find(&alice(), &ids[2]).unwrap();
    remove(&store, &ids[0]).unwrap();
    reading(&store).remove(&alice(), &last).unwrap();
    let wanted = &before[offset(&ids[1])..offset(&ids[2])];
    assert!(fs::read(place.alice()).unwrap() == wanted);
    let again = reading(&store).remove(&alice(), &last);
    assert!(matches!(again, Err(ReadError::NoSuchMessage)), "{again:?}");
}

#[test]
fn what_a_crash_has_torn_goes_first_and_nothing_else() {
    let place = Place::new();
    let store = place.open();
    let id = deliver_to(&store, "alice").unwrap().to_string();
    deliver_body(&store, b"stays\r\n");
    let whole = fs::read_to_string(place.alice()).unwrap();
    fs::write(place.alice(), format!("{whole}{}", &STORED[..60])).unwrap();
    leave_lock(&place, whole.len(), whole.len() + STORED.len());
    remove(&store, &id).unwrap();
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), whole[STORED.len()..]);
    assert!(!place.dotlock().exists());
}

#[test]
fn whichever_call_fails_the_mailbox_is_whole_with_the_message_or_without_it() {
    for fault in [Fault::Io, Fault::ShortWrite] {
        for nth in 1.. {
            let place = Place::new();
            let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
            let store = place.store_with("", files.clone(), Options::default());
            store.open().unwrap();
            let ids = [&b"one\r\n"[..], b"two\r\n"].map(|body| deliver_body(&store, body));
            let before = fs::read(place.alice()).unwrap();
            let message = reading(&store).find(&alice(), &ids[0]).unwrap();
            files.arm(nth, fault);
            let removed = reading(&store).remove(&alice(), &message);
            let struck = files.disarm();
            let after = fs::read(place.alice()).unwrap();
            let without = &before[offset(&ids[1])..];
            assert!(after == before || after == without, "{fault:?}, call {nth}: {removed:?}");
            assert!(removed.is_err() || after == without, "{fault:?}, call {nth}: it lies");
            let left = names(&place.root());
            assert_eq!(left, [".postino", "alice"], "{fault:?}, call {nth}");
            deliver_to(&store, "alice").unwrap();
            if !struck {
                assert!(removed.is_ok() && nth > 20, "{removed:?} after {nth} calls");
                break;
            }
        }
    }
}

#[test]
fn the_new_mailbox_is_synced_before_it_has_the_name() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let options = Options { locks: vec![LockKind::Flock], ..Options::default() };
    let store = place.store_with("", files.clone(), options);
    store.open().unwrap();
    let id = deliver_to(&store, "alice").unwrap().to_string();
    let message = reading(&store).find(&alice(), &id).unwrap();
    files.take();
    reading(&store).remove(&alice(), &message).unwrap();
    let calls: Vec<_> = files
        .take()
        .into_iter()
        .filter(|line| !line.starts_with("stat") && !line.starts_with("read"))
        .map(|line| line.split(".postino-new-").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        calls[calls.len() - 11..],
        [
            "open_update alice",
            "try_lock alice",
            "create ",
            "set_access ",
            "try_lock ",
            "try_lock ",
            "sync_file ",
            "rename_over ",
            "sync_dir .",
            "unlock ",
            "unlock alice",
        ]
    );
}

const CHILD: &str = "POSTINO_MBOX_REMOVE_ROOT";
const LAST: &str = "POSTINO_MBOX_REMOVE_LAST_CALL";

/// Not a test of its own: the program that ends before its Nth call.
#[test]
fn child_that_ends_before_a_call() {
    let (Some(above), Ok(last)) = (env::var_os(CHILD), env::var(LAST)) else { return };
    let above = PathBuf::from(above);
    let last: usize = last.parse().unwrap();
    let calls = AtomicUsize::new(0);
    let files = Recording::observed(Arc::new(Kernel::new()), &above, move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == last {
            std::process::exit(0); // nothing is dropped
        }
    });
    let template = postino_store::PathTemplate::parse(&above.join("root").display().to_string());
    let store = Mbox::new(template.unwrap(), Options::default(), Arc::new(files));
    let message = listed(reading(&store), &alice()).remove(0);
    reading(&store).remove(&alice(), &message).unwrap();
    println!("\nto the end");
}

#[test]
fn whichever_call_a_kill_comes_before_the_mailbox_is_whole_and_takes_mail() {
    for last in 0.. {
        assert!(last < 1000, "it never comes to its end");
        let place = Place::new();
        let store = place.open();
        let ids = [&b"one\r\n"[..], b"two\r\n"].map(|body| deliver_body(&store, body));
        let before = fs::read(place.alice()).unwrap();
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_that_ends_before_a_call", "--nocapture"])
            .env(CHILD, place.above())
            .env(LAST, last.to_string())
            .output()
            .unwrap();
        let after = fs::read(place.alice()).unwrap();
        assert!(after == before || after == before[offset(&ids[1])..], "{last}");
        deliver_to(&store, "alice").unwrap();
        let left = names(&place.root());
        let drafts = left.iter().filter(|name| name.starts_with(".postino-new-")).count();
        assert!(left.len() == 2 + drafts && drafts <= 1, "{last}: {left:?}");
        if String::from_utf8_lossy(&output.stdout).contains("\nto the end") {
            assert!(last > 20 && after != before && drafts == 0, "only {last} calls");
            break;
        }
    }
}

#[test]
fn a_removal_amid_deliveries_loses_nothing() {
    for locks in ["fcntl,dotlock", "flock"] {
        let place = Place::new();
        let options = Options { locks: LockKind::list(locks).unwrap(), ..Options::default() };
        let store = place.open_with(options.clone());
        let victims: Vec<_> =
            (0..20).map(|n| deliver_body(&store, format!("victim {n}\r\n").as_bytes())).collect();
        let done = AtomicBool::new(false);
        let delivered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for writer in 0..2 {
                // Each with locks of its own, as another process.
                let store = place.open_with(options.clone());
                let (done, delivered) = (&done, &delivered);
                scope.spawn(move || {
                    for n in 0.. {
                        if done.load(Ordering::Relaxed) {
                            break;
                        }
                        let body = format!("writer {writer}, message {n}\r\n");
                        let mailbox = mailbox("alice", IfMissing::Create);
                        let delivery = delivery(mailbox, body.as_bytes(), Arc::default());
                        while store.deliver(&delivery).is_err() {
                            thread::yield_now();
                        }
                        delivered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for id in &victims {
                while remove(&store, id).is_err() {
                    thread::yield_now();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let stored = messages(&place.alice());
        assert_eq!(stored.len(), delivered.load(Ordering::Relaxed), "{locks}");
        assert_eq!(stored.iter().collect::<HashSet<_>>().len(), stored.len(), "twice: {locks}");
        let victim = stored.iter().find(|text| text.windows(6).any(|part| part == b"victim"));
        assert_eq!(victim, None);
        assert_eq!(names(&place.root()), [".postino", "alice"]);
    }
}

#[test]
fn what_others_write_without_our_locks_stops_a_removal() {
    let place = Place::new();
    let path = place.alice();
    let files = Recording::observed(Arc::new(Kernel::new()), place.root(), move |line| {
        if line.starts_with("sync_file .postino-new-") {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            std::io::Write::write_all(&mut file, STORED.as_bytes()).unwrap();
        }
    });
    let store = place.store_with("", Arc::new(files), Options::default());
    store.open().unwrap();
    let id = deliver_to(&store, "alice").unwrap().to_string();
    assert!(remove(&store, &id).is_err());
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2));
}

#[test]
fn a_mailbox_that_is_removed_takes_nothing_with_it() {
    let place = Place::new();
    let store = place.store_with("/%d/%n/mbox", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice@example.org").unwrap();
    let name = postino_store::MailboxName::new("alice@example.org").unwrap();
    let directory = place.root().join("example.org/alice");
    fs::write(directory.join("other"), "x").unwrap();
    reading(&store).remove_mailbox(&name).unwrap();
    assert_eq!(names(&directory), ["other"]);
    deliver_to(&store, "bob@example.net").unwrap();
    let bob = postino_store::MailboxName::new("bob@example.net").unwrap();
    reading(&store).remove_mailbox(&bob).unwrap();
    assert_eq!(names(&place.root()), [".postino", "example.org"], "empty directories go");
    let failing = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let store = place.store_with("", failing.clone(), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    failing.arm_only(Call::SyncDir, 1, Fault::Io);
    assert!(reading(&store).remove_mailbox(&alice()).is_err(), "it is not durable");
}
