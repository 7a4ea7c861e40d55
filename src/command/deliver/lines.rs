//! The message's lines as they come on a pipe.
//!
//! Lives here: a leading From_ line, which goes; line ends, which become those of
//! the wire; the end of a last line that has none.
//! May not: read, nor know where the octets go.
//! Holds: any split of the input gives the same; a CRLF is never split between two
//! parts of the message.
//!
//! A pipe has lines that end with LF. So an LF is a line end as long as no CRLF has
//! come, and becomes a CRLF. Where one comes after all, the message is mixed, and
//! what was made of its LFs is undone: then each octet is the message's own, as it
//! is by LMTP.

use crate::{
    protocol::{BareNewlines, Intake, PART_OCTETS, Received},
    reply::Reply,
};
use memchr::{memchr, memchr2, memmem};

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// What begins a From_ line.
const FROM: &[u8] = b"From ";

/// What is to be done before more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Go,
    /// A part is full and has to be taken away.
    Full,
    /// The message is mixed: [`undo`] is for the parts that were taken away.
    Mixed,
}

/// How far the beginning is.
#[derive(Debug)]
enum Start {
    /// So many octets of [`FROM`] came.
    From(usize),
    /// In a From_ line.
    InFromLine,
    /// It is over.
    Over,
}

/// How lines end.
#[derive(Debug)]
enum Ends {
    /// By LF, of which so many became CRLF.
    Lf(u64),
    /// As the wire has it, or mixed.
    AsTheyAre,
}

/// Reads the lines of one message.
#[derive(Debug)]
pub(super) struct Lines {
    /// What takes the message in.
    pub(super) intake: Intake,
    policy: BareNewlines,
    start: Start,
    ends: Ends,
    /// A CR came that is not taken yet.
    has_cr: bool,
    is_in_line: bool,
}

impl Lines {
    /// A message of `octets_max` octets at the most; 0 is no limit.
    pub(super) fn new(policy: BareNewlines, octets_max: u64) -> Self {
        Self {
            intake: Intake::new(policy, octets_max),
            policy,
            start: Start::From(0),
            ends: Ends::Lf(0),
            has_cr: false,
            is_in_line: false,
        }
    }

