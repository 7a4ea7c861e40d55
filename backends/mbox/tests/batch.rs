//! Deliveries that are taken together: one lock, one sync, each its own result.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, STORED, batch, deliver_to, delivery, mailbox, messages};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_mbox::Options;
use postino_store::{Body, Fate, IfMissing, MailStore, Octets};
use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

fn body(n: usize) -> Body {
    Body::in_memory(format!("message {n}\r\n").into_bytes())
}

/// A body of a spool file that fails, or panics, at its end: from the first
/// reading of it on, or from the second.
struct Spoiled {
    octets: u64,
    readings: AtomicU64,
    good_readings: u64,
    panics: bool,
}

impl Octets for Spoiled {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset == 0 {
            self.readings.fetch_add(1, Ordering::Relaxed);
        }
        let is_last = offset + buffer.len() as u64 == self.octets;
        if is_last && self.readings.load(Ordering::Relaxed) > self.good_readings {
            assert!(!self.panics, "the spool is gone");
            return Err(io::Error::from_raw_os_error(5));
        }
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

fn spoiled(octets: u64, good_readings: u64, panics: bool) -> Body {
    Body::elsewhere(Spoiled { octets, readings: AtomicU64::new(0), good_readings, panics }, octets)
}

#[test]
fn a_batch_has_one_lock_one_write_and_one_sync_and_then_all_are_answered() {
    let place = Place::new();
    let (deliveries, results) = batch((0..64).map(body).collect());
    let seen = Arc::clone(&results);
    let files = Arc::new(Recording::observed(Arc::new(Kernel::new()), place.root(), move |line| {
        let wanted =
            if line == "stat alice.lock" || line == "unlink alice.lock" || line == "unlock alice" {
                64
            } else {
                0
            };
        assert_eq!(seen.lock().unwrap().len(), wanted, "answers before {line}");
    }));
    let store = place.store_with("", files.clone(), Options::default());
    store.open().unwrap();
    files.take();
    store.deliver_batch(&deliveries);
    let lines = files.take();
    let expected = [
        "open_root .",
        "stat .postino",
        "stat alice",
        "create alice",
        "open_update alice",
        "try_lock alice",
        "create_unnamed .",
        "stat_file (unnamed)",
        "write (unnamed)",
        "link_unnamed alice.lock",
        "stat_file alice",
        "stat alice",
        "write (unnamed)",
        "write alice",
        "sync_file alice",
        "sync_dir .",
        "stat alice",
        "stat alice.lock",
        "unlink alice.lock",
        "unlock alice",
    ];
    assert_eq!(lines, expected);
    assert!(results.lock().unwrap().iter().all(|(_, result)| result.is_ok()));
    let stored = messages(&place.alice());
    assert_eq!(stored.len(), 64);
    assert!(stored[63].ends_with(b"message 63\n"));
}

#[test]
fn a_message_that_cannot_be_read_fails_alone() {
    // In the buffer still, or already in the file in part; found at the first
    // reading or at the second.
    for octets in [10, 400_000] {
        for good_readings in [0, 1] {
            let place = Place::new();
            let store = place.open();
            deliver_to(&store, "alice").unwrap();
            let bodies = vec![body(0), spoiled(octets, good_readings, false), body(2)];
            let (deliveries, results) = batch(bodies);
            store.deliver_batch(&deliveries);
            let mut results = results.lock().unwrap().clone();
            results.sort();
            let is_ok: Vec<_> = results.iter().map(|(_, result)| result.is_ok()).collect();
            assert_eq!(is_ok, [true, false, true], "{results:?}");
            let stored = messages(&place.alice());
            assert_eq!(stored.len(), 3);
            assert!(stored[1].ends_with(b"message 0\n") && stored[2].ends_with(b"message 2\n"));
            let end = fs::metadata(place.alice()).unwrap().len();
            let (offset, _) = results[2].1.as_ref().unwrap().split_once('-').unwrap();
            assert!(offset.parse::<u64>().unwrap() < end);
            assert!(!place.dotlock().exists());
        }
    }
}

#[test]
fn a_file_that_is_put_in_the_mailbox_s_place_at_last_gets_the_batch() {
    for at in ["write root/alice", "sync_file root/alice"] {
        let place = Place::new();
        let (alice, new) = (place.alice(), place.above().join("new"));
        fs::write(&new, STORED.repeat(2)).unwrap();
        let files = Recording::observed(Arc::new(Kernel::new()), place.above(), move |line| {
            // As a reader without our locks does it.
            if line == at && new.exists() {
                fs::rename(&new, &alice).unwrap();
            }
        });
        let store = place.store_with("", Arc::new(files), Options::default());
        store.open().unwrap();
        let (deliveries, results) = batch(vec![body(0), spoiled(10, 1, false), body(2)]);
        store.deliver_batch(&deliveries);
        let mut results = results.lock().unwrap().clone();
        results.sort();
        let is_ok: Vec<_> = results.iter().map(|(at, result)| (*at, result.is_ok())).collect();
        assert_eq!(is_ok, [(0, true), (1, false), (2, true)], "{results:?}");
        let stored = messages(&place.alice());
        assert_eq!(stored.len(), 4);
        assert!(stored[2].ends_with(b"message 0\n") && stored[3].ends_with(b"message 2\n"));
        assert!(!place.dotlock().exists());
    }
}

#[test]
fn where_all_fail_the_mailbox_is_as_before() {
    let place = Place::new();
    let store = place.open();
    // Without the empty line that a delivery would add.
    let text = STORED.trim_end();
    fs::write(place.alice(), text).unwrap();
    let (deliveries, results) = batch(vec![spoiled(10, 1, false), spoiled(300_000, 1, false)]);
    store.deliver_batch(&deliveries);
    assert!(results.lock().unwrap().iter().all(|(_, result)| result.is_err()));
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), text);
}

