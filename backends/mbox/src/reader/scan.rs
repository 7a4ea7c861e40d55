//! Where the messages of a mailbox begin and end, and what each is.
//!
//! Lives here: the cutting of a file, as the store writes it and as others do; each
//! message's digest, size, date and flags; and what is odd about it.
//! May not: take a lock, or decide what an oddity is worth.
//!
//! A message begins with a From_ line: at the beginning of the file, and wherever a
//! line has a date as well, as no message that this store or mutt writes has such
//! a line in it. Dovecot's may, behind a `Content-Length:` field: where a message
//! of that length ends right before a From_ line, or at the end, it is not cut
//! within. An empty line belongs to the From_ line that it stands before.

use super::{
    from_line::{self, FromLine},
    lines::Lines,
    unquote::Unquoting,
};
use crate::{id::TextDigest, render::Format, tail};
use postino_files::{File, Files};
use postino_store::{Flags, MessageInfo, Timestamp};
use sha2::{Digest, Sha256};
use std::{io, time::Duration};

/// NULs in a row that no mail has, and a file system leaves after a power cut.
const NULS_MIN: u64 = 512;

/// What is odd is told so many times of one message.
const ODDITIES_MAX: usize = 16;

/// The date of a From_ line that has none.
const NO_DATE: Timestamp = Timestamp { since_epoch: Duration::ZERO, offset_minutes: 0 };

/// A message as it lies in the file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Where its From_ line begins.
    pub(super) at: u64,
    /// Where its text ends, and the empty line behind it begins.
    pub(super) end: u64,
    /// Where the next message begins, or the mail ends.
    pub(super) next: u64,
    /// Octets of its text without quotes.
    pub(super) octets: u64,
    pub(super) digest: TextDigest,
    pub(super) received: Timestamp,
    pub(super) flags: Flags,
    pub(super) oddities: Vec<Oddity>,
}

/// What is odd about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oddity {
    /// Where.
    pub(super) at: u64,
    pub(super) what: Odd,
}

/// How it is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// Its From_ line has no date that can be read.
    NoDate,
    /// Its From_ line has no sender.
    NoSender,
    /// Its From_ line ends with CRLF.
    CarriageReturn,
    /// Another message begins there, with no empty line before it.
    NoEmptyLine,
    /// A line that begins no message could well be a From_ line.
    LooksLikeFrom,
    /// So many NULs.
    Nuls(u64),
}

impl Found {
    /// Its facts for a listing.
    pub(super) fn info(&self) -> MessageInfo {
        MessageInfo {
            id: self.digest.id(self.at),
            octets: self.octets,
            received: self.received,
            flags: Some(self.flags.clone()),
            hint: format!("{}-{}", self.at, self.next).into(),
        }
    }
}

/// Where a message was when it was found.
pub(super) fn hinted(message: &MessageInfo) -> Option<(u64, u64)> {
    let (at, next) = message.hint.to_str()?.split_once('-')?;
    let (at, next) = (at.parse().ok()?, next.parse().ok()?);
    (at < next).then_some((at, next))
}

/// Goes from message to message.
pub(super) struct Scanner<'a> {
    files: &'a dyn Files,
    file: &'a File,
    lines: Lines<'a>,
    format: Format,
}

impl<'a> Scanner<'a> {
    /// From `at` on, where a line begins, up to `limit`.
    pub(super) fn new(
        files: &'a dyn Files,
        file: &'a File,
        format: Format,
        at: u64,
        limit: u64,
    ) -> Self {
        Self { files, file, lines: Lines::new(files, file, at, limit), format }
    }

    /// Where the next message begins.
    pub(super) fn at(&self) -> u64 {
        self.lines.at()
    }

    /// Goes on to the first line that is a From_ line with a date; to the limit where
    /// there is none.
    pub(super) fn skip_to_message(&mut self) -> io::Result<()> {
        while let Some(piece) = self.lines.peek()? {
            if piece.begins && is_dated(piece.octets) {
                break;
            }
            let count = piece.octets.len();
            self.lines.take(count);
        }
        Ok(())
    }

