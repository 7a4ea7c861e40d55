//! How the program ends.
//!
//! Lives here: the exit codes, those of sysexits(3) where it has one.
//! May not: be extended without a line in postino(8).

use postino_store::{DeliveryError, Failure};
use std::{io, process::ExitCode};

/// An exit code; of two the greater one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// A mailbox or message is not there, or damage was found.
    Failure = 1,
    /// A server does not answer.
    #[cfg(feature = "tools")]
    NoAnswer = 2,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// No recipient of `deliver` has a mailbox (`EX_NOUSER`).
    #[cfg(feature = "tools")]
    NoUser = 67,
    /// A fault of the program's own (`EX_SOFTWARE`).
    Internal = 70,
    /// A socket cannot be bound, or a store not created (`EX_CANTCREAT`).
    CannotCreate = 73,
    /// A read or write failed, or the disk is full (`EX_IOERR`).
    InputOutput = 74,
    /// Somebody else holds a lock; or `deliver` is to be run again (`EX_TEMPFAIL`).
    Locked = 75,
    /// Permission is denied (`EX_NOPERM`).
    Permission = 77,
    /// The configuration or a store's URL is wrong (`EX_CONFIG`).
    Config = 78,
}

impl Exit {
    /// How a command ends that the store refused.
    pub fn of(error: &DeliveryError) -> Self {
        match error {
            DeliveryError::Misconfigured(Failure { cause, .. })
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::Permission
            }
            DeliveryError::UnusableName(_) => Self::Usage,
            DeliveryError::NoSuchMailbox => Self::Failure,
            DeliveryError::Locked { .. } => Self::Locked,
            DeliveryError::Misconfigured(_) => Self::CannotCreate,
            _ => Self::InputOutput,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
