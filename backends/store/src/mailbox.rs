//! Mailboxes and their names.
//!
//! Lives here: [`MailboxName`], whose value cannot be a path out of the store,
//! because it is checked when it is made; [`Mailbox`], with what is known of its
//! account.
//! May not: know addresses; whoever resolves a recipient makes the name.

use crate::Quota;
use std::{cmp::Ordering, fmt, path::PathBuf};

/// A mailbox's name: `alice@example.org`, or `alice` for a system user; of a folder
/// in it `alice@example.org/Lists/2026`.
///
/// The account's part is not empty, without `/`, NUL and other control characters,
/// and with no dot in front; the same holds for what stands before its last `@` and
/// after it, so that no part is a path component of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MailboxName {
    text: String,
    /// Where the account's part ends.
    account: usize,
}

/// Octets that a folder's name may have, so that a store can make a file name of
/// it.
pub const FOLDER_OCTETS_MAX: usize = 120;

/// Levels that a folder may lie deep.
pub const FOLDER_LEVELS_MAX: usize = 8;

/// Folders of an account beyond which a delivery makes none.
pub const FOLDERS_MAX: usize = 100;

/// Why a text cannot be a mailbox's name (answered `553 5.1.3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing is there, before the `@` or behind it.
    Empty,
    /// A dot in front would hide it, or name the directory above.
    LeadingDot,
    /// A slash or a control character.
    Character(char),
    /// A folder's name is longer than [`FOLDER_OCTETS_MAX`], or has more levels than
    /// [`FOLDER_LEVELS_MAX`].
    LongFolder,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a part of the name is empty"),
            Self::LeadingDot => f.write_str("a part of the name begins with a dot"),
            Self::Character(c) => write!(f, "the name has the character {c:?} in it"),
            Self::LongFolder => write!(
                f,
                "the folder has more than {FOLDER_OCTETS_MAX} octets or {FOLDER_LEVELS_MAX} levels"
            ),
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
        Ok(Self { account: name.len(), text: name })
    }

    /// Reads a name as it is displayed, with a folder or without.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            None => Self::new(text),
            Some((account, folder)) => Self::new(account)?.in_folder(folder),
        }
    }

    /// The folder of this name in the same account. Its levels are separated by
    /// `/`; none is empty, begins with a dot or has a control character in it.
    ///
    /// ```
    /// use postino_store::MailboxName;
    /// let alice = MailboxName::new("alice@example.org").unwrap();
    /// let folder = alice.in_folder("Lists/2026").unwrap();
    /// assert_eq!(folder.as_str(), "alice@example.org/Lists/2026");
    /// assert_eq!(folder.folder(), Some("Lists/2026"));
    /// assert_eq!(folder.inbox(), alice);
    /// assert!(alice.in_folder("../bob").is_err());
    /// ```
    pub fn in_folder(&self, folder: &str) -> Result<Self, NameError> {
        if let Some(c) = folder.chars().find(|c| c.is_control()) {
            return Err(NameError::Character(c));
        }
        if folder.len() > FOLDER_OCTETS_MAX || folder.split('/').count() > FOLDER_LEVELS_MAX {
            return Err(NameError::LongFolder);
        }
        for level in folder.split('/') {
            match level.as_bytes().first() {
                None => return Err(NameError::Empty),
                Some(b'.') => return Err(NameError::LeadingDot),
                Some(_) => {}
            }
        }
        Ok(Self { text: format!("{}/{folder}", self.account()), account: self.account })
    }

    /// The account's mailbox itself.
    #[must_use]
    pub fn inbox(&self) -> Self {
        Self { text: self.account().to_owned(), account: self.account }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name without the folder.
    pub fn account(&self) -> &str {
        self.text.get(..self.account).unwrap_or(&self.text)
    }

    /// The folder, its levels separated by `/`; none for the account's mailbox
    /// itself.
    pub fn folder(&self) -> Option<&str> {
        self.text.get(self.account + 1..)
    }

    /// What stands before the account's last `@`; all of it where there is none.
    pub fn local_part(&self) -> &str {
        split(self.account()).0
    }

    /// What stands behind the account's last `@`.
    pub fn domain(&self) -> Option<&str> {
        split(self.account()).1
    }
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.rsplit_once('@').map_or((name, None), |(local, domain)| (local, Some(domain)))
}

/// By the octets of the accounts, each with its folders behind it.
impl Ord for MailboxName {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.account(), self.folder()).cmp(&(other.account(), other.folder()))
    }
}

impl PartialOrd for MailboxName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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

/// What becomes of a folder that is not there, in a mailbox that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfNoFolder {
    /// The message goes to the account's mailbox itself.
    #[default]
    Inbox,
    /// It is made.
    Create,
}

