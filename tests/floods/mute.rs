//! Clients that do not read what they are told.

use crate::{
    client::Client,
    flood::{Flood, Server, sized},
};
use std::{
    io::{ErrorKind, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
};

/// More replies than the sockets between us hold; those of TCP can hold them.
const COMMANDS: usize = 100_000;
const NOOP: &str = "NOOP\r\n";
/// Honest deliveries that the server does not read in before it counts as
/// having stopped.
const DELIVERIES: usize = 20;
/// Of a processor, while nothing is to be done.
const BUSY_MAX: f64 = 0.1;

/// Says commands until the server does not read them any more; gives how many
/// octets it took.
fn say_until_full(flood: &Flood, client: &mut Client<UnixStream>, commands: &[u8]) -> usize {
    let stream = client.0.get_mut();
    stream.set_nonblocking(true).unwrap();
    let mut said = 0;
    let mut is_full = false;
    loop {
        match stream.write(&commands[said..]) {
            Ok(0) => break,
            Ok(octets) => {
                said += octets;
                is_full = false;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && is_full => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                is_full = true;
                flood.wait_for_deliveries(DELIVERIES);
            }
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    said
}

#[test]
fn who_does_not_read_is_not_read_from_and_gets_every_reply_later() {
    let clients = sized(4, 30);
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("s");
    let unix = format!("--listen=unix:{}", path.display());
    let flood = Flood::begin(&Server { flags: &[&unix], ..Server::default() });
    let commands = NOOP.repeat(COMMANDS).into_bytes();
    let mute: Vec<_> = (0..clients).map(|_| mute_client(&flood, &path, &commands)).collect();

    let share = flood.share_in_a_pause();
    assert!(share < BUSY_MAX, "it spins for clients that do not read: {share} of a processor");

    for (mut client, said) in mute {
        let mut stream = client.0.get_ref().try_clone().unwrap();
        let rest = commands[said..].to_vec();
        let writer = thread::spawn(move || {
            stream.write_all(&rest).unwrap();
            stream.write_all(b"QUIT\r\n").unwrap();
        });
        for _ in 0..COMMANDS {
            assert_eq!(client.line(), "250 2.0.0 Ok");
        }
        assert_eq!(client.rest(), ["221 2.0.0 mx.example.org Bye"]);
        writer.join().unwrap();
    }
    flood.end();
}

fn mute_client(flood: &Flood, path: &Path, commands: &[u8]) -> (Client<UnixStream>, usize) {
    let mut client = Client::connect_unix(path);
    client.open();
    let said = say_until_full(flood, &mut client, commands);
    assert!(said < commands.len(), "the server reads though its replies are not read");
    (client, said)
}
