//! Replies: a code, its enhanced code, and a text that cannot contradict it.
//!
//! Lives here: [`Reply`] (RFC 5321 section 4.2, RFC 2034), and every text that
//! postino sends, in one table.
//! May not: hold a cause; causes go to the log.

use std::{borrow::Cow, fmt};

/// Octets of a line that its text does not have: codes, an id in brackets, CRLF.
const OCTETS_BESIDE_TEXT: usize = 40;

/// One reply of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    detail: Option<(u16, u16)>,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code, whose class is `code`'s first digit
    /// (RFC 2034 section 4): they can't differ.
    pub const fn new(code: u16, subject: u16, detail: u16, text: &'static str) -> Self {
        Self { code, detail: Some((subject, detail)), text: Cow::Borrowed(text) }
    }

    /// A reply without: 3yz, the greeting, and what answers LHLO, EHLO and HELO.
    pub const fn plain(code: u16, text: &'static str) -> Self {
        Self { code, detail: None, text: Cow::Borrowed(text) }
    }

    /// The same codes with another text. Octets outside printable ASCII are
    /// replaced, so that no text can begin a line of its own.
    #[must_use]
    pub fn with_text(&self, text: impl Into<String>) -> Self {
        let is_allowed = |c: char| c == ' ' || c.is_ascii_graphic();
        let mut text: String = text.into();
        if !text.chars().all(is_allowed) {
            text = text.chars().map(|c| if is_allowed(c) { c } else { '?' }).collect();
        }
        Self { code: self.code, detail: self.detail, text: Cow::Owned(text) }
    }

    /// The same reply with a host's name before its text, as programs look for
    /// it in 220, 221 and 421 (RFC 5321 section 4.2).
    #[must_use]
    pub fn named(&self, hostname: &str) -> Self {
        self.with_text(format!("{hostname} {}", self.text))
    }

    /// The same text under other codes, for what only a backend knows.
    #[must_use]
    pub fn with_codes(&self, code: u16, subject: u16, detail: u16) -> Self {
        Self { code, detail: Some((subject, detail)), text: self.text.clone() }
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether it is a 2yz.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it is a 4yz or 5yz.
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// The enhanced code, whose class is the reply's; the class alone and zeros where
    /// the reply has none.
    #[cfg(feature = "tools")]
    pub fn enhanced(&self) -> (u16, u16, u16) {
        let (subject, detail) = self.detail.unwrap_or_default();
        (self.code / 100, subject, detail)
    }

    /// The text behind the codes.
    #[cfg(feature = "tools")]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a 5yz.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Writes the line, with `id` in square brackets behind the text where
    /// there is one, and CRLF.
    pub fn write_to(&self, out: &mut Vec<u8>, id: Option<&dyn fmt::Display>) {
        use std::io::Write;
        // At once, since formatting writes it in small pieces.
        out.reserve(self.text.len() + OCTETS_BESIDE_TEXT);
        // Writing into a Vec cannot fail.
        let _ = match id {
            Some(id) => write!(out, "{self} [{id}]\r\n"),
            None => write!(out, "{self}\r\n"),
        };
    }

    /// The codes alone, `250 2.0.0`, as they stand in the log.
    pub fn codes(&self) -> impl fmt::Display + use<> {
        Codes { code: self.code, detail: self.detail }
    }
}

/// The line without its end.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.codes(), self.text)
    }
}

struct Codes {
    code: u16,
    detail: Option<(u16, u16)>,
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        match self.detail {
            Some((subject, detail)) => write!(f, " {}.{subject}.{detail}", self.code / 100),
            None => Ok(()),
        }
    }
}

