//! From a delivery to what stands of it in the file.
//!
//! Lives here: the From_ line, the quoting of lines that look like one, LF line
//! ends, and the blank line behind the message.
//! May not: touch the file; a [`Sink`] takes the octets.
//! Holds: two renderings of one delivery are alike, so that the first tells how
//! long the second will be.

use memchr::memchr;
use postino_store::{Delivery, DeliveryError, LineEnds, Message, Timestamp};
use sha2::{Digest, Sha256};
use std::{
    io::{self, BufRead},
    time::Duration,
};

/// Octets that are converted at once.
const PIECE_OCTETS: usize = 32 * 1024;

/// What begins a message, behind an empty line.
pub(crate) const FROM: &[u8] = b"From ";

/// The longest reverse-path that SMTP has, in octets (RFC 5321, section 4.5.3.1.3).
/// Readers need not take a longer line for a From_ line.
const SENDER_OCTETS_MAX: usize = 256;

/// The end of the year 9999: a later one has more digits than readers look for.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// Which lines of a message are quoted by a `>` in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `From ` and any number of `>` before it: a reader can undo it.
    Mboxrd,
    /// `From ` alone.
    Mboxo,
}

/// Takes what is rendered.
pub(crate) trait Sink {
    /// What is not the message's own: its From_ line, the blank line behind it.
    fn mark(&mut self, octets: &[u8]) -> Result<(), DeliveryError>;

    /// A piece of the message as it is stored.
    fn text(&mut self, octets: &[u8]) -> Result<(), DeliveryError>;
}

/// Why a rendering was broken off.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The message could not be read, which is no other message's fault.
    Message(DeliveryError),
    /// The sink did not take it.
    Mailbox(DeliveryError),
}

/// Gives all of a delivery to `sink`.
pub(crate) fn render(
    delivery: &Delivery,
    format: Format,
    sink: &mut impl Sink,
) -> Result<(), Broken> {
    let message = delivery.message();
    sink.mark(&from_line(message)).map_err(Broken::Mailbox)?;
    let mut text = Text {
        ends: LineEnds::new(),
        quoting: Quoting::new(format),
        lines: Vec::new(),
        quoted: Vec::new(),
        last_octet: b'\n',
    };
    text.take(delivery.header(), sink)?;
    let mut reader = message.body().reader();
    loop {
        let octets = match reader.fill_buf() {
            Ok([]) => break,
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => {
                return Err(Broken::Message(DeliveryError::io("read the message", "", cause)));
            }
        };
        text.take(octets, sink)?;
        let taken = octets.len();
        reader.consume(taken);
    }
    text.finish(sink)?;
    sink.mark(b"\n").map_err(Broken::Mailbox)
}

/// How many octets a delivery takes in the file.
pub(crate) fn measure(delivery: &Delivery, format: Format) -> Result<u64, DeliveryError> {
    struct Count(u64);
    impl Sink for Count {
        fn mark(&mut self, octets: &[u8]) -> Result<(), DeliveryError> {
            self.0 += octets.len() as u64;
            Ok(())
        }
        fn text(&mut self, octets: &[u8]) -> Result<(), DeliveryError> {
            self.mark(octets)
        }
    }
    let mut count = Count(0);
    match render(delivery, format, &mut count) {
        Ok(()) => Ok(count.0),
        Err(Broken::Message(error) | Broken::Mailbox(error)) => Err(error),
    }
}

/// Tells a From_ line, with its line end, from those that others write.
pub(crate) fn fingerprint(from_line: &[u8]) -> u32 {
    let digest = Sha256::digest(from_line);
    digest.iter().take(4).fold(0, |sum, octet| sum << 8 | u32::from(*octet))
}

/// `From SENDER DATE`, as mbox(5) has it, which every reader must take for one: else
/// the message would become part of the one before. Blanks would end the sender, and
/// a control character could end the line.
pub(crate) fn from_line(message: &Message) -> Vec<u8> {
    let sender: String = match message.reverse_path.as_str() {
        path if path.is_empty() || path.len() > SENDER_OCTETS_MAX => "MAILER-DAEMON".to_owned(),
        path => path
            .chars()
            .map(|c| if c.is_whitespace() || c.is_control() { '-' } else { c })
            .collect(),
    };
    let since_epoch = message.received.since_epoch.min(LATEST);
    let received = Timestamp { since_epoch, ..message.received };
    format!("From {sender} {}\n", received.asctime_utc()).into_bytes()
}

/// The message on its way: line ends first, then quotes.
struct Text {
    ends: LineEnds,
    quoting: Quoting,
    lines: Vec<u8>,
    quoted: Vec<u8>,
    last_octet: u8,
}

