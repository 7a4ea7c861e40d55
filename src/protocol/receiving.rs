//! End of DATA and dot-unstuffing (RFC 5321 sections 4.1.1.4 and 4.5.2).
//!
//! Lives here: the decoder, which keeps its state over any split of the input and
//! tells line ends and bare newlines apart; `intake` takes what it finds.
//! May not: choose the moment or the number of replies.
//! Holds: only CRLF "." CRLF ends a message; a line begins only behind a CRLF;
//! no other octet is lost or added, but what the policy and the header filter
//! say.

use super::intake::{Intake, PART_OCTETS};
use memchr::memchr2;

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

/// Decodes the data of one message.
#[derive(Debug)]
pub(super) struct Decoder {
    at: At,
    pub(super) intake: Intake,
}

impl Decoder {
    pub(super) fn new(intake: Intake) -> Self {
        Self { at: At::LineStart, intake }
    }

    /// Takes octets up to the end of the message or until a part is full; says
    /// how many, and whether the message's end was there.
    // Its loop is faster on its own than within the session's many branches.
    #[inline(never)]
    pub(super) fn decode(&mut self, input: &[u8]) -> (usize, bool) {
        // Each octet that comes adds one; the few that the header filter or the
        // policy add do not matter.
        let room = PART_OCTETS.saturating_sub(self.intake.kept()).max(1);
        let input = input.get(..room).unwrap_or(input);
        self.intake.expect(input.len());
        // What goes out as it came: from `run` to `next`.
        let (mut run, mut next) = (0, 0);
        while let Some(&octet) = input.get(next) {
            match (self.at, octet) {
                (At::LineStart, b'.') => {
                    self.intake.text(&input[run..next]);
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
                    self.intake.text(b"\r\n");
                    next += 1;
                    run = next;
                    self.at = At::LineStart;
                }
                (At::DotCr | At::LineCr, _) => {
                    self.intake.bare_newline(CR);
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
                    self.intake.text(&input[run..next]);
                    if input[next] == LF {
                        self.intake.bare_newline(LF);
                    } else {
                        self.at = At::LineCr;
                    }
                    next += 1;
                    run = next;
                }
            }
        }
        self.intake.text(&input[run..next]);
        (next, false)
    }
}
