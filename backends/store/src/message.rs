//! One message, as all its recipients share it.
//!
//! Lives here: the message's facts and its body, read through one reader
//! wherever the octets lie.
//! May not: hold anything that belongs to one recipient.

use crate::Timestamp;
use std::io::{self, BufRead, Read};

/// A message as it came, without the header lines that postino adds.
#[derive(Debug)]
pub struct Message {
    /// When its last octet came.
    pub received: Timestamp,
    /// The reverse-path without brackets, empty for `<>`.
    pub reverse_path: String,
    /// Whether a CR or LF stands in it that is not part of a CRLF. Only where
    /// none does can a store that ends lines with LF give back what came.
    pub bare_newlines: bool,
    body: Body,
}

impl Message {
    /// A message of this body.
    pub fn new(received: Timestamp, reverse_path: String, bare_newlines: bool, body: Body) -> Self {
        Self { received, reverse_path, bare_newlines, body }
    }

    /// Header and text as they came, line ends as on the wire.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// The octets of a message.
pub struct Body {
    octets: Vec<u8>,
}

impl Body {
    /// A body that lies in memory.
    pub fn in_memory(octets: Vec<u8>) -> Self {
        Self { octets }
    }

    /// How many octets it has.
    pub fn len(&self) -> u64 {
        self.octets.len() as u64
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// A reader that begins at the first octet. Each recipient's delivery takes
    /// one of its own. [`BufRead::fill_buf`] gives the octets without a copy
    /// where they lie in memory.
    pub fn reader(&self) -> BodyReader<'_> {
        BodyReader { rest: &self.octets }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} octets)", self.len())
    }
}

/// Reads a [`Body`].
pub struct BodyReader<'a> {
    rest: &'a [u8],
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rest.read(buffer)
    }
}

impl BufRead for BodyReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.rest)
    }

    fn consume(&mut self, amount: usize) {
        self.rest.consume(amount);
    }
}
