//! What messages may use of memory and disk, over all sessions.

use crate::{
    client::{Client, serve},
    daemon::{Daemon, postino},
};
use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Output},
};

/// More than a part that is spooled at once.
const LARGE: usize = 1 << 20;

fn line(octet: u8) -> Vec<u8> {
    let mut line = vec![octet; 70];
    line.extend_from_slice(b"\r\n");
    line
}

/// Text lines of so many octets, or a few more.
fn text(octets: usize) -> Vec<u8> {
    line(b'x').repeat(octets.div_ceil(72))
}

fn client(daemon: &Daemon) -> Client<TcpStream> {
    let mut client = Client::connect(daemon.address());
    client.open();
    client
}

/// The one message of a mailbox, without the lines that were added.
fn stored(folder: &Path, mailbox: &str) -> Vec<u8> {
    let new = folder.join("mail").join(mailbox).join("new");
    let files: Vec<_> = fs::read_dir(new).unwrap().collect();
    assert_eq!(files.len(), 1);
    let octets = fs::read(files[0].as_ref().unwrap().path()).unwrap();
    let body = octets.windows(9).position(|octets| octets == b"\nSubject:").unwrap();
    octets[body + 1..].to_vec()
}

/// Files that the server has open, without a name in this directory.
fn spooled(daemon: &Daemon, folder: &Path) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links
        .filter(|link| link.starts_with(folder) && link.to_string_lossy().ends_with("(deleted)"))
        .count()
}

#[test]
fn a_large_message_is_spooled_and_stored_octet_for_octet() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--memory-budget=1M"]);
    let mut client = client(&daemon);
    for mailbox in ["a@x", "b@x"] {
        client.open_data(mailbox);
        let body = [b"Subject: x\r\n\r\n..\r\n".to_vec(), text(3 * LARGE)].concat();
        client.say(&body);
        crate::daemon::until(|| daemon.log(), || spooled(&daemon, folder.path()) == 1);
        client.say(".\r\n");
        assert!(client.line().starts_with("250 2.0.0 "));
        let expected = String::from_utf8(body).unwrap().replace("\r\n", "\n").replace("..", ".");
        assert!(stored(folder.path(), mailbox) == expected.as_bytes());
        crate::daemon::until(|| daemon.log(), || spooled(&daemon, folder.path()) == 0);
    }
    daemon.stop();
}

#[test]
fn where_memory_is_full_idle_messages_are_spooled_and_all_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--memory-budget=1M"]);
    let mut clients: Vec<_> = (0..20).map(|_| client(&daemon)).collect();
    // 20 times 200 KiB, none of which would be spooled alone.
    for (at, client) in clients.iter_mut().enumerate() {
        client.open_data(&format!("u{at}@x"));
        client.say("Subject: x\r\n\r\n");
        client.say(text(200 * 1024));
    }
    crate::daemon::until(|| daemon.log(), || spooled(&daemon, folder.path()) >= 15);
    for (at, client) in clients.iter_mut().enumerate() {
        client.say(".\r\n");
        assert!(client.line().starts_with("250 2.0.0 "), "{at}");
        let body = [b"Subject: x\r\n\r\n".to_vec(), text(200 * 1024)].concat();
        let expected = String::from_utf8(body).unwrap().replace("\r\n", "\n");
        assert!(stored(folder.path(), &format!("u{at}@x")) == expected.as_bytes(), "{at}");
    }
    daemon.stop();
}

#[test]
fn without_memory_a_recipient_is_deferred_and_the_next_transaction_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--memory-budget=1M", "--max-recipients=10000"]);
    let mut greedy = client(&daemon);
    greedy.say("MAIL FROM:<>\r\n");
    greedy.until("250 2.1.0");
    let deferred = loop {
        greedy.say("RCPT TO:<a@x>\r\n");
        let line = greedy.line();
        if !line.starts_with("250 2.1.5") {
            break line;
        }
    };
    assert!(deferred.starts_with("452 4.3.1 Too many messages at once"), "{deferred}");
    assert!(client(&daemon).send("b@x").starts_with("250 2.0.0 "));
    greedy.say("RSET\r\n");
    greedy.until("250 2.0.0");
    assert!(greedy.send("c@x").starts_with("250 2.0.0 "));
    daemon.stop();
}

#[test]
fn a_message_beyond_max_spool_is_deferred_after_its_true_end() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--max-spool=1M"]);
    let mut client = client(&daemon);
    client.open_data("a@x");
    client.say(text(2 * LARGE));
    crate::daemon::until(|| daemon.log(), || daemon.log().contains("spool full"));
    client.say("NOOP\r\n.\r\n");
    let line = client.line();
    assert!(line.starts_with("452 4.3.1 Storage full"), "{line}");
    assert!(client.send("a@x").starts_with("250 2.0.0 "));
    assert_eq!(spooled(&daemon, folder.path()), 0);
    daemon.stop();
}

#[test]
fn a_store_that_is_nearly_full_defers_at_mail_and_says_so_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--min-free=99%"]);
    let mut client = client(&daemon);
    client.say("MAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n");
    let line = client.line();
    assert!(line.starts_with("452 4.3.1 Storage full"), "{line}");
    client.until("503 5.5.1");
    client.until("503 5.5.1");
    crate::daemon::until(
        || daemon.log(),
        || {
            daemon.log().contains("store full: maildir:")
                && daemon.log().contains(" free, min-free 99%")
        },
    );
    daemon.stop();
}

#[test]
fn a_declared_size_beyond_what_is_free_is_deferred_at_mail() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--max-message-size=0"]);
    let mut client = client(&daemon);
    client.say("MAIL FROM:<> SIZE=18446744073709551615\r\n");
    assert!(client.line().starts_with("452 4.3.1 "));
    client.say("MAIL FROM:<> SIZE=1000\r\n");
    assert!(client.line().starts_with("250 2.1.0 "));
    assert!(daemon.log().contains(" free="), "{}", daemon.log());
    daemon.stop();
}

fn refused_start(folder: &Path, flag: &str) -> Output {
    let store = format!("maildir:{}", folder.join("mail").display());
    let mut command = Command::new(postino());
    command.args(["serve", "--listen=127.0.0.1:0", "--users=any", flag, "--store", &store]);
    command.output().unwrap()
}

#[test]
fn a_spool_directory_that_cannot_be_used_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let output = refused_start(folder.path(), &format!("--spool-dir={}", missing.display()));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(73), "{told}");
    assert!(told.contains("spool-dir: cannot open the spool directory"), "{told}");
    assert!(told.contains("missing: No such file or directory"), "{told}");
}

#[test]
fn a_spool_in_memory_is_warned_of() {
    if !fs::read_to_string("/proc/mounts").unwrap().contains(" /dev/shm tmpfs ") {
        println!("skipped: /dev/shm is no tmpfs here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--spool-dir=/dev/shm"]);
    assert!(daemon.log().contains("lies in memory (tmpfs)"), "{}", daemon.log());
    daemon.stop();
}
