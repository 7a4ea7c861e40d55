//! By what a message is known in every store.
//!
//! Lives here: the SHA-256 of a message's octets in a form that no store's own way
//! of keeping it changes.
//! May not: open or read a message.
//! Holds: how the octets are split into pieces makes no difference; of no line is
//! more kept than two numbers.
//!
//! The form is the message as lines that each end with LF:
//!
//! - An LF, with all CRs before it, is one LF: a Maildir and an mbox have LFs for
//!   CRLFs. All CRs, since of two an mbox takes away one each time that it is copied.
//! - The last line ends with LF too; an mbox adds it where it is missing.
//! - Header fields in which mail programs keep [marks](super::marks) are left out: in
//!   an mbox they come and go as it is read.
//! - `>*From ` at the beginning of a line is `From `: of an mbox in the form mboxo
//!   nobody can tell whether a `>` was the message's own.
//!
//! So `sha256sum` of a Maildir's file gives it, unless that has such lines.

use super::marks::Unmarked;
use memchr::memchr;
use sha2::{Digest as _, Sha256};

/// A message's identity.
pub(super) type Digest = [u8; 32];

/// What may be quoted at the beginning of a line.
const FROM: &[u8] = b"From ";

/// Octets of what repeats that are taken in at once.
const REPEATED_OCTETS: usize = 256;

/// A line of which nothing has come yet.
const NEW_LINE: Line = Line::Start { quotes: 0, matched: 0 };

/// An identity in the making.
#[derive(Clone)]
pub(super) struct Identity {
    unmarked: Unmarked,
    form: Form,
}

/// The form, on its way into the digest.
#[derive(Clone)]
struct Form {
    hash: Sha256,
    line: Line,
    /// CRs that came last: nothing, if an LF follows.
    returns: u64,
}

/// How far the line is.
#[derive(Clone, PartialEq, Eq)]
enum Line {
    /// So many `>`s came, and behind them so much of `From `.
    Start { quotes: u64, matched: usize },
    /// What comes is as it is.
    Inside,
}

impl Identity {
    /// That of a message of which nothing has come yet.
    pub(super) fn new() -> Self {
        let form = Form { hash: Sha256::new(), line: NEW_LINE, returns: 0 };
        Self { unmarked: Unmarked::default(), form }
    }

    /// Takes the next piece of the message.
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.unmarked.take(piece, &mut |octets| self.form.take(octets));
    }

    /// Ends the message.
    pub(super) fn finish(mut self) -> Digest {
        self.unmarked.finish(&mut |octets| self.form.take(octets));
        self.form.finish()
    }
}

impl Form {
    fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let end = memchr(b'\n', piece).unwrap_or(piece.len());
            let (text, behind) = piece.split_at(end);
            let returns = text.iter().rev().take_while(|octet| **octet == b'\r').count();
            let (text, _) = text.split_at(text.len() - returns);
            if !text.is_empty() {
                self.take_returns();
                self.take_text(text);
            }
            self.returns += returns as u64;
            piece = match behind.split_first() {
                Some((_, next)) => {
                    self.end_line();
                    next
                }
                None => behind,
            };
        }
    }

    fn finish(mut self) -> Digest {
        if self.returns > 0 || self.line != NEW_LINE {
            self.end_line();
        }
        self.hash.finalize().into()
    }

    /// The CRs were no part of a line end.
    fn take_returns(&mut self) {
        if self.returns > 0 {
            self.leave_start();
            repeat(&mut self.hash, b'\r', std::mem::take(&mut self.returns));
        }
    }

    fn take_text(&mut self, mut text: &[u8]) {
        while let Line::Start { quotes, matched } = &mut self.line {
            let Some((octet, rest)) = text.split_first() else { return };
            if FROM.get(*matched) == Some(octet) {
                *matched += 1;
                if *matched == FROM.len() {
                    *quotes = 0;
                    self.leave_start();
                }
                text = rest;
            } else if *matched == 0 && *octet == b'>' {
                *quotes += 1;
                text = rest;
            } else {
                self.leave_start();
            }
        }
        self.hash.update(text);
    }

    /// What was held back at the line's beginning is as it is.
    fn leave_start(&mut self) {
        if let Line::Start { quotes, matched } = self.line {
            repeat(&mut self.hash, b'>', quotes);
            self.hash.update(FROM.get(..matched).unwrap_or(FROM));
            self.line = Line::Inside;
        }
    }

    fn end_line(&mut self) {
        self.leave_start();
        self.hash.update(b"\n");
        self.returns = 0;
        self.line = NEW_LINE;
    }
}

