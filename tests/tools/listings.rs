//! What the listings say, and that what they name can be read and removed.

use crate::stores::{ALICE, Filled, each};
use std::process::Stdio;

#[test]
fn mailboxes_are_listed_with_their_messages_and_bytes() {
    for store in each() {
        store.deliver("zoe@example.org", "one\r\n");
        store.deliver(ALICE, "one\r\n");
        store.deliver(ALICE, "three\r\n");
        let told = store.run(&["mailboxes"]);
        let lines: Vec<Vec<&str>> =
            told.text().lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!((told.code, &told.err[..]), (0, ""), "{}", store.url);
        assert_eq!(lines.len(), 2, "{told:?}");
        assert_eq!((lines[0][0], lines[0][1]), (ALICE, "2"));
        assert_eq!((lines[1][0], lines[1][1]), ("zoe@example.org", "1"));
        let told = store.run(&["mailboxes", "--json"]);
        let objects: Vec<serde_json::Value> =
            told.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects[0]["mailbox"], ALICE);
        assert_eq!(objects[0]["messages"], 2);
        assert_eq!(objects[0]["bytes"].to_string(), lines[0][2]);
    }
}

#[test]
fn a_message_is_listed_read_and_removed_by_the_id_of_its_delivery() {
    for store in each() {
        let ids: Vec<String> =
            (0..3).map(|n| store.deliver(ALICE, &format!("text {n}\r\n"))).collect();
        let told = store.run(&["messages", ALICE]);
        let listed: Vec<&str> =
            told.text().lines().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!((told.code, listed), (0, ids.iter().map(String::as_str).collect()));
        let told = store.run(&["messages", "--json", ALICE]);
        let second: serde_json::Value =
            serde_json::from_str(told.text().lines().nth(1).unwrap()).unwrap();
        assert_eq!(second["id"], ids[1]);
        assert!(second["received"].as_str().unwrap().ends_with('Z'), "{second}");
        let cat = store.run(&["cat", ALICE, &ids[1]]);
        assert_eq!(cat.code, 0);
        assert_eq!(cat.text().replace("\r\n", "\n"), "Delivered-To: x\ntext 1\n");
        assert_eq!(second["bytes"], cat.out.len());

        let gone = store.run(&["delete", ALICE, &ids[1]]);
        assert_eq!((gone.code, &gone.err[..]), (0, ""));
        assert_eq!(gone.text(), format!("{ALICE} {}: removed, {} bytes\n", ids[1], cat.out.len()));
        assert_eq!(store.run(&["cat", ALICE, &ids[1]]).code, 1);
        assert_eq!(store.run(&["messages", ALICE]).text().lines().count(), 2);
        let gone = store.run(&["delete", ALICE]);
        assert!(
            gone.text().starts_with(&format!("{ALICE}: removed with 2 messages, ")),
            "{gone:?}"
        );
        assert_eq!(store.run(&["messages", ALICE]).code, 1);
        assert_eq!(store.run(&["mailboxes"]).text(), "");
    }
}

#[test]
fn a_sound_store_verifies_clean_and_is_counted() {
    for store in each() {
        store.deliver(ALICE, "one\r\n");
        store.deliver("zoe@example.org", "two\r\n");
        let told = store.run(&["verify"]);
        let summary = "2 mailboxes, 2 messages, ";
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.text().starts_with(summary) && told.text().lines().count() == 1, "{told:?}");
        assert!(told.text().ends_with(": 0 damaged, 0 stray, 0 mended\n"), "{told:?}");
        let told = store.run(&["verify", "--json", "--repair", "--yes"]);
        let object: serde_json::Value = serde_json::from_str(told.text()).unwrap();
        assert_eq!((told.code, &object["messages"], &object["damaged"]), (0, &2.into(), &0.into()));
    }
}

#[test]
fn only_a_database_is_backed_up_and_the_copy_is_a_store() {
    for store in each() {
        let id = store.deliver(ALICE, "text\r\n");
        let copy = store.directory.path().join("copy.db");
        let copy_text = copy.to_str().unwrap();
        let told = store.run(&["backup", copy_text]);
        if !store.url.starts_with("sqlite:") {
            assert_eq!(told.code, 78, "{told:?}");
            assert!(told.err.contains("instead, copy its files"), "{told:?}");
            assert!(!copy.exists());
            continue;
        }
        assert_eq!((told.code, &told.err[..]), (0, ""));
        let url = format!("--store=sqlite:{copy_text}");
        let cat = crate::stores::run(&["cat", &url, ALICE, &id]);
        assert_eq!(cat.text(), "Delivered-To: x\r\ntext\r\n", "{cat:?}");
        let before = std::fs::read(&copy).unwrap();
        let told = store.run(&["backup", copy_text]);
        assert_eq!(told.code, 73, "{told:?}");
        assert!(told.err.contains("is there already"), "{told:?}");
        assert_eq!(std::fs::read(&copy).unwrap(), before);
        let told = store.run(&["backup", "/no/such/directory/x"]);
        assert_eq!(told.code, 73, "{told:?}");
    }
}

#[test]
fn a_reader_who_went_away_is_no_error() {
    for store in each() {
        let id = store.deliver(ALICE, &"a line of a large message\r\n".repeat(40_000));
        for arguments in
            [&["mailboxes"][..], &["messages", ALICE], &["cat", ALICE, &id], &["verify"]]
        {
            let mut command = crate::stores::program();
            let store_flag = format!("--store={}", store.url);
            let mut child = command
                .arg(arguments[0])
                .arg(store_flag)
                .args(&arguments[1..])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            let output = child.wait_with_output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), &err[..]), (Some(0), ""), "{arguments:?}");
        }
    }
}

#[test]
fn a_mailbox_called_help_stands_behind_two_hyphens() {
    let store = Filled::of("maildir:mail");
    store.deliver("help", "text\r\n");
    let told = store.run(&["messages", "--", "help"]);
    assert_eq!((told.code, told.text().lines().count()), (0, 1), "{told:?}");
}
