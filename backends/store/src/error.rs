//! Why a delivery failed: temporary or permanent, with its enhanced code.
//!
//! Lives here: [`DeliveryError`], whose variants are causes; the cause goes to
//! the log, its class and code to the client (RFC 3463).
//! May not: hold reply texts; the server's one table has them.

use std::{error::Error, fmt, io, path::PathBuf};

/// Whether trying again can help (RFC 5321 section 4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 4yz: the client keeps the message and tries again.
    Temporary,
    /// 5yz: the client returns the message to its sender.
    Permanent,
}

/// Subject and detail of an enhanced status code (RFC 3463); the class is
/// [`Class`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedCode {
    /// The second number: 1 addressing, 2 mailbox, 3 system, 4 network, 5
    /// protocol, 6 content, 7 policy.
    pub subject: u16,
    /// The third number.
    pub detail: u16,
}

impl EnhancedCode {
    /// The code `x.subject.detail`.
    pub const fn new(subject: u16, detail: u16) -> Self {
        Self { subject, detail }
    }
}

/// Why a message was not stored.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The mailbox does not exist and may not be made.
    NoSuchMailbox,
    /// The mailbox's name cannot be one in this store.
    UnusableName(String),
    /// Others hold the lock; the pool tries again until the lock wait is over.
    Locked {
        /// Who holds it, as far as known: `pid 4711 (imapd)`.
        holder: Option<String>,
    },
    /// The mailbox is full: the file system's quota, or the store's own.
    MailboxFull(Failure),
    /// The message does not fit into what is left of the account's
    /// [quota](crate::Quota).
    OverQuota {
        /// What it holds and what it may hold, for the log.
        what: String,
    },
    /// The message is larger than the account's whole quota.
    LargerThanQuota,
    /// Disk or inodes are used up, or the file may not grow (ENOSPC, EFBIG).
    StorageFull(Failure),
    /// Permissions, a read-only file system, a link where none may be.
    Misconfigured(Failure),
    /// The store itself is not there (not mounted, its marker lost).
    StoreMissing {
        /// What is missing, and what to do.
        what: String,
    },
    /// A read or write failed, or the store is damaged.
    Io(Failure),
    /// The deadline came before the commit: nothing was stored.
    Expired,
    /// The store panicked, or gave no result.
    Unanswered,
    /// What none of the above says.
    Other {
        /// Whether trying again can help.
        class: Class,
        /// Its code.
        code: EnhancedCode,
        /// For the log.
        cause: Box<dyn Error + Send + Sync>,
    },
}

/// A call that failed: what it was for, on what, and why.
#[derive(Debug)]
pub struct Failure {
    /// What the call was for, as a verb and its object: `sync the file`.
    pub doing: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's answer.
    pub cause: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.path.display(), self.cause)
    }
}

impl DeliveryError {
    /// The error that a failed file call means, by its errno.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>, cause: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let variant = match cause.kind() {
            Kind::QuotaExceeded => Self::MailboxFull,
            Kind::StorageFull | Kind::FileTooLarge => Self::StorageFull,
            Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotADirectory
            | Kind::IsADirectory => Self::Misconfigured,
            // O_NOFOLLOW met a symbolic link; ErrorKind has no stable name for it.
            _ if cause.raw_os_error() == Some(ELOOP) => Self::Misconfigured,
            _ => Self::Io,
        };
        variant(Failure { doing, path: path.into(), cause })
    }

    /// Whether trying again can help.
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchMailbox | Self::UnusableName(_) | Self::LargerThanQuota => Class::Permanent,
            Self::Locked { .. }
            | Self::MailboxFull(_)
            | Self::OverQuota { .. }
            | Self::StorageFull(_)
            | Self::Misconfigured(_)
            | Self::StoreMissing { .. }
            | Self::Io(_)
            | Self::Expired
            | Self::Unanswered => Class::Temporary,
            Self::Other { class, .. } => *class,
        }
    }

    /// Its enhanced code (RFC 3463).
    pub fn code(&self) -> EnhancedCode {
        match self {
            Self::NoSuchMailbox => EnhancedCode::new(1, 1),
            Self::UnusableName(_) => EnhancedCode::new(1, 3),
            Self::Locked { .. } => EnhancedCode::new(2, 0),
            Self::MailboxFull(_) | Self::OverQuota { .. } => EnhancedCode::new(2, 2),
            Self::LargerThanQuota => EnhancedCode::new(2, 3),
            Self::StorageFull(_) => EnhancedCode::new(3, 1),
            Self::Misconfigured(_) => EnhancedCode::new(3, 5),
            Self::StoreMissing { .. } | Self::Io(_) | Self::Expired | Self::Unanswered => {
                EnhancedCode::new(3, 0)
            }
            Self::Other { code, .. } => *code,
        }
    }
}

#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
const ELOOP: i32 = 90;
#[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
const ELOOP: i32 = 40;

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMailbox => f.write_str("no such mailbox"),
            Self::UnusableName(why) => write!(f, "unusable mailbox name: {why}"),
            Self::Locked { holder: Some(holder) } => write!(f, "locked, held by {holder}"),
            Self::Locked { holder: None } => f.write_str("locked"),
            Self::MailboxFull(failure)
            | Self::StorageFull(failure)
            | Self::Misconfigured(failure)
            | Self::Io(failure) => failure.fmt(f),
            Self::OverQuota { what } => write!(f, "over quota: {what}"),
            Self::LargerThanQuota => f.write_str("larger than the whole quota"),
            Self::StoreMissing { what } => write!(f, "store not there: {what}"),
            Self::Expired => f.write_str("the store did not answer in time"),
            Self::Unanswered => f.write_str("the store gave no result"),
            Self::Other { cause, .. } => cause.fmt(f),
        }
    }
}

impl Error for DeliveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::MailboxFull(failure)
            | Self::StorageFull(failure)
            | Self::Misconfigured(failure)
            | Self::Io(failure) => Some(&failure.cause),
            Self::Other { cause, .. } => Some(cause.as_ref()),
            _ => None,
        }
    }
}