    /// The message that begins here; none at the limit, or where none begins.
    pub(super) fn message(&mut self) -> io::Result<Option<Found>> {
        let Some(first) = self.lines.peek()? else { return Ok(None) };
        let Some(line) = FromLine::parse(first.octets) else { return Ok(None) };
        let (at, count) = (first.at, first.octets.len());
        let is_whole = first.octets.ends_with(b"\n");
        let mut text = Text::new(self.format);
        let mut odd = |is_odd, what| text.odd(is_odd, at, what);
        odd(line.date.is_none(), Odd::NoDate);
        odd(line.sender.is_none(), Odd::NoSender);
        odd(first.octets.ends_with(b"\r\n"), Odd::CarriageReturn);
        self.lines.take(count);
        if !is_whole {
            self.skip_line()?;
        }
        let begin = self.lines.at();
        let mut not_before = 0;
        while let Some(piece) = self.lines.peek()? {
            let (here, count) = (piece.at, piece.octets.len());
            if piece.begins && here >= not_before && piece.octets.starts_with(crate::render::FROM) {
                if is_dated(piece.octets) {
                    match text.announced_end(begin).filter(|end| *end > here) {
                        Some(end) if self.message_ends(end)? => not_before = end,
                        _ => {
                            text.odd(!text.ends_empty, here, Odd::NoEmptyLine);
                            break;
                        }
                    }
                } else {
                    text.odd(FromLine::looks_like_one(piece.octets), here, Odd::LooksLikeFrom);
                }
            }
            if let Some(piece) = self.lines.peek()? {
                text.take(piece.octets, piece.begins, here);
            }
            self.lines.take(count);
        }
        let next = self.lines.at();
        let end = next - u64::from(text.ends_empty);
        let (digest, octets, flags, oddities) = text.finish(next);
        let received = line.date.unwrap_or(NO_DATE);
        Ok(Some(Found { at, end, next, octets, digest, received, flags, oddities }))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        while let Some(piece) = self.lines.peek()?.filter(|piece| !piece.begins) {
            let count = piece.octets.len();
            self.lines.take(count);
        }
        Ok(())
    }

    /// Whether a message can end there: a From_ line follows, perhaps behind an
    /// empty line, or nothing.
    fn message_ends(&self, end: u64) -> io::Result<bool> {
        let Some(rest) = self.lines.limit().checked_sub(end) else { return Ok(false) };
        let octets =
            tail::read(self.files, self.file, end, rest.min(from_line::OCTETS_MAX as u64))?;
        let octets = octets.strip_prefix(b"\n").unwrap_or(&octets);
        let line = octets.split_inclusive(|octet| *octet == b'\n').next().unwrap_or_default();
        Ok(line.is_empty() || is_dated(line))
    }
}

/// Whether a line begins a message wherever it stands.
fn is_dated(line: &[u8]) -> bool {
    line.len() <= from_line::OCTETS_MAX
        && FromLine::parse(line).is_some_and(|line| line.date.is_some())
}

/// A message's text as it goes by.
struct Text {
    digest: Sha256,
    unquoting: Unquoting,
    unquoted: Vec<u8>,
    octets: u64,
    /// Whether the last line was empty; it is held back, as it may not be the
    /// text's own.
    ends_empty: bool,
    /// Where the text's header ends, once it is known.
    header_end: Option<u64>,
    content_length: Option<u64>,
    letters: String,
    nuls: u64,
    oddities: Vec<Oddity>,
}

impl Text {
    fn new(format: Format) -> Self {
        Self {
            digest: Sha256::new(),
            unquoting: Unquoting::new(format),
            unquoted: Vec::new(),
            octets: 0,
            ends_empty: false,
            header_end: None,
            content_length: None,
            letters: String::new(),
            nuls: 0,
            oddities: Vec::new(),
        }
    }

    fn odd(&mut self, is_odd: bool, at: u64, what: Odd) {
        if is_odd && self.oddities.len() < ODDITIES_MAX {
            self.oddities.push(Oddity { at, what });
        }
    }

    /// Takes the next piece of the text, which stands there in the file.
    fn take(&mut self, octets: &[u8], begins: bool, at: u64) {
        if std::mem::take(&mut self.ends_empty) {
            self.count(b"\n");
        }
        if begins && self.header_end.is_none() {
            if octets == b"\n" {
                self.header_end = Some(at + 1);
            } else {
                self.field(octets);
            }
        }
        self.look_for_nuls(octets, at);
        if begins && octets == b"\n" {
            self.ends_empty = true;
        } else {
            self.count(octets);
        }
    }