    /// Takes octets; says how many, and what is to be done before the next.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Next) {
        let begun = self.begin(input);
        // Each octet that comes adds two at the most.
        let room = (PART_OCTETS.saturating_sub(self.intake.kept()) / 2).max(1);
        let rest = input.get(begun..).unwrap_or_default();
        let rest = rest.get(..room).unwrap_or(rest);
        self.intake.expect(rest.len());
        let (taken, next) = self.text(rest);
        match next {
            Next::Go if self.intake.is_full() => (begun + taken, Next::Full),
            next => (begun + taken, next),
        }
    }

    /// Ends the message; `Err` is what each recipient is to be told.
    pub(super) fn finish(mut self) -> Result<Received, Reply> {
        self.leave_start();
        if self.has_cr {
            self.intake.bare_newline(CR);
        }
        if self.is_in_line {
            self.intake.text(b"\r\n");
        }
        self.intake.finish()
    }

    /// Takes the octets of a From_ line.
    fn begin(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        while let Start::From(matched) = self.start {
            match input.get(taken) {
                None => return taken,
                Some(octet) if FROM.get(matched) == Some(octet) => {
                    taken += 1;
                    let is_whole = matched + 1 == FROM.len();
                    self.start =
                        if is_whole { Start::InFromLine } else { Start::From(matched + 1) };
                }
                Some(_) => self.leave_start(),
            }
        }
        if let Start::InFromLine = self.start {
            let rest = input.get(taken..).unwrap_or_default();
            let Some(end) = memchr(LF, rest) else { return input.len() };
            self.start = Start::Over;
            taken += end + 1;
        }
        taken
    }

    /// What began like a From_ line was none.
    fn leave_start(&mut self) {
        if let Start::From(matched) = self.start {
            self.is_in_line = matched > 0;
            self.intake.text(FROM.get(..matched).unwrap_or_default());
            self.start = Start::Over;
        }
    }

    fn text(&mut self, input: &[u8]) -> (usize, Next) {
        // What goes out as it came: from `run` to `next`.
        let (mut run, mut next) = (0, 0);
        while let Some(&octet) = input.get(next) {
            if self.has_cr {
                if octet == LF {
                    if self.turns_out_mixed() {
                        return (next, Next::Mixed);
                    }
                    self.end_line(b"\r\n");
                    next += 1;
                    run = next;
                    continue;
                }
                self.has_cr = false;
                self.intake.bare_newline(CR);
            }
            self.is_in_line = true;
            let rest = input.get(next..).unwrap_or_default();
            let Some(found) = memchr2(CR, LF, rest) else { break };
            next += found;
            self.intake.text(input.get(run..next).unwrap_or_default());
            if rest.get(found) == Some(&CR) {
                self.has_cr = true;
            } else if let Ends::Lf(count) = &mut self.ends {
                *count += 1;
                self.end_line(b"\r\n");
            } else {
                self.intake.bare_newline(LF);
                self.is_in_line = false;
            }
            next += 1;
            run = next;
        }
        self.intake.text(input.get(run..).unwrap_or_default());
        (input.len(), Next::Go)
    }

    fn end_line(&mut self, end: &[u8]) {
        self.intake.text(end);
        self.has_cr = false;
        self.is_in_line = false;
    }

    /// Whether a CRLF makes the message a mixed one; then what is kept is as it came.
    fn turns_out_mixed(&mut self) -> bool {
        let Ends::Lf(count) = self.ends else { return false };
        if self.policy == BareNewlines::Normalise {
            // Each LF is a line end then as well.
            return false;
        }
        self.ends = Ends::AsTheyAre;
        if count > 0 {
            let mut kept = self.intake.take_part();
            let octets = undo(&mut kept);
            kept.truncate(octets);
            self.intake.put_back(kept, count);
        }
        count > 0
    }
}

/// Makes each CRLF an LF again, in place; says how many octets there are then. A CR
/// at the end stays.
pub(super) fn undo(octets: &mut [u8]) -> usize {
    let (mut read, mut write) = (0, 0);
    while read < octets.len() {
        let rest = octets.get(read..).unwrap_or_default();
        let run = memmem::find(rest, b"\r\n").unwrap_or(rest.len());
        let is_end = run == rest.len();
        octets.copy_within(read..read + run, write);
        write += run;
        read += run;
        if !is_end {
            // The LF goes with what follows.
            read += 1;
            octets.copy_within(read..=read, write);
            write += 1;
            read += 1;
        }
    }
    write
}

#[cfg(test)]
mod tests {
    use super::{Lines, Next, undo};
    use crate::protocol::BareNewlines;
    use proptest::prelude::*;

