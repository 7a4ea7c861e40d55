//! One message, as all its recipients share it.
//!
//! Lives here: the message's facts and its body, read through one reader
//! wherever the octets lie.
//! May not: hold anything that belongs to one recipient.

use crate::{Flags, Timestamp};
use std::io::{self, BufRead, Read};

/// Octets that are read at once of a body that does not lie in memory.
const READ_OCTETS: usize = 64 * 1024;

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
    common_header: Option<Vec<u8>>,
    flags: Option<Flags>,
    body: Body,
}

impl Message {
    /// A message of this body.
    pub fn new(received: Timestamp, reverse_path: String, bare_newlines: bool, body: Body) -> Self {
        Self { received, reverse_path, bare_newlines, common_header: None, flags: None, body }
    }

    /// Gives it header lines that are the same for every recipient, each ended by
    /// CRLF.
    #[must_use]
    pub fn with_common_header(mut self, header: Vec<u8>) -> Self {
        self.common_header = Some(header);
        self
    }

    /// Says that it comes from another store, where it had these flags: it is no new
    /// mail, and is stored with them and the time received as far as the store has
    /// a place for both (a Maildir: in `cur`, with the time as its file's).
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = Some(flags);
        self
    }

    /// The flags that it had in another store; none where it is new mail.
    pub fn flags(&self) -> Option<&Flags> {
        self.flags.as_ref()
    }

    /// The header lines where they are the same for every recipient, so that a
    /// store may make one file of all copies; none where each has its own.
    pub fn common_header(&self) -> Option<&[u8]> {
        self.common_header.as_deref()
    }

    /// Header and text as they came, line ends as on the wire.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// Octets that do not lie in memory, such as a file's. Several readers use one
/// at the same time.
pub trait Octets: Send + Sync {
    /// Reads `offset` octets behind the beginning: how many octets came, at least
    /// one before the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// The octets of a message.
pub struct Body(Place);

enum Place {
    Memory(Vec<u8>),
    Elsewhere { octets: Box<dyn Octets>, count: u64 },
}

impl Body {
    /// A body that lies in memory.
    pub fn in_memory(octets: Vec<u8>) -> Self {
        Self(Place::Memory(octets))
    }

    /// A body of `count` octets that lies elsewhere.
    pub fn elsewhere(octets: impl Octets + 'static, count: u64) -> Self {
        Self(Place::Elsewhere { octets: Box::new(octets), count })
    }

    /// How many octets it has.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Place::Memory(octets) => octets.len() as u64,
            Place::Elsewhere { count, .. } => *count,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A reader that begins at the first octet. Each recipient's delivery takes
    /// one of its own. [`BufRead::fill_buf`] gives the octets without a copy
    /// where they lie in memory, else up to 64 KiB at once. A body that ends
    /// before its length is [`io::ErrorKind::UnexpectedEof`].
    pub fn reader(&self) -> BodyReader<'_> {
        BodyReader(match &self.0 {
            Place::Memory(octets) => Reader::Memory(octets),
            Place::Elsewhere { octets, count } => Reader::Elsewhere {
                octets: &**octets,
                rest: *count,
                offset: 0,
                buffer: Vec::new(),
                taken: 0,
            },
        })
    }
}

impl Octets for Body {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.0 {
            Place::Memory(octets) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                octets.get(from..).unwrap_or_default().read(buffer)
            }
            Place::Elsewhere { octets, count } => {
                let rest = usize::try_from(count.saturating_sub(offset)).unwrap_or(usize::MAX);
                let wanted = buffer.len().min(rest);
                octets.read_at(buffer.get_mut(..wanted).unwrap_or_default(), offset)
            }
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} octets)", self.len())
    }
}

/// Reads a [`Body`].
pub struct BodyReader<'a>(Reader<'a>);

enum Reader<'a> {
    /// What is still to be read.
    Memory(&'a [u8]),
    Elsewhere {
        octets: &'a dyn Octets,
        /// Octets that are not in the buffer yet.
        rest: u64,
        /// Where they begin.
        offset: u64,
        buffer: Vec<u8>,
        /// Octets of the buffer that were consumed.
        taken: usize,
    },
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut octets = self.fill_buf()?;
        let count = octets.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for BodyReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match &mut self.0 {
            Reader::Memory(rest) => Ok(rest),
            Reader::Elsewhere { octets, rest, offset, buffer, taken } => {
                if *taken == buffer.len() && *rest > 0 {
                    let wanted = usize::try_from(*rest).unwrap_or(usize::MAX).min(READ_OCTETS);
                    *taken = 0;
                    buffer.resize(wanted, 0);
                    let read = octets.read_at(buffer, *offset);
                    buffer.truncate(read.as_ref().map_or(0, |count| *count));
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *offset += buffer.len() as u64;
                    *rest = rest.saturating_sub(buffer.len() as u64);
                }
                Ok(buffer.get(*taken..).unwrap_or_default())
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        match &mut self.0 {
            Reader::Memory(rest) => rest.consume(amount),
            Reader::Elsewhere { buffer, taken, .. } => *taken = (*taken + amount).min(buffer.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, Octets};
    use std::io::{self, Read};

    /// Gives at most 7 octets at once.
    struct Slow(Vec<u8>);

    impl Octets for Slow {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let mut rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let count = buffer.len().min(7);
            rest.read(&mut buffer[..count])
        }
    }

    #[test]
    fn a_body_reads_alike_wherever_it_lies() {
        let octets: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let elsewhere = Body::elsewhere(Slow(octets.clone()), 1000);
        for body in [Body::in_memory(octets.clone()), elsewhere] {
            let mut read = Vec::new();
            body.reader().read_to_end(&mut read).unwrap();
            assert_eq!((read, body.len()), (octets.clone(), 1000));
        }
    }

    #[test]
    fn a_body_can_be_read_from_any_place_to_its_end() {
        let octets: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let longer = [&octets[..], b"behind it"].concat();
        for body in [Body::in_memory(octets.clone()), Body::elsewhere(Slow(longer), 1000)] {
            for offset in [0, 1, 993, 998, 1000, 1001] {
                let mut buffer = [0; 7];
                let count = body.read_at(&mut buffer, offset).unwrap();
                let rest = octets.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
                assert_eq!(buffer[..count], rest[..rest.len().min(7)], "{offset}");
            }
        }
    }

    #[test]
    fn a_body_that_ends_too_early_is_an_error() {
        let body = Body::elsewhere(Slow(vec![b'x'; 20]), 21);
        let error = body.reader().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
