//! A message's octets on their way in.
//!
//! Lives here: [`ReceivedBody`], which says where they are.
//! May not: read or write them.

/// The message as the header filter left it: dot-unstuffed, Return-Path fields
/// dropped, line ends as the bare-newline policy left them.
#[derive(Debug, PartialEq, Eq)]
pub enum ReceivedBody {
    /// All of it.
    InMemory(Vec<u8>),
    /// So many octets went to the spool, part by part, in order.
    Spooled(u64),
}

impl ReceivedBody {
    /// How many octets it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::InMemory(octets) => octets.len() as u64,
            Self::Spooled(octets) => *octets,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