impl Text {
    fn take(&mut self, octets: &[u8], sink: &mut impl Sink) -> Result<(), Broken> {
        for piece in octets.chunks(PIECE_OCTETS) {
            self.ends.to_lf(piece, &mut self.lines);
            self.pass(sink)?;
        }
        Ok(())
    }

    fn finish(&mut self, sink: &mut impl Sink) -> Result<(), Broken> {
        self.ends.finish(&mut self.lines);
        self.pass(sink)?;
        self.quoting.finish(&mut self.quoted);
        self.give(sink)?;
        // Without it the blank line behind would be none.
        if self.last_octet != b'\n' {
            self.quoted.push(b'\n');
            self.give(sink)?;
        }
        Ok(())
    }

    fn pass(&mut self, sink: &mut impl Sink) -> Result<(), Broken> {
        self.quoting.quote(&self.lines, &mut self.quoted);
        self.lines.clear();
        self.give(sink)
    }

    fn give(&mut self, sink: &mut impl Sink) -> Result<(), Broken> {
        self.last_octet = self.quoted.last().copied().unwrap_or(self.last_octet);
        sink.text(&self.quoted).map_err(Broken::Mailbox)?;
        self.quoted.clear();
        Ok(())
    }
}

/// Puts a `>` before what looks like a From_ line, over any split of the input.
struct Quoting {
    format: Format,
    /// Only `>`s stand in the line so far, or nothing.
    may_match: bool,
    /// How much of `From ` came behind them and is held back.
    matched: usize,
}

impl Quoting {
    fn new(format: Format) -> Self {
        Self { format, may_match: true, matched: 0 }
    }

    fn quote(&mut self, mut lines: &[u8], out: &mut Vec<u8>) {
        while let Some(octet) = lines.first() {
            if !self.may_match {
                let end = memchr(b'\n', lines).map(|at| at + 1);
                let (line, rest) = lines.split_at(end.unwrap_or(lines.len()));
                out.extend_from_slice(line);
                self.may_match = end.is_some();
                lines = rest;
            } else if FROM.get(self.matched) == Some(octet) {
                self.matched += 1;
                lines = lines.get(1..).unwrap_or_default();
                if self.matched == FROM.len() {
                    // Where among the others the new one stands makes no difference.
                    out.push(b'>');
                    self.release(out);
                }
            } else if self.matched == 0 && *octet == b'>' && self.format == Format::Mboxrd {
                out.push(b'>');
                lines = lines.get(1..).unwrap_or_default();
            } else {
                self.release(out);
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(out);
    }

    /// What was held back, in a line that needs no more looking at.
    fn release(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(FROM.get(..self.matched).unwrap_or(FROM));
        self.matched = 0;
        self.may_match = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Quoting, from_line};
    use postino_store::{Body, Message, Timestamp};
    use std::time::Duration;

    fn quoted(format: Format, pieces: &[&[u8]]) -> String {
        let (mut quoting, mut out) = (Quoting::new(format), Vec::new());
        for piece in pieces {
            quoting.quote(piece, &mut out);
        }
        quoting.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_that_look_like_a_from_line_are_quoted_at_any_split() {
        let input =
            b"From a\n>From b\n>>From c\nFrom\nFro\n> From d\n from e\n\nFrom f\n>>>\nxFrom \n>Fro";
        let mboxrd = ">From a\n>>From b\n>>>From c\nFrom\nFro\n> From d\n from e\n\n>From f\n>>>\nxFrom \n>Fro";
        let mboxo = ">From a\n>From b\n>>From c\nFrom\nFro\n> From d\n from e\n\n>From f\n>>>\nxFrom \n>Fro";
        for one in 0..=input.len() {
            for other in one..=input.len() {
                let pieces = [&input[..one], &input[one..other], &input[other..]];
                assert_eq!(quoted(Format::Mboxrd, &pieces), mboxrd, "{one}, {other}");
                assert_eq!(quoted(Format::Mboxo, &pieces), mboxo, "{one}, {other}");
            }
        }
    }

    #[test]
    fn the_from_line_has_one_word_for_the_sender_and_24_characters_for_the_date() {
        let line = |sender: &str| {
            let since_epoch = Duration::from_secs(1_795_510_069);
            let received = Timestamp { since_epoch, offset_minutes: 60 };
            let body = Body::in_memory(Vec::new());
            let message = Message::new(received, sender.to_owned(), false, body);
            String::from_utf8(from_line(&message)).unwrap()
        };
        assert_eq!(line(""), "From MAILER-DAEMON Tue Nov 24 08:47:49 2026\n");
        assert_eq!(line("a@b"), "From a@b Tue Nov 24 08:47:49 2026\n");
        let strange = "\"a b\tc\n\u{a0}d\"@e";
        assert_eq!(line(strange), "From \"a-b-c--d\"@e Tue Nov 24 08:47:49 2026\n");
    }
}
