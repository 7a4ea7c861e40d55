//! Quotas: `maildirsize`, what fits, and what never happens.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{HEADER, Place, deliver_to, delivery, mailbox, names};
use postino_files::{
    Files, Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_maildir::Maildir;
use postino_store::{
    Body, Delivery, DeliveryError, DeliveryId, Finding, FindingKind, IfMissing, IfNoFolder,
    MailReader, MailStore, Mailbox, MailboxName, Message, Quota, Remedy, Repair, Timestamp,
};
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

fn opened(place: &Place) -> Maildir {
    let store = place.store("", Arc::new(Kernel::new()));
    MailStore::open(&store).unwrap();
    store
}

fn alice(octets: u64, messages: Option<u64>) -> Mailbox {
    mailbox("alice", IfMissing::Create).with_quota(Quota { octets: Some(octets), messages })
}

/// Delivers a message of which the file has so many octets.
fn deliver_sized(
    store: &Maildir,
    mailbox: Mailbox,
    octets: usize,
) -> Result<DeliveryId, DeliveryError> {
    let header = HEADER.len() - 1; // its CRLF becomes LF
    let body = vec![b'x'; octets - header];
    store.deliver(&delivery(mailbox, &body, false, Arc::default()))
}

fn findings(store: &Maildir, repair: Repair) -> Vec<Finding> {
    let mut findings = Vec::new();
    store.verify(repair, &mut |finding| findings.push(finding)).unwrap();
    findings
}

#[test]
fn a_sum_that_is_not_what_is_held_is_found_and_removed() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(10_000, None), 500).unwrap();
    let trash = alice(10_000, None).in_folder("Trash", IfNoFolder::Create).unwrap();
    deliver_sized(&store, trash, 300).unwrap();
    // Courier's does not count the Trash.
    for right in ["10000S\n800 2\n", "10000S\n500 1\n", "10000S\n500 1\n300 1\n"] {
        fs::write(sum_file(&place), right).unwrap();
        assert_eq!(findings(&store, Repair::No), [], "{right}");
    }
    fs::write(sum_file(&place), "10000S\n700 2\n").unwrap();
    let found = findings(&store, Repair::No);
    let [Finding { kind: FindingKind::Stray, what, remedy: Remedy::Possible(_), .. }] = &found[..]
    else {
        panic!("{found:#?}");
    };
    assert_eq!(what, "says 700 octets in 2 messages, but there are 800 in 2");
    assert!(sum_file(&place).exists());
    assert_eq!(findings(&store, Repair::Yes).len(), 1);
    assert!(!sum_file(&place).exists());
    assert_eq!(findings(&store, Repair::No), []);
}

#[test]
fn what_a_repair_takes_away_is_not_held_any_more() {
    let place = Place::new();
    let store = opened(&place);
    for octets in [500, 300] {
        deliver_sized(&store, alice(10_000, None), octets).unwrap();
    }
    // Cut off, as by a disk that failed.
    let new = place.root().join("alice/new");
    let name = names(&new).into_iter().find(|name| name.contains(",S=300")).unwrap();
    File::options().write(true).open(new.join(name)).unwrap().set_len(0).unwrap();
    assert!(sum_file(&place).exists());
    let found = findings(&store, Repair::Yes);
    assert!(matches!(found[..], [Finding { remedy: Remedy::Done(_), .. }]), "{found:#?}");
    assert!(!sum_file(&place).exists());
}

#[test]
fn a_directory_in_the_place_of_the_sums_is_damage_that_a_repair_moves_away() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(10_000, None), 500).unwrap();
    fs::remove_file(sum_file(&place)).unwrap();
    fs::create_dir(sum_file(&place)).unwrap();
    assert!(deliver_sized(&store, alice(10_000, None), 300).is_err());
    let found = findings(&store, Repair::Yes);
    let [Finding { kind: FindingKind::Damage, remedy: Remedy::Done(_), .. }] = &found[..] else {
        panic!("{found:#?}");
    };
    deliver_sized(&store, alice(10_000, None), 300).unwrap();
    assert_eq!(findings(&store, Repair::No), []);
}

