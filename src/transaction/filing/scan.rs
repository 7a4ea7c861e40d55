//! The scan of a message's header for what rules look at.
//!
//! Lives here: from octets, split anywhere, to the first rule that fits.
//! May not: know what becomes of the message.
//! Holds: the time is linear in the octets that are looked at, of which there are
//! [`LOOKED_AT_OCTETS`] at the most; what is kept of a field is no longer than
//! what a rule may say. As in the header filter, a line ends at LF, and one that is
//! no field does not end the header.

use super::rule::{NAME_OCTETS_MAX, Rule, VALUE_OCTETS_MAX};
use memchr::memchr;
use std::io::{self, BufRead};

/// Octets of a message that are looked at. A field that does not end within them is
/// not.
pub const LOOKED_AT_OCTETS: usize = 256 * 1024;
/// The first rule that one of the message's top-level header fields fits; reads no
/// further than it has to. `Err`: the message cannot be read.
pub(super) fn first_that_fits<'a>(
    rules: &'a [Rule],
    message: &mut impl BufRead,
) -> io::Result<Option<&'a Rule>> {
    let mut scan = Scan::new(rules);
    while !rules.is_empty() {
        let octets = match message.fill_buf() {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let count = octets.len();
        if count == 0 || !scan.pass(octets) {
            break;
        }
        message.consume(count);
    }
    Ok(scan.finish())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a line's first octet.
    Line,
    /// Behind a CR that begins a line.
    EmptyLine,
    /// In a field's name.
    Name,
    /// In the blanks behind it.
    Blanks,
    /// In the value of a field that a rule names.
    Value,
    /// In a line that no rule looks at.
    Other,
    /// Nothing more can change the result.
    Done,
}

/// Looks for the first rule that a header fits.
struct Scan<'a> {
    /// Those that go before what was found.
    rules: &'a [Rule],
    found: Option<&'a Rule>,
    state: State,
    /// Octets that may still be looked at.
    rest: usize,
    name: Vec<u8>,
    /// The value without blanks in front, as far as a rule can say it.
    value: Vec<u8>,
    /// The value goes on behind that.
    is_longer: bool,
    /// The field that the last line belongs to is one that a rule names.
    is_named: bool,
}

impl<'a> Scan<'a> {
    fn new(rules: &'a [Rule]) -> Self {
        Self {
            rules,
            found: None,
            state: State::Line,
            rest: LOOKED_AT_OCTETS,
            name: Vec::new(),
            value: Vec::new(),
            is_longer: false,
            is_named: false,
        }
    }

    /// Takes more of the message; says whether it wants more behind that.
    fn pass(&mut self, octets: &[u8]) -> bool {
        let is_beyond = octets.len() > self.rest;
        let mut octets = octets.get(..self.rest).unwrap_or(octets);
        self.rest -= octets.len();
        while let Some((&first, rest)) = octets.split_first() {
            octets = match self.state {
                State::Done => break,
                State::Value | State::Other => {
                    let end = memchr(b'\n', octets).map(|at| at + 1);
                    let (line, rest) = octets.split_at(end.unwrap_or(octets.len()));
                    if self.state == State::Value {
                        self.take_value(line);
                    }
                    if end.is_some() {
                        self.state = State::Line;
                    }
                    rest
                }
                State::Line | State::EmptyLine | State::Name | State::Blanks => {
                    self.octet(first);
                    rest
                }
            };
        }
        if is_beyond && self.state != State::Done {
            self.is_named = false;
            self.state = State::Done;
        }
        self.state != State::Done
    }

