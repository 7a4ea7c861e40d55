//! Large messages, made again for each who wants one.
//!
//! Lives here: a message's lines, as they are sent and as each store has them.
//! May not: know a store.

use std::io::Write;

const FILLING: &[u8; 900] = &[b'x'; 900];

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// As a client says it: CRLF, and doubled dots.
    Said,
    Crlf,
    Lf,
    /// LF, and quoted From lines.
    Mbox,
}

/// Writes a message of as many octets, or a few more, but for its final dot.
/// Another for each number: lines of all lengths, some of which begin with a dot
/// or as a From line does.
pub(crate) fn write_lines(number: usize, octets: usize, form: Form, output: &mut impl Write) {
    let end: &[u8] = if matches!(form, Form::Said | Form::Crlf) { b"\r\n" } else { b"\n" };
    let mut put = |parts: &[&[u8]]| {
        for part in parts {
            output.write_all(part).unwrap();
        }
        output.write_all(end).unwrap();
        parts.iter().map(|part| part.len()).sum::<usize>() + end.len()
    };
    let mut written = put(&[b"Subject: large"]) + put(&[]);
    let mut state = number as u64 + 1;
    while written < octets {
        // A congruential generator: its upper bits are mixed enough.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let filling = &FILLING[..usize::try_from(state >> 33).unwrap() % FILLING.len()];
        let text = format!("{state:x}");
        // Octets that only some forms have would make messages differ in lines.
        written += 2 - end.len();
        written += match state >> 62 {
            0 if form == Form::Said => put(&[b"..", text.as_bytes(), filling]) - 1,
            0 => put(&[b".", text.as_bytes(), filling]),
            1 if form == Form::Mbox => put(&[b">From ", text.as_bytes(), filling]) - 1,
            1 => put(&[b"From ", text.as_bytes(), filling]),
            _ => put(&[text.as_bytes(), filling]),
        };
    }
}
