//! End of DATA and dot-unstuffing (RFC 5321 sections 4.1.1.4 and 4.5.2).
//!
//! Lives here: the decoder, which keeps its state over any split of the input,
//! counts octets as RFC 1870 section 5 does, and applies the bare-newline policy.
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
    body: Vec<u8>,
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
        }
    }

    /// Takes octets up to the end of the message; says how many, and whether
    /// that end was there.
    pub(super) fn decode(&mut self, input: &[u8]) -> (usize, bool) {
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
        if self.is_too_big() {
            return Err(reply::MESSAGE_TOO_BIG);
        }
        if self.is_refused() {
            return Err(reply::BARE_NEWLINE);
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
        if self.is_too_big() || self.is_refused() {
            // What was kept of a refused message goes at once.
            self.body = Vec::new();
        } else {
            self.header.pass(octets, &mut self.body);
        }
    }

    fn is_too_big(&self) -> bool {
        self.octets_max != 0 && self.octets > self.octets_max
    }

    fn is_refused(&self) -> bool {
        self.bare_newlines && self.policy == BareNewlines::Reject
    }
}
