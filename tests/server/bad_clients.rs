//! Clients that do not read, go away, or stop in the middle.

use crate::{
    client::{Client, serve},
    daemon::{Daemon, until},
};
use std::{
    fs,
    io::{ErrorKind, Write},
    net::TcpStream,
    time::Duration,
};

/// More of its own memory than a bounded server takes for one client.
const GROWTH_KIB_MAX: u64 = 4 * 1024;

fn resident_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Ticks of the processor that the server has used.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let before = resident_kib(&daemon);
    let mut mute = TcpStream::connect(daemon.address()).unwrap();
    mute.set_nonblocking(true).unwrap();
    // Until the sockets between us are full, in both directions.
    let (mut sent, noops) = (0_u64, "NOOP\r\n".repeat(10_000));
    let mut full_for = 0;
    while full_for < 50 {
        match mute.write(noops.as_bytes()) {
            Ok(count) => {
                sent += count as u64;
                full_for = 0;
                assert!(sent < 200 << 20, "the server takes commands without end");
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Another client's whole session is the measure of time.
                let mut other = Client::connect(daemon.address());
                other.open();
                full_for += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let (memory, used) = (resident_kib(&daemon), ticks(&daemon));
    assert!(memory < before + GROWTH_KIB_MAX, "{before} KiB, then {memory}");
    let mut other = Client::connect(daemon.address());
    other.open();
    assert!(other.send("alice@example.org").starts_with("250 2.0.0 "));
    assert!(ticks(&daemon) - used < 20, "it spins for a client that does not read");
    daemon.stop();
}

#[test]
fn who_says_all_and_closes_his_sending_side_gets_every_reply() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let mut client = Client::connect(daemon.address());
    client.say(
        "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n",
    );
    client.end();
    let lines = client.rest();
    let last: Vec<&str> = lines[lines.len() - 3..].iter().map(|line| &line[..9]).collect();
    assert_eq!(last, ["250 2.0.0", "250 2.0.0", "250 2.0.0"], "{lines:?}");
    daemon.stop();
}

#[test]
fn an_unfinished_message_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let mut client = Client::connect(daemon.address());
    client.open();
    client.open_data("a@example.org");
    client.say("half\r\n.");
    client.end();
    assert_eq!(client.rest(), Vec::<String>::new());
    daemon.stop();
    assert!(!folder.path().join("mail/a@example.org").exists());
}

#[test]
fn a_reset_in_any_state_is_that_sessions_end_alone() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = serve(folder.path(), &[]);
    let whole =
        "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n";
    for length in (0..=whole.len()).step_by(3) {
        let stream = TcpStream::connect(daemon.address()).unwrap();
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&stream, linger).unwrap();
        (&stream).write_all(&whole.as_bytes()[..length]).unwrap();
    }
    let mut client = Client::connect(daemon.address());
    client.open();
    assert!(client.send("alice@example.org").starts_with("250 2.0.0 "));
    // Sessions that are gone hold no descriptor.
    let descriptors = format!("/proc/{}/fd", daemon.pid());
    until(
        || "for the descriptors of reset sessions".to_owned(),
        || fs::read_dir(&descriptors).unwrap().count() < 20,
    );
    daemon.stop();
}
