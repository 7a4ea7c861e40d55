//! From what stands of a message in the file back to what came.
//!
//! Lives here: undoing the quotes, over any split of the input.
//! May not: touch the file, or the line ends.
//!
//! Mboxrd is undone exactly. Mboxo is not to be: `>From ` becomes `From `, which is
//! what a message has far oftener, so that one that came with `>From ` loses the `>`.

use crate::render::{FROM, Format};
use memchr::memchr;

/// Takes one `>` from before what looked like a From_ line.
#[derive(Clone, Debug)]
pub(super) struct Unquoting {
    format: Format,
    /// Where in a line the next octet stands.
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Begin,
    /// Behind one `>` that is held back; all others were given.
    Arrows,
    /// Behind that and so much of `From `, held back too.
    Matched(usize),
    Text,
}

impl Unquoting {
    pub(super) fn new(format: Format) -> Self {
        Self { format, at: At::Begin }
    }

    /// Appends what `stored` was before it was quoted.
    pub(super) fn undo(&mut self, mut stored: &[u8], out: &mut Vec<u8>) {
        while let Some(octet) = stored.first() {
            self.at = match self.at {
                At::Begin if *octet == b'>' => At::Arrows,
                At::Arrows if *octet == b'>' && self.format == Format::Mboxrd => {
                    // Which of them goes makes no difference.
                    out.push(b'>');
                    At::Arrows
                }
                At::Arrows if FROM.first() == Some(octet) => At::Matched(1),
                At::Matched(count) if FROM.get(count) == Some(octet) => {
                    if count + 1 == FROM.len() {
                        out.extend_from_slice(FROM);
                        At::Text
                    } else {
                        At::Matched(count + 1)
                    }
                }
                At::Begin | At::Text => {
                    let end = memchr(b'\n', stored).map(|at| at + 1);
                    let (line, rest) = stored.split_at(end.unwrap_or(stored.len()));
                    out.extend_from_slice(line);
                    stored = rest;
                    self.at = if end.is_some() { At::Begin } else { At::Text };
                    continue;
                }
                At::Arrows | At::Matched(_) => {
                    self.finish(out);
                    continue;
                }
            };
            stored = stored.get(1..).unwrap_or_default();
        }
    }

    /// Gives what is held back: the message ends here, or the line was another.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let matched = match std::mem::replace(&mut self.at, At::Text) {
            At::Begin | At::Text => return,
            At::Arrows => 0,
            At::Matched(count) => count,
        };
        out.push(b'>');
        out.extend_from_slice(FROM.get(..matched).unwrap_or(FROM));
    }
}

#[cfg(test)]
mod tests {
    use super::Unquoting;
    use crate::render::Format;

    #[test]
    fn quotes_are_undone_at_any_split() {
        let stored =
            b">From a\n>>From b\n>Fro\n>From\n> From c\n>>>\nx>From \n\n>>From d\n>\n>>Fro";
        let mboxrd = "From a\n>From b\n>Fro\n>From\n> From c\n>>>\nx>From \n\n>From d\n>\n>>Fro";
        let mboxo = "From a\n>>From b\n>Fro\n>From\n> From c\n>>>\nx>From \n\n>>From d\n>\n>>Fro";
        for (format, wanted) in [(Format::Mboxrd, mboxrd), (Format::Mboxo, mboxo)] {
            for one in 0..=stored.len() {
                for other in one..=stored.len() {
                    let (mut unquoting, mut out) = (Unquoting::new(format), Vec::new());
                    for piece in [&stored[..one], &stored[one..other], &stored[other..]] {
                        unquoting.undo(piece, &mut out);
                    }
                    unquoting.finish(&mut out);
                    assert_eq!(String::from_utf8(out).unwrap(), wanted, "{one}, {other}");
                }
            }
        }
    }
}
