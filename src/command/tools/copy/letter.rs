//! A message on its way from one store to another.
//!
//! Lives here: reading it once for its identity and its facts, and once more while
//! it is stored.
//! May not: know where it goes.
//! Holds: of a message of more than [`KEPT_OCTETS_MAX`] no more than a piece is in
//! memory; what differs at the second reading is never stored: its last read fails.

use super::{
    identity::{Digest, Identity},
    trace_lines::{self, TraceLines},
};
use memchr::memchr2_iter;
use postino_store::{
    Body, MailReader, MailboxName, Message, MessageInfo, Octets, OpenMessage, ReadError,
};
use std::{
    io::{self, BufRead},
    sync::{Mutex, PoisonError},
};

/// A message of so many octets, which are read at once, is read only once.
pub(super) const KEPT_OCTETS_MAX: u64 = 64 * 1024;

/// A message that was read.
pub(super) struct Letter {
    /// Its facts in the source.
    pub(super) info: MessageInfo,
    /// By what it is known.
    pub(super) digest: Digest,
    /// The recipient's address as it was given, where that is known.
    pub(super) recipient: Option<String>,
    /// The lines that its delivery has put before it, as they are.
    pub(super) header: Vec<u8>,
    /// The rest, and what a store should know of the whole.
    pub(super) message: Message,
}

impl Letter {
    /// Reads a message.
    pub(super) fn read(
        reader: &dyn MailReader,
        mailbox: &MailboxName,
        info: &MessageInfo,
    ) -> Result<Self, ReadError> {
        let OpenMessage { info, reverse_path, recipient, body } = reader.open(mailbox, info)?;
        let (mut identity, mut newlines) = (Identity::new(), BareNewlines::default());
        let is_kept = body.len() <= KEPT_OCTETS_MAX;
        let mut kept = Vec::new();
        each_piece(&body, |piece| {
            identity.take(piece);
            newlines.take(piece);
            let room = trace_lines::OCTETS_MAX.saturating_sub(kept.len());
            let wanted = if is_kept { piece.len() } else { piece.len().min(room) };
            kept.extend_from_slice(piece.get(..wanted).unwrap_or(piece));
        })?;
        let digest = identity.finish();
        let beginning = kept.get(..trace_lines::OCTETS_MAX).unwrap_or(&kept);
        let trace = TraceLines::of(beginning);
        let rest = kept.split_off(trace.octets);
        let header = kept;
        let rest = if is_kept {
            Body::in_memory(rest)
        } else {
            let count = body.len().saturating_sub(header.len() as u64);
            Body::elsewhere(Again::new(body, &header, digest), count)
        };
        let reverse_path = reverse_path.or(trace.return_path).unwrap_or_default();
        let flags = info.flags.clone().unwrap_or_default();
        let message = Message::new(info.received, reverse_path, newlines.are_there(), rest);
        Ok(Self {
            digest,
            recipient: recipient.or(trace.delivered_to),
            header,
            message: message.with_flags(flags),
            info,
        })
    }
}

/// A message's identity alone.
pub(super) fn identity(
    reader: &dyn MailReader,
    mailbox: &MailboxName,
    info: &MessageInfo,
) -> Result<Digest, ReadError> {
    let mut identity = Identity::new();
    let open = reader.open(mailbox, info)?;
    each_piece(&open.body, |piece| identity.take(piece))?;
    Ok(identity.finish())
}

fn each_piece(body: &Body, mut take: impl FnMut(&[u8])) -> Result<(), ReadError> {
    let mut reader = body.reader();
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(piece) => {
                take(piece);
                let taken = piece.len();
                reader.consume(taken);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It stands elsewhere now, or under another id.
            Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => {
                return Err(ReadError::NoSuchMessage);
            }
            Err(error) => {
                return Err(ReadError::Damaged { what: format!("it cannot be read: {error}") });
            }
        }
    }
}

/// Whether a CR or LF stands in a message that is not part of a CRLF.
#[derive(Default)]
struct BareNewlines {
    found: bool,
    /// A CR came last.
    after_return: bool,
}

