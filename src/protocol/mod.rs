//! The LMTP session without I/O (RFC 2033, RFC 5321).
//!
//! Lives here: commands, replies and their order, the states; bytes and results
//! in, replies and events out.
//! May not: know a socket, a thread, a clock or a store.

mod command;
mod extension;
mod intake;
mod line;
mod output;
mod receiving;
mod replies;
mod session;

pub use intake::{Intake, PART_OCTETS, Received};
pub use session::{Event, Phase, Session, Settings};

/// What becomes of a message with a CR or LF in it that is no part of a CRLF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareNewlines {
    /// `554 5.6.0` for each recipient, after the message's true end.
    #[default]
    Reject,
    /// Stored as it came, octet for octet.
    Keep,
    /// Each becomes a CRLF.
    Normalise,
}
