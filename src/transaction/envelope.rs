//! What a transaction is once its data has come.
//!
//! Lives here: envelope, recipients, the transaction's name.
//! May not: parse; the protocol does.

use super::{ForwardPath, HeaderFacts, ReceivedBody, ReversePath};
use std::{fmt, sync::Arc};

/// A transaction's name: `7f3a-2`, the session's number in hexadecimal and the
/// transaction's in the session. It stands at the end of each refusal, in the
/// log, and as Received's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// The session's number.
    pub session: u32,
    /// The transaction's number within the session; 0 before the first MAIL.
    pub transaction: u32,
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.session, self.transaction)
    }
}

/// Which RCPT of the session: counted from 0 over those that were looked up. Not
/// counted anew in each transaction, so that an answer that comes too late is
/// nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecipientIndex(pub u64);

/// MAIL's BODY parameter (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyType {
    /// The default.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// An accepted recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Which RCPT it was.
    pub index: RecipientIndex,
    /// The forward-path as given.
    pub path: ForwardPath,
    /// RCPT's ORCPT parameter (RFC 3461 section 4.2), as sent: `type;xtext`.
    pub original: Option<String>,
}

/// Who sends, who shall receive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// MAIL's SIZE parameter (RFC 1870).
    pub declared_size: Option<u64>,
    /// MAIL's BODY parameter.
    pub body_type: BodyType,
    /// The accepted recipients, in RCPT order.
    pub recipients: Vec<Recipient>,
}

/// A complete transaction: what the session hands over after the data.
#[derive(Debug)]
pub struct Transaction {
    /// Its name.
    pub id: TransactionId,
    /// What the client called itself in LHLO, as sent.
    pub client_name: Arc<str>,
    /// The envelope.
    pub envelope: Envelope,
    /// The message.
    pub body: ReceivedBody,
    /// Octets that came, by RFC 1870 section 5.
    pub octets_received: u64,
    /// Whether a CR or LF stands in the body that is not part of a CRLF.
    pub bare_newlines: bool,
    /// What the header filter saw.
    pub header: HeaderFacts,
}
