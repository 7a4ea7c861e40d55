//! Messages from another store: where they come to lie, and that they last.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{HEADER, Place, deliver_to, mailbox, names};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_store::{
    Body, Delivery, DeliveryError, Fate, Flags, IfMissing, MailStore, Message, Timestamp,
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex},
    time::Duration,
};

const RECEIVED: Duration = Duration::from_secs(1_000_000_000);

fn kept(letters: &str, fate: Arc<Fate>) -> Delivery {
    let received = Timestamp { since_epoch: RECEIVED, offset_minutes: 60 };
    let body = Body::in_memory(b"text\r\n".to_vec());
    let message =
        Message::new(received, String::new(), false, body).with_flags(Flags::from_letters(letters));
    let alice = mailbox("alice", IfMissing::Create);
    let header = HEADER.to_vec();
    Delivery::new(Arc::new(message), alice, "alice".to_owned(), header, fate, Box::new(|_| {}))
}

#[test]
fn a_kept_message_lies_in_cur_with_its_flags_and_its_time() {
    let place = Place::new();
    let store = place.store("", Arc::new(Kernel::new()));
    store.open().unwrap();
    for (letters, info) in [("SF", ":2,FS"), ("", ":2,"), ("TSRPFD", ":2,DFPRST")] {
        let id = store.deliver(&kept(letters, Arc::default())).unwrap();
        let cur = place.root().join("alice/cur");
        let name = names(&cur).into_iter().find(|name| name.starts_with(id.as_str())).unwrap();
        assert!(name.starts_with("1000000000.M0P"), "{name}");
        assert!(name.ends_with(&format!(".localhost,S=34,W=36{info}")), "{name}");
        assert_eq!(fs::read(cur.join(&name)).unwrap(), b"Return-Path: <s@example.net>\ntext\n");
        let status = fs::metadata(cur.join(&name)).unwrap();
        assert_eq!((status.mtime(), status.mode() & 0o777), (1_000_000_000, 0o600));
    }
    assert_eq!(names(&place.root().join("alice/new")), [""; 0]);
    assert_eq!(names(&place.root().join("alice/tmp")), [""; 0]);
}

#[test]
fn content_and_time_are_synced_before_it_is_visible_and_its_name_after() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", files.clone());
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    files.take();
    store.deliver(&kept("S", Arc::default())).unwrap();
    let lines = files.take();
    let calls: Vec<_> = lines
        .iter()
        .skip_while(|line| !line.starts_with("create "))
        .map(|line| line.split(['0', '1']).next().unwrap())
        .collect();
    let expected = [
        "create alice/tmp/",
        "write alice/tmp/",
        "set_written alice/tmp/",
        "sync_file alice/tmp/",
        "rename alice/tmp/",
        "sync_dir alice/cur",
    ];
    assert_eq!(calls, expected);
    assert!(lines.iter().any(|line| line.contains(" alice/cur/1000000000.")), "{lines:#?}");
}

#[test]
fn the_deadline_can_take_it_back_until_it_is_visible() {
    for (call, is_taken_back) in [("sync_file alice/tmp/", true), ("rename alice/tmp/", false)] {
        let (place, fate) = (Place::new(), Arc::new(Fate::default()));
        let withdrawn = Arc::new(Mutex::new(None));
        let files = Recording::observed(Arc::new(Kernel::new()), place.root(), {
            let (fate, withdrawn) = (Arc::clone(&fate), Arc::clone(&withdrawn));
            move |line| {
                if line.starts_with(call) {
                    *withdrawn.lock().unwrap() = Some(fate.withdraw());
                }
            }
        });
        let store = place.store("", Arc::new(files));
        store.open().unwrap();
        let result = store.deliver(&kept("S", fate));
        assert_eq!(*withdrawn.lock().unwrap(), Some(is_taken_back));
        assert_eq!(matches!(result, Err(DeliveryError::Expired)), is_taken_back, "{result:?}");
        let stays = usize::from(!is_taken_back);
        assert_eq!(names(&place.root().join("alice/cur")).len(), stays);
    }
}

#[test]
fn whatever_call_fails_nothing_of_it_is_left() {
    for fault in [Fault::Io, Fault::NoSpace, Fault::Quota, Fault::TooManyFiles] {
        for n in 1.. {
            let place = Place::new();
            let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
            let store = place.store("", files.clone());
            store.open().unwrap();
            deliver_to(&store, "alice").unwrap();
            files.arm(n, fault);
            let result = store.deliver(&kept("S", Arc::default()));
            let struck = files.disarm();
            let left = names(&place.root().join("alice/cur")).len();
            assert_eq!(left, usize::from(result.is_ok()), "call {n}, {fault:?}: {result:?}");
            assert_eq!(names(&place.root().join("alice/tmp")), [""; 0], "call {n}, {fault:?}");
            if !struck {
                assert!(n > 8 && result.is_ok(), "call {n}, {fault:?}: {result:?}");
                break;
            }
        }
    }
}

#[test]
fn a_message_whose_time_cannot_be_set_is_not_stored() {
    let place = Place::new();
    let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let store = place.store("", files.clone());
    store.open().unwrap();
    files.arm_only(Call::SetWritten, 1, Fault::NotPermitted);
    store.deliver(&kept("S", Arc::default())).unwrap_err();
    assert_eq!(names(&place.root().join("alice/cur")), [""; 0]);
    deliver_to(&store, "alice").unwrap();
    assert_eq!(files.counted(), 1, "new mail is not dated");
}

#[test]
fn a_cur_that_is_missing_is_made_again() {
    let place = Place::new();
    let store = place.store("", Arc::new(Kernel::new()));
    store.open().unwrap();
    deliver_to(&store, "alice").unwrap();
    fs::remove_dir(place.root().join("alice/cur")).unwrap();
    store.deliver(&kept("S", Arc::default())).unwrap();
    assert_eq!(names(&place.root().join("alice/cur")).len(), 1);
}
