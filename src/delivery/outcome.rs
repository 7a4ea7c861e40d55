//! From a store's result to the reply: the one place.
//!
//! Lives here: which of the table's replies each error becomes.
//! May not: hold a text of its own, nor let a cause through to the client.

use crate::reply::{self, Reply};
use postino_store::{Class, DeliveryError, DeliveryId, EnhancedCode};
use std::any::Any;

/// What becomes of a message that does not fit into its account's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverQuota {
    /// The client keeps it and tries again: `452 4.2.2`.
    #[default]
    Defer,
    /// The client returns it: `552 5.2.2`.
    Reject,
}

/// What the client is told of a message that was stored.
pub(super) fn stored(id: &DeliveryId) -> Reply {
    reply::STORED.with_text(format!("{id} stored"))
}

/// What the client is told about an error after the data. `is_promised`: the
/// message is no larger than MAIL had declared and RCPT accepted, so that no 552
/// may follow (RFC 1870 section 6.3).
pub(super) fn failure(error: &DeliveryError, over_quota: OverQuota, is_promised: bool) -> Reply {
    match error {
        DeliveryError::OverQuota { .. } | DeliveryError::LargerThanQuota if is_promised => {
            reply::MAILBOX_FULL
        }
        _ => refusal(error, over_quota),
    }
}

/// What the client is told about an error, at RCPT or where no SIZE was accepted.
pub(super) fn refusal(error: &DeliveryError, over_quota: OverQuota) -> Reply {
    match error {
        DeliveryError::OverQuota { .. } if over_quota == OverQuota::Reject => {
            reply::MAILBOX_FULL_REJECTED
        }
        DeliveryError::NoSuchMailbox => reply::UNKNOWN_RECIPIENT,
        DeliveryError::UnusableName(_) => reply::UNUSABLE_NAME,
        DeliveryError::Locked { .. } => reply::MAILBOX_LOCKED,
        DeliveryError::MailboxFull(_) | DeliveryError::OverQuota { .. } => reply::MAILBOX_FULL,
        DeliveryError::LargerThanQuota => reply::LARGER_THAN_QUOTA,
        DeliveryError::StorageFull(_) => reply::STORAGE_FULL,
        DeliveryError::Misconfigured(_) => reply::MISCONFIGURED,
        DeliveryError::StoreMissing { .. } | DeliveryError::Io(_) | DeliveryError::Unanswered => {
            reply::STORE_ERROR
        }
        DeliveryError::Expired => reply::STORE_TIMEOUT,
        // The enum may grow in its own crate, so Rust asks for an arm; there
        // every error names its class and code, and those are what counts.
        other => by_code(other.class(), other.code()),
    }
}

