//! What lies below the root: links, modes, groups, and old drafts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{HEADER, Place, deliver, deliver_to, delivery, mailbox, names};
use postino_files::Kernel;
use postino_maildir::{Maildir, Options};
use postino_store::{Delivery, DeliveryError, IfMissing, MailStore, Message, Timestamp};
use std::{
    fs::{self, File, FileTimes},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

fn opened(place: &Place, template: &str, file_mode: u32) -> Maildir {
    let options = Options { file_mode, ..Options::default() };
    let store = place.store_with(template, Arc::new(Kernel::new()), options);
    store.open().unwrap();
    store
}

#[test]
fn no_symbolic_link_is_followed_below_the_root() {
    for link in
        ["example.org", "example.org/alice", "example.org/alice/new", "example.org/alice/tmp"]
    {
        for dangling in [false, true] {
            let place = Place::new();
            let store = opened(&place, "/%d/%n", 0o600);
            let outside = place.above().join("outside");
            let at = place.root().join(link);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(&outside, &at).unwrap();
            if !dangling {
                for inner in ["alice/tmp", "alice/new", "alice/cur", "tmp", "new", "cur"] {
                    fs::create_dir_all(outside.join(inner)).unwrap();
                }
            }
            for if_missing in [IfMissing::Create, IfMissing::Refuse] {
                let result = deliver(&store, mailbox("alice@example.org", if_missing));
                assert!(
                    matches!(result, Err(DeliveryError::Misconfigured(_))),
                    "{link}: {result:?}"
                );
                if link != "example.org/alice/new" && link != "example.org/alice/tmp" {
                    let result = store.admit(&mailbox("alice@example.org", if_missing), None);
                    assert!(
                        matches!(result, Err(DeliveryError::Misconfigured(_))),
                        "{link}: {result:?}"
                    );
                }
            }
            assert_eq!(outside.exists(), !dangling);
            assert!(names(&outside.join("new")).is_empty());
            assert!(names(&outside.join("alice/new")).is_empty());
        }
    }
}

#[test]
fn a_file_where_a_directory_should_be_is_no_missing_mailbox() {
    for file in ["alice", "alice/new", "alice/tmp", "alice/cur"] {
        let place = Place::new();
        let store = opened(&place, "", 0o600);
        fs::create_dir_all(place.root().join(file).parent().unwrap()).unwrap();
        fs::write(place.root().join(file), "").unwrap();
        for if_missing in [IfMissing::Create, IfMissing::Refuse] {
            let result = deliver(&store, mailbox("alice", if_missing));
            assert!(matches!(result, Err(DeliveryError::Misconfigured(_))), "{file}: {result:?}");
        }
    }
}

#[test]
fn files_have_the_mode_and_directories_it_with_execute_for_each_read() {
    for (file_mode, directory_mode) in [(0o600, 0o700), (0o660, 0o770), (0o640, 0o750)] {
        let place = Place::new();
        let store = opened(&place, "/%d/%n", file_mode);
        deliver_to(&store, "alice@example.org").unwrap();
        let mode = |path: &str| {
            fs::metadata(place.root().join(path)).unwrap().permissions().mode() & 0o7777
        };
        for directory in ["", "example.org", "example.org/alice", "example.org/alice/cur"] {
            assert_eq!(mode(directory), directory_mode, "{directory}");
        }
        let message = names(&place.root().join("example.org/alice/new")).remove(0);
        assert_eq!(mode(&format!("example.org/alice/new/{message}")), file_mode);
        assert_eq!(mode(".postino"), file_mode);
    }
}

#[test]
fn a_setgid_parent_gives_its_group_to_all_below() {
    for file_mode in [0o600, 0o660] {
        let place = Place::new();
        let store = opened(&place, "", file_mode);
        // Only root may give it a group that is not his own; elsewhere the bit
        // alone is checked.
        let _ = std::os::unix::fs::chown(place.root(), None, Some(12_345));
        fs::set_permissions(place.root(), fs::Permissions::from_mode(0o2700)).unwrap();
        let group = fs::metadata(place.root()).unwrap().gid();
        deliver_to(&store, "alice").unwrap();
        for directory in ["alice", "alice/new", "alice/tmp", "alice/cur"] {
            let made = fs::metadata(place.root().join(directory)).unwrap();
            assert_eq!(made.mode() & 0o2000, 0o2000, "{directory}");
            assert_eq!(made.gid(), group, "{directory}");
        }
        let message = names(&place.root().join("alice/new")).remove(0);
        let message = fs::metadata(place.root().join("alice/new").join(message)).unwrap();
        assert_eq!(message.gid(), group);
    }
}

#[test]
fn a_mailbox_without_its_inner_directories_is_completed() {
    let place = Place::new();
    let store = opened(&place, "", 0o600);
    fs::create_dir(place.root().join("alice")).unwrap();
    deliver(&store, mailbox("alice", IfMissing::Refuse)).unwrap();
    fs::remove_dir(place.root().join("alice/tmp")).unwrap();
    deliver(&store, mailbox("alice", IfMissing::Refuse)).unwrap();
    assert_eq!(names(&place.root().join("alice")), ["cur", "new", "tmp"]);
    assert_eq!(names(&place.root().join("alice/new")).len(), 2);
}

#[test]
fn files_in_tmp_that_nobody_used_for_36_hours_go_after_the_answer() {
    let place = Place::new();
    let store = opened(&place, "", 0o600);
    let tmp = place.root().join("alice/tmp");
    fs::create_dir_all(tmp.join("directory")).unwrap();
    symlink("/nowhere", tmp.join("link")).unwrap();
    let hours = |n: u64| SystemTime::now() - Duration::from_secs(n * 60 * 60);
    for (name, accessed, modified) in [
        ("old", hours(37), hours(38)),
        ("new", hours(35), hours(35)),
        ("read", hours(1), hours(100)),
        ("dovecot-uidlist", hours(100), hours(100)),
    ] {
        let file = File::create(tmp.join(name)).unwrap();
        file.set_times(FileTimes::new().set_accessed(accessed).set_modified(modified)).unwrap();
    }
    let seen_at_answer = Arc::new(Mutex::new(Vec::new()));
    let message = Message::new(
        Timestamp::now_utc(),
        String::new(),
        false,
        postino_store::Body::in_memory(b"text\r\n".to_vec()),
    );
    let delivery = Delivery::new(
        Arc::new(message),
        mailbox("alice", IfMissing::Create),
        "alice".to_owned(),
        HEADER.to_vec(),
        Arc::default(),
        Box::new({
            let (seen, tmp) = (Arc::clone(&seen_at_answer), tmp.clone());
            move |result| {
                result.unwrap();
                *seen.lock().unwrap() = names(&tmp);
            }
        }),
    );
    store.deliver_batch(&[delivery]);
    let seen = seen_at_answer.lock().unwrap().clone();
    assert!(seen.contains(&"old".to_owned()), "cleaned in a delivery's way: {seen:?}");
    assert_eq!(names(&tmp), ["directory", "dovecot-uidlist", "link", "new", "read"]);
}

#[test]
fn a_withdrawn_delivery_makes_nothing() {
    let place = Place::new();
    let store = opened(&place, "", 0o600);
    let fate = Arc::new(postino_store::Fate::default());
    assert!(fate.withdraw());
    let late = delivery(mailbox("alice", IfMissing::Create), b"text\r\n", false, fate);
    assert!(matches!(store.deliver(&late), Err(DeliveryError::Expired)));
    assert_eq!(names(&place.root()), [".postino"]);
}

#[test]
fn a_lane_is_the_mailbox_s_path() {
    let place = Place::new();
    let store = opened(&place, "/%n", 0o600);
    let lane = store.lane(&mailbox("alice@example.org", IfMissing::Create));
    assert_eq!(lane.key(), place.root().join("alice").to_str().unwrap());
    assert_eq!((lane.at_once(), lane.together()), (4, 1));
    // Without the domain in the path these two are one Maildir.
    assert_eq!(store.lane(&mailbox("alice@example.net", IfMissing::Refuse)), lane);
}

/// Where the way to a mailbox is known it is looked at all the same.
#[test]
fn no_symbolic_link_is_followed_to_a_known_mailbox() {
    for link in
        ["example.org", "example.org/alice", "example.org/alice/new", "example.org/alice/tmp"]
    {
        let place = Place::new();
        let store = opened(&place, "/%d/%n", 0o600);
        deliver_to(&store, "alice@example.org").unwrap();
        let (at, outside) = (place.root().join(link), place.above().join("outside"));
        fs::rename(&at, &outside).unwrap();
        symlink(&outside, &at).unwrap();
        let result = deliver_to(&store, "alice@example.org");
        assert!(matches!(result, Err(DeliveryError::Misconfigured(_))), "{link}: {result:?}");
        fs::remove_file(&at).unwrap();
        fs::rename(&outside, &at).unwrap();
        assert_eq!(names(&place.root().join("example.org/alice/new")).len(), 1, "{link}");
        assert_eq!(names(&place.root().join("example.org/alice/tmp")), [""; 0], "{link}");
        deliver_to(&store, "alice@example.org").unwrap();
    }
}

#[test]
fn a_known_mailbox_that_was_moved_away_or_removed_gets_no_mail() {
    let place = Place::new();
    let store = opened(&place, "", 0o600);
    let (alice, away) = (place.root().join("alice"), place.above().join("away"));
    deliver_to(&store, "alice").unwrap();
    deliver_to(&store, "bob").unwrap();
    fs::rename(&alice, &away).unwrap();
    for answer in [
        store.admit(&mailbox("alice", IfMissing::Refuse), None),
        deliver(&store, mailbox("alice", IfMissing::Refuse)).map(drop),
    ] {
        assert!(matches!(answer, Err(DeliveryError::NoSuchMailbox)), "{answer:?}");
    }
    deliver_to(&store, "alice").unwrap();
    fs::remove_dir_all(&alice).unwrap();
    deliver_to(&store, "alice").unwrap();
    for directory in [alice, away] {
        assert_eq!(names(&directory.join("new")).len(), 1);
        assert_eq!(names(&directory.join("tmp")), [""; 0]);
    }
}

#[test]
fn nothing_stays_open_that_would_keep_the_disk_mounted() {
    let place = Place::new();
    let store = opened(&place, "", 0o600);
    for _ in 0..2 {
        store.admit(&mailbox("alice", IfMissing::Create), None).unwrap();
        deliver_to(&store, "alice").unwrap();
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(place.above())).count(), 0);
    }
}
