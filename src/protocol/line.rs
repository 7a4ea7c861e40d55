//! Command lines out of octets (RFC 5321 sections 2.3.8 and 4.5.3.1.4).
//!
//! Lives here: the beginning of a line that is still to come, over any split of
//! the input, in bounded memory.
//! May not: read the line.
//! Holds: only CRLF ends a line.

use memchr::memchr;
use std::{borrow::Cow, mem};

/// Octets of a command line, its CRLF included. RFC 5321 section 4.5.3.1.4 asks
/// for 512, its extensions for some hundreds more.
const LINE_OCTETS_MAX: usize = 4096;

/// A line that came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its CRLF.
    Whole(Cow<'a, [u8]>),
    /// Over the limit; it was not kept.
    TooLong,
}

/// What has come of a line.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    /// All of it; of a line that is too long only the last octet.
    begun: Vec<u8>,
    is_too_long: bool,
}

impl LineBuffer {
    /// Takes octets up to the end of the line; says how many, and gives the line
    /// where its end was there.
    pub(super) fn take<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Line<'a>>) {
        let mut from = 0;
        while let Some(found) = memchr(b'\n', input.get(from..).unwrap_or_default()) {
            let lf = from + found;
            let (before, _) = input.split_at(lf);
            if before.last().or(self.begun.last()) == Some(&b'\r') {
                return (lf + 1, Some(self.end(before)));
            }
            from = lf + 1;
        }
        self.keep(input);
        (input.len(), None)
    }

    /// Whether nothing has come of the line.
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    fn keep(&mut self, input: &[u8]) {
        self.is_too_long |= self.begun.len() + input.len() >= LINE_OCTETS_MAX;
        if !self.is_too_long {
            self.begun.extend_from_slice(input);
        } else if let Some(&last) = input.last() {
            self.begun = vec![last];
        }
    }

    /// The line is whole: what was kept of it, and `rest`, which ends before its
    /// LF.
    fn end<'a>(&mut self, rest: &'a [u8]) -> Line<'a> {
        let Self { begun, is_too_long } = mem::take(self);
        if is_too_long || begun.len() + rest.len() >= LINE_OCTETS_MAX {
            return Line::TooLong;
        }
        if begun.is_empty() {
            return Line::Whole(Cow::Borrowed(rest.strip_suffix(b"\r").unwrap_or(rest)));
        }
        let mut line = begun;
        line.extend_from_slice(rest);
        line.pop();
        Line::Whole(Cow::Owned(line))
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_OCTETS_MAX, LineBuffer};

    #[test]
    fn a_line_without_end_is_not_kept() {
        for piece in [&[b'x'; 1000][..], &[b'\n'; 1000], &[b'\r'; 10_000], b"\r"] {
            let mut line = LineBuffer::default();
            for _ in 0..10_000 {
                assert_eq!(line.take(piece), (piece.len(), None));
                assert!(line.begun.capacity() <= 2 * LINE_OCTETS_MAX);
            }
            assert_eq!(line.begun.len(), 1);
        }
    }
}