/// The user as whom a mailbox is written. Who calls a store has become that user
/// already, as far as it can; the store checks whose the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The groups that the user is in beside it; none for a user without a name.
    pub groups: Vec<u32>,
}

/// A mailbox that mail is to be delivered to, and what is known of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    name: MailboxName,
    if_missing: IfMissing,
    /// What most accounts have none of.
    facts: Facts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    if_no_folder: IfNoFolder,
    quota: Quota,
    home: Option<PathBuf>,
    owner: Option<Owner>,
    location: Option<String>,
}

impl Mailbox {
    /// The mailbox of this name.
    pub fn new(name: MailboxName, if_missing: IfMissing) -> Self {
        Self { name, if_missing, facts: Facts::default() }
    }

    /// The same account's folder; of an [invalid name](MailboxName::in_folder) there is
    /// none.
    pub fn in_folder(mut self, folder: &str, if_missing: IfNoFolder) -> Result<Self, NameError> {
        self.name = self.name.in_folder(folder)?;
        self.facts.if_no_folder = if_missing;
        Ok(self)
    }

    /// Gives the account a quota.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        self.facts.quota = quota;
        self
    }

    /// Says where the user's home is (`%h` of a [template](crate::PathTemplate)).
    #[must_use]
    pub fn with_home(mut self, home: PathBuf) -> Self {
        self.facts.home = Some(home);
        self
    }

    /// Says as whom it is written.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.facts.owner = Some(owner);
        self
    }

    /// Says in which store of its own the account lies: the URL. Its path stands as
    /// it is, without variables: the account's mailbox itself, or the one file that a
    /// store of several is; where `/./` stands in it, no symbolic link is followed from
    /// there on.
    #[must_use]
    pub fn with_location(mut self, location: String) -> Self {
        self.facts.location = Some(location);
        self
    }

    /// Its name.
    pub fn name(&self) -> &MailboxName {
        &self.name
    }

    /// What becomes of it where it is not there.
    pub fn if_missing(&self) -> IfMissing {
        self.if_missing
    }

    /// What becomes of its folder where that is not there.
    pub fn if_no_folder(&self) -> IfNoFolder {
        self.facts.if_no_folder
    }

    /// How much the account may hold.
    pub fn quota(&self) -> Quota {
        self.facts.quota
    }

    /// The user's home directory, where it is known.
    pub fn home(&self) -> Option<&std::path::Path> {
        self.facts.home.as_deref()
    }

    /// As whom it is written; none: as who runs the program.
    pub fn owner(&self) -> Option<&Owner> {
        self.facts.owner.as_ref()
    }

    /// The URL of the account's own store, where it has one.
    pub fn location(&self) -> Option<&str> {
        self.facts.location.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::{MailboxName, NameError};

    #[test]
    fn a_folder_is_part_of_the_name_but_not_of_the_account() {
        let folder = MailboxName::parse("alice@example.org/Lists/a@b").unwrap();
        assert_eq!((folder.account(), folder.folder()), ("alice@example.org", Some("Lists/a@b")));
        assert_eq!((folder.local_part(), folder.domain()), ("alice", Some("example.org")));
        assert_eq!(folder.in_folder("Junk").unwrap().as_str(), "alice@example.org/Junk");
        assert_eq!(folder.inbox().folder(), None);
        assert_eq!(MailboxName::parse(folder.as_str()).unwrap(), folder);
    }

    #[test]
    fn an_accounts_folders_stand_behind_it() {
        let names = ["alice", "alice/A", "alice/A!", "alice/A/B", "alice!", "alice!/A"];
        let names = names.map(|name| MailboxName::parse(name).unwrap());
        assert!(names.is_sorted());
    }

    #[test]
    fn no_folder_leads_out_of_the_account() {
        let alice = MailboxName::new("alice").unwrap();
        for (folder, error) in [
            ("", NameError::Empty),
            ("/a", NameError::Empty),
            ("a//b", NameError::Empty),
            ("a/", NameError::Empty),
            ("..", NameError::LeadingDot),
            ("a/../b", NameError::LeadingDot),
            (".a", NameError::LeadingDot),
            ("a\0", NameError::Character('\0')),
            ("a\nb", NameError::Character('\n')),
        ] {
            assert_eq!(alice.in_folder(folder), Err(error), "{folder:?}");
        }
        assert_eq!(alice.in_folder(&"x".repeat(121)), Err(NameError::LongFolder));
        assert_eq!(alice.in_folder("a/b/c/d/e/f/g/h/i"), Err(NameError::LongFolder));
    }
}