/// The reply of this class and enhanced code; its three digits are those that
/// RFC 5321 section 4.2.3 has for the matter.
fn by_code(class: Class, EnhancedCode { subject, detail }: EnhancedCode) -> Reply {
    let (code, text) = match (class, subject, detail) {
        (Class::Temporary, 2, 2) | (Class::Temporary, 3, 1) => (452, &reply::STORE_ERROR),
        (Class::Temporary, 2, _) => (450, &reply::STORE_ERROR),
        (Class::Temporary, _, _) => (451, &reply::STORE_ERROR),
        (Class::Permanent, 1, 3) => (553, &reply::STORE_REFUSED),
        (Class::Permanent, 1, _) | (Class::Permanent, 2, 0 | 1) => (550, &reply::STORE_REFUSED),
        (Class::Permanent, 2, _) | (Class::Permanent, 3, 4) => (552, &reply::STORE_REFUSED),
        (Class::Permanent, _, _) => (554, &reply::STORE_REFUSED),
    };
    text.with_codes(code, subject, detail)
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

#[cfg(test)]
mod tests {
    use super::{OverQuota, failure, stored};
    use crate::reply::Reply;
    use postino_store::{Class, DeliveryError, DeliveryId, EnhancedCode};
    use std::io;

    fn codes(reply: &Reply) -> String {
        reply.codes().to_string()
    }

    fn other(class: Class, subject: u16, detail: u16) -> DeliveryError {
        let code = EnhancedCode::new(subject, detail);
        DeliveryError::Other { class, code, cause: "secret cause".into() }
    }

    #[test]
    fn a_stored_message_is_told_with_its_id_first() {
        let id = DeliveryId::new("17.R9c");
        assert_eq!(stored(&id).to_string(), "250 2.0.0 17.R9c stored");
    }

    fn refusal(error: &DeliveryError) -> Reply {
        super::refusal(error, OverQuota::Defer)
    }

    #[test]
    fn a_full_account_is_told_as_configured_but_never_552_for_an_accepted_size() {
        let over = DeliveryError::OverQuota { what: "secret".into() };
        for (error, over_quota, is_promised, expected) in [
            (&over, OverQuota::Defer, false, "452 4.2.2"),
            (&over, OverQuota::Defer, true, "452 4.2.2"),
            (&over, OverQuota::Reject, false, "552 5.2.2"),
            (&over, OverQuota::Reject, true, "452 4.2.2"),
            (&DeliveryError::LargerThanQuota, OverQuota::Defer, false, "552 5.2.3"),
            (&DeliveryError::LargerThanQuota, OverQuota::Reject, true, "452 4.2.2"),
        ] {
            let told = failure(error, over_quota, is_promised);
            assert_eq!(codes(&told), expected, "{error:?} {over_quota:?} {is_promised}");
        }
    }

    #[test]
    fn each_error_has_the_reply_of_the_outcome_table() {
        let errno = |number| {
            DeliveryError::io("sync the file", "/secret", io::Error::from_raw_os_error(number))
        };
        let (eio, enospc, efbig, edquot, eacces, erofs) = (5, 28, 27, 122, 13, 30);
        let table = [
            (DeliveryError::NoSuchMailbox, "550 5.1.1"),
            (DeliveryError::UnusableName("secret".into()), "553 5.1.3"),
            (DeliveryError::OverQuota { what: "secret".into() }, "452 4.2.2"),
            (DeliveryError::LargerThanQuota, "552 5.2.3"),
            (DeliveryError::Locked { holder: Some("secret".into()) }, "450 4.2.0"),
            (DeliveryError::StoreMissing { what: "secret".into() }, "451 4.3.0"),
            (DeliveryError::Expired, "451 4.3.0"),
            (DeliveryError::Unanswered, "451 4.3.0"),
            (errno(eio), "451 4.3.0"),
            (errno(enospc), "452 4.3.1"),
            (errno(efbig), "452 4.3.1"),
            (errno(edquot), "452 4.2.2"),
            (errno(eacces), "451 4.3.5"),
            (errno(erofs), "451 4.3.5"),
            (other(Class::Temporary, 2, 2), "452 4.2.2"),
            (other(Class::Temporary, 2, 1), "450 4.2.1"),
            (other(Class::Temporary, 3, 2), "451 4.3.2"),
            (other(Class::Permanent, 2, 3), "552 5.2.3"),
            (other(Class::Permanent, 2, 1), "550 5.2.1"),
            (other(Class::Permanent, 7, 1), "554 5.7.1"),
        ];
        for (error, expected) in table {
            assert_eq!(codes(&refusal(&error)), expected, "{error:?}");
        }
    }

    #[test]
    fn the_reply_has_the_class_of_the_error_and_no_cause() {
        for error in [
            other(Class::Temporary, 6, 0),
            other(Class::Permanent, 6, 0),
            DeliveryError::UnusableName("secret".into()),
            DeliveryError::StoreMissing { what: "secret".into() },
        ] {
            let (line, temporary) =
                (refusal(&error).to_string(), error.class() == Class::Temporary);
            assert!(line.starts_with(if temporary { '4' } else { '5' }), "{line}");
            assert!(!line.contains("secret"), "{line}");
        }
    }
}
