//! That each damage is found, none where there is none, and that mending it loses
//! no octet.

#![cfg(feature = "reader")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{FROM_LINE, Place, STORED, deliver_to, leave_lock, names, reading, walk};
use postino_files::{Files, Kernel, Lock};
use postino_mbox::{LockKind, Mbox, Options};
use postino_store::{Finding, FindingKind, MailStore, Remedy, Repair, Verified};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

fn verify(store: &Mbox, repair: Repair) -> (Vec<Finding>, Verified) {
    let mut findings = Vec::new();
    let verified = reading(store).verify(repair, &mut |finding| findings.push(finding)).unwrap();
    (findings, verified)
}

/// All octets below the root but those of markers, in pieces that a repair may have
/// moved apart.
fn octets(place: &Place) -> Vec<u8> {
    let mut all = Vec::new();
    for path in walk(&place.root()) {
        let full = place.root().join(&path);
        let is_mail = path != ".postino" && !path.contains(".lock");
        if is_mail && full.symlink_metadata().unwrap().is_file() {
            all.extend(fs::read(full).unwrap());
        }
    }
    all.sort_unstable();
    all
}

const FROM: &str = "From a@b Tue Nov 24 08:47:49 2026\n";

/// A [`Damage`] as the table has it.
type Row = (&'static str, fn(&Place), &'static str, FindingKind, bool);

/// What is done to a store, and what is to be found.
struct Damage {
    name: &'static str,
    make: fn(&Place),
    /// In what is said of it.
    says: &'static str,
    kind: FindingKind,
    is_mended: bool,
}

