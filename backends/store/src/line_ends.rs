//! Line ends on their way into a store whose files end lines with LF.
//!
//! Lives here: the conversion, piece by piece, whatever the pieces' borders.
//! May not: touch a CR or LF that stands alone.

use std::io::BufRead;

/// Turns each CRLF into LF over any split of the input.
#[derive(Debug, Default)]
pub struct LineEnds {
    /// A CR ended the last piece: whether it belongs to a CRLF is not known yet.
    pending_cr: bool,
}

impl LineEnds {
    /// A conversion that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `piece` to `out` with each CRLF as LF.
    pub fn to_lf(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        if std::mem::take(&mut self.pending_cr) && piece[0] != b'\n' {
            out.push(b'\r');
        }
        let mut rest = piece;
        while !rest.is_empty() {
            // Goes over the octets with the system's memchr; a slice never fails.
            let length = (&mut &*rest).skip_until(b'\n').unwrap_or(rest.len());
            let (line, behind) = rest.split_at(length);
            match line {
                [line @ .., b'\r', b'\n'] => {
                    out.extend_from_slice(line);
                    out.push(b'\n');
                }
                [line @ .., b'\r'] => {
                    self.pending_cr = true;
                    out.extend_from_slice(line);
                }
                _ => out.extend_from_slice(line),
            }
            rest = behind;
        }
    }

    /// Ends the input: a CR that was held back is part of the message.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.pending_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LineEnds;

    #[test]
    fn each_crlf_becomes_lf_and_no_other_octet_changes_at_any_split() {
        let input = b"a\r\nb\rc\nd\r\r\n\r\n\r";
        for split in 0..=input.len() {
            let (mut ends, mut out) = (LineEnds::new(), Vec::new());
            ends.to_lf(&input[..split], &mut out);
            ends.to_lf(&input[split..], &mut out);
            ends.finish(&mut out);
            assert_eq!(out, b"a\nb\rc\nd\r\n\n\r", "split at {split}");
        }
    }
}