#[test]
fn a_panic_while_writing_cuts_back_and_gives_the_locks_back() {
    for good_readings in [0, 1] {
        let place = Place::new();
        let store = place.open();
        deliver_to(&store, "alice").unwrap();
        let (deliveries, _) = batch(vec![body(0), spoiled(400_000, good_readings, true)]);
        let caught = catch_unwind(AssertUnwindSafe(|| store.deliver_batch(&deliveries)));
        assert!(caught.is_err());
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED);
        deliver_to(&store, "alice").unwrap();
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED.repeat(2));
    }
}

/// A store of files that fail, with one message in `alice`.
fn failing(place: &Place) -> (Arc<Failing>, Arc<Recording>, postino_mbox::Mbox) {
    let recording = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let files = Arc::new(Failing::new(recording.clone()));
    let store = place.store_with("", files.clone(), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    recording.take();
    (files, recording, store)
}

#[test]
fn a_failed_sync_fails_all_cuts_back_and_is_not_tried_again() {
    for (call, fault, why) in [
        (Call::SyncFile, Fault::Io, "Input/output error"),
        (Call::SyncFile, Fault::NoSpace, "No space left"),
        (Call::SyncFile, Fault::Quota, "uota exceeded"),
        (Call::Write, Fault::Io, "Input/output error"),
    ] {
        let place = Place::new();
        let (files, recording, store) = failing(&place);
        // The third write is the first to the mailbox.
        let n = if call == Call::Write { 3 } else { 1 };
        files.arm_only(call, n, fault);
        let (deliveries, results) = batch((0..3).map(body).collect());
        store.deliver_batch(&deliveries);
        assert!(files.disarm());
        let results = results.lock().unwrap();
        assert_eq!(results.len(), 3);
        for (_, result) in results.iter() {
            assert!(result.as_ref().unwrap_err().contains(why), "{result:?}");
        }
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), STORED);
        let lines = recording.take();
        let about = |line: &&String| line.contains("truncate") || line.starts_with("sync");
        let lines: Vec<_> = lines.iter().filter(about).collect();
        assert_eq!(lines, ["truncate alice", "sync_file alice"]);
    }
}

#[test]
fn a_message_without_room_does_not_take_the_others_with_it() {
    for fault in [Fault::NoSpace, Fault::Quota] {
        let place = Place::new();
        let (files, _, store) = failing(&place);
        files.arm_only(Call::Write, 3, fault);
        let (deliveries, results) = batch((0..3).map(body).collect());
        store.deliver_batch(&deliveries);
        assert!(files.disarm());
        // Each was tried alone, and this time there was room.
        assert_eq!(results.lock().unwrap().len(), 3);
        assert!(results.lock().unwrap().iter().all(|(_, result)| result.is_ok()));
        assert_eq!(messages(&place.alice()).len(), 4);
    }
}

#[test]
fn what_was_withdrawn_is_left_out_of_a_batch() {
    let place = Place::new();
    let store = place.open();
    let fates: Vec<Arc<Fate>> = (0..3).map(|_| Arc::default()).collect();
    assert!(fates[1].withdraw());
    let deliveries: Vec<_> = fates
        .iter()
        .enumerate()
        .map(|(n, fate)| {
            let body = format!("message {n}\r\n");
            delivery(mailbox("alice", IfMissing::Create), body.as_bytes(), Arc::clone(fate))
        })
        .collect();
    store.deliver_batch(&deliveries);
    assert!(!fates[0].withdraw() && !fates[2].withdraw());
    let stored = messages(&place.alice());
    assert_eq!(stored.len(), 2);
    assert!(stored[1].ends_with(b"message 2\n"));
}

#[test]
fn a_locked_mailbox_leaves_all_waiting() {
    let place = Place::new();
    let store = place.open();
    fs::write(place.dotlock(), "1\n").unwrap();
    let (deliveries, results) = batch((0..3).map(body).collect());
    store.deliver_batch(&deliveries);
    assert!(results.lock().unwrap().is_empty());
    for delivery in &deliveries {
        let error = delivery.take_locked().unwrap().to_string();
        assert!(error.starts_with("locked, held by pid 1 ("), "{error}");
    }
}

#[test]
fn large_messages_are_synced_and_answered_before_others_are_begun() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store_with("", files.clone(), Options::default());
    store.open().unwrap();
    files.take();
    let large = || Body::in_memory(b"a line\r\n".repeat(1_000_000));
    let (deliveries, results) = batch(vec![body(0), large(), large(), body(3)]);
    store.deliver_batch(&deliveries);
    assert!(results.lock().unwrap().iter().all(|(_, result)| result.is_ok()));
    let syncs = files.take().iter().filter(|line| *line == "sync_file alice").count();
    assert_eq!(syncs, 2);
    assert_eq!(messages(&place.alice()).len(), 4);
}
