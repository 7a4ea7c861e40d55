//! Pipelining (RFC 2920) over real sockets, and several listeners at once.

use crate::client::{Client, serve};
use std::fmt::Write as _;

#[test]
fn several_listeners_serve_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let unix = format!("--listen=unix:{}", path.display());
    let daemon = serve(folder.path(), &["--listen=[::1]:0", &unix]);
    crate::daemon::until(|| daemon.log(), || daemon.log().contains("ready postino"));
    let log = daemon.log();
    let addresses: Vec<_> =
        log.lines().filter_map(|line| line.strip_prefix("listening on ")).collect();
    assert_eq!(addresses.len(), 3, "{log}");
    let (mut v4, mut v6) = (Client::connect(addresses[0]), Client::connect(addresses[1]));
    let mut unix = Client::connect_unix(&path);
    v4.open();
    v6.open();
    unix.open();
    assert!(v6.send("six@example.org").starts_with("250 2.0.0 "));
    assert!(unix.send("unix@example.org").starts_with("250 2.0.0 "));
    assert!(v4.send("four@example.org").starts_with("250 2.0.0 "));
    let read = |mailbox: &str| {
        let new = folder.path().join("mail").join(mailbox).join("new");
        let entry = std::fs::read_dir(new).unwrap().next().unwrap().unwrap();
        std::fs::read_to_string(entry.path()).unwrap()
    };
    assert!(read("four@example.org").contains("from client.example ([127.0.0.1])\n"));
    assert!(read("six@example.org").contains("from client.example ([IPv6:::1])\n"));
    assert!(read("unix@example.org").contains("from client.example (local)\n"));
    daemon.stop();
    assert!(!path.exists() && !folder.path().join("s.lock").exists());
}

#[test]
fn a_hundred_recipients_in_one_packet_get_their_replies_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let mut session = String::from("LHLO c\r\nMAIL FROM:<a@b>\r\n");
    for n in 0..100 {
        // Every tenth is malformed: its place shows the order.
        let mark = if n % 10 == 3 { "@" } else { "" };
        write!(session, "RCPT TO:<user{n}{mark}@example.org>\r\n").unwrap();
    }
    session += "DATA\r\nx\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n";
    let mut client = Client::connect(daemon.address());
    client.say(session);
    let lines = client.rest();
    let codes: Vec<&str> = lines.iter().map(|line| &line[..3]).collect();
    let mut expected = vec!["220", "250", "250", "250", "250", "250", "250"];
    expected.extend((0..100).map(|n| if n % 10 == 3 { "501" } else { "250" }));
    expected.push("354");
    expected.extend(["250"; 90]);
    expected.extend(["250", "250", "221"]);
    assert_eq!(codes, expected, "{lines:#?}");
    daemon.stop();
}

#[test]
fn a_large_message_is_stored_octet_for_octet() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let mut client = Client::connect(daemon.address());
    client.open();
    client.open_data("big@example.org");
    let line = format!("{}\r\n", "0123456789".repeat(7));
    let body = line.repeat(150_000);
    client.say(&body);
    client.say(".\r\n");
    assert!(client.line().starts_with("250 2.0.0 "));
    let new = folder.path().join("mail/big@example.org/new");
    let stored = std::fs::read_dir(new).unwrap().next().unwrap().unwrap().path();
    let stored = std::fs::read_to_string(stored).unwrap();
    assert!(stored.ends_with(&body.replace("\r\n", "\n")));
    daemon.stop();
}
