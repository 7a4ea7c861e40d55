//! Folders: files below the account's hidden directory, made where that is allowed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Place, STORED, deliver, deliver_to, listed, mailbox, mailboxes, messages, names, read, reading,
    walk,
};
use postino_files::{
    Kernel, process,
    testing::{Call, Failing, Fault, Recording},
};
use postino_mbox::{Mbox, Options};
use postino_store::{
    DeliveryError, FindingKind, IfMissing, IfNoFolder, MailStore, Mailbox, MailboxName,
    PathTemplate, Quota, ReadError, Remedy, Repair,
};
use std::{
    fs,
    ops::ControlFlow,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    process::Command,
    sync::Arc,
};

fn folder(name: &str, if_no_folder: IfNoFolder) -> Mailbox {
    mailbox("alice", IfMissing::Create).in_folder(name, if_no_folder).unwrap()
}

fn made(name: &str) -> Mailbox {
    folder(name, IfNoFolder::Create)
}

fn parse(name: &str) -> MailboxName {
    MailboxName::parse(name).unwrap()
}

fn file(place: &Place, folder: &str) -> PathBuf {
    place.root().join(".alice").join(folder)
}

/// How many messages the mailbox and these folders have.
fn counts(place: &Place, folders: &[&str]) -> Vec<usize> {
    let mut counts = vec![messages(&place.alice()).len()];
    counts.extend(folders.iter().map(|folder| messages(&file(place, folder)).len()));
    counts
}

#[test]
fn a_folder_is_made_where_that_is_allowed_and_the_mailbox_takes_its_mail_where_not() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, folder("Lists/2026", IfNoFolder::Inbox)).unwrap();
    assert_eq!(walk(&place.root()), [".postino", "alice"]);
    deliver(&store, made("Lists/2026")).unwrap();
    deliver(&store, folder("Lists/2026", IfNoFolder::Inbox)).unwrap();
    assert_eq!(counts(&place, &["Lists/2026"]), [1, 2]);
    assert_eq!(fs::read_to_string(file(&place, "Lists/2026")).unwrap(), STORED.repeat(2));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(file(&place, "Lists/2026")), 0o600);
    assert_eq!((mode(file(&place, "")), mode(file(&place, "Lists"))), (0o700, 0o700));
}

#[test]
fn a_folder_is_made_as_durably_as_a_mailbox() {
    let place = Place::new();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), place.root()));
    let store = place.store_with("", files.clone(), Options::default());
    store.open().unwrap();
    deliver(&store, made("a/b")).unwrap();
    let mut syncs = files.take();
    syncs.retain(|call| call.starts_with("sync_"));
    assert_eq!(
        syncs[syncs.len() - 4..],
        ["sync_file .alice/a/b", "sync_dir .alice/a", "sync_dir .alice", "sync_dir ."],
        "{syncs:?}"
    );
}

#[test]
fn where_a_folder_cannot_be_the_mailbox_takes_the_mail() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, made("file")).unwrap();
    deliver(&store, made("level/file")).unwrap();
    let before = walk(&place.root());
    for name in [
        "file/below",          // a level that is a file
        "level",               // a file that is a level
        "x.lock",              // another one's lock file
        "x.lock/y",            //
        "dovecot-uidvalidity", // a reader's file
    ] {
        deliver(&store, made(name)).unwrap();
    }
    assert_eq!(counts(&place, &["file", "level/file"]), [5, 1, 1]);
    assert_eq!(walk(&place.root()), before);
    // The marker's names are not touched.
    let postino = mailbox("postino", IfMissing::Create);
    deliver(&store, postino.in_folder("x", IfNoFolder::Create).unwrap()).unwrap();
    assert_eq!(messages(&place.root().join("postino")).len(), 1);
    assert!(fs::metadata(place.root().join(".postino")).unwrap().is_file());
    // Nor is what stands where the directory should.
    fs::write(place.root().join(".bob"), "x").unwrap();
    let bob = mailbox("bob", IfMissing::Create).in_folder("x", IfNoFolder::Create).unwrap();
    deliver(&store, bob).unwrap();
    assert_eq!(messages(&place.root().join("bob")).len(), 1);
}