fn repeat(hash: &mut Sha256, octet: u8, mut count: u64) {
    let octets = [octet; REPEATED_OCTETS];
    while count > 0 {
        let part = usize::try_from(count).unwrap_or(usize::MAX).min(octets.len());
        hash.update(octets.get(..part).unwrap_or(&octets));
        count -= part as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, Identity};
    use postino_store::LineEnds;
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    fn of(pieces: &[&[u8]]) -> Digest {
        let mut identity = Identity::new();
        for piece in pieces {
            identity.take(piece);
        }
        identity.finish()
    }

    /// The form, made in the plainest way.
    fn form(message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        if !message.is_empty() && !message.ends_with(b"\n") {
            message.push(b'\n');
        }
        let mut form = Vec::new();
        for line in message.split_inclusive(|octet| *octet == b'\n') {
            let mut line = line.strip_suffix(b"\n").unwrap();
            while let Some(shorter) = line.strip_suffix(b"\r") {
                line = shorter;
            }
            let quotes = line.iter().take_while(|octet| **octet == b'>').count();
            if line[quotes..].starts_with(b"From ") {
                line = &line[quotes..];
            }
            form.extend_from_slice(line);
            form.push(b'\n');
        }
        form
    }

    /// As an mbox keeps and gives back a message: LF line ends, the last one added,
    /// quotes that were put there and not taken away.
    fn of_mboxo(message: &[u8]) -> Vec<u8> {
        let (mut ends, mut lf) = (LineEnds::new(), Vec::new());
        ends.to_lf(message, &mut lf);
        ends.finish(&mut lf);
        if !lf.is_empty() && !lf.ends_with(b"\n") {
            lf.push(b'\n');
        }
        let mut quoted = Vec::new();
        for line in lf.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b"From ") {
                quoted.push(b'>');
            }
            quoted.extend_from_slice(line);
        }
        quoted
    }

    /// Messages of what makes a difference.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just(b"From ".to_vec()),
            Just(b"Fro".to_vec()),
            Just(b">".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(vec![b'>'; 600]),
            Just(vec![b'\r'; 600]),
            Just(b"x\0\xff".to_vec()),
        ];
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn the_split_makes_no_difference(message in message(), at in any::<[prop::sample::Index; 2]>()) {
            let expected: Digest = Sha256::digest(form(&message)).into();
            let mut at = at.map(|at| at.index(message.len() + 1));
            at.sort_unstable();
            let (first, rest) = message.split_at(at[0]);
            let (second, third) = rest.split_at(at[1] - at[0]);
            prop_assert_eq!(of(&[first, second, third]), expected);
            let octets: Vec<&[u8]> = message.chunks(1).collect();
            prop_assert_eq!(of(&octets), expected);
        }

        #[test]
        fn no_way_of_keeping_a_message_changes_it(message in message()) {
            let identity = of(&[&message]);
            let mut kept = message;
            for _ in 0..3 {
                kept = of_mboxo(&kept);
                prop_assert_eq!(of(&[&kept]), identity);
            }
        }
    }

    #[test]
    fn what_differs_otherwise_has_another_identity() {
        let messages: &[&[u8]] = &[
            b"", b"\n", b"\n\n", b"a", b" a", b"a\n\n", b"a\rb", b"ab", b">a", b"> From ", b"From",
        ];
        for (at, one) in messages.iter().enumerate() {
            for other in &messages[at + 1..] {
                assert_ne!(of(&[one]), of(&[other]), "{one:?}, {other:?}");
            }
        }
    }

    #[test]
    fn sha256sum_of_a_file_with_lf_gives_it() {
        let file = b"Subject: x\n\nsome > text\n";
        assert_eq!(of(&[file]), <Digest>::from(Sha256::digest(file)));
    }
}
