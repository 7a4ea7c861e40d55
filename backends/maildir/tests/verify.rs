//! The check of a store: what it finds, what it lets be, and that a repair loses
//! nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "verify/damage.rs"]
mod damage;

use common::{Place, deliver_to, names, walk};
use damage::{DAMAGED, Store};
use postino_files::{
    Kernel,
    testing::{Call, Failing, Fault, Recording},
};
use postino_store::{
    FindingKind::{Damage, Stray},
    MailReader, MailStore, Remedy, Repair,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

#[test]
fn each_kind_of_damage_is_found_and_a_look_changes_nothing() {
    for (damage, path, kind, words, is_moved) in DAMAGED {
        let store = Store::new();
        damage(&store);
        let before = walk(store.place.above());
        let finding = store.finding(Repair::No);
        assert_eq!(walk(store.place.above()), before, "{path}");
        assert_eq!(finding.place, store.path(path).display().to_string());
        assert_eq!(finding.kind, *kind, "{finding:?}");
        assert!(finding.what.contains(words), "{words}: {finding:?}");
        assert!(finding.advice.len() > 10 && !finding.advice.ends_with('.'), "{finding:?}");
        let is_movable =
            matches!(&finding.remedy, Remedy::Possible(doing) if doing.starts_with("move it to"));
        assert_eq!(is_movable, *is_moved, "{finding:?}");
        if !is_moved {
            assert_eq!(finding.remedy, Remedy::Nothing, "{finding:?}");
        }
    }
}

#[test]
fn a_repair_moves_what_may_be_moved_and_loses_no_octet() {
    for (damage, path, _, _, is_moved) in DAMAGED {
        let store = Store::new();
        damage(&store);
        let before = (store.contents(), walk(&store.place.root()));
        let finding = store.finding(Repair::Yes);
        assert_eq!(store.contents(), before.0, "{path}");
        if *is_moved {
            let Remedy::Done(doing) = &finding.remedy else { panic!("{finding:?}") };
            let lost = store.path(".postino-lost");
            assert_eq!(fs::metadata(&lost).unwrap().mode() & 0o7777, 0o700);
            let name = path.replace('%', "%25").replace('/', "%2F");
            assert_eq!(names(&lost), [name.as_str()]);
            assert_eq!(*doing, format!("move it to {}", lost.join(name).display()));
            assert_eq!(store.verify(Repair::Yes).0, [], "{path} once more");
        } else {
            assert_eq!(walk(&store.place.root()), before.1, "{path}");
        }
    }
}

#[test]
fn all_at_once_are_found_in_one_check() {
    let store = Store::new();
    let mut expected = 0;
    for (damage, path, ..) in DAMAGED {
        // Each in a mailbox of its own where it is one's.
        let is_free =
            !path.starts_with("bob") && !path.starts_with(".postino") && *path != "alice/cur";
        if is_free && fs::symlink_metadata(store.path(path)).is_err() {
            damage(&store);
            expected += 1;
        }
    }
    let before = store.contents();
    let (found, _) = store.verify(Repair::Yes);
    assert!(found.len() >= expected && expected >= 12, "{expected}: {found:#?}");
    assert_eq!(store.contents(), before);
}

#[test]
fn what_others_rightly_leave_is_no_finding() {
    let store = Store::new();
    store.write("alice/tmp/17.young", "half");
    store.write_old("alice/tmp/dovecot.sieve.tmp", "x", 100);
    store.write("alice/cur/.nfs0001", "young");
    store.write("alice/cur/17.none,S=0:2,", "");
    store.write("alice/cur/18.nulls,S=7:2,", "\0\0\0text");
    for (n, magic) in [
        &b"\x1f\x8b\x08"[..],
        b"BZh9",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
        b"Dovecot-LZ4\x0d\x2a\x9b\xc5",
        b"CRYPTED\x03\x07",
    ]
    .iter()
    .enumerate()
    {
        store.write(&format!("alice/cur/2{n}.packed,S=5000,W=5100:2,S"), magic);
    }
    fs::hard_link(
        store.path("alice/cur/20.packed,S=5000,W=5100:2,S"),
        store.path("alice/cur/30.copy:2,"),
    )
    .unwrap();
    store.write("alice/dovecot-uidlist", "3");
    for directory in ["tmp", "new", "cur"] {
        fs::create_dir_all(store.path("alice/.Sent").join(directory)).unwrap();
    }
    fs::create_dir(store.path("alice/.notmuch")).unwrap();
    fs::create_dir(store.path("lost+found")).unwrap();
    fs::create_dir(store.path(".hidden")).unwrap();
    let before = walk(&store.place.root());
    for repair in [Repair::No, Repair::Yes] {
        let (findings, verified) = store.verify(repair);
        assert_eq!(findings, []);
        assert_eq!((verified.mailboxes, verified.messages), (2, 11));
    }
    assert_eq!(walk(&store.place.root()), before);
}

#[test]
fn missing_directories_are_made() {
    for (name, kind) in [("tmp", Stray), ("cur", Damage), ("new", Damage)] {
        let store = Store::new();
        for entry in fs::read_dir(store.path("alice").join(name)).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::remove_dir(store.path("alice").join(name)).unwrap();
        let finding = store.finding(Repair::No);
        assert_eq!((finding.kind, &*finding.what), (kind, "is missing"));
        assert_eq!(finding.remedy, Remedy::Possible("make it".to_owned()));
        assert!(!store.path("alice").join(name).exists());
        let finding = store.finding(Repair::Yes);
        assert_eq!(finding.remedy, Remedy::Done("make it".to_owned()));
        assert_eq!(names(&store.path("alice")), ["cur", "new", "tmp"]);
        assert_eq!(store.verify(Repair::Yes).0, []);
    }
}

/// What another made would be of no use to deliveries.
#[test]
fn what_is_another_owner_s_is_told_and_left() {
    let store = Store::new();
    if fs::metadata(store.path("alice")).unwrap().uid() != 0 {
        return;
    }
    store.write("alice/new/17.other", "text");
    chown(store.path("alice/new/17.other"), Some(12_345), None).unwrap();
    let finding = store.finding(Repair::Yes);
    assert_eq!((finding.kind, &finding.remedy), (Stray, &Remedy::Nothing));
    assert!(finding.what.contains("belongs to user 12345"), "{finding:?}");
    fs::remove_file(store.path("alice/new/17.other")).unwrap();
    chown(store.path("alice/tmp"), Some(12_345), None).unwrap();
    assert_eq!(
        (store.finding(Repair::Yes).kind, store.finding(Repair::Yes).remedy),
        (Damage, Remedy::Nothing)
    );

    let store = Store::new();
    for path in walk(&store.place.root()) {
        chown(store.path(&path), Some(12_345), None).unwrap();
    }
    fs::remove_dir(store.path("alice/cur")).unwrap();
    let finding = store.finding(Repair::Yes);
    assert!(
        matches!(&finding.remedy, Remedy::Failed { cause, .. } if cause.contains("12345")),
        "{finding:?}"
    );
    assert!(!store.path("alice/cur").exists());
}

#[test]
fn nothing_is_overwritten_by_what_has_come_from_the_same_place() {
    let store = Store::new();
    for _ in 0..3 {
        symlink("/nowhere", store.path("alice/new/a%b")).unwrap();
        store.finding(Repair::Yes);
    }
    let lost = names(&store.path(".postino-lost"));
    assert_eq!((lost.len(), lost[0].as_str()), (3, "alice%2Fnew%2Fa%25b"));
    assert!(lost.iter().all(|name| name.starts_with("alice%2Fnew%2Fa%25b")), "{lost:?}");
}

/// Anybody can make one in his own mailbox: it takes no room.
#[test]
fn of_a_huge_file_of_holes_little_is_read() {
    let store = Store::new();
    let path = store.path("alice/cur/17.holes:2,");
    let size = 4 << 40;
    fs::File::create(&path).unwrap().set_len(size).unwrap();
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), store.place.root()));
    let maildir = store.place.store("", files.clone());
    let mut findings = Vec::new();
    maildir.verify(Repair::Yes, &mut |finding| findings.push(finding)).unwrap();
    let reads = files.take().iter().filter(|line| line.starts_with("read_at ")).count();
    assert!((200..400).contains(&reads), "{reads}");
    assert_eq!((findings.len(), findings[0].kind), (1, Damage), "{findings:?}");
    assert!(findings[0].what.contains("not looked at"), "{findings:?}");
    assert_eq!(findings[0].remedy, Remedy::Nothing);
    // What is mail at its end is none of it.
    let file = fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, b"text").unwrap();
    assert_eq!(store.verify(Repair::No).0, []);
}