macro_rules! replies {
    ($($(#[$doc:meta])* $name:ident = $code:literal [$($subject:literal, $detail:literal)?] $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Reply = replies!(@one $code [$($subject, $detail)?] $text);)*

        /// The whole table.
        #[cfg(test)]
        const ALL: &[Reply] = &[$($name),*];
    };
    (@one $code:literal [$subject:literal, $detail:literal] $text:literal) => {
        Reply::new($code, $subject, $detail, $text)
    };
    (@one $code:literal [] $text:literal) => { Reply::plain($code, $text) };
}

replies! {
    // Commands that went well.
    /// When a client has connected: without an enhanced code.
    GREETING = 220 [] "LMTP postino ready";
    /// After MAIL.
    SENDER_OK = 250 [1, 0] "Sender ok";
    /// After RCPT.
    RECIPIENT_OK = 250 [1, 5] "Recipient ok";
    /// After RSET.
    RESET = 250 [0, 0] "Reset";
    /// After NOOP.
    NOTHING_DONE = 250 [0, 0] "Ok";
    /// After VRFY: nothing is looked up (RFC 5321 section 3.5.3).
    NOT_VERIFIED = 252 [0, 0] "Send mail to find out";
    /// After HELP.
    HELP = 214 [0, 0] "LHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT; see RFC 2033 and postino(8)";
    /// Before the message.
    START_DATA = 354 [] "End data with <CR><LF>.<CR><LF>";
    /// After the data, for one recipient; its text is the id and `stored`.
    STORED = 250 [0, 0] "stored";

    // Commands out of place or malformed.
    /// HELO and EHLO (RFC 2033 section 4.1): without an enhanced code.
    USE_LHLO = 500 [] "This is LMTP: say LHLO";
    /// LHLO's argument is wrong: without an enhanced code.
    LHLO_SYNTAX = 501 [] "Syntax: LHLO domain";
    /// Unknown verb.
    UNKNOWN_COMMAND = 500 [5, 2] "Command unknown";
    /// A CR or LF in a command line that is not part of its end.
    BARE_NEWLINE_IN_COMMAND = 500 [5, 2] "Command has a bare CR or LF in it";
    /// A line over the limit; the rest of it is skipped.
    LINE_TOO_LONG = 500 [5, 2] "Line too long";
    /// Known, but not here.
    NOT_IMPLEMENTED = 502 [5, 1] "Command not implemented";
    /// An argument to a command that has none.
    NO_ARGUMENT_ALLOWED = 501 [5, 4] "No argument allowed";
    /// No argument to a command that needs one.
    ARGUMENT_NEEDED = 501 [5, 4] "Argument needed";
    /// MAIL without `FROM:<...>`.
    MAIL_SYNTAX = 501 [5, 4] "Syntax: MAIL FROM:<address>";
    /// RCPT without `TO:<...>`.
    RCPT_SYNTAX = 501 [5, 4] "Syntax: RCPT TO:<address>";
    /// MAIL before LHLO.
    LHLO_FIRST = 503 [5, 1] "Say LHLO first";
    /// MAIL within a transaction.
    NESTED_MAIL = 503 [5, 1] "Sender already given";
    /// RCPT or DATA before MAIL.
    MAIL_FIRST = 503 [5, 1] "Say MAIL first";
    /// DATA without a successful RCPT (RFC 2033 section 4.2).
    NO_RECIPIENTS = 503 [5, 1] "No valid recipients";
    /// A parameter that is not offered (RFC 5321 section 4.1.1.11).
    UNKNOWN_PARAMETER = 555 [5, 4] "Parameter not recognized";
    /// A known parameter with a bad value.
    BAD_PARAMETER = 501 [5, 4] "Bad parameter value";
    /// A parameter given twice.
    REPEATED_PARAMETER = 501 [5, 4] "Parameter given twice";

    // Addresses.
    /// MAIL's address is malformed.
    BAD_SENDER = 501 [1, 7] "Bad sender address syntax";
    /// MAIL's address is too long.
    SENDER_TOO_LONG = 501 [1, 7] "Path too long";
    /// MAIL's address needs SMTPUTF8 (RFC 6531 section 3.5).
    SENDER_NOT_ASCII = 550 [6, 7] "Address needs SMTPUTF8";
    /// RCPT's address is malformed.
    BAD_RECIPIENT = 501 [1, 3] "Bad recipient address syntax";
    /// RCPT's address is too long.
    RECIPIENT_TOO_LONG = 501 [1, 3] "Path too long";
    /// RCPT's address needs SMTPUTF8.
    RECIPIENT_NOT_ASCII = 553 [6, 7] "Address needs SMTPUTF8";
    /// No such user.
    UNKNOWN_RECIPIENT = 550 [1, 1] "No such mailbox";
    /// Not one of our domains.
    UNKNOWN_DOMAIN = 550 [1, 2] "Domain not served here";
    /// The name can be no mailbox's.
    UNUSABLE_NAME = 553 [1, 3] "Mailbox name not allowed";
    /// Beyond the recipients that a transaction may have.
    TOO_MANY_RECIPIENTS = 452 [5, 3] "Too many recipients, send the rest in another transaction";
    /// What all transactions together may use of memory is in use.
    OUT_OF_MEMORY = 452 [3, 1] "Too many messages at once, try again later";
    /// Too many threads hang in the store.
    NO_WORKER = 451 [3, 2] "Busy, try again later";
    /// Who there is cannot be told: a name service or a users file fails.
    DIRECTORY_FAILED = 451 [4, 3] "Recipient look-up failed, try again later";
    /// The account is disabled.
    MAILBOX_DISABLED = 550 [2, 1] "Mailbox disabled";
    /// The account is suspended.
    MAILBOX_SUSPENDED = 450 [2, 1] "Mailbox suspended, try again later";
    /// The look-up took too long.
    LOOKUP_TIMEOUT = 451 [4, 3] "Recipient look-up timed out, try again later";

    // The message.
    /// Larger than `--max-message-size`.
    MESSAGE_TOO_BIG = 552 [3, 4] "Message too big";
    /// A bare CR or LF, refused.
    BARE_NEWLINE = 554 [6, 0] "Message has a bare CR or LF in it";
    /// Over 100 Received fields.
    MAIL_LOOP = 554 [4, 6] "Too many hops, this looks like a mail loop";

    // What a store's result becomes.
    /// Over quota, for now.
    MAILBOX_FULL = 452 [2, 2] "Mailbox full";
    /// Over quota, where that is to be told at once.
    MAILBOX_FULL_REJECTED = 552 [2, 2] "Mailbox full";
    /// The account's whole quota is smaller.
    LARGER_THAN_QUOTA = 552 [2, 3] "Message larger than the whole mailbox may be";
    /// Locked past the lock wait.
    MAILBOX_LOCKED = 450 [2, 0] "Mailbox locked, try again later";
    /// Disk, inodes or spool full.
    STORAGE_FULL = 452 [3, 1] "Storage full, try again later";
    /// I/O error, corrupt store, panic, marker lost.
    STORE_ERROR = 451 [3, 0] "Local error in storing, try again later";
    /// Permissions and their kin.
    MISCONFIGURED = 451 [3, 5] "Local configuration error, try again later";
    /// The deadline passed.
    STORE_TIMEOUT = 451 [3, 0] "The store did not answer in time, try again later";
    /// A permanent error that only a backend knows.
    STORE_REFUSED = 554 [3, 0] "The store refused the message";

    // The session's end.
    /// After QUIT.
    BYE = 221 [0, 0] "Bye";
    /// A recipient whose delivery the shutdown prevented.
    NOT_DELIVERED_SHUTDOWN = 451 [3, 2] "Shutting down, try again later";
    /// Shutting down.
    SHUTTING_DOWN = 421 [3, 2] "Shutting down, try again later";
    /// Idle, or too slow.
    TIMED_OUT = 421 [4, 2] "Timed out";
    /// The 21st error.
    TOO_MANY_ERRORS = 421 [7, 0] "Too many errors";
    /// Over `--max-connections`.
    TOO_MANY_CONNECTIONS = 421 [3, 2] "Too many connections, try again later";
    /// The peer is not in `--allow`.
    PEER_NOT_ALLOWED = 421 [7, 0] "Not allowed from your address";
    /// A panic in the session.
    SESSION_FAILED = 421 [3, 0] "Internal error, try again later";
    /// inetd's configuration is wrong.
    BAD_CONFIGURATION = 421 [3, 5] "Configuration error, try again later";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_text_is_one_printable_line_within_the_limit() {
        for reply in ALL {
            // RFC 5321 section 4.5.3.1.5 has 512 octets, and a host's name of 255
            // may stand before the text.
            let mut line = Vec::new();
            reply.named(&"h".repeat(255)).write_to(&mut line, Some(&"ffffffff-4294967295"));
            assert!(line.len() <= 512, "{reply}");
            let text = line.strip_suffix(b"\r\n").unwrap_or_default();
            assert!(!text.is_empty() && text.iter().all(|octet| (b' '..=b'~').contains(octet)));
        }
    }
}
