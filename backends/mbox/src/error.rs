//! Errors that several deliveries have in common.
//!
//! Lives here: whether they may be tried one by one, the copying of an error, and
//! the root's errors as the trait's.
//! May not: decide what an error means.

use postino_files::root::RootError;
use postino_store::{DeliveryError, Failure};
use std::io;

/// Why none of a batch is stored.
#[derive(Debug)]
pub(crate) struct Unstored {
    pub(crate) error: DeliveryError,
    /// Whether it was a sync that failed: the next one would lie.
    pub(crate) is_final: bool,
}

impl Unstored {
    pub(crate) fn by_sync(error: DeliveryError) -> Self {
        Self { error, is_final: true }
    }
}

impl From<DeliveryError> for Unstored {
    fn from(error: DeliveryError) -> Self {
        Self { error, is_final: false }
    }
}

/// The same error for another delivery of the batch.
pub(crate) fn copy(error: &DeliveryError) -> DeliveryError {
    use DeliveryError as E;
    match error {
        E::NoSuchMailbox => E::NoSuchMailbox,
        E::UnusableName(why) => E::UnusableName(why.clone()),
        E::Locked { holder } => E::Locked { holder: holder.clone() },
        E::MailboxFull(failure) => E::MailboxFull(copy_failure(failure)),
        E::OverQuota { what } => E::OverQuota { what: what.clone() },
        E::LargerThanQuota => E::LargerThanQuota,
        E::StorageFull(failure) => E::StorageFull(copy_failure(failure)),
        E::Misconfigured(failure) => E::Misconfigured(copy_failure(failure)),
        E::StoreMissing { what } => E::StoreMissing { what: what.clone() },
        E::Io(failure) => E::Io(copy_failure(failure)),
        E::Expired => E::Expired,
        E::Other { class, code, cause } => {
            E::Other { class: *class, code: *code, cause: cause.to_string().into() }
        }
        // Unanswered, and what the trait has not yet.
        _ => E::Unanswered,
    }
}

fn copy_failure(Failure { doing, path, cause }: &Failure) -> Failure {
    let cause = match cause.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(cause.kind(), cause.to_string()),
    };
    Failure { doing, path: path.clone(), cause }
}

pub(crate) fn of_root(error: RootError) -> DeliveryError {
    match error {
        RootError::Missing { what } => DeliveryError::StoreMissing { what },
        RootError::Failed { doing, path, cause } => DeliveryError::io(doing, path, cause),
    }
}
