//! Quotas: exact, however many deliver at once, to the mailbox and its folders.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{HEADER, Place, deliver, delivery, mailbox, messages, read, reading, walk};
use postino_files::process;
use postino_mbox::{LockKind, Mbox, Options};
use postino_store::{DeliveryError, IfMissing, IfNoFolder, MailStore, Mailbox, Quota};
use std::{
    fs,
    os::unix::fs::chown,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

const KIB: u64 = 1 << 10;

fn alice(octets: Option<u64>, messages: Option<u64>) -> Mailbox {
    mailbox("alice", IfMissing::Create).with_quota(Quota { octets, messages })
}

fn is_over<T>(result: &Result<T, DeliveryError>) -> bool {
    matches!(result, Err(DeliveryError::OverQuota { .. }))
}

/// Octets and messages of all files below the root.
fn held(root: &Path) -> (u64, usize) {
    let files: Vec<_> = walk(root)
        .into_iter()
        .filter(|path| path.contains("alice") && fs::metadata(root.join(path)).unwrap().is_file())
        .map(|path| root.join(path))
        .collect();
    let octets = files.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    (octets, files.iter().map(|file| messages(file).len()).sum())
}

/// 32 threads, two stores as two processes would have, 2,000 messages of 1 KiB each
/// to the mailbox and `folders` folders. How many were stored.
fn flood(place: &Place, quota: Quota, folders: usize) -> usize {
    let two: [Mbox; 2] = [place.open(), place.open()];
    // 1 KiB in the file, with the From_ line and the empty line.
    let frame = "From s@example.net Tue Nov 24 08:47:49 2026\n\n".len() + HEADER.len() - 1;
    let body = ["x".repeat(1024 - frame - 1), "\n".to_owned()].concat();
    let (stored, over) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..32_usize {
            let (two, body, stored, over) = (&two, &body, &stored, &over);
            scope.spawn(move || {
                let to = || match n % (folders + 1) {
                    0 => alice(quota.octets, quota.messages),
                    k => alice(quota.octets, quota.messages)
                        .in_folder(&format!("f/{k}"), IfNoFolder::Create)
                        .unwrap(),
                };
                for _ in 0..2000_usize.div_ceil(32) {
                    loop {
                        let one = delivery(to(), body.as_bytes(), Arc::default());
                        match two[n / 2 % 2].deliver(&one) {
                            Ok(_) => stored.fetch_add(1, Ordering::Relaxed),
                            Err(DeliveryError::Locked { .. }) => {
                                thread::yield_now();
                                continue;
                            }
                            result if is_over(&result) => over.fetch_add(1, Ordering::Relaxed),
                            Err(error) => panic!("{error}"),
                        };
                        break;
                    }
                }
            });
        }
    });
    let stored = stored.into_inner();
    assert_eq!(stored + over.into_inner(), 32 * 63);
    stored
}

#[test]
fn two_thousand_deliveries_of_32_threads_never_exceed_it() {
    for folders in [0, 3] {
        let place = Place::new();
        let quota = Quota { octets: Some(500 * KIB), messages: None };
        assert_eq!(flood(&place, quota, folders), 500);
        assert_eq!(held(&place.root()), (500 * KIB, 500));
    }
}

#[test]
fn two_thousand_deliveries_of_32_threads_never_exceed_a_number_of_messages() {
    let place = Place::new();
    let quota = Quota { octets: Some(500 * KIB), messages: Some(300) };
    assert_eq!(flood(&place, quota, 3), 300);
    assert_eq!(held(&place.root()), (300 * KIB, 300));
}

#[test]
fn in_a_batch_those_who_do_not_fit_are_refused_alone() {
    let place = Place::new();
    let store = place.open();
    let sizes: [usize; 5] = [100, 3000, 100, 5000, 100];
    let results = Arc::new(std::sync::Mutex::new(Vec::new()));
    let batch: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(at, size)| {
            let results = Arc::clone(&results);
            let body = postino_store::Body::in_memory(vec![b'x'; *size]);
            postino_store::Delivery::new(
                Arc::new(common::message(body)),
                alice(Some(4 * KIB), None),
                "alice".to_owned(),
                HEADER.to_vec(),
                Arc::default(),
                Box::new(move |result| results.lock().unwrap().push((at, result))),
            )
        })
        .collect();
    store.deliver_batch(&batch);
    let mut results = results.lock().unwrap();
    results.sort_by_key(|(at, _)| *at);
    let stored: Vec<_> = results.iter().map(|(_, result)| result.is_ok()).collect();
    assert_eq!(stored, [true, true, true, false, true]);
    assert!(matches!(results[3].1, Err(DeliveryError::LargerThanQuota)));
    assert!(held(&place.root()).0 <= 4 * KIB);
    let more = store.deliver(&delivery(alice(Some(4 * KIB), None), &[b'x'; 600], Arc::default()));
    assert!(is_over(&more), "{more:?}");
}

