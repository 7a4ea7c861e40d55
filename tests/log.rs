//! The log against a reader that stops reading: nobody waits for it, and what was
//! dropped is told.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test has its name, and fails by panicking")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// More lines than the pipe and the queue have room for.
const RECIPIENTS: usize = 10_000;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stalled_reader_of_the_log_stops_nothing_and_is_told_what_was_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_postino"))
        .args(["serve", "--listen=127.0.0.1:0", "--domains=example.org", "--hostname=mx"])
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Server(child);
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = log.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));

    // From here on nobody reads the log. Each refused recipient is a line.
    let client = TcpStream::connect(address.unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(b"LHLO c\r\nMAIL FROM:<>\r\n").unwrap();
        for n in 0..RECIPIENTS {
            write!(sender, "RCPT TO:<user{n}@elsewhere.example>\r\n").unwrap();
        }
        sender.write_all(b"QUIT\r\n").unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let replies: Vec<String> = BufReader::new(client).lines().map(Result::unwrap).collect();
    sending.join().unwrap();
    let refused = replies.iter().filter(|reply| reply.starts_with("550 5.1.2 ")).count();
    assert_eq!(refused, RECIPIENTS);
    assert!(replies.last().unwrap().starts_with("221 "));

    let dropped: usize = log
        .find_map(|line| {
            let text = line.strip_prefix("warning: log: ")?;
            text.strip_suffix(" lines dropped, its reader is too slow")?.parse().ok()
        })
        .unwrap();
    assert!(dropped > 0 && dropped < RECIPIENTS, "{dropped}");
}
