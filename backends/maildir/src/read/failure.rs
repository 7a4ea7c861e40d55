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
