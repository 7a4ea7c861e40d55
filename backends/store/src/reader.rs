//! The reading side of a store.
//!
//! Lives here: [`MailReader`], with which the commands list, read, remove, copy and
//! check what is stored, and the values that it gives.
//! May not: deliver; make a store or a mailbox.
//! Holds: no message is ever in memory as a whole, and nothing that others wait for
//! (a lock, a transaction) is held while the caller has the word: not during a
//! visit, nor between two reads of a message.

use crate::{Body, Contents, DeliveryError, DeliveryId, Flags, MailboxName, Timestamp};
use std::{
    ffi::OsString,
    fmt,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// Reads a store. Every method may block.
///
/// It needs no [`MailStore::open`](crate::MailStore::open) before it, makes
/// nothing, and takes a store without a marker too. It opens files as strictly as a
/// delivery does: what is a symbolic link, no regular file, or another user's is a
/// [`Stray`], reported and never read.
pub trait MailReader: Send + Sync {
    /// Where the store lies, in a form that is the same for every URL of one store
    /// and differs between stores: `device:inode` of its root or file.
    fn identity(&self) -> Result<String, ReadError>;

    /// Whose the store is, where what another user delivers would not be read there:
    /// the owner of its root. None where that makes no difference.
    fn owner(&self) -> Result<Option<u32>, ReadError> {
        Ok(None)
    }

    /// Visits each mailbox, folders included, in the order of their names.
    fn mailboxes(&self, visit: Visit<'_, MailboxName>) -> Result<(), ReadError>;

    /// Visits the messages that a mailbox has at this moment, in the order of their
    /// arrival as far as the store keeps one. What comes or goes meanwhile may be
    /// missing or not.
    fn messages(
        &self,
        mailbox: &MailboxName,
        visit: Visit<'_, MessageInfo>,
    ) -> Result<(), ReadError>;

    /// How much a mailbox holds. By default its messages are counted.
    fn contents(&self, mailbox: &MailboxName) -> Result<Contents, ReadError> {
        let mut contents = Contents::default();
        self.messages(mailbox, &mut |found| {
            if let Ok(message) = found {
                contents.messages += 1;
                contents.octets += message.octets;
            }
            ControlFlow::Continue(())
        })?;
        Ok(contents)
    }

    /// The message of this id: the word that the reply to its delivery had behind
    /// the code, and that [`MailReader::messages`] gives.
    fn find(&self, mailbox: &MailboxName, id: &str) -> Result<MessageInfo, ReadError>;

    /// Opens a message for reading. One that was removed since it was found is
    /// [`ReadError::NoSuchMessage`]; one that changes while it is read ends with an
    /// error of its body's reader, which is a
    /// [stale handle](std::io::ErrorKind::StaleNetworkFileHandle) where another look
    /// may find it elsewhere.
    fn open(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<OpenMessage, ReadError>;

    /// Removes a message, durably.
    fn remove(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<(), ReadError>;

    /// Removes a mailbox with all its messages, durably.
    fn remove_mailbox(&self, mailbox: &MailboxName) -> Result<(), ReadError>;

    /// Checks the whole store, and mends what can be mended without losing an octet
    /// where `repair` says so: it only moves things, into `.postino-lost` beside
    /// what was damaged.
    fn verify(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError>;

    /// Makes a copy of the whole store as it is at one moment, while others write to
    /// it, in a file that must not be there yet; it serves as a store at once, and
    /// lasts from the return on. `progress` is told how many units of how many are
    /// done, of a unit that the store chooses. By default it is refused: files can
    /// be copied with what the system has.
    fn backup(&self, target: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), ReadError> {
        let _ = (target, progress);
        Err(ReadError::NotOffered {
            instead: "copy its files as they are, or use the command copy",
        })
    }
}

/// Takes what is found, one after the other, until it breaks off; strays among it.
pub type Visit<'a, T> = &'a mut dyn FnMut(Result<T, Stray>) -> ControlFlow<()>;

/// What stands where a message or mailbox could be, but is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where.
    pub path: PathBuf,
    /// Why not, as the end of a sentence: `is a symbolic link`.
    pub why: String,
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.why)
    }
}

/// A message's facts, as a listing has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    /// Its name in the mailbox.
    pub id: DeliveryId,
    /// How many octets reading it gives.
    pub octets: u64,
    /// When it came.
    pub received: Timestamp,
    /// What readers have marked it with; none where the store has no flags.
    pub flags: Option<Flags>,
    /// Where the store finds it again without a search. It may be out of date; only
    /// the store itself looks at it.
    pub hint: OsString,
}

/// A message that can be read.
#[derive(Debug)]
pub struct OpenMessage {
    /// Its facts when it was opened.
    pub info: MessageInfo,
    /// The reverse-path without brackets, where the store keeps it apart from the
    /// message; empty for `<>`.
    pub reverse_path: Option<String>,
    /// The recipient's address as it was given, where the store keeps it apart.
    pub recipient: Option<String>,
    /// The whole message, the header lines of its delivery first; the marks of the
    /// store's own around it (an mbox's From_ line, its quoting) are undone.
    pub body: Body,
}

/// What [`MailReader::verify`] may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Look only.
    No,
    /// Mend what can be mended.
    Yes,
}

/// What [`MailReader::verify`] has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether mail is damaged, or only something lies about.
    pub kind: FindingKind,
    /// Where: a path, or what names it in the store.
    pub place: String,
    /// What is wrong, as the end of a sentence: `is empty`.
    pub what: String,
    /// What an administrator should do, as a sentence without its end.
    pub advice: String,
    /// What a repair does, or did.
    pub remedy: Remedy,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Mail, or what the store needs to find it, is damaged.
    Damage,
    /// Something lies where it should not; no mail suffers.
    Stray,
}

/// What a repair does about a [`Finding`], as a verb and its object: `move it to
/// /var/vmail/.postino-lost/x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing that loses no octet.
    Nothing,
    /// This, if repairing is allowed.
    Possible(String),
    /// This was done, and what was damaged is as it should be, or out of the way; not for
    /// mail that keeps its place and is damaged still.
    Done(String),
    /// This was tried.
    Failed {
        /// What was tried.
        doing: String,
        /// Why it did not succeed.
        cause: String,
    },
}

/// Why something could not be read or removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The mailbox is there, but has no message of this id.
    NoSuchMessage,
    /// What lies there is not read.
    Stray(Stray),
    /// What lies there is damaged.
    Damaged {
        /// Where, and what is wrong.
        what: String,
    },
    /// This kind of store cannot do it.
    NotOffered {
        /// What does the same for it, as an order: `copy its files`.
        instead: &'static str,
    },
    /// The store's own trouble, as with a delivery; a mailbox that is not there is
    /// [`DeliveryError::NoSuchMailbox`].
    Store(DeliveryError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMessage => f.write_str("there is no message of this id"),
            Self::Stray(stray) => write!(f, "{stray}; it is not read"),
            Self::Damaged { what } => f.write_str(what),
            Self::NotOffered { instead } => {
                write!(f, "this kind of store does not offer it; instead, {instead}")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DeliveryError> for ReadError {
    fn from(error: DeliveryError) -> Self {
        Self::Store(error)
    }
}