#[test]
fn what_others_remove_makes_room_and_what_they_add_takes_it() {
    let place = Place::new();
    let store = place.open();
    let to = || alice(None, Some(2));
    let id = deliver(&store, to()).unwrap();
    deliver(&store, to().in_folder("x", IfNoFolder::Create).unwrap()).unwrap();
    let over = deliver(&store, to());
    assert_eq!(over.unwrap_err().to_string(), "over quota: 2 of 2 messages");
    let reader = reading(&store);
    let found = reader.find(to().name(), id.as_str()).unwrap();
    assert!(!read(reader, to().name(), &found).is_empty());
    reader.remove(to().name(), &found).unwrap();
    deliver(&store, to()).unwrap();
    assert!(is_over(&deliver(&store, to())));
    let text = fs::read(place.alice()).unwrap();
    fs::write(place.alice(), [&text[..], &text].concat()).unwrap();
    let over = deliver(&store, to());
    assert_eq!(over.unwrap_err().to_string(), "over quota: 3 of 2 messages");
}

#[test]
fn admission_compares_the_declared_size_with_the_octets() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, alice(None, None)).unwrap();
    deliver(&store, alice(None, None).in_folder("x", IfNoFolder::Create).unwrap()).unwrap();
    let held = held(&place.root()).0;
    let admit = |octets, messages, size| store.admit(&alice(octets, messages), size);
    admit(Some(held + 10), Some(1), Some(10)).unwrap();
    assert!(is_over(&admit(Some(held + 10), None, Some(11))));
    assert!(is_over(&admit(Some(held), None, None)));
    let larger = admit(Some(held), None, Some(held + 1));
    assert!(matches!(larger, Err(DeliveryError::LargerThanQuota)));
    // One who is not there yet has all of it.
    let bob = mailbox("bob", IfMissing::Create);
    store.admit(&bob.with_quota(Quota { octets: Some(10), messages: None }), Some(10)).unwrap();
}

#[test]
fn a_folder_waits_for_the_mailboxs_lock_where_there_is_a_quota_alone() {
    for lock in ["fcntl", "flock", "dotlock"] {
        let place = Place::new();
        let locks = LockKind::list(lock).unwrap();
        let store = place.open_with(Options { locks, ..Options::default() });
        let folder = |mailbox: Mailbox| mailbox.in_folder("x", IfNoFolder::Create).unwrap();
        deliver(&store, folder(alice(None, None))).unwrap();
        fs::write(place.dotlock(), "1").unwrap();
        let file = fs::OpenOptions::new().append(true).open(place.alice()).unwrap();
        let kernel = postino_files::Kernel::new();
        let held = postino_files::File::new(file.into(), place.alice());
        let kind =
            if lock == "flock" { postino_files::Lock::Flock } else { postino_files::Lock::Fcntl };
        assert!(postino_files::Files::try_lock(&kernel, &held, kind).unwrap());
        deliver(&store, folder(alice(None, None))).unwrap();
        let locked = deliver(&store, folder(alice(Some(KIB), None)));
        assert!(matches!(locked, Err(DeliveryError::Locked { .. })), "{lock}: {locked:?}");
        drop(held);
        fs::remove_file(place.dotlock()).unwrap();
        deliver(&store, folder(alice(Some(KIB), None))).unwrap();
    }
}

#[test]
fn what_a_stranger_puts_among_the_folders_takes_no_room() {
    if process::user() != 0 {
        return;
    }
    let place = Place::new();
    let store = place.open();
    let quota = || alice(Some(10 * KIB), None);
    deliver(&store, quota()).unwrap();
    let folders = place.root().join(".alice");
    fs::create_dir(&folders).unwrap();
    fs::write(folders.join("large"), vec![b'x'; 20 * 1024]).unwrap();
    assert!(is_over(&deliver(&store, quota())));
    chown(folders.join("large"), Some(54_321), None).unwrap();
    deliver(&store, quota()).unwrap();
}