#[test]
fn what_has_as_long_a_name_as_there_can_be_is_moved_too() {
    let store = Store::new();
    let name = format!("17.{}", "x".repeat(252));
    store.write(&format!("alice/new/{name}"), "");
    let finding = store.finding(Repair::Yes);
    assert!(matches!(finding.remedy, Remedy::Done(_)), "{finding:?}");
    let lost = names(&store.path(".postino-lost"));
    assert!(lost.len() == 1 && lost[0].starts_with("alice%2Fnew%2F17.xxx"), "{lost:?}");
}

#[test]
fn nothing_is_moved_where_others_could_read_it() {
    let store = Store::new();
    let lost = store.path(".postino-lost");
    fs::create_dir(&lost).unwrap();
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o777)).unwrap();
    store.write("alice/new/17.empty", "");
    let finding = store.finding(Repair::Yes);
    let Remedy::Failed { cause, .. } = &finding.remedy else { panic!("{finding:?}") };
    assert!(cause.contains("mode 0777"), "{cause}");
    assert!(store.path("alice/new/17.empty").exists() && names(&lost).is_empty());
}

/// Wherever a call fails: the thing is where it was or where it is to be.
#[test]
fn a_repair_that_fails_says_so_and_loses_nothing() {
    let mut failures = 0;
    for n in 1.. {
        let store = Store::new();
        store.write("alice/new/17.empty", "");
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let maildir = store.place.store("", files.clone());
        let before = store.contents();
        let mut findings = Vec::new();
        files.arm(n, Fault::Io);
        let verified = maildir.verify(Repair::Yes, &mut |finding| findings.push(finding));
        let struck = files.disarm();
        assert_eq!(store.contents(), before, "call {n}");
        let failed = findings.iter().any(|finding| matches!(finding.remedy, Remedy::Failed { .. }));
        failures += usize::from(failed);
        if !struck {
            assert!(verified.is_ok() && failures > 3, "{failures} of {n}");
            break;
        }
    }
}

