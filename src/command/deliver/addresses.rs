//! Senders and recipients as an MTA writes them on a command line.
//!
//! Lives here: from a word to a path, with or without brackets; what a name without
//! a domain means.
//! May not: know who has a mailbox; `users` does.

use crate::{
    reply::{self, Reply},
    transaction::{AddressError, ForwardPath, ReversePath},
};

/// What Postfix writes for `<>`, unless it is told otherwise.
const NULL_SENDER: &str = "MAILER-DAEMON";

/// The sender; one without a domain is of `hostname`. `Err` is each recipient's
/// refusal.
pub(super) fn sender(word: Option<&str>, hostname: &str) -> Result<ReversePath, Reply> {
    match word {
        None | Some("") => Ok(ReversePath::Null),
        Some(word) if word.eq_ignore_ascii_case(NULL_SENDER) => Ok(ReversePath::Null),
        Some(word) => parsed(word, hostname, ReversePath::parse).map_err(|error| match error {
            AddressError::Syntax => reply::BAD_SENDER,
            AddressError::TooLong => reply::SENDER_TOO_LONG,
            AddressError::NotAscii => reply::SENDER_NOT_ASCII,
        }),
    }
}

/// A recipient; one without a domain is of `domain`, but for postmaster, who is
/// everywhere. `Err` is his refusal.
pub(super) fn recipient(word: &str, domain: &str) -> Result<ForwardPath, Reply> {
    parsed(word, domain, ForwardPath::parse).map_err(|error| match error {
        AddressError::Syntax => reply::BAD_RECIPIENT,
        AddressError::TooLong => reply::RECIPIENT_TOO_LONG,
        AddressError::NotAscii => reply::RECIPIENT_NOT_ASCII,
    })
}

/// What `parse` makes of a word as a whole.
fn parsed<T>(
    word: &str,
    domain: &str,
    parse: impl Fn(&[u8]) -> Result<(T, &[u8]), AddressError>,
) -> Result<T, AddressError> {
    let inner = word.strip_prefix('<').and_then(|word| word.strip_suffix('>')).unwrap_or(word);
    let whole = |text: String| match parse(text.as_bytes())? {
        (path, []) => Ok(path),
        _ => Err(AddressError::Syntax),
    };
    match whole(format!("<{inner}>")) {
        Err(AddressError::Syntax) if !inner.contains('@') => whole(format!("<{inner}@{domain}>")),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::{recipient, sender};

    fn to(word: &str) -> Result<String, String> {
        let codes = |reply: crate::reply::Reply| reply.codes().to_string();
        recipient(word, "mx.example").map(|path| path.to_string()).map_err(codes)
    }

    #[test]
    fn brackets_may_be_left_out() {
        for (word, path) in [
            ("a@b", "<a@b>"),
            ("<a@b>", "<a@b>"),
            ("-x@b", "<-x@b>"),
            ("\"a b>\"@[192.0.2.1]", "<\"a b>\"@[192.0.2.1]>"),
            ("<@r.example:a@b>", "<a@b>"),
        ] {
            assert_eq!(to(word).as_deref(), Ok(path), "{word}");
        }
    }

    #[test]
    fn a_name_without_a_domain_is_of_this_host() {
        for (word, path) in [
            ("alice", "<alice@mx.example>"),
            ("<alice+x>", "<alice+x@mx.example>"),
            ("help", "<help@mx.example>"),
            ("Postmaster", "<Postmaster>"),
        ] {
            assert_eq!(to(word).as_deref(), Ok(path), "{word}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_as_at_rcpt() {
        for word in ["", "<>", "<", "a b", "a@b c@d", "<a@b> x", "a>b@c", "a@", "..", "a@b\n"] {
            assert_eq!(to(word).unwrap_err(), "501 5.1.3", "{word:?}");
        }
        assert_eq!(to("\u{fc}@b").unwrap_err(), "553 5.6.7");
        assert_eq!(to(&format!("{}@b", "a".repeat(65))).unwrap_err(), "501 5.1.3");
    }

    #[test]
    fn the_null_sender_has_several_names() {
        let from = |word| sender(word, "mx.example").map(|path| path.to_string());
        for null in [None, Some(""), Some("<>"), Some("MAILER-DAEMON"), Some("mailer-daemon")] {
            assert_eq!(from(null).as_deref(), Ok("<>"), "{null:?}");
        }
        assert_eq!(from(Some("root")).as_deref(), Ok("<root@mx.example>"));
        assert_eq!(from(Some("<x@y>")).as_deref(), Ok("<x@y>"));
        assert_eq!(from(Some("x@y z")).unwrap_err().codes().to_string(), "501 5.1.7");
    }
}
