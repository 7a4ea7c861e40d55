//! What somebody else has put where a message or mailbox could be.

use crate::stores::{ALICE, Filled, run};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{chown, symlink},
    },
    path::Path,
    process::Command,
};

const SECRET: &str = "the secret of another user";

#[test]
fn names_that_could_harm_a_terminal_are_escaped_and_are_utf_8_in_json() {
    let store = Filled::of("maildir:mail");
    store.deliver(ALICE, "text\r\n");
    let new = store.path().join(ALICE).join("new");
    let hostile: [&[u8]; 4] =
        [b"1.\x1b[31m.host", b"2.a\nb.host", b"3.\xff\xfe.host", b"4.a b%.host"];
    for name in hostile {
        fs::write(new.join(OsStr::from_bytes(name)), "Subject: odd\n\n").unwrap();
    }
    let told = store.run(&["messages", ALICE]);
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(told.text().lines().count(), 5, "{told:?}");
    assert!(told.out.iter().all(|octet| *octet == b'\n' || !octet.is_ascii_control()), "{told:?}");
    let told = store.run(&["messages", "--json", ALICE]);
    for line in told.text().lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        let id = object["id"].as_str().unwrap();
        let cat = store.run(&["cat", ALICE, id]);
        assert_eq!(cat.code, 0, "{id:?}: {cat:?}");
    }
}

/// As root: whatever poses as a message of alice's is not read, waited for, or
/// removed.
#[test]
fn no_command_reads_through_a_link_hangs_in_a_fifo_or_removes_either() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can make files of other users");
        return;
    }
    let store = Filled::of("maildir:mail");
    store.deliver(ALICE, "text\r\n");
    let outside = store.directory.path().join("secret");
    fs::write(&outside, SECRET).unwrap();
    chown(&outside, Some(65_534), Some(65_534)).unwrap();
    let cur = store.path().join(ALICE).join("cur");
    let odd = ["100.link.h:2,", "101.fifo.h:2,", "102.directory.h:2,", "103.hard.h:2,"];
    let [link, fifo, directory, hard] = odd.map(|name| cur.join(name));
    symlink(&outside, &link).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("inside"), SECRET).unwrap();
    fs::hard_link(&outside, &hard).unwrap();

    let listed = store.run(&["messages", ALICE]);
    assert_eq!((listed.code, listed.text().lines().count()), (1, 1), "{listed:?}");
    assert_eq!(listed.err.lines().count(), 4, "{listed:?}");
    for name in odd {
        let id = name.split(':').next().unwrap();
        for command in ["cat", "delete"] {
            for id in [id, name, &id[..id.len() - 2]] {
                let told = store.run(&[command, ALICE, id]);
                assert_eq!(told.code, 1, "{command} {id}: {told:?}");
                assert!(!told.text().contains(SECRET) && !told.err.contains(SECRET));
            }
        }
    }
    let verified = store.run(&["verify"]);
    assert!(verified.text().lines().count() >= 5, "{verified:?}");
    assert!(!verified.text().contains(SECRET));
    assert!(store.run(&["mailboxes"]).text().contains(" 1 "));
    for path in [&link, &fifo, &directory, &hard] {
        assert!(path.symlink_metadata().is_ok(), "{} is gone", path.display());
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(directory.join("inside")).unwrap(), SECRET);
}

#[test]
fn no_command_reads_a_mailbox_that_is_a_link_a_fifo_or_anothers() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can make files of other users");
        return;
    }
    let store = Filled::of("mbox:mail");
    let id = store.deliver(ALICE, "text\r\n");
    let outside = store.directory.path().join("secret");
    fs::write(&outside, format!("From a Thu Jan  1 00:00:00 1970\n{SECRET}\n\n")).unwrap();
    chown(&outside, Some(65_534), Some(65_534)).unwrap();
    let place = |name: &str| store.path().join(name);
    symlink(&outside, place("link@example.org")).unwrap();
    assert!(Command::new("mkfifo").arg(place("fifo@example.org")).status().unwrap().success());
    fs::create_dir(place("directory@example.org")).unwrap();
    fs::hard_link(&outside, place("hard@example.org")).unwrap();
    let listed = store.run(&["mailboxes"]);
    assert_eq!((listed.code, listed.text().lines().count()), (1, 1), "{listed:?}");
    for name in ["link", "fifo", "directory", "hard"] {
        let mailbox = format!("{name}@example.org");
        for arguments in
            [&["messages", &mailbox][..], &["cat", &mailbox, &id], &["delete", &mailbox]]
        {
            let told = store.run(arguments);
            assert!([1, 74, 77].contains(&told.code), "{arguments:?}: {told:?}");
            assert!(!told.text().contains(SECRET) && !told.err.contains(SECRET), "{told:?}");
        }
        assert!(place(&mailbox).symlink_metadata().is_ok(), "{mailbox} is gone");
    }
    let verified = store.run(&["verify"]);
    assert!(!verified.text().contains(SECRET), "{verified:?}");
    assert!(fs::read_to_string(&outside).unwrap().contains(SECRET));
}

#[test]
fn a_database_that_is_a_link_to_another_file_gives_nothing_away() {
    let store = Filled::of("sqlite:mail.db");
    let outside = store.directory.path().join("secret");
    fs::write(&outside, SECRET.repeat(100)).unwrap();
    let link = store.directory.path().join("link.db");
    symlink(&outside, &link).unwrap();
    for arguments in [&["mailboxes"][..], &["verify"], &["messages", ALICE]] {
        let flag = format!("--store=sqlite:{}", link.display());
        let told = run(&[&[arguments[0], &flag], &arguments[1..]].concat());
        assert_ne!(told.code, 0, "{arguments:?}: {told:?}");
        assert!(!told.text().contains(SECRET) && !told.err.contains(SECRET), "{told:?}");
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), SECRET.repeat(100));
    assert!(!Path::new(&format!("{}-wal", outside.display())).exists());
}
