//! A server that may have few descriptors, or no large files.

use crate::{
    client::Client,
    daemon::until,
    flood::{Flood, Server, sized},
    honest::deliver,
    program::all_here,
    usage::say,
};
use std::{
    fs,
    io::{BufRead, ErrorKind, Read},
    net::TcpStream,
    path::{Path, PathBuf},
};

/// Of one processor.
const BUSY_MAX: f64 = 0.2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Greeting,
    TooMany,
    End,
}

/// What this client has been told so far.
fn told(client: &mut Client<TcpStream>) -> Told {
    let mut octets = [0; 10];
    let stream = client.0.get_mut();
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut octets);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(0) => Told::End,
        Ok(_) if octets.starts_with(b"220 ") => Told::Greeting,
        Ok(_) if octets.starts_with(b"421 4.3.2 ") => Told::TooMany,
        Ok(_) => panic!("{}", String::from_utf8_lossy(&octets)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Told::Nothing,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Told::End,
        Err(error) => panic!("{error}"),
    }
}

/// A client, if it is served.
fn greeted(address: &str) -> Option<Client<TcpStream>> {
    let mut client = Client::connect(address);
    let mut line = String::new();
    // Who is refused may be told by a reset as well.
    let read = client.0.read_line(&mut line);
    (read.is_ok() && line.starts_with("220 ")).then_some(client)
}

#[test]
fn without_descriptors_some_are_served_and_nothing_spins() {
    if !all_here(&["prlimit"]) {
        return;
    }
    let flood =
        Flood::begin(&Server { started_by: &["prlimit", "--nofile=64"], ..Server::default() });
    for _ in 0..sized(1, 10) {
        let mut clients: Vec<_> = (0..200).map(|_| Client::connect(flood.address())).collect();
        let mut told: Vec<Told> = vec![Told::Nothing; clients.len()];
        let mut look = || {
            for (client, told) in clients.iter_mut().zip(&mut told) {
                if *told == Told::Nothing {
                    *told = self::told(client);
                }
            }
            let count = |what| told.iter().filter(|told| **told == what).count();
            (count(Told::Greeting), count(Told::TooMany), count(Told::End))
        };
        until(|| "for a client that is served".to_owned(), || look().0 > 0);
        // It does what it does with the others meanwhile.
        flood.wait_for_deliveries(10);
        let share = flood.share_in_a_pause();
        assert!(share < BUSY_MAX, "it uses {share} of a processor for want of descriptors");
        let (served, refused, closed) = look();
        assert!(served < clients.len(), "the limit has no effect");
        say(&format!(
            "      of {} clients {served} are served, {refused} got 421, {closed} were closed",
            clients.len()
        ));
        drop(clients);
        let mut client = None;
        until(
            || "for a new client to be served".to_owned(),
            || {
                client = greeted(flood.address());
                client.is_some()
            },
        );
        let mut client = client.unwrap();
        client.say("LHLO client.example\r\n");
        client.until("250 SIZE");
        assert!(client.send("a@example.org").starts_with("250 2.0.0 "));
    }
    flood.end();
}

/// The files in a mailbox, wherever.
fn files(mailbox: &Path) -> Vec<PathBuf> {
    let parts = ["tmp", "new", "cur"].map(|part| fs::read_dir(mailbox.join(part)));
    let entries = parts.into_iter().flatten().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_message_over_the_file_size_limit_is_452_and_leaves_nothing() {
    if !all_here(&["prlimit"]) {
        return;
    }
    // What `ulimit -f 100` says in bash.
    let flood =
        Flood::begin(&Server { started_by: &["prlimit", "--fsize=102400"], ..Server::default() });
    let line = format!("{}\r\n", "7 octets".repeat(9));
    let mut client = flood.session();
    let mut small = 0;
    flood.again(|| {
        // One that fits into memory, and one that is spooled.
        for octets in [200 << 10, 2 << 20] {
            client.open_data("big@example.org");
            client.say(line.repeat(octets / line.len()));
            client.say(".\r\n");
            let reply = client.line();
            assert!(reply.starts_with("452 4.3.1 "), "{octets} octets got {reply}");
            assert_eq!(files(&flood.mailbox("big@example.org")), Vec::<PathBuf>::new());
        }
        assert!(deliver(&mut client, "small@example.org").starts_with("250 2.0.0 "));
        small += 1;
        assert_eq!(files(&flood.mailbox("small@example.org")).len(), small);
    });
    drop(client);
    flood.end();
}
