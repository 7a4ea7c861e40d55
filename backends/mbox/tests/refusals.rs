//! What is no mailbox is not delivered to, and stays as it is.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, deliver, deliver_to, mailbox, names};
use postino_files::Kernel;
use postino_mbox::Options;
use postino_store::{DeliveryError, EnhancedCode, IfMissing, MailStore};
use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
    sync::Arc,
};

/// Neither a delivery nor, where that can be seen without opening, an admission.
fn assert_refused(place: &Place, why: &str, seen_at_rcpt: bool) {
    let store = place.open();
    for if_missing in [IfMissing::Create, IfMissing::Refuse] {
        let asked = store.admit(&mailbox("alice", if_missing), None);
        assert_eq!(asked.is_err(), seen_at_rcpt, "{why}: {asked:?}");
        for error in [asked.err(), deliver(&store, mailbox("alice", if_missing)).err()] {
            let Some(error) = error else { continue };
            assert!(matches!(error, DeliveryError::Misconfigured(_)), "{why}: {error:?}");
            assert_eq!(error.code(), EnhancedCode::new(3, 5));
            assert!(error.to_string().contains(why), "{error}, not: {why}");
        }
    }
    assert!(!place.dotlock().exists(), "{why}");
}

fn place() -> Place {
    let place = Place::new();
    place.open();
    place
}

#[test]
fn a_file_that_begins_otherwise_is_refused_and_kept() {
    for text in ["text\n", "\nFrom x\n", "from a\n", "Fro", "F"] {
        let place = place();
        fs::write(place.alice(), text).unwrap();
        let asked = place.open().admit(&mailbox("alice", IfMissing::Refuse), None);
        assert!(asked.is_ok(), "{asked:?}");
        assert_refused(&place, "no mbox", false);
        assert_eq!(fs::read_to_string(place.alice()).unwrap(), text);
    }
}

#[test]
fn an_empty_file_is_a_mailbox() {
    let place = place();
    fs::write(place.alice(), "").unwrap();
    deliver(&place.open(), mailbox("alice", IfMissing::Refuse)).unwrap();
}

#[test]
fn directories_fifos_devices_sockets_and_links_are_refused() {
    type Make = fn(&Path);
    let cases: [(&str, Make); 6] = [
        ("directory", |path| fs::create_dir(path).unwrap()),
        ("no regular file", |path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("no regular file", |path| symlink("/dev/null", path).unwrap()),
        ("no regular file", |path| symlink("nowhere", path).unwrap()),
        ("no regular file", |path| drop(UnixListener::bind(path).unwrap())),
        ("several hard links", |path| {
            fs::write(path, "").unwrap();
            fs::hard_link(path, path.with_extension("other")).unwrap();
        }),
    ];
    for (why, make) in cases {
        let place = place();
        make(&place.alice());
        assert_refused(&place, why, true);
        assert!(!place.root().join("nowhere").exists());
    }
}

#[test]
fn another_user_s_file_is_refused() {
    let place = place();
    fs::write(place.alice(), "").unwrap();
    // Only root can give a file away.
    if std::os::unix::fs::chown(place.alice(), Some(12_345), None).is_ok() {
        assert_refused(&place, "another user", true);
        assert_eq!(fs::read(place.alice()).unwrap(), b"");
    }
}

#[test]
fn another_user_s_directory_is_refused() {
    let place = Place::new();
    let store = place.store_with("/%d/%n", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    let domain = place.root().join("example.org");
    fs::create_dir(&domain).unwrap();
    // Only root can give a directory away.
    if std::os::unix::fs::chown(&domain, Some(12_345), None).is_ok() {
        let alice = || mailbox("alice@example.org", IfMissing::Create);
        let asked = store.admit(&alice(), None);
        assert!(matches!(asked, Err(DeliveryError::Misconfigured(_))), "{asked:?}");
        let refused = deliver(&store, alice());
        assert!(matches!(refused, Err(DeliveryError::Misconfigured(_))), "{refused:?}");
        assert!(names(&domain).is_empty());
    }
}

#[test]
fn no_symbolic_link_is_followed_on_the_way() {
    let place = Place::new();
    let store = place.store_with("/%d/%n", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    fs::create_dir(place.above().join("outside")).unwrap();
    symlink("../outside", place.root().join("example.org")).unwrap();
    let refused = deliver_to(&store, "alice@example.org");
    assert!(matches!(refused, Err(DeliveryError::Misconfigured(_))), "{refused:?}");
    assert!(names(&place.above().join("outside")).is_empty());
}

#[test]
fn a_mailbox_in_the_lock_file_s_place_is_never_removed() {
    let place = place();
    let text = "From x Tue Nov 24 08:47:49 2026\n\n";
    fs::write(place.dotlock(), text).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    fs::File::options().write(true).open(place.dotlock()).unwrap().set_modified(old).unwrap();
    let refused = deliver_to(&place.open(), "alice");
    assert!(matches!(refused, Err(DeliveryError::Misconfigured(_))), "{refused:?}");
    assert_eq!(fs::read_to_string(place.dotlock()).unwrap(), text);
}
