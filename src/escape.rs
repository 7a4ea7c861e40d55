//! The one function that makes untrusted octets fit to be seen.
//!
//! Lives here: the escaping for log lines, listings and header fields alike.
//! May not: be circumvented; whoever prints what a client sent calls this.

use std::fmt::Write;

/// The octets as visible text: what is well-formed UTF-8 and neither a control
/// nor able to reorder text stays as it is; a backslash is doubled; the rest
/// becomes `\xHH` or `\u{HHHH}`.
///
/// ```
/// assert_eq!(postino::escape::visible(b"a\x1b[31mb\xff\\"), r"a\x1b[31mb\xff\\");
/// ```
pub fn visible(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        for c in chunk.valid().chars() {
            // Writing into a String cannot fail.
            let _ = match c {
                '\\' => out.write_str("\\\\"),
                c if c.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(c)),
                c if hides_or_reorders(c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
                c => out.write_char(c),
            };
        }
        for octet in chunk.invalid() {
            let _ = write!(out, "\\x{octet:02x}");
        }
    }
    out
}

/// The value of a `key=value` pair in the log: visible, and in double quotes
/// where it is empty or has a blank, a quote or an equals sign in it.
pub fn value(octets: &[u8]) -> String {
    let text = visible(octets);
    if text.is_empty() || text.contains([' ', '"', '=']) {
        format!("\"{}\"", text.replace('"', "\\\""))
    } else {
        text
    }
}

/// Controls beyond ASCII, line separators, and the characters that change the
/// direction of text or have no width.
fn hides_or_reorders(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::{value, visible};

    #[test]
    fn controls_and_what_reorders_text_are_escaped() {
        assert_eq!(visible("bj\u{f6}rn".as_bytes()), "bj\u{f6}rn");
        assert_eq!(visible(b"a\r\nb\0\x7f"), r"a\x0d\x0ab\x00\x7f");
        assert_eq!(visible("x\u{202e}y\u{85}".as_bytes()), r"x\u{202e}y\u{85}");
    }

    #[test]
    fn a_value_with_blanks_is_quoted() {
        assert_eq!(value(b"plain"), "plain");
        assert_eq!(value(b""), "\"\"");
        assert_eq!(value(b"a \"b\""), r#""a \"b\"""#);
    }
}
