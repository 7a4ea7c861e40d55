//! How much the session takes in a second, without any I/O.
//!
//! Lives here: a client who sends whole transactions and lines, in pieces as a
//! socket gives them, and an owner who answers every event at once.
//! May not: touch a socket, a disk or a thread; judge what it measures.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with a few digits")]

mod measure;

use measure::{Allocations, Arguments, allocations, median};
use postino::{
    protocol::{BareNewlines, Event, Session, Settings},
    reply,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a socket gives at once.
const PIECE_OCTETS: usize = 64 * 1024;
const ROUNDS: usize = 5;
/// Recipients in the row that measures them.
const RECIPIENTS: usize = 100;

/// What a client sends again and again.
struct Row {
    name: &'static str,
    /// What is counted.
    unit: &'static str,
    /// How many of them there are in `sent`.
    units: usize,
    /// Each is sent once all before it was answered.
    sent: Vec<Vec<u8>>,
}

fn main() {
    let arguments = Arguments::read();
    let round = Duration::from_millis(if arguments.is_quick { 80 } else { 800 });
    println!(
        "{:24} {:>9} {:>12} {:>9} {:>12} {:>13}",
        "", "MiB/s", "units/s", "ns/unit", "allocs/unit", "octets/unit"
    );
    let is_wanted = |row: &Row| {
        arguments.rest.is_empty() || arguments.rest.iter().any(|part| row.name.contains(part))
    };
    for row in rows().into_iter().filter(is_wanted) {
        row.measure(round);
    }
}

fn rows() -> Vec<Row> {
    let transaction = |name, octets, start| Row {
        name,
        unit: "transaction",
        units: 1,
        sent: vec![
            b"MAIL FROM:<bob@example.org> SIZE=1048576\r\n\
              RCPT TO:<alice@example.org>\r\n\
              DATA\r\n"
                .to_vec(),
            message(octets, start),
        ],
    };
    let recipients: Vec<String> = (0..RECIPIENTS)
        .map(|number| format!("RCPT TO:<user{number:03}@example.org>\r\n"))
        .collect();
    let recipients =
        format!("MAIL FROM:<bob@example.org>\r\n{}RSET\r\n", recipients.concat()).into_bytes();
    vec![
        transaction("4 KiB of text", 4 << 10, ""),
        transaction("4 KiB, all dots stuffed", 4 << 10, ".."),
        transaction("1 MiB of text", 1 << 20, ""),
        transaction("1 MiB, all dots stuffed", 1 << 20, ".."),
        Row {
            name: "NOOP, pipelined",
            unit: "line",
            units: 10_000,
            sent: vec![b"NOOP\r\n".repeat(10_000)],
        },
        Row {
            name: "RCPT, pipelined",
            unit: "line",
            units: RECIPIENTS + 2,
            sent: vec![recipients],
        },
    ]
}

/// A message of about so many octets with its final dot; each line of its text
/// begins with `start`.
fn message(octets: usize, start: &str) -> Vec<u8> {
    let header = "Received: from mx.example.net (mx.example.net [192.0.2.1])\r\n\
                  \tby mail.example.org with ESMTPS id 4XyZ1t0qVzz1q\r\n\
                  \tfor <alice@example.org>; Tue, 24 Nov 2026 08:47:49 +0100\r\n\
                  From: Bob <bob@example.org>\r\n\
                  To: Alice <alice@example.org>\r\n\
                  Subject: as large as it has to be\r\n\
                  Date: Tue, 24 Nov 2026 08:47:48 +0100\r\n\
                  Message-ID: <20261124074748.4711@example.org>\r\n\
                  MIME-Version: 1.0\r\n\
                  Content-Type: text/plain; charset=utf-8\r\n\
                  \r\n";
    let text = "The quick brown fox jumps over the lazy dog, and over one dog more, too.";
    let line = format!("{start}{}\r\n", &text[start.len()..]);
    let lines = octets.saturating_sub(header.len()) / line.len();
    [header, &line.repeat(lines), ".\r\n"].concat().into_bytes()
}

impl Row {
    fn measure(&self, round: Duration) {
        let mut client = Client::new();
        self.send(&mut client);
        // What a session keeps from one transaction to the next is there by now.
        let ((), Allocations { count, octets }) = allocations(|| self.send(&mut client));
        let seconds = median((0..ROUNDS).map(|_| {
            let (began, mut times) = (Instant::now(), 0_u32);
            while began.elapsed() < round {
                self.send(&mut client);
                times += 1;
            }
            began.elapsed().as_secs_f64() / f64::from(times)
        }));
        let sent: usize = self.sent.iter().map(Vec::len).sum();
        let units = self.units as f64;
        println!(
            "{:24} {:9.0} {:12.0} {:9.0} {:12.2} {:13.0}  per {}",
            self.name,
            sent as f64 / seconds / f64::from(1 << 20),
            units / seconds,
            seconds / units * 1e9,
            count as f64 / units,
            octets as f64 / units,
            self.unit
        );
    }

    fn send(&self, client: &mut Client) {
        for sent in &self.sent {
            for piece in sent.chunks(PIECE_OCTETS) {
                client.send(piece);
            }
        }
    }
}

/// A session with who owns it.
struct Client {
    session: Session,
    octets_read: u64,
}

impl Client {
    fn new() -> Self {
        let settings = Settings {
            hostname: "mx.example.org".to_owned(),
            message_size_max: 128 << 20,
            recipients_max: 1000,
            bare_newlines: BareNewlines::Reject,
        };
        let mut client = Self { session: Session::new(Arc::new(settings), 0x7f3a), octets_read: 0 };
        client.send(b"LHLO client.example.net\r\n");
        client
    }

    /// As a connection does: octets in, events answered, output written.
    fn send(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let taken = self.session.receive(piece);
            piece = &piece[taken..];
            let is_stuck = self.answer() == 0 && taken == 0 && self.session.output().is_empty();
            assert!(!is_stuck, "the session takes nothing and wants nothing");
            self.read();
        }
    }

    /// Answers all events; says how many.
    fn answer(&mut self) -> usize {
        let mut count = 0;
        while let Some(event) = self.session.next_event() {
            count += 1;
            match event {
                Event::AdmitMail { .. } | Event::AdmitData { .. } => self.session.admitted(Ok(())),
                Event::CheckRecipient { index, .. } => {
                    self.session.recipient_checked(index, reply::RECIPIENT_OK);
                }
                Event::Spool(part) => self.session.spooled(Ok(part)),
                Event::Deliver(transaction) => {
                    for recipient in &transaction.envelope.recipients {
                        self.session.recipient_delivered(recipient.index, reply::STORED);
                    }
                }
                Event::TransactionDropped => {}
                Event::SpoolDropped | Event::Close => panic!("the session has refused: {event:?}"),
            }
        }
        count
    }

    fn read(&mut self) {
        let output = self.session.output();
        assert!(
            matches!(output.first(), None | Some(b'2' | b'3')),
            "refused: {}",
            String::from_utf8_lossy(output)
        );
        let octets = output.len();
        self.octets_read += octets as u64;
        self.session.output_sent(octets);
    }
}