#[test]
fn what_is_moved_is_durable_before_it_is_told() {
    let store = Store::new();
    store.write("alice/new/17.empty", "");
    let files = Arc::new(Recording::new(Arc::new(Kernel::new()), store.place.root()));
    let maildir = store.place.store("", files.clone());
    let mut lines = Vec::new();
    maildir.verify(Repair::Yes, &mut |_| lines = files.take()).unwrap();
    let writes = ["make_dir", "rename", "sync_dir"];
    let lines: Vec<_> =
        lines.iter().filter(|line| writes.iter().any(|call| line.starts_with(call))).collect();
    let expected = [
        "make_dir .postino-lost",
        "sync_dir .postino-lost",
        "sync_dir .",
        "rename alice/new/17.empty .postino-lost/alice%2Fnew%2F17.empty",
        "sync_dir .postino-lost",
        "sync_dir alice/new",
    ];
    assert_eq!(lines, expected);
}

/// A mail program moves each message between the listing and the look at it.
#[test]
fn what_a_reader_moves_meanwhile_is_no_finding() {
    let store = Store::new();
    let root = store.place.root();
    let files = Recording::observed(Arc::new(Kernel::new()), store.place.root(), move |line| {
        if let Some(name) = line.strip_prefix("stat alice/new/") {
            let to = root.join(format!("alice/cur/{name}:2,S"));
            let _ = fs::rename(root.join("alice/new").join(name), to);
        } else if let Some(name) = line.strip_prefix("open alice/cur/") {
            let cur = root.join("alice/cur");
            fs::rename(cur.join(name), cur.join(format!("{name}T"))).unwrap();
        }
    });
    let maildir = store.place.store("", Arc::new(files));
    let mut findings = Vec::new();
    let verified = maildir.verify(Repair::Yes, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
    assert_eq!(verified.messages, 1);
    assert!(names(&store.path("alice/cur"))[0].ends_with(":2,ST"));
}

/// Mailboxes are made, mail comes and is moved and marked while checks follow one
/// another, and none has anything to say.
#[test]
fn a_store_in_use_has_no_finding_and_loses_nothing() {
    let store = Store::new();
    let (root, maildir) = (store.place.root(), &store.maildir);
    let is_over = AtomicBool::new(false);
    let mut checks = 0;
    thread::scope(|scope| {
        let delivering = scope.spawn(|| {
            for n in 0..400 {
                deliver_to(maildir, &format!("user{}", n % 40)).unwrap();
            }
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for user in names(&root) {
                    let (new, cur) = (root.join(&user).join("new"), root.join(&user).join("cur"));
                    for name in names(&cur) {
                        let _ =
                            fs::rename(cur.join(&name), cur.join(name.replace(":2,S", ":2,FS")));
                    }
                    for name in names(&new) {
                        let _ = fs::rename(new.join(&name), cur.join(format!("{name}:2,S")));
                    }
                }
            }
        });
        while !delivering.is_finished() || checks == 0 {
            let (findings, _) = store.verify(Repair::Yes);
            if !findings.is_empty() {
                is_over.store(true, Ordering::Relaxed);
            }
            assert_eq!(findings, [], "in check {checks}");
            checks += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (findings, verified) = store.verify(Repair::No);
    assert_eq!(findings, []);
    assert_eq!((verified.mailboxes, verified.messages), (41, 401));
}

#[test]
fn mail_that_a_check_could_not_look_at_is_told() {
    for (template, first, second) in
        [("", "alice", "bob"), ("/%d/%n", "alice@example.org", "bob@example.net")]
    {
        let place = Place::new();
        let files = Arc::new(Failing::new(Arc::new(Kernel::new())));
        let store = place.store(template, files.clone());
        MailStore::open(&store).unwrap();
        deliver_to(&store, first).unwrap();
        deliver_to(&store, second).unwrap();
        let mut told = 0;
        for fault in [Fault::Denied, Fault::Io, Fault::TooManyFiles] {
            for n in 1.. {
                files.arm_only(Call::OpenDir, n, fault);
                let mut damages = Vec::new();
                let verified = store.verify(Repair::No, &mut |finding| {
                    if finding.kind == Damage {
                        damages.push(finding);
                    }
                });
                if !files.disarm() {
                    break;
                }
                let Ok(verified) = verified else {
                    assert_ne!(fault, Fault::Denied);
                    continue;
                };
                let is_whole = verified.messages == 2;
                assert!(is_whole || damages.len() == 1, "{template} {n} {fault:?}: {damages:?}");
                told +=
                    damages.iter().filter(|it| it.what.starts_with("was not looked at: ")).count();
            }
        }
        assert!(told >= 4, "{template}: {told}");
    }
}
