//! Clients that others wrote, against the program as it is built: over TCP, over
//! a Unix socket, and as the server that inetd and its kin start.
//!
//! One that is not installed skips its test with a line on standard error; under
//! `CI=true` that is a failure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "clients/conversation.rs"]
#[allow(dead_code, reason = "shared with tests/durability.rs, which needs more of it")]
mod conversation;
#[path = "clients/daemon.rs"]
#[allow(dead_code, reason = "shared with tests/durability.rs, which needs more of it")]
mod daemon;
#[path = "clients/inetd.rs"]
mod inetd;
#[path = "clients/postfix.rs"]
mod postfix;
#[path = "clients/program.rs"]
mod program;
#[path = "clients/readme.rs"]
mod readme;

use daemon::{Daemon, Store, folder};
use program::{all_here, bounded, run, succeed};
use std::path::Path;

/// Flags of a daemon for which every address has a mailbox.
fn any_on(listen: &str, store: &Store) -> [String; 8] {
    ["--listen", listen, "--store", &store.url(), "--users", "any", "--hostname", "mx.example.org"]
        .map(str::to_owned)
}

fn python_script() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients/smtplib_lmtp.py")
        .display()
        .to_string()
}

#[test]
fn python_reads_back_the_bytes_it_sent_over_tcp() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let daemon = Daemon::start(&any_on("127.0.0.1:0", &store));
    succeed(bounded("python3").arg(python_script()).arg(daemon.address()).arg(store.root()));
    store.assert_nothing_but_new("alice@example.org");
    daemon.stop();
}

#[test]
fn python_reads_back_the_bytes_it_sent_over_a_unix_socket() {
    if !all_here(&["python3"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let socket = folder.path().join("lmtp.sock");
    let daemon = Daemon::start(&any_on(&format!("unix:{}", socket.display()), &store));
    succeed(bounded("python3").arg(python_script()).arg(&socket).arg(store.root()));
    daemon.stop();
    assert!(!socket.exists(), "the socket that postino bound is left behind");
}

#[test]
fn swaks_is_told_of_each_recipient_by_its_own_reply() {
    if !all_here(&["swaks"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    daemon::init(&store, &["alice@example.org", "bob@example.org"]);
    let mut flags = any_on("127.0.0.1:0", &store);
    flags[5] = "store".into();
    let daemon = Daemon::start(&flags);
    let swaks = |recipients: &str| {
        run(bounded("swaks").args(["--protocol", "LMTP", "--server", daemon.address()]).args([
            "--from",
            "sender@example.net",
            "--to",
            recipients,
        ]))
    };
    let (output, shown) = swaks("alice@example.org,bob@example.org");
    assert!(output.status.success(), "{shown}");
    let (output, shown) = swaks("alice@example.org,nobody@example.org");
    assert!(shown.contains("<** 550 5.1.1 "), "{shown}");
    assert!(output.status.success(), "one recipient was accepted: {shown}");
    let (output, shown) = swaks("nobody@example.org");
    assert!(!output.status.success(), "{shown}");
    assert_eq!(store.messages("alice@example.org").len(), 2);
    assert_eq!(store.messages("bob@example.org").len(), 1);
    assert!(!store.mailbox("nobody@example.org").exists());
    daemon.stop();
}

#[test]
fn smtp_source_finds_every_message_of_parallel_sessions_stored() {
    if !all_here(&["smtp-source"]) {
        return;
    }
    let folder = folder();
    let store = Store::below(folder.path());
    let daemon = Daemon::start(&any_on("127.0.0.1:0", &store));
    // 60 messages in 8 sessions at the same time, 3 recipients each.
    succeed(
        bounded("smtp-source")
            .args(["-L", "-s", "8", "-m", "60", "-r", "3", "-l", "4096"])
            .args(["-f", "sender@example.net", "-t", "box@example.org"])
            .arg(format!("inet:{}", daemon.address())),
    );
    // It makes the names itself: box, 2box, 3box.
    let recipients = store.mailboxes();
    assert_eq!(recipients.len(), 3, "{recipients:?}");
    for recipient in recipients {
        let messages = store.messages(&recipient);
        assert_eq!(messages.len(), 60, "{recipient}");
        let delivered_to = format!("\nDelivered-To: {recipient}\n");
        for message in messages {
            let text = String::from_utf8(message).unwrap();
            assert!(text.contains(&delivered_to), "{text}");
            assert_eq!(text.matches("\nDelivered-To: ").count(), 1, "{text}");
        }
        store.assert_nothing_but_new(&recipient);
    }
    daemon.stop();
}
