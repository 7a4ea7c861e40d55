//! Limits of sessions: how many, from where, how long.

use crate::{
    client::{Client, serve},
    daemon::{Daemon, postino, until},
};
use std::{fs, process::Command, thread, time::Duration};

#[test]
fn beyond_max_connections_a_client_gets_421_until_another_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--max-connections=2"]);
    let (mut first, mut second) =
        (Client::connect(daemon.address()), Client::connect(daemon.address()));
    first.open();
    second.open();
    let mut third = Client::connect(daemon.address());
    let lines = third.rest();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("421 4.3.2 mx.example.org Too many connections"), "{lines:?}");
    drop(third);
    first.say("QUIT\r\n");
    first.until("221 ");
    drop(first);
    until(|| daemon.log(), || Client::connect(daemon.address()).line().starts_with("220 "));
    daemon.stop();
}

#[test]
fn a_peer_that_is_not_allowed_gets_421_whatever_it_has_sent() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &["--allow=192.0.2.0/24"]);
    for _ in 0..20 {
        let mut client = Client::connect(daemon.address());
        client.say("LHLO c\r\nMAIL FROM:<>\r\n".repeat(2_000));
        let lines = client.rest();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("421 4.7.0 mx.example.org Not allowed"), "{lines:?}");
    }
    daemon.stop();
}

#[test]
fn a_421_arrives_though_the_client_goes_on_sending() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    for _ in 0..20 {
        let mut client = Client::connect(daemon.address());
        client.say("NONSENSE\r\n".repeat(5_000));
        let lines = client.rest();
        assert_eq!(lines.len(), 22, "{lines:?}");
        assert!(lines[21].starts_with("421 4.7.0 mx.example.org Too many errors ["), "{lines:?}");
    }
    daemon.stop();
}

#[track_caller]
fn times_out(flag: &str, before: &str) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[flag]);
    let mut client = Client::connect(daemon.address());
    client.say(before);
    let lines = client.rest();
    let last = lines.last().unwrap();
    assert!(last.starts_with("421 4.4.2 mx.example.org Timed out ["), "{lines:?}");
    daemon.stop();
}

#[test]
fn an_idle_client_is_timed_out() {
    times_out("--idle-timeout=1", "");
    times_out("--idle-timeout=1", "LHLO c\r\n");
    times_out("--idle-timeout=1", "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n");
}

#[test]
fn a_command_line_that_does_not_end_is_timed_out() {
    times_out("--command-timeout=1", "LHLO c\r\nNOO");
}

#[test]
fn a_transaction_that_does_not_end_is_timed_out() {
    times_out("--transaction-timeout=1", "LHLO c\r\nMAIL FROM:<>\r\n");
    times_out(
        "--transaction-timeout=1",
        "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nx\r\n",
    );
}

#[test]
fn max_connections_is_cut_to_what_the_descriptors_allow() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("maildir:{}", folder.path().join("mail").display());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(postino());
    let flags =
        ["--listen=127.0.0.1:0", "--users=any", "--max-connections=1000", "--store", &store];
    let daemon = Daemon::start_by(&mut command, &flags);
    assert!(daemon.log().contains("max-connections is 24 in place of 1000"), "{}", daemon.log());
    daemon.stop();
}

#[test]
fn without_descriptors_it_waits_and_does_not_spin() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let pid = daemon.pid().to_string();
    let lower = Command::new("prlimit").args(["--pid", &pid, "--nofile=24"]).status().unwrap();
    assert!(lower.success());
    let clients: Vec<_> = (0..40).map(|_| Client::connect(daemon.address())).collect();
    until(|| daemon.log(), || daemon.log().contains("cannot accept"));
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    // The time over which its use of the processor is measured.
    thread::sleep(Duration::from_secs(1));
    let used = ticks() - before;
    assert!(used < 20, "it spins for want of descriptors: {used} ticks in a second");
    assert_eq!(daemon.log().matches("cannot accept").count(), 1, "{}", daemon.log());
    drop(clients);
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("alice@example.org").starts_with("250 2.0.0 "));
    daemon.stop();
}