fn sum_file(place: &Place) -> PathBuf {
    place.root().join("alice/maildirsize")
}

/// The first line, and the sums of the others.
fn sum(place: &Place) -> (String, i64, i64) {
    let text = fs::read_to_string(sum_file(place)).unwrap();
    let mut lines = text.lines();
    let first = lines.next().unwrap().to_owned();
    let (mut octets, mut messages) = (0, 0);
    for line in lines {
        let numbers: Vec<i64> =
            line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        octets += numbers[0];
        messages += numbers[1];
    }
    (first, octets, messages)
}

/// What the files themselves have, in all folders.
fn held(account: &Path) -> (i64, i64) {
    let mut held = (0, 0);
    let folders = names(account).into_iter().filter(|name| name.starts_with('.'));
    for folder in folders.chain([String::new()]) {
        for directory in ["new", "cur"].map(|name| account.join(&folder).join(name)) {
            for name in names(&directory) {
                held.0 += i64::try_from(fs::metadata(directory.join(name)).unwrap().len()).unwrap();
                held.1 += 1;
            }
        }
    }
    held
}

fn assert_over<T: std::fmt::Debug>(result: Result<T, DeliveryError>, expected: &str) {
    match result {
        Err(DeliveryError::OverQuota { what }) => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_delivery_is_a_line_of_14_octets_behind_the_quota() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(10_000, Some(5)), 100).unwrap();
    deliver_sized(&store, alice(10_000, Some(5)), 2000).unwrap();
    let text = fs::read_to_string(sum_file(&place)).unwrap();
    assert_eq!(text, "10000S,5C\n          0 0\n        100 1\n       2000 1\n");
    assert_eq!(fs::metadata(sum_file(&place)).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(names(&place.root().join("alice/tmp")), [""; 0]);
}

#[test]
fn what_just_fits_is_taken_and_an_octet_more_is_not() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(1000, None), 600).unwrap();
    assert_over(deliver_sized(&store, alice(1000, None), 401), "600 of 1000 octets");
    assert_over(store.admit(&alice(1000, None), Some(401)), "600 of 1000 octets");
    store.admit(&alice(1000, None), Some(400)).unwrap();
    store.admit(&alice(1000, None), None).unwrap();
    deliver_sized(&store, alice(1000, None), 400).unwrap();
    assert_over(store.admit(&alice(1000, None), None), "1000 of 1000 octets");
    assert_over(
        deliver_sized(&store, alice(9000, Some(2)), 100),
        "1000 of 9000 octets, 2 of 2 messages",
    );
    for result in [
        deliver_sized(&store, alice(1000, None), 1001).map(drop),
        store.admit(&alice(1000, None), Some(1001)),
        store
            .admit(&mailbox("new", IfMissing::Create).with_quota(alice(9, None).quota()), Some(10)),
    ] {
        assert!(matches!(result, Err(DeliveryError::LargerThanQuota)), "{result:?}");
    }
    assert_eq!(held(&place.root().join("alice")), (1000, 2));
    assert_eq!(names(&place.root().join("alice/tmp")), [""; 0]);
}

#[test]
fn folders_count_and_trash_is_one() {
    let place = Place::new();
    let store = opened(&place);
    for folder in ["Trash", "Lists/2026"] {
        let folder = alice(1000, None).in_folder(folder, IfNoFolder::Create).unwrap();
        deliver_sized(&store, folder, 400).unwrap();
    }
    assert_over(deliver_sized(&store, alice(1000, None), 201), "800 of 1000 octets");
    fs::remove_file(sum_file(&place)).unwrap();
    assert_over(deliver_sized(&store, alice(1000, None), 201), "800 of 1000 octets");
    assert_eq!(sum(&place), ("1000S".to_owned(), 800, 2));
    assert!(!place.root().join("alice/.Trash/maildirsize").exists());
}

