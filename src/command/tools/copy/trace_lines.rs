//! The lines that a delivery has put before a message.
//!
//! Lives here: where they end, and what they say of sender and recipient.
//! May not: change an octet, or look at more than the beginning of a message.

/// Octets at the beginning of a message among which these lines are looked for.
pub(super) const OCTETS_MAX: usize = 8 * 1024;

/// The fields that stand before the one Received.
const RETURN_PATH: &str = "Return-Path";
const ORIGINAL_TO: &str = "X-Original-To";
const DELIVERED_TO: &str = "Delivered-To";
const RECEIVED: &str = "Received";

/// What a delivery has put there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TraceLines {
    /// Octets of these lines.
    pub(super) octets: usize,
    /// The reverse-path without brackets, empty for `<>`.
    pub(super) return_path: Option<String>,
    /// The recipient's address.
    pub(super) delivered_to: Option<String>,
}

impl TraceLines {
    /// Those at the beginning of a message, of which this is the beginning. A field
    /// that may go on behind it is none of them.
    pub(super) fn of(mut beginning: &[u8]) -> Self {
        let mut lines = Self::default();
        while let Some(octets) = field(beginning) {
            let (field, rest) = beginning.split_at(octets);
            let Some(colon) = field.iter().position(|octet| *octet == b':') else { break };
            let (name, value) = field.split_at(colon);
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            let value = || value.get(1..).and_then(text);
            if is(RETURN_PATH) {
                lines.return_path = lines.return_path.or_else(|| value().map(without_brackets));
            } else if is(DELIVERED_TO) {
                lines.delivered_to = lines.delivered_to.or_else(|| value().map(str::to_owned));
            } else if !is(ORIGINAL_TO) && !is(RECEIVED) {
                break;
            }
            lines.octets += octets;
            beginning = rest;
            if is(RECEIVED) {
                break;
            }
        }
        lines
    }
}

/// Octets of the field that begins here, with the lines that continue it; none
/// where its end cannot be seen.
fn field(octets: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        if end > 0 && !line.starts_with(b" ") && !line.starts_with(b"\t") {
            return Some(end);
        }
        end += line.len();
    }
    None
}

/// A field's value where it is one line of text.
fn text(value: &[u8]) -> Option<&str> {
    let text = str::from_utf8(value).ok()?.trim();
    (!text.contains(char::is_control)).then_some(text)
}

fn without_brackets(path: &str) -> String {
    let inner = path.strip_prefix('<').and_then(|path| path.strip_suffix('>'));
    inner.unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::TraceLines;

    #[test]
    fn a_deliverys_lines_end_behind_its_one_received() {
        let header = "Return-Path: <x@y>\r\nX-Original-To: b@d\r\ndelivered-to: B+c@d\r\n\
                      Received: from a\r\n\tby b\r\n for c\r\n";
        for behind in ["Received: from z\r\n", "Subject: s\r\n", "\r\n", "Delivered-To: q@d\r\n"] {
            for header in [header.to_owned(), header.replace("\r\n", "\n")] {
                let lines = TraceLines::of(format!("{header}{behind}").as_bytes());
                assert_eq!(lines.octets, header.len());
                assert_eq!(lines.return_path.as_deref(), Some("x@y"));
                assert_eq!(lines.delivered_to.as_deref(), Some("B+c@d"));
            }
        }
    }

    #[test]
    fn only_at_the_very_beginning_and_only_what_is_whole() {
        let octets = |beginning: &str| TraceLines::of(beginning.as_bytes()).octets;
        assert_eq!(octets(""), 0);
        assert_eq!(octets("Subject: s\nReturn-Path: <>\n\n"), 0);
        assert_eq!(octets("\nReturn-Path: <>\nx\n"), 0);
        assert_eq!(octets("Return-Path: <>\n"), 0, "it may go on");
        assert_eq!(octets("Return-Path: <>\nReceived: x\n\ty\n"), 16);
        assert_eq!(octets("Return-Path: <>\nReceived: x\n\ty\n\n"), 31);
        assert_eq!(octets("Return-Path\nx\n"), 0);
        assert_eq!(octets(" Return-Path: <>\nx\n"), 0);
    }

    #[test]
    fn what_cannot_be_an_address_is_none() {
        let lines = TraceLines::of(b"Return-Path: <>\nDelivered-To: a\x1b@d\nx\n");
        assert_eq!(lines.return_path.as_deref(), Some(""));
        assert_eq!(lines.delivered_to, None);
        assert_eq!(TraceLines::of(b"Return-Path: <a\n b>\nx\n").return_path, None);
        assert_eq!(TraceLines::of(b"Return-Path: a\xff\nx\n").return_path, None);
    }
}
