//! What an account holds: its mailbox and its folders together.
//!
//! Lives here: the sum of the files' sizes, and how many messages are in them.
//! May not: take a lock; whoever compares with a quota holds the mailbox's, which
//! stands for the account.
//! Holds: a file is counted only where it is not remembered with the size that it
//! has; only where a quota limits messages is any counted.

use crate::{
    folder::{self, Account, Entry},
    mailbox,
    owners::Owners,
    render, tail,
};
use postino_files::{File, Files, Identity, Kind};
use postino_store::{Contents, Delivery, DeliveryError};
use std::{
    collections::HashMap,
    io,
    ops::ControlFlow,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Files whose count is remembered, about 50 octets each.
const KNOWN_MAX: usize = 4096;

/// Octets that are read together.
const WINDOW_OCTETS: u64 = 256 * 1024;

/// What is in front of each message but the first.
const BETWEEN: &[u8] = b"\n\nFrom ";

/// What of an account its quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    /// Nothing.
    None,
    /// Octets alone.
    Octets,
    /// Messages, and perhaps octets.
    Messages,
}

impl Limits {
    /// Of an account these deliveries of which go to.
    pub(crate) fn of(deliveries: &[&Delivery]) -> Self {
        let quotas = || deliveries.iter().map(|delivery| delivery.mailbox().quota());
        if quotas().any(|quota| quota.messages.is_some()) {
            Self::Messages
        } else if quotas().all(|quota| quota.is_none()) {
            Self::None
        } else {
            Self::Octets
        }
    }
}

/// Counts what accounts hold.
#[derive(Default)]
pub(crate) struct Counts {
    /// Size and messages.
    known: Mutex<HashMap<Identity, (u64, u64)>>,
}

impl Counts {
    /// What an account holds, but for the octets of the open file at `path`.
    pub(crate) fn held_beside(
        &self,
        account: &Account<'_>,
        path: &Path,
        file: &File,
        limits: Limits,
    ) -> Result<Contents, DeliveryError> {
        let mut held = self.held(account, Some(path), limits)?;
        if limits == Limits::Messages {
            held.messages += self
                .messages(account.files, file)
                .map_err(|cause| DeliveryError::io("count the messages of", file.path(), cause))?;
        }
        Ok(held)
    }

    /// What an account holds, but for the file at `except`.
    pub(crate) fn held(
        &self,
        account: &Account<'_>,
        except: Option<&Path>,
        limits: Limits,
    ) -> Result<Contents, DeliveryError> {
        let Account { files, root, inbox } = *account;
        let owners = Owners::to_deliver();
        let mut held = Contents::default();
        let mut add = |entry: &Entry<'_>| -> Result<(), DeliveryError> {
            // To what else lies there, or is a stranger's, nothing was delivered.
            let is_ours = entry.status.kind == Kind::File && owners.has(entry.status.owner);
            if !is_ours || except == Some(entry.path) {
                return Ok(());
            }
            held.octets = held.octets.saturating_add(entry.status.size);
            if limits == Limits::Messages {
                let failed = |cause| {
                    DeliveryError::io("count the messages of", entry.dir.path_to(entry.name), cause)
                };
                held.messages += match files.open(entry.dir, entry.name) {
                    Ok(file) => self.messages(files, &file).map_err(failed)?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                    Err(cause) => return Err(failed(cause)),
                };
            }
            Ok(())
        };
        if except != Some(inbox)
            && let Some(parent) = folder::open_parent(files, root, inbox)?
        {
            let name = Path::new(inbox.file_name().unwrap_or_default());
            if let Some(status) = mailbox::look(files, &parent, name)? {
                add(&Entry { dir: &parent, name, path: inbox, status })?;
            }
        }
        let mut failure = Ok(());
        folder::visit(account, &mut |entry| {
            failure = add(entry);
            if failure.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failure.map(|()| held)
    }

    /// How many messages are in a file.
    pub(crate) fn messages(&self, files: &dyn Files, file: &File) -> io::Result<u64> {
        let status = files.stat_file(file)?;
        if let Some((size, messages)) = self.known().get(&status.identity)
            && *size == status.size
        {
            return Ok(*messages);
        }
        let messages = count(files, file, status.size)?;
        self.note(status.identity, status.size, messages);
        Ok(messages)
    }

    /// Says that a file has grown from one size to another by so many messages.
    pub(crate) fn grown(&self, identity: Identity, (from, to): (u64, u64), by: usize) {
        if let Some((size, messages)) = self.known().get_mut(&identity)
            && *size == from
        {
            (*size, *messages) = (to, *messages + by as u64);
        }
    }

    fn note(&self, identity: Identity, size: u64, messages: u64) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX
            && let Some(any) = known.keys().next().copied()
        {
            known.remove(&any);
        }
        known.insert(identity, (size, messages));
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Identity, (u64, u64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(files: &dyn Files, file: &File, size: u64) -> io::Result<u64> {
    let begin = tail::read(files, file, 0, render::FROM.len() as u64)?;
    let mut messages = u64::from(begin == render::FROM);
    let between = memchr::memmem::Finder::new(BETWEEN);
    let (mut at, mut nuls) = (0, 0);
    while at < size {
        // One that begins in this window may end behind it.
        let octets = tail::read(files, file, at, WINDOW_OCTETS + BETWEEN.len() as u64 - 1)?;
        if octets.is_empty() {
            break;
        }
        if octets.iter().all(|octet| *octet == 0) {
            nuls += WINDOW_OCTETS;
            if nuls > tail::NULS_MAX {
                return Err(tail::too_many_nuls());
            }
        }
        messages += between.find_iter(&octets).count() as u64;
        at += WINDOW_OCTETS;
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::{Counts, WINDOW_OCTETS};
    use postino_files::{Files, Kernel};
    use std::{fs, path::Path};

    #[test]
    fn messages_are_counted_wherever_they_begin() {
        let directory = tempfile::tempdir().unwrap();
        let files = Kernel::new();
        let dir = files.open_root(directory.path()).unwrap();
        for pad in 0..10 {
            let first = "From a\n".to_owned()
                + &"x".repeat(usize::try_from(WINDOW_OCTETS).unwrap() - 12 + pad);
            let text = first + "\n\nFrom b\n>From c\nFrom d\n\n\nFrom e\n\n";
            let name = format!("m{pad}");
            fs::write(directory.path().join(&name), &text).unwrap();
            let file = files.open(&dir, Path::new(&name)).unwrap();
            assert_eq!(Counts::default().messages(&files, &file).unwrap(), 3, "{pad}");
        }
    }

    #[test]
    fn a_file_made_long_is_not_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let files = Kernel::new();
        let dir = files.open_root(directory.path()).unwrap();
        let file = fs::File::create(directory.path().join("m")).unwrap();
        file.set_len(1 << 42).unwrap();
        let counted =
            Counts::default().messages(&files, &files.open(&dir, Path::new("m")).unwrap());
        assert!(counted.unwrap_err().to_string().contains("more NULs"));
    }

    #[test]
    fn a_file_of_another_size_is_counted_anew() {
        let directory = tempfile::tempdir().unwrap();
        let files = Kernel::new();
        let dir = files.open_root(directory.path()).unwrap();
        let path = directory.path().join("m");
        let counts = Counts::default();
        let count = || counts.messages(&files, &files.open(&dir, Path::new("m")).unwrap());
        for (text, messages) in
            [("", 0), ("From a\n\n", 1), ("From a\n\nFrom b\n\n", 2), ("From a\n\n", 1)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(count().unwrap(), messages);
        }
    }
}