#[test]
fn all_is_counted_anew_where_the_file_is_missing_damaged_large_or_of_another_quota() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(9000, None), 500).unwrap();
    // One of a name without a size, and what is no message.
    fs::write(place.root().join("alice/cur/17.x.host:2,ST"), "text").unwrap();
    fs::write(place.root().join("alice/cur/.nfs001"), "text").unwrap();
    let long = format!("9000S\n{}{}", "1 00\n".repeat(2), "1 0\n".repeat(1276));
    assert_eq!(long.len(), 5_120);
    let mut expected = 504;
    for (text, messages) in [
        None,
        Some(""),
        Some("9000S\n"),
        Some("9000S\n 1 1\n\0\0\0\0"),
        Some("9000S\n 1"),
        Some("9000S\n1 1\nnonsense\n"),
        Some("9000S\n-1 -1\n"),
        Some("8000S\n1 1\n"),
        Some("9000S,7C\n1 1\n"),
        Some(&*long),
    ]
    .into_iter()
    .zip(3..)
    {
        match text {
            Some(text) => fs::write(sum_file(&place), text).unwrap(),
            None => fs::remove_file(sum_file(&place)).unwrap(),
        }
        deliver_sized(&store, alice(9000, None), 100).unwrap();
        expected += 100;
        assert_eq!(sum(&place), ("9000S".to_owned(), expected, messages), "{text:?}");
    }
    let (octets, messages) = held(&place.root().join("alice"));
    assert_eq!((octets - 4, messages - 1), (expected, 12), "but for the hidden one");
}

#[test]
fn what_poses_as_the_file_is_replaced_and_never_written_to() {
    let place = Place::new();
    let store = opened(&place);
    let secret = place.above().join("secret");
    deliver_sized(&store, alice(9000, None), 100).unwrap();
    for n in 2..4 {
        fs::write(&secret, "9000S\n1 1\n").unwrap();
        fs::remove_file(sum_file(&place)).unwrap();
        match n {
            2 => symlink(&secret, sum_file(&place)).unwrap(),
            _ => fs::hard_link(&secret, sum_file(&place)).unwrap(),
        }
        deliver_sized(&store, alice(9000, None), 100).unwrap();
        assert_eq!(sum(&place), ("9000S".to_owned(), n * 100, n));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "9000S\n1 1\n");
        assert!(fs::symlink_metadata(sum_file(&place)).unwrap().is_file());
    }
}

#[test]
fn a_sum_over_the_quota_is_believed_for_a_quarter_of_an_hour() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(1000, None), 500).unwrap();
    let lying_since = |lines: &str, written: SystemTime| {
        fs::write(sum_file(&place), format!("1000S\n{lines}")).unwrap();
        File::options().write(true).open(sum_file(&place)).unwrap().set_modified(written).unwrap();
    };
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let lying = |lines: &str, ago| lying_since(lines, SystemTime::now() - minutes(ago));
    for ask in [
        |store: &Maildir| store.admit(&alice(1000, None), Some(150)),
        |store: &Maildir| deliver_sized(store, alice(1000, None), 150).map(drop),
    ] {
        lying("900 9\n", 14);
        assert_over(ask(&store), "900 of 1000 octets");
        lying("900 9\n", 16);
        ask(&store).unwrap();
        // The clock has been set back since.
        lying_since("900 9\n", SystemTime::now() + minutes(16));
        ask(&store).unwrap();
        lying("800 8\n100 1\n", 0);
        let left = ask(&store);
        assert!(left.is_ok(), "{left:?}");
        fs::remove_file(sum_file(&place)).unwrap();
    }
}

#[test]
fn without_a_quota_the_file_is_left_as_it_is() {
    let place = Place::new();
    let store = opened(&place);
    deliver_to(&store, "alice").unwrap();
    assert!(!sum_file(&place).exists());
    fs::write(sum_file(&place), "anything").unwrap();
    deliver_to(&store, "alice").unwrap();
    assert_eq!(fs::read_to_string(sum_file(&place)).unwrap(), "anything");
}

