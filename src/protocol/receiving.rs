//! End of DATA and dot-unstuffing (RFC 5321 sections 4.1.1.4 and 4.5.2).
//!
//! Lives here: the decoder, which keeps its state over any split of the input,
//! counts octets as RFC 1870 section 5 does, applies the bare-newline policy, and
//! gives a large message away part by part.
//! May not: choose the moment or the number of replies.
//! Holds: only CRLF "." CRLF ends a message; a line begins only behind a CRLF;
//! no other octet is lost or added, but what the policy and the header filter
//! say.

use super::BareNewlines;
use crate::{
    reply::{self, Reply},
    transaction::{HeaderFacts, HeaderFilter},
};
use memchr::memchr2;

/// Received fields that a message may have (RFC 5321 section 6.3: at least 100).
const RECEIVED_FIELDS_MAX: u32 = 100;

/// Octets of a message that a session keeps at the most, give or take a header
/// line; what is more is spooled. Its buffer is doubled up to that.
pub const PART_OCTETS: usize = 256 * 1024;
/// What a part begins with.
const PART_OCTETS_MIN: usize = 1024;

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// Where in the message's lines the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// First of a line.
    LineStart,
    /// Behind a line's first octet, a dot, which is not part of the message.
    Dot,
    /// Behind a line's first two octets, dot and CR.
    DotCr,
    /// In a line.
    Line,
    /// In a line, behind a CR that is not taken yet.
    LineCr,
}

/// A message that came whole.
#[derive(Debug)]
pub(super) struct Received {
    /// The last part, which is all of it where none was taken before.
    pub(super) body: Vec<u8>,
    pub(super) octets: u64,
    pub(super) bare_newlines: bool,
    pub(super) header: HeaderFacts,
}

/// Decodes the data of one message.
#[derive(Debug)]
pub(super) struct Decoder {
    at: At,
    policy: BareNewlines,
    /// 0: no limit.
    octets_max: u64,
    octets: u64,
    bare_newlines: bool,
    header: HeaderFilter,
    /// What was not taken away yet.
    body: Vec<u8>,
    /// What each recipient will be told, whatever still comes.
    refusal: Option<Reply>,
}

impl Decoder {
    pub(super) fn new(policy: BareNewlines, octets_max: u64) -> Self {
        Self {
            at: At::LineStart,
            policy,
            octets_max,
            octets: 0,
            bare_newlines: false,
            header: HeaderFilter::default(),
            body: Vec::new(),
            refusal: None,
        }
    }

    /// Octets that are kept.
    pub(super) fn kept(&self) -> usize {
        self.body.len()
    }

    /// Octets of memory that are used for them.
    pub(super) fn kept_capacity(&self) -> usize {
        self.body.capacity()
    }

    /// Whether a part is full, so that it has to be taken before more comes.
    pub(super) fn is_full(&self) -> bool {
        self.body.len() >= PART_OCTETS
    }

    /// Takes the part that is there.
    pub(super) fn take_part(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }

    /// Keeps no more memory than this, where what is kept needs no more; says how
    /// much it is now.
    pub(super) fn shrink_to(&mut self, octets: usize) -> usize {
        self.body.shrink_to(octets);
        self.body.capacity()
    }

    /// Gives a part's memory back, to be used again.
    pub(super) fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.body.capacity() == 0 && !self.is_refused() {
            buffer.clear();
            self.body = buffer;
        }
    }

    /// Refuses the message, whatever still comes: the octets up to its end are
    /// read and forgotten.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.refusal.get_or_insert(reply);
        self.body = Vec::new();
    }

    /// Whether the message is refused already.
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Takes octets up to the end of the message or until a part is full; says
    /// how many, and whether the message's end was there.
    // Its loop is faster on its own than within the session's many branches.
    #[inline(never)]
    pub(super) fn decode(&mut self, input: &[u8]) -> (usize, bool) {
        // Each octet that comes adds one; the few that the header filter or the
        // policy add do not matter.
        let room = PART_OCTETS.saturating_sub(self.body.len()).max(1);
        let input = input.get(..room).unwrap_or(input);
        if self.body.capacity() == 0 && !self.is_refused() {
            // At once for all that is here, in however small runs it goes out.
            self.make_room(input.len());
        }
        // What goes out as it came: from `run` to `next`.
        let (mut run, mut next) = (0, 0);
        while let Some(&octet) = input.get(next) {
            match (self.at, octet) {
                (At::LineStart, b'.') => {
                    self.text(&input[run..next]);
                    next += 1;
                    run = next;
                    self.at = At::Dot;
                }
                (At::Dot, CR) => {
                    next += 1;
                    run = next;
                    self.at = At::DotCr;
                }
                (At::DotCr, LF) => return (next + 1, true),
                (At::LineCr, LF) => {
                    self.text(b"\r\n");
                    next += 1;
                    run = next;
                    self.at = At::LineStart;
                }
                (At::DotCr | At::LineCr, _) => {
                    self.bare_newline(CR);
                    self.at = At::Line;
                }
                (At::LineStart | At::Dot, _) => self.at = At::Line,
                (At::Line, _) => {
                    let Some(found) = memchr2(CR, LF, &input[next..]) else {
                        next = input.len();
                        break;
                    };
                    next += found;
                    if input[next..].starts_with(b"\r\n") {
                        next += 2;
                        self.at = At::LineStart;
                        continue;
                    }
                    self.text(&input[run..next]);
                    if input[next] == LF {
                        self.bare_newline(LF);
                    } else {
                        self.at = At::LineCr;
                    }
                    next += 1;
                    run = next;
                }
            }
        }
        self.text(&input[run..next]);
        (next, false)
    }

    /// Ends the message; `Err` is what each recipient is to be told.
    pub(super) fn finish(mut self) -> Result<Received, Reply> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let header = self.header.finish(&mut self.body);
        if header.received_count > RECEIVED_FIELDS_MAX {
            return Err(reply::MAIL_LOOP);
        }
        Ok(Received {
            body: self.body,
            octets: self.octets,
            bare_newlines: self.bare_newlines && self.policy == BareNewlines::Keep,
            header,
        })
    }

    /// Octets of the message itself.
    fn text(&mut self, octets: &[u8]) {
        if octets.is_empty() {
            return;
        }
        self.octets = self.octets.saturating_add(octets.len() as u64);
        self.store(octets);
    }

    fn bare_newline(&mut self, octet: u8) {
        self.octets = self.octets.saturating_add(1);
        self.bare_newlines = true;
        match self.policy {
            BareNewlines::Normalise => self.store(b"\r\n"),
            BareNewlines::Keep | BareNewlines::Reject => self.store(&[octet]),
        }
    }

    fn store(&mut self, octets: &[u8]) {
        if self.octets_max != 0 && self.octets > self.octets_max {
            // It is told before all else: what comes after does not matter.
            self.refusal = Some(reply::MESSAGE_TOO_BIG);
        } else if self.bare_newlines && self.policy == BareNewlines::Reject {
            self.refusal.get_or_insert(reply::BARE_NEWLINE);
        }
        if self.is_refused() {
            // What was kept of a refused message goes at once.
            self.body = Vec::new();
            return;
        }
        self.make_room(octets.len());
        self.header.pass(octets, &mut self.body);
    }

    /// Grows as a Vec does, but not beyond a part.
    fn make_room(&mut self, more: usize) {
        let needed = self.body.len() + more;
        if needed > self.body.capacity() {
            let grown = (2 * self.body.capacity()).clamp(PART_OCTETS_MIN, PART_OCTETS);
            self.body.reserve_exact(needed.max(grown) - self.body.len());
        }
    }
}