#[test]
fn what_poses_as_a_folder_is_not_written_to() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, made("real/x")).unwrap();
    let outside = place.above().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    symlink(&outside, file(&place, "linked")).unwrap();
    symlink(outside.join("file"), file(&place, "link")).unwrap();
    fs::hard_link(outside.join("file"), file(&place, "hard")).unwrap();
    for name in ["linked/x", "link", "hard", "link/x"] {
        let refused = deliver(&store, made(name)).unwrap_err();
        assert!(matches!(refused, DeliveryError::Misconfigured(_)), "{name}: {refused:?}");
    }
    assert_eq!(names(&outside), ["file"]);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"");
}

#[test]
fn an_unknown_accounts_folder_is_unknown_too() {
    let place = Place::new();
    let store = place.open();
    deliver_to(&store, "bob").unwrap();
    let unknown =
        || mailbox("alice", IfMissing::Refuse).in_folder("x", IfNoFolder::Create).unwrap();
    assert!(matches!(deliver(&store, unknown()), Err(DeliveryError::NoSuchMailbox)));
    assert!(matches!(store.admit(&unknown(), None), Err(DeliveryError::NoSuchMailbox)));
    assert_eq!(names(&place.root()), [".postino", "bob"]);
    deliver_to(&store, "alice").unwrap();
    store.admit(&unknown(), None).unwrap();
    deliver(&store, unknown()).unwrap();
    assert_eq!(counts(&place, &["x"]), [1, 1]);
}

#[test]
fn beyond_a_hundred_folders_the_mailbox_takes_the_mail() {
    let place = Place::new();
    let store = place.open();
    for n in 0..103 {
        deliver(&store, made(&format!("f{}/{n}", n % 10))).unwrap();
    }
    deliver(&store, made("f9/99")).unwrap();
    assert_eq!(counts(&place, &["f9/99", "f0/100"]), [3, 2, 0]);
}

#[test]
fn folders_are_listed_read_and_removed() {
    for template in ["", "/%d/%n/mbox"] {
        let place = Place::new();
        let store = place.store_with(template, Arc::new(Kernel::new()), Options::default());
        store.open().unwrap();
        let account = "alice@example.org";
        let to = |folder: &str| {
            let account = mailbox(account, IfMissing::Create);
            account.in_folder(folder, IfNoFolder::Create).unwrap()
        };
        let all = ["", "/A", "/A.b", "/B/C", "/é"].map(|folder| format!("{account}{folder}"));
        for folder in ["é", "B/C", "A", "A.b"] {
            deliver(&store, to(folder)).unwrap();
        }
        let id = deliver(&store, to("A")).unwrap();
        let reader = reading(&store);
        assert_eq!(mailboxes(reader), (all.to_vec(), Vec::new()), "{template}");
        let name = parse(&all[1]);
        let found = reader.find(&name, id.as_str()).unwrap();
        assert_eq!(listed(reader, &name)[1], found);
        assert!(read(reader, &name, &found).ends_with(b"text\n"));
        let elsewhere = reader.find(&parse(&all[3]), id.as_str());
        assert!(elsewhere.is_err() || elsewhere.unwrap().id != found.id);
        reader.remove(&name, &found).unwrap();
        assert_eq!(reader.contents(&name).unwrap().messages, 1);
        let verified = reader.verify(Repair::No, &mut |finding| panic!("{finding:?}")).unwrap();
        assert_eq!((verified.mailboxes, verified.messages), (5, 4));
        reader.remove_mailbox(&parse(&all[3])).unwrap();
        assert_eq!(mailboxes(reader).0, [&all[..3], &all[4..]].concat());
        reader.remove_mailbox(&parse(account)).unwrap();
        assert_eq!(mailboxes(reader).0, [""; 0]);
        assert_eq!(walk(&place.root()), [".postino"]);
        let missing = reader.remove_mailbox(&parse(account)).unwrap_err();
        assert!(matches!(missing, ReadError::Store(_)), "{missing:?}");
    }
}

