//! The mailboxes that there are.
//!
//! Lives here: what lies where a mailbox can, and whether it is one.
//! May not: lock, or read more than the first octets of a file.

use super::{
    Reader,
    access::{NO_MBOX, TO_READ, open_strictly, stray},
};
use crate::{
    dotlock,
    folder::{self, Account},
    render, tail,
};
use postino_files::{Dir, Kind, Status, marker, root};
use postino_store::{DeliveryError, MailboxName, ReadError, Stray, Visit};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

/// What begins the names of files that file systems keep for themselves.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

impl Reader<'_> {
    /// `device:inode` of the root.
    pub(crate) fn identity(&self) -> Result<String, ReadError> {
        let identity = self.root_status()?.identity;
        Ok(format!("{}:{}", identity.device, identity.inode))
    }

    /// The root's owner.
    pub(crate) fn owner(&self) -> Result<u32, ReadError> {
        Ok(self.root_status()?.owner)
    }

    fn root_status(&self) -> Result<Status, ReadError> {
        let root = self.root()?;
        let status = self.files.stat_dir(&root);
        Ok(status
            .map_err(|cause| DeliveryError::io("look at the store's root", root.path(), cause))?)
    }

    /// Visits the mailboxes by their names' octets, and then the strays.
    pub(crate) fn mailboxes(&self, visit: Visit<'_, MailboxName>) -> Result<(), ReadError> {
        self.refuse_store_of_others()?;
        let (places, mut strays) = self.places()?;
        let mut names = Vec::new();
        for path in places {
            match self.mailbox_at(&path) {
                Ok(Some(name)) => names.push(name),
                // It may have gone since.
                Ok(None) | Err(ReadError::Store(DeliveryError::NoSuchMailbox)) => {}
                Err(ReadError::Stray(stray)) => strays.push(stray),
                Err(ReadError::Store(DeliveryError::Misconfigured(failure))) => {
                    let why = format!("is not to be read: {}", failure.cause);
                    strays.push(Stray { path: failure.path, why });
                }
                Err(error) => return Err(error),
            }
        }
        names.sort_unstable();
        let strays = strays.into_iter().map(Err);
        for found in names.into_iter().map(Ok).chain(strays) {
            if visit(found) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    /// Refuses, once, a store whose mailboxes all are another user's.
    pub(super) fn refuse_store_of_others(&self) -> Result<(), ReadError> {
        let root = self.root()?;
        let owners = self.owners(&root)?;
        if owners.other().is_none() {
            return Ok(());
        }
        for path in self.places()?.0 {
            if self.name_of(&path).is_some()
                && let Ok(status) = self.files.stat(&root, &path)
                && status.kind == Kind::File
            {
                owners.refuse_others(status.owner, &root.path().join(&path))?;
            }
        }
        Ok(())
    }

    /// What lies as deep below the root as mailboxes do, and where their folders lie;
    /// and the directories that cannot be looked into.
    fn places(&self) -> Result<(Vec<PathBuf>, Vec<Stray>), ReadError> {
        let root = self.root()?;
        let (mut places, mut strays) = (Vec::new(), Vec::new());
        if let Some(only) = self.template.only() {
            places.extend(folder::directory(&only));
            places.push(only);
        } else {
            root::visit_below(&**self.files, &root, self.template.depth(), &mut |path, told| {
                match told {
                    Ok(()) => places.push(path.to_owned()),
                    Err(cause) => strays.push(Stray {
                        path: root.path().join(path),
                        why: format!("cannot be read: {cause}"),
                    }),
                }
            })
            .map_err(|cause| DeliveryError::io("list the store below", root.path(), cause))?;
        }
        let inboxes: Vec<_> = places.iter().filter_map(|path| self.inbox_of(path)).collect();
        for inbox in inboxes {
            let visited = self.visit_folders(&root, &inbox, &mut |entry| {
                places.push(entry.path.to_owned());
                ControlFlow::Continue(())
            });
            match visited {
                Err(DeliveryError::Misconfigured(failure) | DeliveryError::Io(failure)) => {
                    // Without a mailbox it is another program's.
                    if places.contains(&inbox) {
                        let why = format!("cannot be read: {}", failure.cause);
                        strays.push(Stray { path: failure.path, why });
                    }
                }
                visited => visited?,
            }
        }
        Ok((places, strays))
    }

    /// Visits what lies where an account's folders do.
    pub(super) fn visit_folders(
        &self,
        root: &Dir,
        inbox: &Path,
        visit: folder::Visit<'_>,
    ) -> Result<(), DeliveryError> {
        folder::visit(&Account { files: &**self.files, root, inbox }, visit)
    }

    /// The mailbox whose folders would lie in the directory at this path, as a path.
    pub(super) fn inbox_of(&self, directory: &Path) -> Option<PathBuf> {
        let name = directory.file_name()?.to_str()?.strip_prefix('.')?;
        let inbox = directory.with_file_name(name);
        self.name_of(&inbox)?;
        (folder::directory(&inbox)? == directory).then_some(inbox)
    }

    /// The mailbox that lies at this path below the root; none where that is a file
    /// of ours, or another program's that has nothing to do with mail.
    pub(super) fn mailbox_at(&self, path: &Path) -> Result<Option<MailboxName>, ReadError> {
        let files = &**self.files;
        let file_name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if is_ours(file_name)
            || file_name.ends_with(dotlock::SUFFIX.as_bytes())
            || path == Path::new(LOST_AND_FOUND)
        {
            return Ok(None);
        }
        let full = self.root.path().join(path);
        let Some(name) = self.name_of(path) else {
            return if is_hidden(path) { Ok(None) } else { Err(stray(&full, NO_NAME)) };
        };
        // It was looked for by its path a moment ago.
        let root = files
            .open_root(self.root.path())
            .map_err(|cause| DeliveryError::io("open the store's root", self.root.path(), cause))?;
        let owners = self.owners(&root)?;
        let Some(chain) = self.mailboxes.chain_of(owners, files, root, path, false)? else {
            return Ok(None);
        };
        let file_name = Path::new(path.file_name().unwrap_or_default());
        let file = open_strictly(files, chain.dir(), file_name, TO_READ, owners)?;
        let begin = tail::read(files, &file, 0, render::FROM.len() as u64)
            .map_err(|cause| DeliveryError::io("read the mailbox", file.path(), cause))?;
        if begin.is_empty() || begin == render::FROM {
            return Ok(Some(name));
        }
        if is_hidden(path) {
            return Ok(None); // readers keep files of their own beside folders
        }
        Err(stray(&full, NO_MBOX))
    }

    /// The mailbox, or the folder of one, that would lie at this path.
    pub(super) fn name_of(&self, path: &Path) -> Option<MailboxName> {
        let components: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
        let components = components?;
        let (above, levels) = components.split_at_checked(self.template.depth())?;
        if levels.is_empty() {
            return self.template.mailbox(above);
        }
        let inbox = self.inbox_of(&above.iter().collect::<PathBuf>())?;
        self.name_of(&inbox)?.in_folder(&levels.join("/")).ok()
    }
}

/// Whether any part of a path has a dot in front: where no mailbox has, it belongs
/// to another program, as Dovecot's indexes do.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.iter().any(|part| part.as_encoded_bytes().starts_with(b"."))
}

/// Why no mailbox can lie there.
pub(super) const NO_NAME: &str = "has a name that no mailbox has";

/// Whether files of this name are the store's own, no mailboxes.
pub(super) fn is_ours(name: &[u8]) -> bool {
    name.starts_with(marker::NAME.as_bytes())
}