    /// Ends the header, if it has not ended.
    fn finish(mut self) -> Option<&'a Rule> {
        self.end_field();
        self.found
    }

    fn octet(&mut self, octet: u8) {
        let is_blank = matches!(octet, b' ' | b'\t');
        if self.state == State::Line {
            if is_blank {
                // A folded line goes on with the field before it.
                self.state = if self.is_named { State::Value } else { State::Other };
                self.take_value(&[octet]);
                return;
            }
            self.end_field();
            if self.state == State::Done {
                return;
            }
            self.name.clear();
            self.state = State::Name;
        }
        self.state = match (self.state, octet) {
            (State::EmptyLine, b'\n') => State::Done,
            (State::EmptyLine, _) => State::Other,
            (State::Name, b'\n') if self.name.is_empty() => State::Done,
            (_, b'\n') => State::Line,
            (State::Name, b'\r') if self.name.is_empty() => State::EmptyLine,
            (_, b':') => self.begin_value(),
            _ if is_blank => State::Blanks,
            (State::Name, _) if self.name.len() < NAME_OCTETS_MAX => {
                self.name.push(octet);
                State::Name
            }
            _ => State::Other,
        };
    }

    fn begin_value(&mut self) -> State {
        let is_its = |rule: &Rule| rule.header.is(&self.name);
        self.is_named = self.rules.iter().any(is_its);
        if self.is_named { State::Value } else { State::Other }
    }

    fn take_value(&mut self, octets: &[u8]) {
        if self.is_longer {
            return;
        }
        for &octet in octets {
            let is_blank = matches!(octet, b' ' | b'\t');
            if matches!(octet, b'\r' | b'\n') || is_blank && self.value.is_empty() {
                continue;
            }
            if self.value.len() < VALUE_OCTETS_MAX {
                self.value.push(octet);
            } else if !is_blank {
                self.is_longer = true;
                return;
            }
        }
    }

    fn end_field(&mut self) {
        if self.is_named {
            let value = if self.is_longer { &self.value } else { self.value.trim_ascii_end() };
            let fits = |rule: &Rule| {
                rule.header.is(&self.name) && rule.value.matches(value, self.is_longer)
            };
            if let Some(at) = self.rules.iter().position(fits) {
                self.found = self.rules.get(at);
                self.rules = self.rules.get(..at).unwrap_or_default();
            }
        }
        if self.rules.is_empty() {
            self.state = State::Done;
        }
        self.value.clear();
        (self.is_named, self.is_longer) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rule::{FieldName, Folder, Pattern},
        LOOKED_AT_OCTETS, NAME_OCTETS_MAX, Rule, Scan, VALUE_OCTETS_MAX, first_that_fits,
    };
    use proptest::prelude::*;

    fn rules(rules: &[(&str, &str, &str)]) -> Vec<Rule> {
        let rule = |(header, value, folder): &(&str, &str, &str)| Rule {
            header: FieldName::parse(header).unwrap(),
            value: Pattern::parse(value).unwrap(),
            folder: Folder::parse(folder).unwrap(),
        };
        rules.iter().map(rule).collect()
    }

    fn found<'a>(rules: &'a [Rule], message: &[u8], step: usize) -> Option<&'a str> {
        let mut scan = Scan::new(rules);
        for piece in message.chunks(step) {
            if !scan.pass(piece) {
                break;
            }
        }
        scan.finish().map(|rule| rule.folder.as_str())
    }

    #[track_caller]
    fn assert_goes(given: &[(&str, &str, &str)], message: &str, folder: Option<&str>) {
        let rules = rules(given);
        for step in [1, 2, 3, 7, 4096] {
            assert_eq!(found(&rules, message.as_bytes(), step), folder, "{message:?} by {step}");
        }
        let first = first_that_fits(&rules, &mut message.as_bytes()).unwrap();
        assert_eq!(first.map(|rule| rule.folder.as_str()), folder, "{message:?}");
    }

    const JUNK: &[(&str, &str, &str)] = &[("X-Spam", "yes", "Junk")];

    #[test]
    fn names_and_values_are_compared_without_case_and_blanks_around() {
        for message in [
            "X-Spam: yes\r\n\r\n",
            "x-SPAM:YES\n\n",
            "A: 1\r\nX-Spam \t: \t Yes \t\r\nB: 2\r\n\r\n",
            "X-Spam:\r\n yes\r\n\r\n",
            "X-Spam:\r\n\t\r\n yes\r\n \r\n\r\n",
            "X-Spam: no\r\nX-Spam: yes",
            ">From x\r\nX-Spam: yes\r\n\r\n",
        ] {
            assert_goes(JUNK, message, Some("Junk"));
        }
        for message in [
            "",
            "X-Spam",
            "X-Spam: yes, very\r\n\r\n",
            "X-Spam: y\r\n es\r\n\r\n",
            "X-Spam: ye\r\n\r\n",
            "X Spam: yes\r\n\r\n",
            "X-Spammy: yes\r\n\r\n",
            "X-Spam\r\n: yes\r\n\r\n",
            " X-Spam: yes\r\n\r\n",
            "Subject: x\r\n X-Spam: yes\r\n\r\n",
            "no field\r\n X-Spam: yes\r\n\r\n",
        ] {
            assert_goes(JUNK, message, None);
        }
    }

    #[test]
    fn behind_the_header_nothing_is_looked_at() {
        for message in
            ["A: 1\r\n\r\nX-Spam: yes\r\n", "A: 1\n\nX-Spam: yes\n", "\r\nX-Spam: yes\r\n"]
        {
            assert_goes(JUNK, message, None);
        }
        // A CR alone is no empty line.
        assert_goes(JUNK, "\rx\nX-Spam: yes\n", Some("Junk"));
    }

    #[test]
    fn a_folded_value_is_one_line() {
        let rules = [("List-Id", "a b\tc", "Lists")];
        assert_goes(&rules, "List-Id: a\r\n b\r\n\tc\r\n\r\n", Some("Lists"));
    }

    #[test]
    fn a_star_at_the_end_stands_for_anything() {
        let rules = [("X-Spam-Level", "*****", "Maybe"), ("Precedence", "*", "Bulk")];
        assert_goes(&rules, "X-Spam-Level: ****\r\n\r\n", Some("Maybe"));
        assert_goes(&rules, "X-Spam-Level: *********\r\n\r\n", Some("Maybe"));
        assert_goes(&rules, "X-Spam-Level: ***\r\n\r\n", None);
        assert_goes(&rules, "Precedence:\r\n\r\n", Some("Bulk"));
    }

    #[test]
    fn the_first_rule_wins_whatever_the_fields_order() {
        let rules = [("X-Spam", "yes", "Junk"), ("List-Id", "*", "Lists")];
        assert_goes(&rules, "List-Id: x\r\nX-Spam: yes\r\n\r\n", Some("Junk"));
        assert_goes(&rules, "X-Spam: yes\r\nList-Id: x\r\n\r\n", Some("Junk"));
        assert_goes(&rules, "X-Spam: no\r\nList-Id: x\r\n\r\n", Some("Lists"));
    }

    #[test]
    fn a_value_longer_than_a_rule_is_never_exactly_it() {
        let longest = "x".repeat(VALUE_OCTETS_MAX);
        let exact = [("A", longest.as_str(), "F")];
        let blanks = " ".repeat(2 * VALUE_OCTETS_MAX);
        assert_goes(&exact, &format!("A: {longest}{blanks}\r\n\r\n"), Some("F"));
        assert_goes(&exact, &format!("A: {longest}{blanks}y\r\n\r\n"), None);
        assert_goes(&[("A", "x", "F")], &format!("A: x{blanks}y\r\n\r\n"), None);
        assert_goes(&[("A", "x*", "F")], &format!("A: {longest}y\r\n\r\n"), Some("F"));
    }

    #[test]
    fn only_the_first_256_kib_are_looked_at() {
        let rules = rules(&[("X-Spam", "yes*", "Junk")]);
        let field = "X-Spam: yes\r\n";
        let before = |octets: usize| format!("A: {}\r\n", "x".repeat(octets - 5));
        let fits = before(LOOKED_AT_OCTETS - field.len()) + field;
        for (message, folder) in [
            (fits.clone(), Some("Junk")),
            (format!("{fits}\r\ntext"), None),
            (
                format!("{}{field}\r\ntext", before(LOOKED_AT_OCTETS - field.len() - 2)),
                Some("Junk"),
            ),
            (format!("X-Spam: yes{}", "x".repeat(LOOKED_AT_OCTETS)), None),
        ] {
            for step in [1, 4095, usize::MAX] {
                assert_eq!(found(&rules, message.as_bytes(), step), folder, "by {step}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_split_of_a_message_gives_the_same(
            message in "(X-Spam|List-Id|A|x| |\t|:|yes|no|\r|\n|\r\n|\r\n\r\n){0,24}",
            cuts in proptest::collection::vec(1_usize..9, 1..9),
        ) {
            let rules = rules(&[("X-Spam", "yes", "Junk"), ("List-Id", "x*", "Lists")]);
            let whole = found(&rules, message.as_bytes(), usize::MAX);
            let (mut scan, mut rest) = (Scan::new(&rules), message.as_bytes());
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                rest = behind;
                if !scan.pass(piece) || rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(scan.finish().map(|rule| rule.folder.as_str()), whole);
        }

        #[test]
        fn what_is_kept_of_any_message_is_bounded(
            octet in proptest::sample::select(b"X: \r\nyx".to_vec()), count in 1_usize..70_000,
        ) {
            let rules = rules(&[("X", "y*", "F")]);
            let mut scan = Scan::new(&rules);
            scan.pass(b"X: z");
            scan.pass(&vec![octet; count]);
            prop_assert!(scan.name.len() <= NAME_OCTETS_MAX);
            prop_assert!(scan.value.len() <= VALUE_OCTETS_MAX);
        }
    }
}
