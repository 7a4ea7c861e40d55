//! Mailboxes and their names.
//!
//! Lives here: [`MailboxName`], whose value cannot be a path out of the store,
//! because it is checked when it is made.
//! May not: know addresses; whoever resolves a recipient makes the name.

use std::fmt;

/// A mailbox's name: `alice@example.org`, or `alice` for a system user.
///
/// Not empty, without `/`, NUL and other control characters, and with no dot in
/// front; the same holds for what stands before its last `@` and after it, so
/// that no part is a path component of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxName(String);

/// Why a text cannot be a mailbox's name (answered `553 5.1.3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing is there, before the `@` or behind it.
    Empty,
    /// A dot in front would hide it, or name the directory above.
    LeadingDot,
    /// A slash or a control character.
    Character(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a part of the name is empty"),
            Self::LeadingDot => f.write_str("a part of the name begins with a dot"),
            Self::Character(c) => write!(f, "the name has the character {c:?} in it"),
        }
    }
}

impl std::error::Error for NameError {}

impl MailboxName {
    /// Checks and takes a name.
    ///
    /// ```
    /// use postino_store::{MailboxName, NameError};
    /// assert!(MailboxName::new("alice@example.org").is_ok());
    /// assert_eq!(MailboxName::new("..@example.org"), Err(NameError::LeadingDot));
    /// assert_eq!(MailboxName::new("a/b@example.org"), Err(NameError::Character('/')));
    /// ```
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if let Some(c) = name.chars().find(|c| *c == '/' || c.is_control()) {
            return Err(NameError::Character(c));
        }
        let (local, domain) = split(&name);
        for part in std::iter::once(local).chain(domain) {
            match part.as_bytes().first() {
                None => return Err(NameError::Empty),
                Some(b'.') => return Err(NameError::LeadingDot),
                Some(_) => {}
            }
        }
        Ok(Self(name))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the last `@`; the whole name where there is none.
    pub fn local_part(&self) -> &str {
        split(&self.0).0
    }

    /// What stands behind the last `@`.
    pub fn domain(&self) -> Option<&str> {
        split(&self.0).1
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.rsplit_once('@').map_or((name, None), |(local, domain)| (local, Some(domain)))
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of a mailbox that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// It is made at the first delivery.
    Create,
    /// It is unknown: [`DeliveryError::NoSuchMailbox`](crate::DeliveryError::NoSuchMailbox).
    Refuse,
}

/// A mailbox that mail is to be delivered to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    name: MailboxName,
    if_missing: IfMissing,
}

impl Mailbox {
    /// The mailbox of this name.
    pub fn new(name: MailboxName, if_missing: IfMissing) -> Self {
        Self { name, if_missing }
    }

    /// Its name.
    pub fn name(&self) -> &MailboxName {
        &self.name
    }

    /// What becomes of it where it is not there.
    pub fn if_missing(&self) -> IfMissing {
        self.if_missing
    }
}
