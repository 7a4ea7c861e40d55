//! Large messages, at once, with little memory.

use crate::{
    flood::{Flood, Server, sized},
    usage::mib,
};
use std::{fs, io::Write, thread};

/// Of the whole server.
const MEMORY_MAX: u64 = 32 << 20;

/// A message's body with LF line ends, and as it is said, with CRLF and doubled
/// dots. Another for each number: lines of all lengths, some of which begin with
/// dots.
fn body(number: usize, octets: usize) -> (Vec<u8>, Vec<u8>) {
    const FILLING: &[u8; 900] = &[b'x'; 900];
    let (mut body, mut said) = (Vec::with_capacity(octets), Vec::with_capacity(octets));
    let mut state = number as u64 + 1;
    while body.len() < octets {
        // A congruential generator: its upper bits are mixed enough.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let length = usize::try_from(state >> 33).unwrap() % FILLING.len();
        let begin = body.len();
        if state >> 63 == 1 {
            body.push(b'.');
            said.push(b'.');
        }
        write!(body, "{state:x}").unwrap();
        body.extend(&FILLING[..length]);
        said.extend(&body[begin..]);
        body.push(b'\n');
        said.extend(b"\r\n");
    }
    (body, said)
}

#[test]
fn large_messages_at_once_are_stored_octet_for_octet_in_little_memory() {
    // More than the memory, in both forms.
    let (clients, octets) = (8, sized(6 << 20, 50 << 20));
    let room = 3 * (clients * octets) as u64;
    let flood =
        Flood::begin(&Server { flags: &["--memory-budget=8M"], stores: room, ..Server::default() });
    let senders: Vec<_> = (0..clients)
        .map(|n| {
            let mut client = flood.session();
            thread::spawn(move || {
                client.open_data(&format!("large{n}@example.org"));
                client.say("Subject: large\r\n\r\n");
                client.say(body(n, octets).1);
                client.say(".\r\n");
                client.line()
            })
        })
        .collect();
    for (n, sender) in senders.into_iter().enumerate() {
        let reply = sender.join().unwrap();
        assert!(reply.starts_with("250 2.0.0 "), "message {n} got {reply}");
        let new = flood.mailbox(&format!("large{n}@example.org")).join("new");
        let files: Vec<_> = fs::read_dir(new).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        let stored = fs::read(&files[0]).unwrap();
        // Not `assert_eq`, which would print it.
        assert!(stored.ends_with(&body(n, octets).0), "message {n} is stored otherwise than sent");
        fs::remove_file(&files[0]).unwrap();
    }
    let measured = flood.end();
    assert!(measured.peak < MEMORY_MAX, "{:.1} MiB at the most", mib(measured.peak));
}
