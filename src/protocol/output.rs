//! What is to be written to the client.
//!
//! Lives here: replies as octets, until they are sent.
//! May not: choose a reply.
//! Holds: what was sent is not kept.

use crate::{reply::Reply, transaction::TransactionId};
use std::{fmt, io::Write};

/// Octets of output beyond which no more input is taken until some are sent.
const OUTPUT_OCTETS_MAX: usize = 16 * 1024;

/// Octets that are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Output {
    octets: Vec<u8>,
}

impl Output {
    /// Adds a reply; `id` is what a refusal ends with.
    pub(super) fn reply(&mut self, reply: &Reply, id: Option<TransactionId>) {
        let id = id.as_ref().filter(|_| reply.is_refusal());
        reply.write_to(&mut self.octets, id.map(|id| id as &dyn fmt::Display));
    }

    /// Adds a reply of several lines without enhanced codes.
    pub(super) fn lines<'a>(&mut self, code: u16, lines: impl IntoIterator<Item = &'a str>) {
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            // Writing into a Vec cannot fail.
            let _ = write!(self.octets, "{code}{separator}{line}\r\n");
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// So many of them are sent. An idle session keeps no buffer.
    pub(super) fn sent(&mut self, count: usize) {
        if count < self.octets.len() {
            self.octets.drain(..count);
        } else {
            self.octets = Vec::new();
        }
    }

    /// Whether a command may be answered now.
    pub(super) fn has_room(&self) -> bool {
        self.octets.len() < OUTPUT_OCTETS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::{OUTPUT_OCTETS_MAX, Output};
    use crate::reply;

    #[test]
    fn a_client_that_reads_slowly_does_not_make_it_grow() {
        let mut output = Output::default();
        for _ in 0..100_000 {
            while output.has_room() {
                output.reply(&reply::NOTHING_DONE, None);
            }
            output.sent(10);
        }
        assert!(output.octets.capacity() <= 4 * OUTPUT_OCTETS_MAX);
        output.sent(output.octets().len());
        assert_eq!(output.octets.capacity(), 0);
    }
}
