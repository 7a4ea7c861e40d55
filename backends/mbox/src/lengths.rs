//! What a delivery announces of the mailbox that it is about to make longer.
//!
//! Lives here: the lengths, where messages begin between them, and both as a line
//! of the lock file has them.
//! May not: look at a mailbox.

use std::fmt;

/// A mailbox's length before and after a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub(crate) old: u64,
    /// Between them, in their order.
    pub(crate) starts: Vec<Start>,
    pub(crate) new: u64,
}

/// Where a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) at: u64,
    /// What [`crate::render::fingerprint`] makes of its From_ line.
    pub(crate) line: u32,
}

impl Lengths {
    /// Without the message at this place among the others, which was so long.
    pub(crate) fn leave_out(&mut self, nth: usize, octets: u64) {
        if nth < self.starts.len() {
            self.starts.remove(nth);
        }
        for start in self.starts.iter_mut().skip(nth) {
            start.at -= octets;
        }
        self.new -= octets;
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (old, rest) = text.split_once('-')?;
        let (starts, new) = rest.rsplit_once('-').unwrap_or(("", rest));
        let starts = starts.split('-').filter(|start| !start.is_empty()).map(|start| {
            let (at, line) = start.split_once(':')?;
            Some(Start { at: at.parse().ok()?, line: u32::from_str_radix(line, 16).ok()? })
        });
        Some(Self {
            old: old.parse().ok()?,
            starts: starts.collect::<Option<_>>()?,
            new: new.parse().ok()?,
        })
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.old)?;
        for Start { at, line } in &self.starts {
            write!(f, "{at}:{line:08x}-")?;
        }
        write!(f, "{}", self.new)
    }
}
