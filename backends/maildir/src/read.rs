//! The reading side of the store.
//!
//! Lives here: [`MailReader`] for [`Maildir`]: which mailboxes and messages there are,
//! and one of them as a stream.
//! May not: write, but for what `remove` and `verify` do.
//! Holds: what is opened is looked at before, and again once it is open: a regular
//! file of the mailbox's owner, or it is not read. Several names are no fault: what
//! went to several recipients may be one file, and Dovecot's copies are.

pub(crate) mod failure;
pub(crate) mod folder;
pub(crate) mod names;
pub(crate) mod remove;

use crate::{Maildir, folder_name, mailbox, quota, root_error};
use failure::{failed, is_missing, is_of_disk, is_shortage};
use folder::{Folder, Look, Moved};
use postino_files::{Dir, File, Files, Kind, Status, root};
use postino_store::{
    Body, Finding, MailReader, MailboxName, MessageInfo, Octets, OpenMessage, ReadError, Repair,
    Stray, Verified, Visit,
};
use std::{io, ops::ControlFlow, path::Path, sync::Arc};

/// What file systems have in their root.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

impl MailReader for Maildir {
    fn identity(&self) -> Result<String, ReadError> {
        let identity = self.root_status()?.identity;
        Ok(format!("{}:{}", identity.device, identity.inode))
    }

    fn owner(&self) -> Result<Option<u32>, ReadError> {
        Ok(Some(self.root_status()?.owner))
    }