fn write(place: &Place, text: &str) {
    fs::write(place.alice(), text).unwrap();
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn damages() -> Vec<Damage> {
    use FindingKind::{Damage as Bad, Stray};
    let table: Vec<Row> = vec![
        (
            "a torn tail",
            |place| {
                write(place, &format!("{STORED}{}", &STORED[..60]));
                leave_lock(place, STORED.len(), 2 * STORED.len());
            },
            "octet 91 is where a delivery began that a crash has torn",
            Bad,
            true,
        ),
        (
            "NULs at the end",
            |place| write(place, &format!("{STORED}{}", "\0".repeat(5_000))),
            "5000 NULs up to the end",
            Bad,
            true,
        ),
        (
            "NULs in the middle",
            |place| write(place, &format!("{FROM}\n{}text\n\n{STORED}", "\0".repeat(600))),
            "octet 35 begins a row of 600 NULs",
            Bad,
            false,
        ),
        (
            "a beginning that is no message",
            |place| write(place, &format!("rubbish\n\n{STORED}")),
            "begins with 9 octets that belong to no message",
            Bad,
            true,
        ),
        (
            "no mbox at all",
            |place| write(place, "Dear diary\n\nFrom now on\n"),
            "holds no message",
            Stray,
            false,
        ),
        ("no date", |place| write(place, "From a@b\n\ntext\n\n"), "without a date", Bad, false),
        (
            "no sender",
            |place| write(place, "From Tue Nov 24 08:47:49 2026\n\ntext\n\n"),
            "without a sender",
            Bad,
            false,
        ),
        (
            "no empty line",
            |place| write(place, &format!("{FROM}\ntext\n{STORED}")),
            "octet 40 begins a message without an empty line",
            Bad,
            false,
        ),
        (
            "a line like a From_ line",
            |place| write(place, &format!("{FROM}\n\nFrom a@b, received 08:47\n\n")),
            "octet 36 looks like a From_ line",
            Stray,
            false,
        ),
        (
            "CR LF",
            |place| write(place, &STORED.replace('\n', "\r\n")),
            "ends with CR LF",
            Bad,
            false,
        ),
        (
            "no empty line at the end",
            |place| write(place, &format!("{STORED}{FROM}\nhalf a li")),
            "where the last message ends, without an empty line",
            Bad,
            false,
        ),
        (
            "an empty message",
            |place| write(place, &format!("{FROM}\n{STORED}")),
            "without any text",
            Stray,
            false,
        ),
        (
            "a stale lock file",
            |place| {
                write(place, STORED);
                leave_lock(place, STORED.len(), STORED.len());
            },
            "is a stale lock file: pid 4294967295 is gone",
            Stray,
            true,
        ),
        (
            "a lock file without a mailbox",
            |place| leave_lock(place, 0, 0),
            "stale lock file without a mailbox",
            Stray,
            true,
        ),
        (
            "a lock file that is a directory",
            |place| {
                fs::create_dir(place.dotlock()).unwrap();
                let past = std::time::SystemTime::UNIX_EPOCH;
                fs::File::open(place.dotlock()).unwrap().set_modified(past).unwrap();
            },
            "stands where a lock file should",
            Stray,
            false,
        ),
        (
            "a mailbox for a lock file",
            |place| fs::write(place.dotlock(), STORED).unwrap(),
            "stands where a lock file should",
            Stray,
            false,
        ),
        (
            "a symbolic link",
            |place| symlink("/etc/passwd", place.alice()).unwrap(),
            "is no regular file",
            Stray,
            true,
        ),
        (
            "a FIFO",
            |place| assert!(Command::new("mkfifo").arg(place.alice()).status().unwrap().success()),
            "is no regular file",
            Stray,
            true,
        ),
        (
            "a directory",
            |place| fs::create_dir(place.alice()).unwrap(),
            "is a directory",
            Stray,
            false,
        ),
        (
            "two names",
            |place| {
                fs::write(place.above().join("other"), STORED).unwrap();
                fs::hard_link(place.above().join("other"), place.alice()).unwrap();
            },
            "has several hard links",
            Stray,
            false,
        ),
        (
            "a mode that is of no use",
            |place| {
                write(place, STORED);
                fs::set_permissions(place.alice(), fs::Permissions::from_mode(0o200)).unwrap();
            },
            "may not be read and written by its owner (mode 200)",
            Bad,
            false,
        ),
        (
            "a draft of a removal",
            |place| fs::write(place.root().join(".postino-new-1"), STORED).unwrap(),
            "left when a command was killed",
            Stray,
            true,
        ),
        (
            "a lock file that was put aside",
            |place| fs::write(place.root().join(".postino-lock-1"), "1\n").unwrap(),
            "left when a command was killed",
            Stray,
            true,
        ),
        (
            "a name of no mailbox",
            |place| fs::write(place.root().join("\u{1}"), "x").unwrap(),
            "has a name that no mailbox has",
            Stray,
            false,
        ),
        (
            "a torn part with others behind it",
            |place| {
                write(place, &format!("{STORED}{}\n\n{FROM}\nother's\n\n", &STORED[..60]));
                leave_lock(place, STORED.len(), 100 * STORED.len());
            },
            "octet 91 may begin part of a message",
            Bad,
            false,
        ),
    ];
    table
        .into_iter()
        .map(|(name, make, says, kind, is_mended)| Damage { name, make, says, kind, is_mended })
        .collect()
}

#[test]
fn each_damage_is_found_said_and_mended_without_losing_an_octet() {
    for Damage { name, make, says, kind, is_mended } in damages() {
        let place = Place::new();
        let store = place.open();
        make(&place);
        let before = (walk(place.above()), octets(&place));
        let (found, _) = verify(&store, Repair::No);
        let about = |found: &[Finding]| {
            let said =
                |finding: &&Finding| format!("{} {}", finding.place, finding.what).contains(says);
            found.iter().find(said).cloned().unwrap_or_else(|| panic!("{name}: {found:?}"))
        };
        let finding = about(&found);
        assert_eq!(finding.kind, kind, "{name}");
        assert_eq!(matches!(finding.remedy, Remedy::Possible(_)), is_mended, "{name}: {finding:?}");
        assert!(!finding.advice.is_empty() && !finding.advice.ends_with('.'), "{finding:?}");
        assert_eq!((walk(place.above()), octets(&place)), before, "{name}: a look changes nothing");

        let (found, _) = verify(&store, Repair::Yes);
        let finding = about(&found);
        assert_eq!(matches!(finding.remedy, Remedy::Done(_)), is_mended, "{name}: {finding:?}");
        assert_eq!(octets(&place), before.1, "{name}: no octet goes");
        let (found, _) = verify(&store, Repair::Yes);
        let still =
            found.iter().any(|found| format!("{} {}", found.place, found.what).contains(says));
        assert_eq!(still, !is_mended, "{name}: {found:?}");
        let is_moved = place.root().join(".postino-lost").exists();
        assert_eq!(is_moved, is_mended && name != "a stale lock file", "{name}");
        if is_moved {
            let mode = fs::metadata(place.root().join(".postino-lost")).unwrap().permissions();
            assert_eq!(mode.mode() & 0o7777, 0o700);
        }
    }
    assert!(FROM_LINE.len() == 8 && damages().len() >= 12);
}

#[test]
fn nothing_is_locked_while_a_finding_is_told() {
    let kernel = Kernel::new();
    for Damage { name, make, .. } in damages() {
        for repair in [Repair::No, Repair::Yes] {
            let place = Place::new();
            let store = place.open();
            make(&place);
            let ours = std::process::id().to_string();
            let mut told = 0;
            let report = &mut |finding: Finding| {
                told += 1;
                let lock_file = fs::read_to_string(place.dotlock()).unwrap_or_default();
                // One that tells the next delivery what is torn is left on purpose.
                let is_held =
                    lock_file.lines().next() == Some(&ours) && !lock_file.contains("torn");
                assert!(!is_held, "{name}: {finding:?}");
                let root = kernel.open_root(&place.root()).unwrap();
                for file in names(&place.root()) {
                    let is_file = place.root().join(&file).symlink_metadata().unwrap().is_file();
                    if is_file {
                        let file = kernel.open_update(&root, Path::new(&file)).unwrap();
                        assert!(
                            kernel.try_lock(&file, Lock::Fcntl).unwrap(),
                            "{name}: {finding:?}"
                        );
                    }
                }
            };
            reading(&store).verify(repair, report).unwrap();
            assert!(told > 0, "{name}");
        }
    }
}

#[test]
fn what_is_mended_lies_under_a_name_that_tells_where_it_was() {
    let place = Place::new();
    let store = place.store_with("/%d/%n/mbox", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    deliver_to(&store, "alice@example.org").unwrap();
    let path = place.root().join("example.org/alice/mbox");
    let mail = fs::read_to_string(&path).unwrap();
    for round in 1..=2 {
        fs::write(&path, format!("rubbish\n{mail}\0\0\0")).unwrap();
        let (found, verified) = verify(&store, Repair::Yes);
        assert_eq!((found.len(), verified.messages), (2, 1), "{found:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), mail);
        let lost = names(&place.root().join(".postino-lost"));
        assert_eq!(lost.len(), 2 * round, "{lost:?}");
        assert!(lost.iter().all(|name| name.starts_with("example.org_alice_mbox.")), "{lost:?}");
        let (found, _) = verify(&store, Repair::No);
        assert_eq!(found, []);
    }
    let mut octets: Vec<_> = names(&place.root().join(".postino-lost"))
        .iter()
        .map(|name| fs::read_to_string(place.root().join(".postino-lost").join(name)).unwrap())
        .collect();
    octets.sort_unstable();
    assert_eq!(octets, ["\0\0\0", "\0\0\0", "rubbish\n", "rubbish\n"]);
}

#[test]
fn what_is_no_mbox_stays_where_it_is() {
    let place = Place::new();
    let store = place.open();
    deliver_to(&store, "alice").unwrap();
    let others: [(&str, &[u8]); 3] = [
        ("alice-2025.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        ("bob", b"*mbx*\r\n6924a3a500000001\r\n"),
        ("aliases", b"root: alice\n"),
    ];
    for (name, octets) in others {
        fs::write(place.root().join(name), octets).unwrap();
    }
    let (found, verified) = verify(&store, Repair::Yes);
    assert_eq!((found.len(), verified.mailboxes), (others.len(), 1), "{found:?}");
    assert!(found.iter().all(|finding| finding.remedy == Remedy::Nothing), "{found:?}");
    for (name, octets) in others {
        assert_eq!(fs::read(place.root().join(name)).unwrap(), octets, "{name}");
    }
}

#[test]
fn a_repair_that_cannot_save_what_it_takes_takes_nothing() {
    let place = Place::new();
    let store = place.open();
    let torn = format!("rubbish\n{STORED}");
    write(&place, &torn);
    // Others could read what is put there.
    fs::create_dir(place.root().join(".postino-lost")).unwrap();
    fs::set_permissions(place.root().join(".postino-lost"), fs::Permissions::from_mode(0o755))
        .unwrap();
    let (found, _) = verify(&store, Repair::Yes);
    assert!(matches!(&found[0].remedy, Remedy::Failed { cause, .. } if cause.contains("mode 700")));
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), torn);
}

#[test]
fn another_user_s_file_and_directory_are_found() {
    let place = Place::new();
    let store = place.store_with("/%d/%n", Arc::new(Kernel::new()), Options::default());
    store.open().unwrap();
    for name in ["a@one.example", "a@two.example"] {
        deliver_to(&store, name).unwrap();
    }
    fs::write(place.root().join("file"), "x").unwrap();
    let mut wanted = vec!["lies where only directories of mailboxes should"];
    // Only root can give them away.
    if chown(place.root().join("one.example"), Some(12_345), None).is_ok() {
        chown(place.root().join("two.example/a"), Some(12_345), None).unwrap();
        wanted.push("belongs to another user: no mailbox in it is served");
        wanted.push("belongs to another user");
    }
    let (found, _) = verify(&store, Repair::Yes);
    let said: Vec<_> = found.iter().map(|finding| &finding.what[..]).collect();
    assert_eq!(said, wanted);
    assert!(found.iter().all(|finding| finding.remedy == Remedy::Nothing));
}

#[test]
fn what_others_keep_locked_is_said_and_not_looked_at() {
    let place = Place::new();
    let store = place.open();
    write(&place, &format!("rubbish\n{STORED}"));
    let kernel = Kernel::new();
    let root = kernel.open_root(&place.root()).unwrap();
    let other = kernel.open_update(&root, Path::new("alice")).unwrap();
    assert!(kernel.try_lock(&other, Lock::Fcntl).unwrap());
    let (found, verified) = verify(&store, Repair::Yes);
    assert_eq!((found.len(), verified.mailboxes), (1, 0), "{found:?}");
    assert!(found[0].what.contains("is locked") && found[0].what.ends_with("it was not looked at"));
    assert_eq!(fs::read_to_string(place.alice()).unwrap(), format!("rubbish\n{STORED}"));
}

#[test]
fn a_repair_amid_deliveries_loses_nothing_and_finds_nothing() {
    for locks in ["fcntl,dotlock", "dotlock"] {
        let place = Place::new();
        let options = Options { locks: LockKind::list(locks).unwrap(), ..Options::default() };
        let store = place.open_with(options.clone());
        deliver_to(&store, "alice").unwrap();
        let (done, delivered) = (AtomicBool::new(false), AtomicUsize::new(1));
        thread::scope(|scope| {
            scope.spawn(|| {
                let store = place.open_with(options.clone());
                while !done.load(Ordering::Relaxed) {
                    delivered.fetch_add(
                        usize::from(deliver_to(&store, "alice").is_ok()),
                        Ordering::Relaxed,
                    );
                }
            });
            let found = (0..20).flat_map(|_| verify(&store, Repair::Yes).0);
            // Deliveries in a row may leave nobody a turn.
            let found: Vec<_> =
                found.filter(|found| !found.what.ends_with("it was not looked at")).collect();
            done.store(true, Ordering::Relaxed);
            assert_eq!(found, []);
        });
        let stored = fs::read_to_string(place.alice()).unwrap();
        assert_eq!(stored, STORED.repeat(delivered.load(Ordering::Relaxed)));
        assert_eq!(names(&place.root()), [".postino", "alice"]);
    }
}