#[test]
fn removing_a_message_or_a_folder_has_all_counted_anew() {
    let place = Place::new();
    let store = opened(&place);
    let folder = alice(1000, None).in_folder("x", IfNoFolder::Create).unwrap();
    deliver_sized(&store, folder, 500).unwrap();
    let id = deliver_sized(&store, alice(1000, None), 500).unwrap();
    let inbox = MailboxName::new("alice").unwrap();
    let message = store.find(&inbox, id.as_str()).unwrap();
    store.remove(&inbox, &message).unwrap();
    deliver_sized(&store, alice(1000, None), 400).unwrap();
    assert_eq!(sum(&place), ("1000S".to_owned(), 900, 2));
    store.remove_mailbox(&MailboxName::parse("alice/x").unwrap()).unwrap();
    deliver_sized(&store, alice(1000, None), 600).unwrap();
    assert_eq!(sum(&place), ("1000S".to_owned(), 1000, 2));
}

/// The sum stays right whichever call fails: what was refused is not in it, and what
/// was stored is, or all is counted anew.
#[test]
fn whichever_call_fails_the_sum_is_right() {
    let place = Place::new();
    let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let store = place.store("", files.clone());
    MailStore::open(&store).unwrap();
    deliver_sized(&store, alice(1_000_000, None), 100).unwrap();
    for counted_anew in [false, true] {
        for fault in [Fault::Io, Fault::NoSpace, Fault::ShortWrite] {
            for n in 1.. {
                if counted_anew {
                    let _ = fs::remove_file(sum_file(&place));
                }
                files.arm(n, fault);
                let result = deliver_sized(&store, alice(1_000_000, None), 100);
                let came = files.disarm();
                let (octets, messages) = held(&place.root().join("alice"));
                if sum_file(&place).exists() {
                    let expected = ("1000000S".to_owned(), octets, messages);
                    assert_eq!(sum(&place), expected, "call {n}: {fault:?}: {result:?}");
                }
                assert_eq!(names(&place.root().join("alice/tmp")), [""; 0], "call {n}: {fault:?}");
                if !came {
                    assert!(n > 10);
                    break;
                }
            }
        }
    }
}

#[test]
fn a_failed_note_of_a_stored_message_removes_the_file() {
    let place = Place::new();
    let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let store = place.store("", files.clone());
    MailStore::open(&store).unwrap();
    deliver_sized(&store, alice(1000, None), 100).unwrap();
    files.arm_only(Call::OpenUpdate, 1, Fault::Io);
    deliver_sized(&store, alice(1000, None), 100).unwrap();
    assert!(files.disarm() && !sum_file(&place).exists());
}

#[test]
fn where_others_hold_the_account_it_is_locked_and_nothing_waits() {
    let place = Place::new();
    let store = opened(&place);
    deliver_sized(&store, alice(1000, None), 100).unwrap();
    let kernel = Kernel::new();
    let held = kernel.open_root(&place.root().join("alice")).unwrap();
    assert!(kernel.try_lock_dir(&held).unwrap());
    let folder = alice(1000, None).in_folder("x", IfNoFolder::Create).unwrap();
    for mailbox in [alice(1000, None), folder] {
        let result = deliver_sized(&store, mailbox, 100);
        assert!(matches!(result, Err(DeliveryError::Locked { .. })), "{result:?}");
    }
    store.admit(&alice(1000, None), Some(950)).unwrap(); // the delivery will tell
    deliver_to(&store, "alice").unwrap(); // has no quota
    drop(held);
    deliver_sized(&store, alice(1000, None), 100).unwrap();
}

#[test]
fn a_quota_costs_a_dozen_calls_where_nothing_is_counted() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", files.clone());
    MailStore::open(&store).unwrap();
    for _ in 0..2 {
        deliver_sized(&store, alice(10_000, None), 100).unwrap();
    }
    files.take();
    deliver_sized(&store, alice(10_000, None), 100).unwrap();
    let lines = files.take();
    let quota: Vec<&str> = lines
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains("/tmp/") && !line.contains("alice/new"))
        .collect();
    assert_eq!(
        quota,
        [
            "stat_path .postino",
            "open_root .",
            "stat .postino",
            "open_dir alice",
            "try_lock_dir alice",
            "stat_path .postino",
            "open alice/maildirsize",
            "stat_file alice/maildirsize",
            "read alice/maildirsize",
            "read alice/maildirsize",
            "open_update alice/maildirsize",
            "write alice/maildirsize",
        ]
    );
}

