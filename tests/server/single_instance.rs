//! One file for several recipients (`--single-instance`), over real sockets.

use crate::{
    client::{Client, serve},
    daemon::until,
};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// Sends one message to two recipients; gives inode, links and text of each copy.
fn copies(flags: &[&str]) -> [(u64, u64, String); 2] {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), flags);
    let mut client = Client::connect(daemon.address());
    client.open();
    let recipients = "RCPT TO:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\n";
    client.say(format!("MAIL FROM:<a@b>\r\n{recipients}DATA\r\n"));
    client.until("354 ");
    client.say("Subject: x\r\n\r\ntext\r\n.\r\n");
    let replies = [client.line(), client.line()];
    for reply in &replies {
        assert!(reply.starts_with("250 2.0.0 "), "{replies:?}");
    }
    assert_ne!(replies[0], replies[1], "each has an id of his own");
    let mailbox = |name: &str| folder.path().join("mail").join(name);
    let entry = |directory: &Path| fs::read_dir(directory).unwrap().next();
    // The name in tmp goes when all are answered.
    until(
        || "for tmp to be empty".to_owned(),
        || entry(&mailbox("alice@example.org/tmp")).is_none(),
    );
    let copy = |name: &str| {
        let path = entry(&mailbox(name).join("new")).unwrap().unwrap().path();
        let file = fs::metadata(&path).unwrap();
        (file.ino(), file.nlink(), fs::read_to_string(&path).unwrap())
    };
    let copies = [copy("alice@example.org"), copy("bob@example.org")];
    daemon.stop();
    copies
}

#[test]
fn two_recipients_copies_are_one_file_only_if_wanted() {
    let [alice, bob] = copies(&["--single-instance"]);
    assert_eq!((alice.0, alice.1), (bob.0, 2));
    assert_eq!(alice.2, bob.2);
    assert!(!alice.2.contains("Delivered-To:") && !alice.2.contains("for <"), "{}", alice.2);

    let [alice, bob] = copies(&[]);
    assert_ne!(alice.0, bob.0);
    assert_eq!((alice.1, bob.1), (1, 1));
    assert!(alice.2.contains("\nDelivered-To: alice@example.org\n"), "{}", alice.2);
    assert!(bob.2.contains("\nDelivered-To: bob@example.org\n"), "{}", bob.2);
}

#[test]
fn one_recipient_s_copy_names_him() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--single-instance"]);
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("alice@example.org").starts_with("250 2.0.0 "));
    let new = folder.path().join("mail/alice@example.org/new");
    let path = fs::read_dir(new).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("\nDelivered-To: alice@example.org\n"), "{text}");
    daemon.stop();
}
