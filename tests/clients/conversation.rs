//! An LMTP client of a few lines, for tests whose client is not the subject.

use crate::daemon::PATIENCE;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

/// A connection whose replies are read line by line.
pub(crate) struct Conversation<S: Read + Write>(BufReader<S>);

impl Conversation<TcpStream> {
    pub(crate) fn over_tcp(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }
}

impl Conversation<UnixStream> {
    pub(crate) fn over(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }
}

impl<S: Read + Write> Conversation<S> {
    /// Greeting, LHLO, and the answer to it.
    pub(crate) fn open(&mut self) {
        self.expect("220 ");
        self.say("LHLO client.example.net\r\n");
        self.expect("250 ");
    }

    /// One transaction; gives the line of each recipient's reply behind the data.
    pub(crate) fn send(&mut self, recipients: &[&str], message: &str) -> Vec<String> {
        self.say("MAIL FROM:<sender@example.net>\r\n");
        self.expect("250 2.1.0 ");
        for recipient in recipients {
            self.say(&format!("RCPT TO:<{recipient}>\r\n"));
            self.expect("250 2.1.5 ");
        }
        self.say("DATA\r\n");
        self.expect("354 ");
        self.say(&format!("{message}.\r\n"));
        recipients.iter().map(|_| self.expect("250 2.0.0 ")).collect()
    }

    pub(crate) fn quit(mut self) {
        self.say("QUIT\r\n");
        self.expect("221 2.0.0 ");
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "after the 221");
    }

    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Reads one reply, whose last line must start so; gives that line.
    fn expect(&mut self, start: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
        assert!(line.starts_with(start), "for {start:?} came {line:?}");
        line
    }
}