#[test]
fn folders_are_found_where_their_mailbox_is_gone() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, made("x")).unwrap();
    fs::remove_file(place.alice()).unwrap();
    fs::write(file(&place, "binary"), "\0\u{1}").unwrap();
    let reader = reading(&store);
    assert_eq!(mailboxes(reader), (vec!["alice/x".to_owned()], Vec::new()));
    let verified = reader.verify(Repair::No, &mut |finding| panic!("{finding:?}")).unwrap();
    assert_eq!((verified.mailboxes, verified.messages), (1, 1));
}

#[test]
fn verify_tells_what_is_wrong_with_a_folder() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, made("a/good")).unwrap();
    fs::write(file(&place, "a/bad"), "no mbox\n").unwrap();
    fs::write(file(&place, "a/.postino-draft"), "").unwrap();
    fs::create_dir(file(&place, ".imap")).unwrap();
    fs::write(file(&place, ".imap/index"), "\0").unwrap();
    symlink("good", file(&place, "a/link")).unwrap();
    let mut found = Vec::new();
    reading(&store).verify(Repair::Yes, &mut |finding| found.push(finding)).unwrap();
    let places: Vec<_> = found.iter().map(|finding| finding.place.clone()).collect();
    let shown = |name| file(&place, name).display().to_string();
    assert!(places.iter().any(|place| place.starts_with(&shown("a/bad"))), "{found:?}");
    let link = found.iter().find(|finding| finding.place == shown("a/link")).unwrap();
    assert_eq!(link.kind, FindingKind::Stray);
    assert!(matches!(link.remedy, Remedy::Done(_)), "{link:?}");
    assert!(!places.iter().any(|place| place.contains(".imap")), "{found:?}");
}

#[test]
fn a_lane_is_a_folders_own_and_the_mailboxs_where_it_can_have_no_file() {
    let place = Place::new();
    let store = place.open();
    let key = |mailbox: &Mailbox| store.lane(mailbox).key().to_owned();
    let alice = mailbox("alice", IfMissing::Create);
    assert!(key(&made("x")).ends_with("/root/.alice/x"));
    assert_ne!(key(&made("x")), key(&made("y")));
    assert_eq!(key(&made("x.lock")), key(&alice));
}

#[test]
fn dovecot_lists_the_folders_and_has_nothing_of_its_own_listed() {
    if Command::new("doveadm").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    let store = place.open();
    for name in ["Lists/2026", "Junk", "a b", "x.y", "é", "R&D"] {
        deliver(&store, made(name)).unwrap();
    }
    let (root, above) = (place.root(), place.above());
    let is_root = process::user() == 0;
    let reader = if is_root { 12_345 } else { process::user() };
    let give_to = |owner: u32| {
        let chown = || Command::new("chown").args(["-R", &owner.to_string()]).arg(above).status();
        assert!(!is_root || chown().unwrap().success());
    };
    let configuration = above.join("dovecot.conf");
    let text = format!(
        "base_dir = {above}/run\nlog_path = /dev/stderr\nssl = no\nmail_uid = {reader}\n\
         mail_gid = {reader}\nfirst_valid_uid = {reader}\nfirst_valid_gid = {reader}\n\
         mail_location = mbox:{root}/.alice:INBOX={root}/alice:UTF-8\n\
         namespace inbox {{\n  inbox = yes\n  separator = /\n}}\n",
        above = above.display(),
        root = root.display(),
    );
    fs::write(&configuration, text).unwrap();
    give_to(reader);
    let doveadm = |arguments: &[&str]| {
        let mut command = Command::new(if is_root { "setpriv" } else { "doveadm" });
        if is_root {
            let id = reader.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "doveadm"]);
        }
        command.env("HOME", above).env("USER", "alice").arg("-c").arg(&configuration);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = doveadm(&["-f", "flow", "mailbox", "status", "messages", "*"]);
    for name in ["Lists/2026", "Junk", "a b", "x.y", "é", "R&D"] {
        assert!(shown.contains(&format!("{name} messages=1")), "{shown}");
    }
    doveadm(&["mailbox", "create", "Own"]);
    doveadm(&["mailbox", "subscribe", "Junk"]);
    give_to(process::user());
    let own = ["", "/Junk", "/Lists/2026", "/Own", "/R&D", "/a b", "/x.y", "/é"];
    let own: Vec<_> = own.iter().map(|folder| format!("alice{folder}")).collect();
    assert_eq!(mailboxes(reading(&store)), (own, Vec::new()), "{:?}", walk(&root));
    reading(&store).verify(Repair::No, &mut |finding| panic!("{finding:?}")).unwrap();
}