    fn count(&mut self, octets: &[u8]) {
        self.digest.update(octets);
        self.unquoting.undo(octets, &mut self.unquoted);
        self.octets += self.unquoted.len() as u64;
        self.unquoted.clear();
    }

    /// Takes a header line. `Status:` and `X-Status:` are what mutt, Dovecot and
    /// others keep a message's state in.
    fn field(&mut self, line: &[u8]) {
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let (name, value) = line.split_at(colon);
        let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default());
        if name.eq_ignore_ascii_case(b"Content-Length") {
            self.content_length = value.trim().parse().ok();
        } else if name.eq_ignore_ascii_case(b"Status") {
            self.letters.extend(value.contains('R').then_some('S'));
        } else if name.eq_ignore_ascii_case(b"X-Status") {
            for (letter, flag) in [('A', 'R'), ('F', 'F'), ('D', 'T'), ('T', 'D')] {
                self.letters.extend(value.contains(letter).then_some(flag));
            }
        }
    }

    /// Where the text ends as its header says it.
    fn announced_end(&self, begin: u64) -> Option<u64> {
        let header_end = self.header_end.filter(|end| *end > begin)?;
        header_end.checked_add(self.content_length?)
    }

    fn look_for_nuls(&mut self, octets: &[u8], at: u64) {
        if self.nuls == 0 && memchr::memchr(0, octets).is_none() {
            return;
        }
        for (place, octet) in (at..).zip(octets) {
            if *octet == 0 {
                self.nuls += 1;
            } else {
                self.nuls_end(place);
            }
        }
    }

    fn nuls_end(&mut self, end: u64) {
        let nuls = std::mem::take(&mut self.nuls);
        self.odd(nuls >= NULS_MIN, end.saturating_sub(nuls), Odd::Nuls(nuls));
    }

    fn finish(mut self, end: u64) -> (TextDigest, u64, Flags, Vec<Oddity>) {
        self.nuls_end(end);
        self.unquoting.finish(&mut self.unquoted);
        let octets = self.octets + self.unquoted.len() as u64;
        let digest = TextDigest::of(self.digest);
        (digest, octets, Flags::from_letters(&self.letters), self.oddities)
    }
}

#[cfg(test)]
mod tests {
    use super::{FromLine, is_dated};
    use crate::render;
    use postino_store::{Body, Message, Timestamp};
    use std::time::Duration;

    #[test]
    fn every_from_line_that_a_delivery_writes_begins_a_message() {
        let last_second = 253_402_300_799;
        let seconds = (0..=40).map(|nth| last_second / 40 * nth).chain([
            last_second,
            last_second + 1,
            1 << 40,
            1 << 62,
            u64::MAX,
        ]);
        let senders = ["", "-", "a@b", "Tue Nov@24", "\u{a0}\u{2028}\u{85}\r\n\0\t@e", "\u{1f600}"];
        let long = [254, 256, 257, 2_000, 2_100, 70_000].map(|octets| "a".repeat(octets));
        let wide = ["\u{e9}".repeat(128), "\u{e9}".repeat(129)];
        let senders = senders.iter().map(|sender| (*sender).to_owned()).chain(long).chain(wide);
        let senders: Vec<String> = senders.collect();
        for seconds in seconds {
            let since_epoch = Duration::from_secs(seconds);
            for offset_minutes in [-840, 0, 840] {
                let received = Timestamp { since_epoch, offset_minutes };
                for sender in &senders {
                    let body = Body::in_memory(Vec::new());
                    let message = Message::new(received, sender.clone(), false, body);
                    let line = render::from_line(&message);
                    let text = String::from_utf8_lossy(&line);
                    assert!(is_dated(&line), "{text}");
                    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text}");
                    let read = FromLine::parse(&line).and_then(|line| line.date);
                    let second = read.map(|read| read.since_epoch.as_secs());
                    assert_eq!(second, Some(seconds.min(last_second)), "{text}");
                }
            }
        }
    }
}
