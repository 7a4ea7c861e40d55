//! A client that says octets and reads lines.

use crate::daemon::{Daemon, PATIENCE};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
};

/// Flags of a server for any recipient, below a directory of the test's own.
pub(crate) fn serve(folder: &Path, flags: &[&str]) -> Daemon {
    let store = format!("maildir:{}", folder.join("mail").display());
    let mut all =
        vec!["--listen=127.0.0.1:0", "--users=any", "--hostname=mx.example.org", "--store", &store];
    all.extend(flags);
    Daemon::start(&all)
}

/// A connection; what it reads are lines without their CRLF.
pub(crate) struct Client<S: Read + Write>(pub(crate) BufReader<S>);

impl Client<TcpStream> {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Says that it will say nothing more.
    pub(crate) fn end(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

impl Client<UnixStream> {
    pub(crate) fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn say(&mut self, octets: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(octets.as_ref()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n").unwrap_or(&line).to_owned()
    }

    /// Reads lines up to one that begins so, which it gives.
    #[track_caller]
    pub(crate) fn until(&mut self, beginning: &str) -> String {
        let mut seen = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "no {beginning:?} before the end: {seen:?}");
            if line.starts_with(beginning) {
                return line;
            }
            seen.push(line);
        }
    }

    /// All lines up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut text = String::new();
        self.0.read_to_string(&mut text).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Through LHLO.
    pub(crate) fn open(&mut self) {
        self.until("220 ");
        self.say("LHLO client.example\r\n");
        self.until("250 SIZE");
    }

    /// Up to the 354 for this recipient.
    pub(crate) fn open_data(&mut self, recipient: &str) {
        self.say(format!("MAIL FROM:<>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"));
        self.until("354 ");
    }

    /// A whole transaction with one recipient; gives its reply.
    pub(crate) fn send(&mut self, recipient: &str) -> String {
        self.open_data(recipient);
        self.say("Subject: x\r\n\r\ntext\r\n.\r\n");
        self.line()
    }
}
