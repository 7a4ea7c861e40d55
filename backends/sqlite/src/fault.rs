//! Why the database could not do something, and what that means to a recipient.
//!
//! Lives here: [`Fault`], the one error of this crate's own functions; from
//! SQLite's codes to [`DeliveryError`], by their meaning.
//! May not: decide what becomes of a connection; it only says which faults make
//! one unusable.
//! Holds: a fault can be told to each of a batch's recipients, as often as there
//! are any.

use postino_store::{DeliveryError, Failure};
use rusqlite::ErrorCode;
use std::{
    io,
    path::{Path, PathBuf},
};

/// What failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A call to SQLite.
    Sqlite {
        /// What it was for, as a verb; the database is its object.
        doing: &'static str,
        meaning: Meaning,
        /// SQLite's words.
        text: String,
    },
    /// A call to the file system.
    File { doing: &'static str, path: PathBuf, kind: io::ErrorKind, os: Option<i32> },
    /// There is no database where it should be.
    Missing { what: String },
    /// There is one that is not to be used, nor to be changed.
    Refused { why: String },
}

/// What one of SQLite's codes means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Others hold the lock.
    Locked,
    /// The disk is full.
    Full,
    /// It may not be written, or not be opened.
    Forbidden(io::ErrorKind),
    /// A row was not taken: the statement failed, and nothing else.
    Row,
    /// A read or write failed, the database is damaged, or anything else.
    Damaged,
}

impl Fault {
    /// A failed call to SQLite.
    pub(crate) fn sqlite(doing: &'static str, error: &rusqlite::Error) -> Self {
        let meaning = match error.sqlite_error_code() {
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed,
            ) => Meaning::Locked,
            Some(ErrorCode::DiskFull) => Meaning::Full,
            Some(ErrorCode::ReadOnly) => Meaning::Forbidden(io::ErrorKind::ReadOnlyFilesystem),
            Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
                Meaning::Forbidden(io::ErrorKind::PermissionDenied)
            }
            Some(ErrorCode::CannotOpen) => Meaning::Forbidden(io::ErrorKind::Other),
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig) => Meaning::Row,
            _ => Meaning::Damaged,
        };
        Self::Sqlite { doing, meaning, text: error.to_string() }
    }

    /// A failed call to the file system.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, cause: &io::Error) -> Self {
        Self::File { doing, path: path.into(), kind: cause.kind(), os: cause.raw_os_error() }
    }

    /// Whether others hold the lock: trying again can help.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::Sqlite { meaning: Meaning::Locked, .. })
    }

    /// Whether it may not be opened, or not be written.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Sqlite { meaning: Meaning::Forbidden(_), .. })
    }

    /// Whether the disk has no room for it.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite { meaning: Meaning::Full, .. })
    }

    /// Whether the database is damaged, or cannot be read.
    #[cfg(feature = "reader")]
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Sqlite { meaning: Meaning::Damaged, .. })
    }

    /// Whether only the row failed, or the disk is full: what else is to be
    /// stored may succeed.
    pub(crate) fn is_one_rows(&self) -> bool {
        matches!(self, Self::Sqlite { meaning: Meaning::Row | Meaning::Full, .. })
    }

    /// Whether the connection that met it is to be given up.
    pub(crate) fn breaks_connection(&self) -> bool {
        match self {
            Self::Sqlite { meaning, .. } => {
                matches!(meaning, Meaning::Damaged | Meaning::Forbidden(_))
            }
            Self::File { .. } | Self::Missing { .. } | Self::Refused { .. } => true,
        }
    }

    /// The error of one recipient's delivery to the database at `path`.
    pub(crate) fn error(&self, path: &Path) -> DeliveryError {
        match self {
            Self::Sqlite { doing, meaning, text } => {
                let failure = |kind| Failure {
                    doing,
                    path: path.to_owned(),
                    cause: io::Error::new(kind, text.clone()),
                };
                match meaning {
                    Meaning::Locked => DeliveryError::Locked { holder: None },
                    Meaning::Full => {
                        DeliveryError::StorageFull(failure(io::ErrorKind::StorageFull))
                    }
                    Meaning::Forbidden(kind) => DeliveryError::Misconfigured(failure(*kind)),
                    Meaning::Row | Meaning::Damaged => {
                        DeliveryError::Io(failure(io::ErrorKind::Other))
                    }
                }
            }
            Self::File { doing, path, kind, os } => {
                let cause = os.map_or_else(|| (*kind).into(), io::Error::from_raw_os_error);
                DeliveryError::io(doing, path, cause)
            }
            Self::Missing { what } => DeliveryError::StoreMissing { what: what.clone() },
            Self::Refused { why } => DeliveryError::Misconfigured(Failure {
                doing: "use the database",
                path: path.to_owned(),
                cause: io::Error::other(why.clone()),
            }),
        }
    }
}

/// Says what a call to SQLite was for.
pub(crate) trait Doing<T> {
    /// `doing` is a verb; the database is its object.
    fn doing(self, doing: &'static str) -> Result<T, Fault>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T, Fault> {
        self.map_err(|error| Fault::sqlite(doing, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;
    use postino_store::DeliveryError;
    use rusqlite::ffi;
    use std::path::Path;

    #[test]
    fn sqlites_codes_become_errors_by_their_meaning() {
        let error = |code| {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            Fault::sqlite("write to", &error).error(Path::new("/v/mail.db"))
        };
        for code in [ffi::SQLITE_BUSY, ffi::SQLITE_BUSY_RECOVERY, ffi::SQLITE_LOCKED] {
            assert!(matches!(error(code), DeliveryError::Locked { holder: None }), "{code}");
        }
        assert!(matches!(error(ffi::SQLITE_FULL), DeliveryError::StorageFull(_)));
        for code in [ffi::SQLITE_READONLY, ffi::SQLITE_CANTOPEN, ffi::SQLITE_PERM] {
            assert!(matches!(error(code), DeliveryError::Misconfigured(_)), "{code}");
        }
        for code in [
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_ERROR,
        ] {
            assert!(matches!(error(code), DeliveryError::Io(_)), "{code}");
        }
        assert!(error(ffi::SQLITE_FULL).to_string().starts_with("cannot write to /v/mail.db: "));
    }
}