    /// The body, and whether it has bare newlines; or the refusal's codes.
    fn taken(input: &[u8], step: usize, policy: BareNewlines) -> Result<(Vec<u8>, bool), String> {
        let mut lines = Lines::new(policy, 0);
        let mut spooled: Vec<u8> = Vec::new();
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                let (count, next) = lines.take(piece);
                piece = &piece[count..];
                match next {
                    Next::Go => {}
                    Next::Full => spooled.extend(lines.intake.take_part()),
                    Next::Mixed => {
                        let octets = undo(&mut spooled);
                        spooled.truncate(octets);
                    }
                }
            }
        }
        let received = lines.finish().map_err(|reply| reply.codes().to_string())?;
        spooled.extend(&received.body);
        // Fields that were dropped count, too.
        assert!(policy != BareNewlines::Keep || received.octets >= spooled.len() as u64);
        Ok((spooled, received.bare_newlines))
    }

    #[track_caller]
    fn assert_kept(input: &str, expected: &str, bare_newlines: bool) {
        for step in [1, 2, 3, 4096] {
            let (body, bare) = taken(input.as_bytes(), step, BareNewlines::Keep).unwrap();
            assert_eq!((&*String::from_utf8_lossy(&body), bare), (expected, bare_newlines));
        }
    }

    #[test]
    fn lines_of_lf_or_of_crlf_become_those_of_the_wire() {
        assert_kept("A: 1\n\ntext\n", "A: 1\r\n\r\ntext\r\n", false);
        assert_kept("A: 1\r\n\r\ntext\r\n", "A: 1\r\n\r\ntext\r\n", false);
        assert_kept("\n", "\r\n", false);
        assert_kept("", "", false);
    }

    #[test]
    fn a_last_line_without_an_end_gets_one() {
        assert_kept("A: 1\n\ntext", "A: 1\r\n\r\ntext\r\n", false);
        assert_kept("A: 1\r\n\r\ntext", "A: 1\r\n\r\ntext\r\n", false);
        assert_kept("x", "x\r\n", false);
        assert_kept("Fro", "Fro\r\n", false);
        assert_kept("x\r", "x\r\r\n", true);
    }

    #[test]
    fn a_mixed_message_stays_octet_for_octet() {
        assert_kept("A: 1\n\na\r\nb\n", "A: 1\n\na\r\nb\n", true);
        assert_kept("A: 1\r\n\r\na\nb\r\n", "A: 1\r\n\r\na\nb\r\n", true);
        assert_kept("a\rb\n", "a\rb\r\n", true);
        assert_kept("a\n\r\n", "a\n\r\n", true);
        assert_kept("a\n\r\r\n", "a\n\r\r\n", true);
    }

    #[test]
    fn only_the_first_line_is_a_from_line() {
        assert_kept("From x Tue\nA: 1\nFrom y\n", "A: 1\r\nFrom y\r\n", false);
        assert_kept("From x Tue\r\nA: 1\r\n", "A: 1\r\n", false);
        assert_kept("From x Tue\nA: 1\r\n", "A: 1\r\n", false);
        assert_kept(">From x\nA: 1\n", ">From x\r\nA: 1\r\n", false);
        assert_kept("From: x\n", "From: x\r\n", false);
        assert_kept("From ", "", false);
        assert_kept("From x", "", false);
    }

    #[test]
    fn return_path_goes_in_whatever_lines_it_stands() {
        assert_kept("Return-Path: <x>\n y\nA: 1\n\n", "A: 1\r\n\r\n", false);
        assert_kept("A: 1\nReturn-Path: <x>\n\na\r\n", "A: 1\n\na\r\n", true);
    }

    #[test]
    fn a_policy_of_ones_own_holds() {
        let of = |input: &str, policy| taken(input.as_bytes(), 3, policy);
        let normal = Ok((b"a\r\nb\r\nc\r\nd\r\n".to_vec(), false));
        assert_eq!(of("a\nb\r\nc\rd\n", BareNewlines::Normalise), normal);
        assert_eq!(of("a\nb\n", BareNewlines::Reject), Ok((b"a\r\nb\r\n".to_vec(), false)));
        for mixed in ["a\nb\r\n", "a\r\nb\n", "a\rb\n", "a\r"] {
            assert_eq!(of(mixed, BareNewlines::Reject), Err("554 5.6.0".to_owned()), "{mixed:?}");
        }
    }

    #[test]
    fn what_turns_out_mixed_late_is_as_it_came() {
        let mut message = "some line of text\n".repeat(60_000).into_bytes();
        message.extend(b"\r\n");
        let (body, bare) = taken(&message, 65_536, BareNewlines::Keep).unwrap();
        assert!(bare && body == message);
    }

    proptest! {
        #[test]
        fn the_split_of_the_input_makes_no_difference(
            words in prop::collection::vec(
                prop::sample::select(vec!["\r", "\n", "\r\n", "a", "From ", "Return-Path: x"]), 0..20
            ),
            step in 1_usize..6,
        ) {
            let message = words.concat().into_bytes();
            for policy in [BareNewlines::Keep, BareNewlines::Normalise, BareNewlines::Reject] {
                prop_assert_eq!(taken(&message, step, policy), taken(&message, 4096, policy));
            }
        }
    }
}
