//! What mail programs write into the messages of an mbox, to remember what the
//! format has no place for.
//!
//! Lives here: leaving these header fields out of a message on its way to its
//! identity, so that one that was read since it was copied is not copied again.
//! May not: know what becomes of the rest.
//! Holds: how the octets are split into pieces makes no difference; of no line is
//! more kept than the longest field name.

/// The fields, in lower case.
const FIELDS: [&[u8]; 9] = [
    b"status",
    b"x-status",
    b"x-keywords",
    b"x-uid",
    b"x-imap",
    b"x-imapbase",
    b"content-length",
    b"lines",
    b"x-mozilla-status",
];

/// The longest of them.
const NAME_OCTETS_MAX: usize = 16;

/// A message's octets, of which the marks are left out.
#[derive(Clone, Default)]
pub(super) struct Unmarked {
    place: Place,
    /// Of a line of which it is not known yet what it is.
    held: Vec<u8>,
    /// Whether the line before was left out: its continuation goes with it.
    was_mark: bool,
}

/// Where in the message the next octet stands.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// At the beginning of a header line, some octets of which are held.
    #[default]
    Start,
    /// In a header line that is a mark.
    Mark,
    /// In another one.
    Line,
    Text,
}

impl Unmarked {
    /// Takes the next piece; gives what is no mark.
    pub(super) fn take(&mut self, piece: &[u8], give: &mut impl FnMut(&[u8])) {
        let mut rest = piece;
        while let Some((octet, behind)) = rest.split_first() {
            match self.place {
                Place::Text => return give(rest),
                Place::Start => {
                    self.held.push(*octet);
                    rest = behind;
                    self.judge(give);
                }
                Place::Mark | Place::Line => {
                    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
                    let (line, behind) = rest.split_at(end);
                    if self.place == Place::Line {
                        give(line);
                    }
                    if line.ends_with(b"\n") {
                        self.place = Place::Start;
                    }
                    rest = behind;
                }
            }
        }
    }

    /// Gives what was held at the end.
    pub(super) fn finish(&mut self, give: &mut impl FnMut(&[u8])) {
        give(&std::mem::take(&mut self.held));
    }

    /// Says what the line is whose beginning is held, as soon as that is known.
    fn judge(&mut self, give: &mut impl FnMut(&[u8])) {
        self.place = match &self.held[..] {
            // The header's end, with as many CRs as the line has.
            [returns @ .., b'\n'] if are_returns(returns) => Place::Text,
            returns if are_returns(returns) => {
                // One of them is enough to know that it begins with some.
                let (one, others) = returns.split_at(1);
                give(others);
                self.held = one.to_vec();
                return;
            }
            [b' ' | b'\t', ..] if self.was_mark => Place::Mark,
            [name @ .., b':'] => {
                let is_mark = FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name));
                if is_mark { Place::Mark } else { Place::Line }
            }
            [.., b'\n'] => Place::Start,
            [b' ' | b'\t', ..] => Place::Line,
            held if held.len() > NAME_OCTETS_MAX => Place::Line,
            _ => return,
        };
        self.was_mark = self.place == Place::Mark;
        if !self.was_mark {
            give(&self.held);
        }
        self.held.clear();
    }
}

fn are_returns(octets: &[u8]) -> bool {
    octets.iter().all(|octet| *octet == b'\r')
}

#[cfg(test)]
mod tests {
    use super::{FIELDS, NAME_OCTETS_MAX, Unmarked};

    fn unmarked(pieces: &[&[u8]]) -> String {
        let (mut unmarked, mut out) = (Unmarked::default(), Vec::new());
        for piece in pieces {
            unmarked.take(piece, &mut |octets| out.extend_from_slice(octets));
        }
        unmarked.finish(&mut |octets| out.extend_from_slice(octets));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_mail_programs_write_into_the_header_is_left_out_at_any_split() {
        let message = b"Status: RO\r\nSubject: x\nX-UID: 7\n \tmore\nX-Keywords:\nStatusx: a\n \
            folded\nno field\nLINES: 3\n\r\nStatus: text\nX-UID: text";
        let expected = "Subject: x\nStatusx: a\n folded\nno field\n\r\nStatus: text\nX-UID: text";
        for first in 0..=message.len() {
            for second in first..=message.len() {
                let (one, rest) = message.split_at(first);
                let (two, three) = rest.split_at(second - first);
                assert_eq!(unmarked(&[one, two, three]), expected, "{first}, {second}");
            }
        }
    }

    #[test]
    fn an_empty_line_ends_the_header_however_many_crs_it_has() {
        for end in ["\n", "\r\n", "\r\r\n", &format!("{}\n", "\r".repeat(40))] {
            let message = format!("Status: x\nSubject: x\n{end}Status: text\n");
            let expected = format!("Subject: x\n{end}Status: text\n");
            assert_eq!(unmarked(&[message.as_bytes()]), expected);
        }
        assert_eq!(unmarked(&[b"\r\r\rStatus: x\n"]), "\r\r\rStatus: x\n");
    }

    #[test]
    fn what_ends_in_the_middle_of_a_line_is_whole() {
        for message in ["", "Sta", "Status", "Subject: x", "\r", "x\n", " x\n\ny"] {
            assert_eq!(unmarked(&[message.as_bytes()]), message);
        }
        assert_eq!(unmarked(&[b"Status: R"]), "");
        assert!(FIELDS.iter().all(|field| field.len() <= NAME_OCTETS_MAX));
    }
}