#[test]
fn one_file_for_several_recipients_counts_for_each() {
    let place = Place::new();
    let store = opened(&place);
    let message =
        Message::new(Timestamp::now_utc(), String::new(), false, Body::in_memory(vec![b'x'; 400]));
    let message = Arc::new(message.with_common_header(Vec::new()));
    let quota = |octets| Quota { octets: Some(octets), messages: None };
    let mailboxes = [
        mailbox("alice", IfMissing::Create).with_quota(quota(1000)),
        mailbox("bob", IfMissing::Create).with_quota(quota(399)),
        mailbox("carol", IfMissing::Create),
    ];
    let prepared = store.prepare(&message, &mailboxes.each_ref()).unwrap();
    let results = mailboxes.map(|mailbox| {
        let (to, fate) = (mailbox.name().to_string(), Arc::default());
        let message = Arc::clone(&message);
        let delivery = Delivery::new(message, mailbox, to, Vec::new(), fate, Box::new(|_| {}));
        store.deliver(&delivery.with_prepared(prepared.clone()))
    });
    assert!(results[0].is_ok() && results[2].is_ok());
    assert!(matches!(results[1], Err(DeliveryError::LargerThanQuota)), "{results:?}");
    assert_eq!(sum(&place), ("1000S".to_owned(), 400, 1));
    let new = place.root().join("alice/new");
    assert_eq!(fs::metadata(new.join(&names(&new)[0])).unwrap().nlink(), 2, "it is shared");
    assert!(names(&place.root().join("bob/new")).is_empty());
}

/// Four stores of four threads each stand for as many processes: they share nothing.
#[test]
fn two_thousand_messages_at_once_never_exceed_the_quota() {
    const QUOTA: u32 = 500 * 1024;
    let place = Place::new();
    let stores: Vec<Maildir> = (0..4).map(|_| opened(&place)).collect();
    let (left, taken, refused) =
        (AtomicUsize::new(2_000), AtomicUsize::new(0), AtomicUsize::new(0));
    let take = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    thread::scope(|scope| {
        for n in 0..32 {
            let (store, take, taken, refused) = (&stores[n % 4], &take, &taken, &refused);
            scope.spawn(move || {
                while let Ok(left) = take() {
                    let mailbox = match left % 3 {
                        0 => alice(QUOTA.into(), None).in_folder("x", IfNoFolder::Create).unwrap(),
                        _ => alice(QUOTA.into(), None),
                    };
                    loop {
                        match deliver_sized(store, mailbox.clone(), 1024) {
                            Ok(_) => taken.fetch_add(1, Ordering::SeqCst),
                            Err(DeliveryError::OverQuota { .. }) => {
                                refused.fetch_add(1, Ordering::SeqCst)
                            }
                            Err(DeliveryError::Locked { .. }) => {
                                thread::yield_now();
                                continue;
                            }
                            Err(error) => panic!("{error}"),
                        };
                        break;
                    }
                }
            });
        }
    });
    assert_eq!((taken.into_inner(), refused.into_inner()), (500, 1_500));
    assert_eq!(held(&place.root().join("alice")), (i64::from(QUOTA), 500));
    assert_eq!(sum(&place), (format!("{QUOTA}S"), i64::from(QUOTA), 500));
}

#[test]
fn names_are_counted_one_by_one_however_many_there_are() {
    let place = Place::new();
    deliver_sized(&opened(&place), alice(10_000, None), 100).unwrap();
    fs::remove_file(sum_file(&place)).unwrap();
    let recording = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", recording.clone());
    MailStore::open(&store).unwrap();
    recording.take();
    deliver_sized(&store, alice(10_000, None), 200).unwrap();
    assert_eq!(sum(&place), ("10000S".to_owned(), 300, 2));
    let calls = recording.take();
    assert!(calls.iter().any(|call| call.starts_with("visit_dir alice/new")), "{calls:?}");
    assert!(!calls.iter().any(|call| call.starts_with("read_dir")), "{calls:?}");
}
