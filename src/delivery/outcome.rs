//! From a store's result to the reply: the one place.
//!
//! Lives here: which of the table's replies each error becomes.
//! May not: hold a text of its own, nor let a cause through to the client.

use crate::reply::{self, Reply};
use postino_store::{Class, DeliveryError, DeliveryId, EnhancedCode};
use std::any::Any;

/// What the client is told about one recipient's delivery.
pub(super) fn reply(result: Result<&DeliveryId, &DeliveryError>) -> Reply {
    match result {
        Ok(id) => reply::STORED.with_text(format!("{id} stored")),
        Err(error) => refusal(error),
    }
}

/// What the client is told about an error, at RCPT or after the data.
pub(super) fn refusal(error: &DeliveryError) -> Reply {
    match error {
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
    use super::{refusal, reply};
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
        assert_eq!(reply(Ok(&id)).to_string(), "250 2.0.0 17.R9c stored");
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
