//! Folders on the disk: what they are made of, how many, and what poses as one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Place, deliver, deliver_to, mailbox, names};
use postino_files::{Kernel, testing::Recording};
use postino_maildir::{Maildir, Options};
use postino_store::{
    DeliveryError, DeliveryId, IfMissing, IfNoFolder, MailReader, MailStore, Mailbox, MailboxName,
    PathTemplate, Quota, Repair,
};
use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
};

fn opened(place: &Place) -> Maildir {
    let store = place.store("", Arc::new(Kernel::new()));
    MailStore::open(&store).unwrap();
    store
}

fn in_folder(folder: &str, if_no_folder: IfNoFolder) -> Mailbox {
    mailbox("alice", IfMissing::Create).in_folder(folder, if_no_folder).unwrap()
}

fn file(store: &Maildir, folder: &str) -> Result<DeliveryId, DeliveryError> {
    deliver(store, in_folder(folder, IfNoFolder::Create))
}

#[test]
fn a_folder_is_the_leaf_alone_with_an_empty_maildirfolder() {
    let place = Place::new();
    let store = opened(&place);
    file(&store, "Lists/2026").unwrap();
    let alice = place.root().join("alice");
    assert_eq!(names(&alice), [".Lists.2026", "cur", "new", "tmp"]);
    assert_eq!(names(&alice.join(".Lists.2026")), ["cur", "maildirfolder", "new", "tmp"]);
    let made = fs::metadata(alice.join(".Lists.2026/maildirfolder")).unwrap();
    assert_eq!((made.len(), made.permissions().mode() & 0o7777), (0, 0o600));
    assert_eq!(names(&alice.join(".Lists.2026/new")).len(), 1);
}

#[test]
fn what_a_folder_is_made_of_is_durable_before_its_message_is_visible() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store("", files.clone());
    MailStore::open(&store).unwrap();
    deliver_to(&store, "alice").unwrap();
    files.take();
    file(&store, "x").unwrap();
    let lines = files.take();
    let at = |wanted: &str| {
        let found = lines.iter().rposition(|line| line.starts_with(wanted));
        found.unwrap_or_else(|| panic!("no {wanted:?} in {lines:#?}"))
    };
    let visible = at("rename ");
    for made in ["make_dir alice/.x", "create alice/.x/maildirfolder"] {
        assert!(at(made) < at("sync_dir alice/.x"), "{lines:#?}");
    }
    for synced in ["sync_dir alice", "sync_dir alice/.x"] {
        let before = lines[..visible].iter().any(|line| line == synced);
        assert!(before, "no {synced:?} in time: {lines:#?}");
    }
    // From then on it costs what the inbox does.
    file(&store, "x").unwrap();
    assert_eq!(files.take().len(), 8);
}

#[test]
fn a_link_or_a_file_in_a_folder_s_place_is_refused_and_not_followed() {
    for if_no_folder in [IfNoFolder::Create, IfNoFolder::Inbox] {
        let place = Place::new();
        let store = opened(&place);
        deliver_to(&store, "alice").unwrap();
        let outside = place.above().join("outside");
        fs::create_dir_all(outside.join("new")).unwrap();
        let alice = place.root().join("alice");
        symlink(&outside, alice.join(".link")).unwrap();
        symlink("nowhere", alice.join(".dangling")).unwrap();
        fs::write(alice.join(".file"), "").unwrap();
        for folder in ["link", "dangling", "file"] {
            let result = deliver(&store, in_folder(folder, if_no_folder));
            assert!(matches!(result, Err(DeliveryError::Misconfigured(_))), "{folder}: {result:?}");
        }
        assert_eq!(names(&outside), ["new"]);
        assert!(names(&outside.join("new")).is_empty());
        assert_eq!(names(&alice.join("new")).len(), 1);
    }
}

#[test]
fn beyond_a_hundred_folders_the_inbox_gets_the_message() {
    let place = Place::new();
    let store = opened(&place);
    for n in 0..103 {
        file(&store, &format!("f{n}")).unwrap();
    }
    let alice = place.root().join("alice");
    let folders = names(&alice).into_iter().filter(|name| name.starts_with('.'));
    assert_eq!(folders.count(), 100);
    assert_eq!(names(&alice.join("new")).len(), 3);
    file(&store, "f7").unwrap();
    assert_eq!(names(&alice.join(".f7/new")).len(), 2, "one that exists still gets its own");
    store.init(&[MailboxName::parse("alice/more").unwrap()]).unwrap();
    assert!(alice.join(".more/maildirfolder").exists(), "an administrator may");
}

#[test]
fn a_folder_that_others_have_made_is_found_and_completed() {
    let place = Place::new();
    let store = opened(&place);
    fs::create_dir_all(place.root().join("alice/.Sent/cur")).unwrap();
    deliver(&store, in_folder("Sent", IfNoFolder::Inbox)).unwrap();
    let sent = place.root().join("alice/.Sent");
    assert_eq!(names(&sent), ["cur", "maildirfolder", "new", "tmp"]);
    assert_eq!(names(&sent.join("new")).len(), 1);
}

