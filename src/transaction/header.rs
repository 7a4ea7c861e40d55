//! The header filter: what every message's header passes as it comes.
//!
//! Lives here: dropping Return-Path fields, counting Received fields, and
//! noting the message's id and the client's queue id for the log. Works line by
//! line over any split of the input, in bounded memory, and only up to the
//! first empty line.
//! May not: change or reorder anything else.
//! Holds: a line ends at LF, whether a CR stands before it or not, since that is
//! what the readers of a stored message see.

use memchr::memchr;

/// Octets of a field's name, and of blanks behind it, that are waited for.
const NAME_OCTETS_MAX: usize = 64;
/// The same where the name is Return-Path: as long as a line may be (RFC 5322
/// section 2.1.1), so that blanks do not save such a field.
const RETURN_PATH_OCTETS_MAX: usize = 998;
/// Octets of a Message-ID that are kept for the log.
const MESSAGE_ID_OCTETS_MAX: usize = 255;
/// Octets of the topmost Received field in which an id is looked for.
const RECEIVED_OCTETS_MAX: usize = 1024;
/// Octets of a queue id that are kept for the log.
const QUEUE_ID_OCTETS_MAX: usize = 64;

/// What the filter saw in a message's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// How many Received fields there are.
    pub received_count: u32,
    /// The Message-ID field's value, cut at 255 octets.
    pub message_id: Option<Vec<u8>>,
    /// The `id` of the topmost Received field: the client's queue id.
    pub queue_id: Option<Vec<u8>>,
}

/// Which field the current line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ReturnPath,
    Received,
    MessageId,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the beginning of a line, what is there of it is held back.
    Name,
    /// In a line whose field is known.
    Line,
    /// Behind the first empty line.
    Text,
}

/// Filters one message.
#[derive(Debug)]
pub struct HeaderFilter {
    state: State,
    field: Field,
    held: Vec<u8>,
    /// The value of the field that is being noted.
    noted: Vec<u8>,
    facts: HeaderFacts,
    top_received: Option<Vec<u8>>,
}

impl Default for HeaderFilter {
    fn default() -> Self {
        Self {
            state: State::Name,
            field: Field::Other,
            held: Vec::new(),
            noted: Vec::new(),
            facts: HeaderFacts::default(),
            top_received: None,
        }
    }
}

impl HeaderFilter {
    /// Passes `octets` on to `out`, without what is to be dropped. A few may be
    /// held back until more come.
    pub fn pass(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        while let Some((&first, rest)) = octets.split_first() {
            match self.state {
                State::Text => {
                    out.extend_from_slice(octets);
                    return;
                }
                State::Name => {
                    self.name_octet(first, out);
                    octets = rest;
                }
                State::Line => {
                    let end = memchr(b'\n', octets).map(|at| at + 1);
                    let (line, rest) = octets.split_at(end.unwrap_or(octets.len()));
                    self.line_octets(line, out);
                    if end.is_some() {
                        self.state = State::Name;
                    }
                    octets = rest;
                }
            }
        }
    }

    /// Ends the message: what was held back is part of it.
    pub fn finish(mut self, out: &mut Vec<u8>) -> HeaderFacts {
        if !self.held.is_empty() {
            self.begin_field(Field::Other, out);
        }
        self.end_field();
        self.facts.queue_id = self.top_received.as_deref().and_then(queue_id);
        self.facts
    }

    fn name_octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        if self.held.is_empty() && matches!(octet, b' ' | b'\t') {
            // A folded line goes on with the field before it.
            self.state = State::Line;
            self.line_octets(&[octet], out);
            return;
        }
        self.held.push(octet);
        match octet {
            b'\n' if self.held == b"\n" || self.held == b"\r\n" => {
                self.begin_field(Field::Other, out);
                self.end_field();
                self.state = State::Text;
            }
            b'\n' => {
                self.begin_field(Field::Other, out);
                self.state = State::Name;
            }
            b':' => {
                let field = field_named(&self.held);
                self.begin_field(field, out);
            }
            _ if self.held.len() < NAME_OCTETS_MAX => {}
            b' ' | b'\t' if self.may_be_return_path() => {}
            _ => self.begin_field(Field::Other, out),
        }
    }

    /// Whether more blanks may follow a name of so many octets. Only Return-Path
    /// comes beyond the usual limit, so its name is compared once.
    fn may_be_return_path(&self) -> bool {
        let octets = self.held.len();
        octets < RETURN_PATH_OCTETS_MAX
            && (octets > NAME_OCTETS_MAX || field_named(&self.held) == Field::ReturnPath)
    }

    /// The line's field is known: what was held back goes out, or goes.
    fn begin_field(&mut self, field: Field, out: &mut Vec<u8>) {
        self.end_field();
        self.state = State::Line;
        self.field = field;
        if field == Field::Received {
            self.facts.received_count = self.facts.received_count.saturating_add(1);
        }
        if field != Field::ReturnPath {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
    }

    fn line_octets(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let noted_max = match self.field {
            Field::ReturnPath => return,
            Field::Received if self.top_received.is_none() => RECEIVED_OCTETS_MAX,
            Field::MessageId if self.facts.message_id.is_none() => MESSAGE_ID_OCTETS_MAX,
            Field::Received | Field::MessageId | Field::Other => 0,
        };
        let room = noted_max.saturating_sub(self.noted.len());
        self.noted.reserve(room.min(octets.len()));
        self.noted.extend(octets.iter().filter(|octet| !matches!(octet, b'\r' | b'\n')).take(room));
        out.extend_from_slice(octets);
    }

    fn end_field(&mut self) {
        let noted = std::mem::take(&mut self.noted);
        match self.field {
            Field::Received if self.top_received.is_none() => self.top_received = Some(noted),
            Field::MessageId if self.facts.message_id.is_none() => {
                let value = noted.trim_ascii();
                self.facts.message_id = (!value.is_empty()).then(|| value.to_vec());
            }
            _ => {}
        }
        self.field = Field::Other;
    }
}