    fn mailboxes(&self, visit: Visit<'_, MailboxName>) -> Result<(), ReadError> {
        let root = self.root_to_read()?;
        let (mut names, mut strays, mut broken) = (Vec::new(), Vec::new(), None);
        self.visit_places(&root, &mut |path, place| {
            let path = root.path_to(path);
            let why = match place {
                Place::Mailbox(name) => {
                    names.push(name);
                    return;
                }
                Place::Stray(why) => why,
                Place::Unread(cause) if is_shortage(&cause) || is_of_disk(&cause) => {
                    broken.get_or_insert(failed("look for a mailbox at", path, cause));
                    return;
                }
                Place::Unread(cause) => format!("cannot be read: {cause}"),
                Place::Other => return,
            };
            strays.push(Stray { path, why });
        })?;
        if let Some(broken) = broken {
            return Err(broken);
        }
        names.sort_unstable();
        strays.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        for found in names.into_iter().map(Ok).chain(strays.into_iter().map(Err)) {
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn messages(
        &self,
        mailbox: &MailboxName,
        visit: Visit<'_, MessageInfo>,
    ) -> Result<(), ReadError> {
        let folder = self.folder(mailbox)?;
        let mut moved = Moved::default();
        for entry in folder.entries(&*self.files)? {
            let (entry, look) = moved.look(&*self.files, &folder, entry)?;
            let flow = match look {
                Look::Message(status) => visit(Ok(folder::info(&entry, &status))),
                Look::Stray(stray) => visit(Err(stray)),
                Look::Gone => ControlFlow::Continue(()),
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn find(&self, mailbox: &MailboxName, id: &str) -> Result<MessageInfo, ReadError> {
        let folder = self.folder(mailbox)?;
        let entry = folder.find(&*self.files, id)?;
        match Moved::default().look(&*self.files, &folder, entry)? {
            (entry, Look::Message(status)) => Ok(folder::info(&entry, &status)),
            (_, Look::Stray(stray)) => Err(ReadError::Stray(stray)),
            (_, Look::Gone) => Err(ReadError::NoSuchMessage),
        }
    }

    fn open(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<OpenMessage, ReadError> {
        let files = &*self.files;
        let folder = self.folder(mailbox)?;
        let open = |dir: &Dir, entry: &folder::Entry, _: &_| {
            let file = files.open(dir, Path::new(&entry.name))?;
            let status = files.stat_file(&file)?;
            let path = folder.path_to(entry);
            Ok(match folder.objection(&status) {
                Some(why) => Err(ReadError::Stray(Stray { path, why })),
                None => Ok((folder::info(entry, &status), file)),
            })
        };
        let (info, file) = folder.with(files, message, open, "open the file")??;
        let octets = info.octets;
        let file = OpenFile { files: Arc::clone(&self.files), file };
        let body = Body::elsewhere(file, octets);
        Ok(OpenMessage { info, reverse_path: None, recipient: None, body })
    }

    fn remove(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<(), ReadError> {
        let folder = self.folder(mailbox)?;
        self.forget_sum(mailbox)?;
        remove::message(&*self.files, &folder, message)
    }

    fn remove_mailbox(&self, mailbox: &MailboxName) -> Result<(), ReadError> {
        self.folder(mailbox)?;
        let location = self.location(mailbox)?;
        let removed = remove::mailbox(&*self.files, &self.root_to_read()?, &location);
        self.directories.forget(self.root.path(), &location.path);
        removed?;
        if location.is_folder { self.forget_sum(mailbox) } else { Ok(()) }
    }

    fn verify(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError> {
        self.check(repair, report)
    }
}

/// What lies where mailboxes do.
pub(crate) enum Place {
    Mailbox(MailboxName),
    Stray(String),
    /// Nobody knows: it cannot be looked into. There may be mailboxes below it.
    Unread(io::Error),
    /// A directory that is no Maildir, or what no mailbox could be.
    Other,
}

impl Maildir {
    pub(crate) fn root_to_read(&self) -> Result<Dir, ReadError> {
        Ok(self.root.open_to_read(&*self.files).map_err(root_error)?)
    }

    fn root_status(&self) -> Result<Status, ReadError> {
        let root = self.root_to_read()?;
        let status = self.files.stat_dir(&root);
        status.map_err(|cause| failed("look at", root.path(), cause))
    }

    fn folder(&self, mailbox: &MailboxName) -> Result<Folder, ReadError> {
        let path = self.location(mailbox)?.path;
        Folder::open(&*self.files, &self.root_to_read()?, &path)
    }

    /// What its account holds is another thing now: it is counted anew.
    fn forget_sum(&self, mailbox: &MailboxName) -> Result<(), ReadError> {
        let path = self.account(mailbox)?.path;
        let files = &*self.files;
        let forgotten = files
            .open_dir(&self.root_to_read()?, &path)
            .and_then(|account| quota::forget(files, &account));
        forgotten.map_err(|cause| failed("remove the sum of", self.root.path().join(path), cause))
    }

    /// Visits all paths at which mailboxes could lie, each account's folders behind it.
    pub(crate) fn visit_places(
        &self,
        root: &Dir,
        visit: &mut dyn FnMut(&Path, Place),
    ) -> Result<(), ReadError> {
        let files = &*self.files;
        let mut visit = |path: &Path, told: io::Result<()>| {
            let place = told.map_or_else(|cause| unread(path, cause), |()| self.place(root, path));
            let account = match &place {
                Place::Mailbox(name) => Some(name.clone()),
                _ => None,
            };
            visit(path, place);
            if let Some(account) = account {
                self.visit_folders(root, path, &account, visit);
            }
        };
        let visited = if let Some(only) = self.template.only() {
            visit(&only, Ok(()));
            Ok(())
        } else {
            root::visit_below(files, root, self.template.depth(), &mut visit)
        };
        visited.map_err(|cause| failed("look for mailboxes below", root.path(), cause))
    }

    /// Visits the places of an account's folders; the account's own once more where
    /// they cannot be listed.
    fn visit_folders(
        &self,
        root: &Dir,
        path: &Path,
        account: &MailboxName,
        visit: &mut dyn FnMut(&Path, Place),
    ) {
        let files = &*self.files;
        let listed = files.open_dir(root, path).and_then(|dir| files.read_dir(&dir, usize::MAX));
        let mut names = match listed {
            Ok(names) => names,
            Err(cause) if is_missing(&cause) => return,
            Err(cause) => return visit(path, Place::Unread(cause)),
        };
        names.retain(|name| name.as_encoded_bytes().starts_with(b"."));
        names.sort_unstable();
        for name in names {
            let at = path.join(&name);
            let folder = || account.in_folder(&folder_name::folder(name.to_str()?)?).ok();
            visit(&at, self.folder_place(root, &at, folder()));
        }
    }

    /// What lies where a folder of this name would.
    fn folder_place(&self, root: &Dir, path: &Path, name: Option<MailboxName>) -> Place {
        if remove::is_remainder(path) {
            return Place::Other;
        }
        match (holds_mail(&*self.files, root, path), name) {
            (Ok(true), Some(name)) => Place::Mailbox(name),
            (Ok(true), None) => {
                Place::Stray("is a Maildir++ folder, but its name is no mailbox's".to_owned())
            }
            (Ok(false), Some(_)) if matches!(self.kind(root, path), Ok(Kind::Other)) => {
                Place::Stray("is a symbolic link, or the like, not a folder".to_owned())
            }
            (Ok(false), _) => Place::Other,
            (Err(cause), Some(_)) => Place::Unread(cause),
            (Err(cause), None) => unread(path, cause),
        }
    }

    fn place(&self, root: &Dir, path: &Path) -> Place {
        if remove::is_remainder(path) {
            return Place::Other;
        }
        let components: Option<Vec<&str>> = path.iter().map(|part| part.to_str()).collect();
        let name = components.and_then(|components| self.template.mailbox(&components));
        match (holds_mail(&*self.files, root, path), name) {
            (Err(cause), _) => unread(path, cause),
            (Ok(true), Some(name)) => Place::Mailbox(name),
            (Ok(true), None) => {
                Place::Stray("is a Maildir, but its name is no mailbox's".to_owned())
            }
            (Ok(false), None) => Place::Other,
            (Ok(false), Some(_)) => match self.kind(root, path) {
                Ok(Kind::File) => Place::Stray("is a file, not a mailbox".to_owned()),
                Ok(Kind::Other) => Place::Stray(
                    "is a symbolic link, a FIFO, a socket or a device, not a mailbox".to_owned(),
                ),
                Ok(Kind::Directory) | Err(_) => Place::Other,
            },
        }
    }

    fn kind(&self, root: &Dir, path: &Path) -> io::Result<Kind> {
        let (above, name) = (remove::parent(path), Path::new(path.file_name().unwrap_or_default()));
        Ok(match above {
            None => self.files.stat(root, name)?,
            Some(above) => self.files.stat(&self.files.open_dir(root, above)?, name)?,
        }
        .kind)
    }
}

/// Whether a directory is a Maildir: one with a `new` or a `cur` in it. An error where
/// that cannot be told.
fn holds_mail(files: &dyn Files, root: &Dir, path: &Path) -> io::Result<bool> {
    let Some(mailbox) = directory(files, root, path)? else { return Ok(false) };
    // The one that can be opened says it, whatever the other is.
    match directory(files, &mailbox, Path::new(mailbox::NEW)) {
        Ok(Some(_)) => Ok(true),
        new => match directory(files, &mailbox, Path::new(mailbox::CUR))? {
            Some(_) => Ok(true),
            None => new.map(|_| false),
        },
    }
}

/// The directory at `path`, if there is one.
fn directory(files: &dyn Files, at: &Dir, path: &Path) -> io::Result<Option<Dir>> {
    match files.open_dir(at, path) {
        Err(cause) if root::is_no_directory(&cause) => Ok(None),
        opened => opened.map(Some),
    }
}

/// What cannot be looked into, but for what no mailbox lies in: other programs' hidden
/// directories, and that which file systems have in their root.
fn unread(path: &Path, cause: io::Error) -> Place {
    let is_hidden = path.iter().any(|part| part.as_encoded_bytes().starts_with(b"."));
    let is_denied = cause.kind() == io::ErrorKind::PermissionDenied;
    if is_denied && (is_hidden || path == Path::new(LOST_AND_FOUND)) {
        Place::Other
    } else {
        Place::Unread(cause)
    }
}

/// A message's octets.
struct OpenFile {
    files: Arc<dyn Files>,
    file: File,
}

impl Octets for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.files.read_at(&self.file, buffer, offset)
    }
}