#[test]
fn what_cannot_be_a_folder_s_name_is_a_stray() {
    let place = Place::new();
    let store = opened(&place);
    file(&store, "good").unwrap();
    let alice = place.root().join("alice");
    for name in [".a..b", ".INBOX", ".&AGE-", ".x.&", ".ü"] {
        fs::create_dir_all(alice.join(name).join("new")).unwrap();
    }
    symlink("/", alice.join(".root")).unwrap();
    fs::create_dir(alice.join(".notmuch")).unwrap();
    let (mut found, mut strays) = (Vec::new(), Vec::new());
    store
        .mailboxes(&mut |mailbox| {
            match mailbox {
                Ok(name) => found.push(name.to_string()),
                Err(stray) => strays.push(stray.path.file_name().unwrap().to_owned()),
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found, ["alice", "alice/good"]);
    assert_eq!(strays, [".&AGE-", ".INBOX", ".a..b", ".root", ".x.&", ".ü"]);
}

#[test]
fn a_folder_is_checked_and_mended_as_a_mailbox_is() {
    let place = Place::new();
    let store = opened(&place);
    file(&store, "x").unwrap();
    let folder = place.root().join("alice/.x");
    fs::write(folder.join("cur/17.M1P2.host,S=9:2,S"), "").unwrap();
    fs::remove_dir(folder.join("tmp")).unwrap();
    for (repair, findings) in [(Repair::No, 2), (Repair::Yes, 2), (Repair::Yes, 0)] {
        let mut count = 0;
        let verified = store.verify(repair, &mut |_| count += 1).unwrap();
        assert_eq!((verified.mailboxes, count), (2, findings));
    }
    assert_eq!(names(&folder), ["cur", "maildirfolder", "new", "tmp"]);
}

#[test]
fn a_lane_is_the_folder_s_and_is_capped_with_its_account() {
    let place = Place::new();
    let store = opened(&place);
    let account = place.root().join("alice");
    let account = account.to_str().unwrap();
    let (inbox, folder) =
        (mailbox("alice", IfMissing::Create), in_folder("a/b", IfNoFolder::Inbox));
    for (mailbox, key) in [(&inbox, account.to_owned()), (&folder, format!("{account}/.a.b"))] {
        let lane = store.lane(mailbox);
        assert_eq!((lane.key(), lane.at_once(), lane.account()), (&*key, 4, Some((account, 4))));
        let quota = Quota { octets: Some(1), messages: None };
        let lane = store.lane(&mailbox.clone().with_quota(quota));
        assert_eq!((lane.key(), lane.at_once(), lane.account()), (&*key, 1, Some((account, 1))));
    }
}

#[test]
fn a_folder_that_can_have_no_directory_is_refused_at_rcpt_and_is_the_inbox_to_a_rule() {
    let place = Place::new();
    let store = opened(&place);
    for folder in ["~x", "a.", "a..b", "postino-removed-x", &"é&".repeat(40)] {
        let asked = store.admit(&in_folder(folder, IfNoFolder::Create), None);
        assert!(matches!(asked, Err(DeliveryError::UnusableName(_))), "{folder}: {asked:?}");
        file(&store, folder).unwrap();
    }
    assert_eq!(names(&place.root().join("alice")), ["cur", "new", "tmp"]);
    assert_eq!(names(&place.root().join("alice/new")).len(), 5);
}

#[test]
fn folders_and_quotas_below_a_home_are_its_users_own() {
    let place = Place::new();
    let template = PathTemplate::parse("%h/mail/Maildir").unwrap();
    let store = Maildir::new(template, Options::default(), Arc::new(Kernel::new()));
    MailStore::open(&store).unwrap();
    let to = |home: &str| {
        let home = place.above().join(home);
        fs::create_dir_all(&home).unwrap();
        let quota = Quota { octets: None, messages: Some(2) };
        let alice = mailbox("alice", IfMissing::Create).in_folder("Lists/2026", IfNoFolder::Create);
        alice.unwrap().with_home(home).with_quota(quota)
    };
    for home in ["alice", "bob"] {
        deliver(&store, to(home)).unwrap();
        deliver(&store, to(home)).unwrap();
        for refused in [deliver(&store, to(home)).map(drop), store.admit(&to(home), Some(1))] {
            assert!(matches!(refused, Err(DeliveryError::OverQuota { .. })), "{refused:?}");
        }
        let maildir = place.above().join(home).join("mail/Maildir");
        assert_eq!(fs::read_dir(maildir.join(".Lists.2026/new")).unwrap().count(), 2);
        assert!(maildir.join("maildirsize").is_file());
    }
    assert_ne!(store.lane(&to("alice")).key(), store.lane(&to("bob")).key());
}