impl BareNewlines {
    fn take(&mut self, piece: &[u8]) {
        let mut behind = 0;
        for at in memchr2_iter(b'\r', b'\n', piece) {
            if self.found {
                return;
            }
            // Between two of these stands what is neither.
            let follows = self.after_return && at == behind;
            let is_return = piece.get(at) == Some(&b'\r');
            self.found = if is_return { self.after_return } else { !follows };
            self.after_return = is_return;
            behind = at + 1;
        }
        if self.after_return && behind < piece.len() {
            self.found = true;
        }
    }

    fn are_there(&self) -> bool {
        self.found || self.after_return
    }
}

/// What stands behind a message's header, read again where it lies.
struct Again {
    message: Body,
    header_octets: u64,
    digest: Digest,
    /// The identity so far, behind the header.
    begun: Identity,
    reading: Mutex<Reading>,
}

/// A reading, from the beginning to the end.
struct Reading {
    /// Where it goes on.
    offset: u64,
    identity: Identity,
}

impl Again {
    fn new(message: Body, header: &[u8], digest: Digest) -> Self {
        let mut begun = Identity::new();
        begun.take(header);
        let reading = Mutex::new(Reading { offset: 0, identity: begun.clone() });
        Self { message, header_octets: header.len() as u64, digest, begun, reading }
    }
}

impl Octets for Again {
    /// One reading at a time: what is read in another order could not be compared.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if offset == 0 {
            *reading = Reading { offset, identity: self.begun.clone() };
        }
        if offset != reading.offset {
            return Err(io::Error::other("the message is not read from its beginning on"));
        }
        let count = self.message.read_at(buffer, self.header_octets + offset)?;
        reading.identity.take(buffer.get(..count).unwrap_or_default());
        reading.offset += count as u64;
        let is_end = self.header_octets + reading.offset >= self.message.len();
        if is_end && reading.identity.clone().finish() != self.digest {
            let text = "the message has changed while it was copied";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::{Again, BareNewlines, Identity};
    use postino_store::{Body, Octets};
    use proptest::prelude::*;
    use std::{
        io::{self, Read},
        sync::{Arc, Mutex},
    };

    fn plainly(message: &[u8]) -> bool {
        let mut rest = message.to_vec();
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
            rest.splice(at..at + 2, *b"xx");
        }
        rest.contains(&b'\r') || rest.contains(&b'\n')
    }

    proptest! {
        #[test]
        fn a_bare_newline_is_seen_at_any_split(message in "(a|\r|\n|\r\n){0,8}", at in any::<prop::sample::Index>()) {
            let message = message.as_bytes();
            let (one, other) = message.split_at(at.index(message.len() + 1));
            let mut newlines = BareNewlines::default();
            newlines.take(one);
            newlines.take(other);
            prop_assert_eq!(newlines.are_there(), plainly(message));
        }
    }

    /// What another process writes to.
    struct File(Arc<Mutex<Vec<u8>>>);

    impl Octets for File {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let file = self.0.lock().unwrap();
            let mut rest = file.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            rest.read(buffer)
        }
    }

    #[test]
    fn a_message_that_has_changed_cannot_be_read_to_its_end_again() {
        let file = Arc::new(Mutex::new([vec![b'h'; 100], vec![b'x'; 200_000]].concat()));
        let octets = file.lock().unwrap().clone();
        let mut identity = Identity::new();
        identity.take(&octets);
        let message = Body::elsewhere(File(Arc::clone(&file)), octets.len() as u64);
        let again = Again::new(message, &octets[..100], identity.finish());
        let body = Body::elsewhere(again, octets.len() as u64 - 100);
        let read = || {
            let mut read = Vec::new();
            body.reader().read_to_end(&mut read).map(|_| read)
        };
        for _ in 0..2 {
            assert!(read().unwrap() == octets[100..]);
        }
        file.lock().unwrap()[150_000] = b'y';
        assert_eq!(read().unwrap_err().kind(), io::ErrorKind::InvalidData);
        file.lock().unwrap()[150_000] = b'x';
        assert!(read().is_ok());
        file.lock().unwrap().truncate(150_000);
        assert_eq!(read().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
