//! What a failed call means to a reader.
//!
//! Lives here: the error, and the one that is often none.
//! May not: make a call.

use postino_store::{DeliveryError, ReadError};
use std::{io, path::PathBuf};

/// The error of a call, named as a verb and its object.
pub(crate) fn failed(doing: &'static str, path: impl Into<PathBuf>, cause: io::Error) -> ReadError {
    ReadError::Store(DeliveryError::io(doing, path, cause))
}

/// Whether nothing lies there.
pub(crate) fn is_missing(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::NotFound
}

/// EIO, ENOMEM, ENFILE and EMFILE: the same everywhere on Linux.
const DISK: i32 = 5;
const SHORT_OF: [i32; 3] = [12, 23, 24];

/// Whether a call failed for want of memory or descriptors, which says nothing of
/// what it was for.
pub(crate) fn is_shortage(cause: &io::Error) -> bool {
    cause.raw_os_error().is_some_and(|errno| SHORT_OF.contains(&errno))
}

/// Whether the disk failed.
pub(crate) fn is_of_disk(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(DISK)
}
