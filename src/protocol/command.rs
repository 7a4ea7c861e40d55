//! From a line to a command (RFC 5321 section 4.1.1, RFC 2033 section 4.1).
//!
//! Lives here: verbs, and the syntax of their arguments up to the parameters.
//! May not: know a state; whether a command is in place, the session says.

use super::extension::{self, MailParameters, RcptParameters};
use crate::{
    reply::{self, Reply},
    transaction::{
        AddressError, ForwardPath, ReversePath,
        address::{is_address_literal, is_client_domain},
    },
};

/// Octets of the longest verb that is known.
const VERB_OCTETS_MAX: usize = 8;

/// What a client asks for. An argument's fault is kept until the command is
/// known to be in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The client's name.
    Lhlo(Result<String, Reply>),
    Mail(Result<(ReversePath, MailParameters), Reply>),
    Rcpt(Result<(ForwardPath, RcptParameters), Reply>),
    Data(Result<(), Reply>),
    /// Not to be had here, but its refusal is the data's.
    Bdat,
    Rset,
    Noop,
    Help,
    Vrfy,
    Quit,
    /// No command that there is, or one that never can be carried out.
    Wrong(Reply),
}

impl Command {
    /// Reads a line, its CRLF gone.
    pub(super) fn parse(line: &[u8]) -> Self {
        // Only CRLF ends a line; what has one of the two alone is no command.
        if line.iter().any(|octet| matches!(octet, b'\r' | b'\n')) {
            return Self::Wrong(reply::BARE_NEWLINE_IN_COMMAND);
        }
        let is_blank = |octet: &u8| matches!(octet, b' ' | b'\t');
        let end = line.iter().position(is_blank).unwrap_or(line.len());
        let (verb, argument) = line.split_at(end);
        let argument = argument.trim_ascii();
        let no_argument = || {
            if argument.is_empty() { Ok(()) } else { Err(reply::NO_ARGUMENT_ALLOWED) }
        };
        match in_upper_case(verb, &mut [0; VERB_OCTETS_MAX]) {
            b"LHLO" => Self::Lhlo(client_name(argument).map(str::to_owned)),
            // Not in LMTP (RFC 2033 section 4.1).
            b"HELO" | b"EHLO" => Self::Wrong(reply::USE_LHLO),
            b"MAIL" => Self::Mail(mail(argument)),
            b"RCPT" => Self::Rcpt(rcpt(argument)),
            b"DATA" => Self::Data(no_argument()),
            b"RSET" => no_argument().map_or_else(Self::Wrong, |()| Self::Rset),
            b"QUIT" => no_argument().map_or_else(Self::Wrong, |()| Self::Quit),
            b"NOOP" => Self::Noop,
            b"HELP" => Self::Help,
            b"VRFY" if argument.is_empty() => Self::Wrong(reply::ARGUMENT_NEEDED),
            b"VRFY" => Self::Vrfy,
            // Known from SMTP and its extensions, not to be had here.
            b"EXPN" | b"ETRN" | b"TURN" | b"STARTTLS" | b"AUTH" | b"XCLIENT" | b"XFORWARD" => {
                Self::Wrong(reply::NOT_IMPLEMENTED)
            }
            b"BDAT" => Self::Bdat,
            _ => Self::Wrong(reply::UNKNOWN_COMMAND),
        }
    }
}

/// The verb in upper case, written to `place`; nothing where it is longer than
/// any that is known.
fn in_upper_case<'a>(verb: &[u8], place: &'a mut [u8; VERB_OCTETS_MAX]) -> &'a [u8] {
    let Some(place) = place.get_mut(..verb.len()) else { return &[] };
    place.copy_from_slice(verb);
    place.make_ascii_uppercase();
    place
}

/// LHLO's argument: a domain or an address literal; text may follow a literal.
fn client_name(argument: &[u8]) -> Result<&str, Reply> {
    let argument = std::str::from_utf8(argument).map_err(|_| reply::LHLO_SYNTAX)?;
    let name = match argument.split_once([' ', '\t']) {
        Some((literal, _)) if literal.starts_with('[') => literal,
        _ => argument,
    };
    let is_name = is_client_domain(name) || is_address_literal(name);
    if is_name { Ok(name) } else { Err(reply::LHLO_SYNTAX) }
}

/// MAIL's argument: `FROM:<reverse-path>` and parameters.
fn mail(argument: &[u8]) -> Result<(ReversePath, MailParameters), Reply> {
    let path = behind_keyword(argument, b"FROM:").ok_or(reply::MAIL_SYNTAX)?;
    let (reverse_path, rest) = ReversePath::parse(path).map_err(|error| match error {
        AddressError::Syntax => reply::BAD_SENDER,
        AddressError::TooLong => reply::SENDER_TOO_LONG,
        AddressError::NotAscii => reply::SENDER_NOT_ASCII,
    })?;
    Ok((reverse_path, extension::mail_parameters(rest)?))
}

/// RCPT's argument: `TO:<forward-path>` and parameters.
fn rcpt(argument: &[u8]) -> Result<(ForwardPath, RcptParameters), Reply> {
    let path = behind_keyword(argument, b"TO:").ok_or(reply::RCPT_SYNTAX)?;
    let (forward_path, rest) = ForwardPath::parse(path).map_err(|error| match error {
        AddressError::Syntax => reply::BAD_RECIPIENT,
        AddressError::TooLong => reply::RECIPIENT_TOO_LONG,
        AddressError::NotAscii => reply::RECIPIENT_NOT_ASCII,
    })?;
    Ok((forward_path, extension::rcpt_parameters(rest)?))
}

/// What stands behind the keyword; blanks between the two are forgiven.
fn behind_keyword<'a>(argument: &'a [u8], keyword: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then(|| rest.trim_ascii_start())
}