#[test]
fn init_makes_a_folder_with_its_mailbox() {
    let place = Place::new();
    let store: Mbox = place.open();
    store.init(&[parse("alice/a/b")]).unwrap();
    assert_eq!(walk(&place.root()), [".alice", ".alice/a", ".alice/a/b", ".postino", "alice"]);
}

#[test]
fn folders_and_quotas_below_a_home_are_its_users_own() {
    let place = Place::new();
    let store = Mbox::new(
        PathTemplate::parse("%h/mail/inbox").unwrap(),
        Options::default(),
        Arc::new(Kernel::new()),
    );
    store.open().unwrap();
    let to = |home: &str| {
        let home = place.above().join(home);
        fs::create_dir_all(&home).unwrap();
        let quota = Quota { octets: None, messages: Some(2) };
        made("Lists/2026").with_home(home).with_quota(quota)
    };
    for home in ["alice", "bob"] {
        deliver(&store, to(home)).unwrap();
        deliver(&store, to(home)).unwrap();
        let over = deliver(&store, to(home));
        assert!(matches!(over, Err(DeliveryError::OverQuota { .. })), "{over:?}");
        let full = Quota { octets: Some(1), messages: None };
        let refused = store.admit(&to(home).with_quota(full), Some(1));
        assert!(matches!(refused, Err(DeliveryError::OverQuota { .. })), "{refused:?}");
        let folder = place.above().join(home).join("mail/.inbox/Lists/2026");
        assert_eq!(messages(&folder).len(), 2);
    }
    assert_ne!(store.lane(&to("alice")).key(), store.lane(&to("bob")).key());
    assert_eq!(walk(place.above()).iter().filter(|path| path.ends_with("/mail")).count(), 2);
}

#[test]
fn folders_that_cannot_be_looked_for_are_told() {
    let place = Place::new();
    let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
    let store = place.store_with("", files.clone(), Options::default());
    store.open().unwrap();
    deliver(&store, made("a/x")).unwrap();
    let reader = reading(&store);
    let (mut told, mut found) = (0, 0);
    for call in [Call::OpenDir, Call::ReadDir] {
        for n in 1.. {
            let (mut names, mut strays) = (Vec::new(), Vec::new());
            files.arm_only(call, n, Fault::Denied);
            let listed = reader.mailboxes(&mut |mailbox| {
                match mailbox {
                    Ok(name) => names.push(name.to_string()),
                    Err(stray) => strays.push(stray.to_string()),
                }
                ControlFlow::Continue(())
            });
            if !files.disarm() {
                break;
            }
            let is_told = strays.iter().any(|stray| stray.contains("Permission denied"));
            assert!(
                listed.is_err() || is_told || names == ["alice", "alice/a/x"],
                "{call:?} {n}: {names:?} {strays:?}"
            );
            told += usize::from(is_told && names == ["alice"]);
            files.arm_only(call, n, Fault::Denied);
            let verified = reader.verify(Repair::No, &mut |finding| {
                found += usize::from(finding.what.contains("cannot be opened"));
            });
            let failed = files.disarm();
            assert!(verified.is_ok() || failed, "{verified:?}");
        }
    }
    assert!(told >= 2 && found >= 1, "{told} {found}");
}
