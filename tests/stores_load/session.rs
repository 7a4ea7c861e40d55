//! Clients that deliver numbered messages.
//!
//! Lives here: one connection, which may end at any time, and many of them.
//! May not: judge what was stored.

use crate::{
    daemon::PATIENCE,
    numbered::{self, Number},
};
use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    thread,
};

/// A connection through LHLO.
pub(crate) struct Session(BufReader<TcpStream>);

impl Session {
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut session = Self(BufReader::new(stream));
        session.until("220 ")?;
        session.0.get_mut().write_all(b"LHLO client.example\r\n")?;
        session.until("250 ")?;
        Ok(session)
    }

    /// Delivers the message of this number; gives the line behind its data. An
    /// error is a connection that has ended before it.
    pub(crate) fn deliver(&mut self, number: Number, recipient: &str) -> io::Result<String> {
        self.begin(number, recipient)?;
        self.line()
    }

    /// The same up to the final dot.
    pub(crate) fn begin(&mut self, number: Number, recipient: &str) -> io::Result<()> {
        let commands = format!("MAIL FROM:<>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n");
        self.0.get_mut().write_all(commands.as_bytes())?;
        self.until("354 ")?;
        let mut text = numbered::text(number);
        text.push_str(".\r\n");
        self.0.get_mut().write_all(text.as_bytes())
    }

    fn until(&mut self, beginning: &str) -> io::Result<()> {
        loop {
            let line = self.line()?;
            if line.starts_with(beginning) {
                return Ok(());
            }
            assert!(line.starts_with("250"), "no {beginning:?} but {line:?}");
        }
    }

    /// A whole line: half of one says nothing.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Each of so many connections delivers so many messages, numbered from `first`
/// on, and each is answered 250.
pub(crate) fn deliver_all(
    address: &str,
    first: Number,
    connections: u64,
    each: u64,
    recipient: impl Fn(u64) -> String + Sync,
) {
    thread::scope(|scope| {
        for connection in 0..connections {
            let recipient = recipient(connection);
            scope.spawn(move || {
                let mut session = Session::open(address).unwrap();
                for number in (first + connection * each..).take(usize::try_from(each).unwrap()) {
                    let reply = session.deliver(number, &recipient).unwrap();
                    assert!(reply.starts_with("250 2.0.0 "), "{number}: {reply}");
                }
            });
        }
    });
}
