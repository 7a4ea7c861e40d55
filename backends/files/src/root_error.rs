//! Why what mailboxes lie below cannot be used.
//!
//! Lives here: the error of the [root](crate::root) and of a user's
//! [home](crate::home), and its text for the log.
//! May not: know either.

use std::{error, fmt, io, path::PathBuf};

/// Why the root, or a home in its place, cannot be used.
#[derive(Debug)]
pub enum RootError {
    /// The store is not there.
    Missing {
        /// What is missing, and what to do.
        what: String,
    },
    /// A call failed.
    Failed {
        /// What it was for, as a verb and its object.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
}

impl fmt::Display for RootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { what } => f.write_str(what),
            Self::Failed { doing, path, cause } => {
                write!(f, "cannot {doing} {}: {cause}", path.display())
            }
        }
    }
}

impl error::Error for RootError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Missing { .. } => None,
            Self::Failed { cause, .. } => Some(cause),
        }
    }
}
