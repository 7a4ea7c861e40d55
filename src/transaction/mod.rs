//! One mail transaction as a value: envelope, message, trace fields.
//!
//! Lives here: addresses and their grammar, the envelope, where the message's
//! octets are, the header filter
//! that every message passes, filing by header, the trace header fields that postino adds.
//! May not: know a session, a socket, a store or a clock.

pub mod address;
pub mod body;
pub mod envelope;
pub mod filing;
pub mod header;
pub mod trace;

pub use address::{Address, AddressError, ForwardPath, ReversePath};
pub use body::ReceivedBody;
pub use envelope::{BodyType, Envelope, Recipient, RecipientIndex, Transaction, TransactionId};
pub use filing::Filing;
pub use header::{HeaderFacts, HeaderFilter};
pub use trace::{Origin, TraceFields};