/// The field whose name, blanks and colon `held` is.
fn field_named(held: &[u8]) -> Field {
    let name = held.strip_suffix(b":").unwrap_or(held).trim_ascii_end();
    let named = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
    if named("Return-Path") {
        Field::ReturnPath
    } else if named("Received") {
        Field::Received
    } else if named("Message-ID") {
        Field::MessageId
    } else {
        Field::Other
    }
}

/// The token behind the word `id` outside of comments, before the date (RFC 5321
/// section 4.4).
fn queue_id(received: &[u8]) -> Option<Vec<u8>> {
    let (mut depth, mut words) = (0_usize, Vec::with_capacity(received.len()));
    for &octet in received {
        match octet {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => break,
            _ if depth == 0 => words.push(octet),
            _ => {}
        }
    }
    let mut words = words.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.find(|word| word.eq_ignore_ascii_case(b"id"))?;
    words.next().map(|id| id.iter().copied().take(QUEUE_ID_OCTETS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::{HeaderFacts, HeaderFilter};

    fn filtered(message: &[u8], step: usize) -> (Vec<u8>, HeaderFacts) {
        let (mut filter, mut out) = (HeaderFilter::default(), Vec::new());
        for piece in message.chunks(step) {
            filter.pass(piece, &mut out);
        }
        let facts = filter.finish(&mut out);
        (out, facts)
    }

    #[track_caller]
    fn assert_filtered(message: &str, expected: &str) {
        for step in [1, 2, 3, 7, 4096] {
            let (out, _) = filtered(message.as_bytes(), step);
            assert_eq!(String::from_utf8_lossy(&out), expected, "in steps of {step}");
        }
    }

    #[test]
    fn every_return_path_field_goes_with_its_folded_lines() {
        assert_filtered(
            "Return-Path: <a@b>\r\nA: 1\r\nRETURN-PATH \t:\r\n <c@d>\r\n\t(x)\r\nB: 2\n x\r\n\r\n",
            "A: 1\r\nB: 2\n x\r\n\r\n",
        );
    }

    #[test]
    fn blanks_before_the_colon_save_no_return_path() {
        let blanks = |count| " \t".repeat(count);
        for count in [10, 26, 27, 100, 490] {
            let path = format!("Return-Path{}: <a@b>\r\n c\r\nA: 1\r\n", blanks(count));
            assert_filtered(&path, "A: 1\r\n");
            let other = format!("Return-Path{}x: <a@b>\r\nA: 1\r\n", blanks(count));
            assert_filtered(&other, &other);
        }
        let endless = format!("Return-Path{}", blanks(5000));
        assert_filtered(&endless, &endless);
    }

    #[test]
    fn behind_the_first_empty_line_nothing_is_dropped() {
        for empty in ["\r\n", "\n"] {
            let message = format!("A: 1\r\n{empty}Return-Path: <a@b>\r\n");
            assert_filtered(&message, &message);
        }
    }

    #[test]
    fn what_only_looks_like_a_return_path_stays() {
        for message in [
            "Return-Path\r\n: x\r\n",
            "Return-Pathx: y\r\n",
            " Return-Path: y\r\n",
            "X: y\r\n Return-Path: y\r\n",
            "Return-Path",
            "X-Return-Path: y\r\n\r\n",
            "\r",
            "",
        ] {
            assert_filtered(message, message);
        }
    }

    #[test]
    fn a_line_that_is_no_field_does_not_end_the_header() {
        assert_filtered(">From x\r\nReturn-Path: <a@b>\r\nA: 1\r\n", ">From x\r\nA: 1\r\n");
    }

    #[test]
    fn message_id_and_queue_id_are_noted_for_the_log() {
        let message =
            b"Received: from a (b [1.2.3.4] id no)\r\n\tby c (Postfix) with ESMTP id 4XyZ1\r\n\
            \tfor <x@y>; Tue, 24 Nov 2026 08:47:49 +0100\r\nreceived: by d id other\r\n\
            Message-ID:\r\n <1@a>\r\nMessage-ID: <2@a>\r\n\r\nReceived: x\r\n";
        for step in [1, 5, 4096] {
            let (out, facts) = filtered(message, step);
            assert_eq!(out, message);
            assert_eq!(facts.received_count, 2);
            assert_eq!(facts.message_id.as_deref(), Some(&b"<1@a>"[..]));
            assert_eq!(facts.queue_id.as_deref(), Some(&b"4XyZ1"[..]));
        }
    }

    #[test]
    fn a_name_without_end_is_not_held_back_for_ever() {
        let (mut filter, mut out) = (HeaderFilter::default(), Vec::new());
        filter.pass(&[b'x'; 1000], &mut out);
        assert!(out.len() > 900 && filter.held.capacity() < 256);
    }
}
