//! From store to store: the same octets, as far as the formats can hold them.

use crate::{
    copying::{copy, copy_all},
    program::all_here,
    stored::Place,
    varied::{self, FIRST_SECOND},
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

const MESSAGES: usize = 1_000;

#[test]
fn from_store_to_store_each_message_keeps_its_octets_as_far_as_the_formats_can_hold_them() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name: &str| Place::new(folder.path(), kind, name);
    let first = place("maildir", "first");
    let (sqlite, mbox, last) =
        (place("sqlite", "second"), place("mbox", "third"), place("maildir", "last"));
    varied::maildir(&first, 0..MESSAGES);
    let before = first.stored();
    assert_eq!(before.octets.len(), MESSAGES);
    for (from, to) in [(&first, &sqlite), (&sqlite, &mbox), (&mbox, &last)] {
        assert_eq!(copy_all(from, to), 1_000, "{from:?} to {to:?}");
    }
    assert!(sqlite.stored().octets == before.octets, "octets have changed in the database");
    assert!(mbox.stored().octets == before.with_lf, "octets have changed in the mbox");
    assert!(last.stored().octets == before.with_lf, "octets have changed in the Maildir");
    assert!(last.path().join("empty@example.org/new").is_dir(), "the empty mailbox is missing");
    // In whichever direction: all is there.
    for (from, to) in [
        (&first, &sqlite),
        (&first, &mbox),
        (&first, &last),
        (&last, &first),
        (&last, &sqlite),
        (&mbox, &sqlite),
        (&sqlite, &last),
        (&mbox, &first),
    ] {
        let run = copy(from, to, &[]);
        assert_eq!((run.code, run.count("copied")), (0, 0), "{from:?} to {to:?}: {run:?}");
        assert_eq!(run.count("already_there"), 1_000);
    }
}

/// The flags and times of a mailbox's messages, by their content, whose line ends
/// may have become LF; what is equal would not be told apart.
fn marks(mailbox: &Path) -> BTreeMap<String, (String, Duration)> {
    let mut marks = BTreeMap::new();
    for part in ["new", "cur"] {
        for entry in fs::read_dir(mailbox.join(part)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let flags = name.split_once(":2,").map_or("", |(_, flags)| flags).to_owned();
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            let received = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let content = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&content).replace("\r\n", "\n");
            marks.insert(text, (flags, received));
        }
    }
    marks
}

#[test]
fn from_maildir_to_maildir_flags_and_times_are_kept_through_a_database_too() {
    let folder = tempfile::tempdir().unwrap();
    let place = |kind, name| Place::new(folder.path(), kind, name);
    let from = place("maildir", "from");
    let (at_once, between, through) =
        (place("maildir", "at-once"), place("sqlite", "between"), place("maildir", "through"));
    varied::maildir(&from, 0..8);
    for (from, to) in [(&from, &at_once), (&from, &between), (&between, &through)] {
        copy_all(from, to);
    }
    for mailbox in ["a@example.org", "b@example.org"] {
        let before = marks(&from.path().join(mailbox));
        assert!(before.values().any(|(flags, _)| flags == "RST"));
        let first = before.values().map(|(_, received)| received.as_secs()).min().unwrap();
        assert!((FIRST_SECOND..FIRST_SECOND + 8).contains(&first), "{first}");
        for to in [&at_once, &through] {
            assert!(marks(&to.path().join(mailbox)) == before, "{mailbox} in {to:?}");
            assert_eq!(fs::read_dir(to.path().join(mailbox).join("new")).unwrap().count(), 0);
        }
    }
}
