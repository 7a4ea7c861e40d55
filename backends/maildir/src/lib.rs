//! The Maildir store: one file a message, `new/` for what nobody has seen yet and
//! `cur/` for what comes from another store.
//!
//! Lives here: [`Maildir`], whose [`deliver`](MailStore::deliver) reads as the
//! protocol of maildir(5): write into `tmp`, sync, rename into `new` (or `cur`), sync.
//! May not: touch the disk but through [`Files`]; change or remove what others
//! wrote, old files in `tmp` apart, unless the reading side is told to.
//! Holds: an `Ok` means that file, name and every directory from the root down
//! to it are on stable storage; an `Err` means that nothing is left; below the
//! root no symbolic link is followed; a store that is not there is never made
//! again, nor taken for one in which the mailbox is missing.

mod clean;
mod folder_name;
mod known;
mod location;
mod mailbox;
mod name;
mod quota;
#[cfg(feature = "reader")]
mod read;
mod single_instance;
#[cfg(feature = "reader")]
mod verify;
mod write;

pub use postino_files::root::Opening;

use known::Known;
use location::Location;
use mailbox::{Directories, Whose};
use name::{Name, Names};
use postino_files::{
    Dir, Files, Space,
    root::{Root, RootError, Setup},
};
#[cfg(feature = "reader")]
use postino_store::MailReader;
use postino_store::{
    Contents, Delivery, DeliveryError, DeliveryId, IfMissing, IfNoFolder, Lane, MailStore, Mailbox,
    MailboxName, Message, Part, PathTemplate, Prepared, Room,
};
use single_instance::Shared;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
};
use write::Draft;

/// Deliveries to one mailbox that run at the same time: each waits for the disk
/// twice, and file systems commit those that wait together as one.
const AT_ONCE: usize = 4;

/// Deliveries taken together: one, since each file has its own sync.
const TOGETHER: usize = 1;

/// How a Maildir store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mode of message files, `0o600` by default; directories have the
    /// execute bit wherever this has a read bit.
    pub file_mode: u32,
    /// The host in message names; `/`, `:` and `,` in it are escaped.
    pub hostname: String,
    /// Whether only [`MailStore::init`] may write the marker.
    pub require_marker: bool,
    /// Where the template is an account's [own place](PathTemplate::of_place): the
    /// directory above it from which on no symbolic link is followed.
    pub base: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file_mode: 0o600,
            hostname: "localhost".to_owned(),
            require_marker: false,
            base: None,
        }
    }
}

/// A store of Maildirs below one root.
pub struct Maildir {
    template: PathTemplate,
    files: Arc<dyn Files>,
    file_mode: u32,
    root: Root,
    directories: Directories,
    names: Names,
    /// How many files are being shared.
    shared: Arc<AtomicUsize>,
    /// Whether it was logged that copies cannot be links.
    told_of_copies: AtomicBool,
}

impl Maildir {
    /// A store whose mailboxes lie where `template` says. Touches nothing yet.
    pub fn new(template: PathTemplate, options: Options, files: Arc<dyn Files>) -> Self {
        let Options { file_mode, hostname, require_marker, base } = options;
        let directory_mode = file_mode | (file_mode & 0o444) >> 2;
        Self {
            root: Root::new(Setup {
                path: template.root().to_owned(),
                base,
                is_home: template.is_of_a_home(),
                store: format!("maildir:{template}"),
                require_marker,
                file_mode,
                directory_mode,
                is_mailbox,
            }),
            directories: Directories::new(directory_mode, Known::new()),
            names: Names::new(&hostname),
            shared: Arc::default(),
            told_of_copies: AtomicBool::new(false),
            file_mode,
            template,
            files,
        }
    }

    /// What [`MailStore::open`] found; none before it, or where it failed. An
    /// administrator wants to be told of all but [`Opening::Marked`].
    pub fn opening(&self) -> Option<Opening> {
        self.root.opening()
    }
}

impl MailStore for Maildir {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        if delivery.is_withdrawn() {
            return Err(DeliveryError::Expired);
        }
        let account = self.lock_account(delivery.mailbox())?; // if it has a quota
        let name = self.names.next(delivery.message())?;
        let linked = match delivery.prepared().get::<Shared>() {
            Some(shared) => self.link(shared, delivery, &name, account.as_ref())?,
            None => None,
        };
        let published = if let Some(published) = linked {
            published
        } else {
            let draft = self.draft(delivery.mailbox(), &name)?; // removed on drop
            let written = draft.write(delivery.header(), delivery.message())?;
            let synced = written.sync()?; // a failure is final
            if let Some(account) = &account {
                account.check(synced.octets())?;
            }
            delivery.begin_commit()?; // refused where the client already has a 4yz
            synced.publish(&name)? // never overwrites; removed on drop
        };
        let octets = published.octets();
        published.sync()?; // new/ (cur/) itself: from here 250 is true
        if let Some(account) = &account {
            account.note(octets);
        }
        Ok(name.id())
    }

    fn prepare(
        &self,
        message: &Message,
        mailboxes: &[&Mailbox],
    ) -> Result<Prepared, DeliveryError> {
        Ok(self.share(message, mailboxes).map_or_else(Prepared::nothing, Prepared::new))
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        // One at a time where each has to know what the others have used.
        let at_once = if mailbox.quota().is_none() { AT_ONCE } else { 1 };
        let root = self.root.path_for(mailbox.home());
        let key = |location: Result<Location, DeliveryError>| {
            let path = location.map_or_else(|_| mailbox.name().as_str().into(), |at| at.path);
            root.join(path).to_string_lossy().into_owned()
        };
        Lane::of(key(self.target(mailbox.name())), at_once, TOGETHER)
            .within(key(self.account(mailbox.name())), at_once)
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let result = self.deliver(delivery);
            let stored = result.is_ok();
            delivery.finish(result);
            if stored {
                self.clean(delivery.mailbox());
            }
        }
    }

    fn admit(&self, mailbox: &Mailbox, size: Option<u64>) -> Result<(), DeliveryError> {
        self.location(mailbox.name())?;
        let path = self.account(mailbox.name())?.path;
        let is_there = self.is_there(mailbox, &path)?;
        let (quota, size) = (mailbox.quota(), size.unwrap_or(0).max(1));
        quota.admit(Contents::default(), size)?;
        if quota.is_none() || !is_there { Ok(()) } else { self.admit_size(mailbox, size) }
    }

    fn room(&self) -> Result<Option<Room>, DeliveryError> {
        if self.root.has_no_marker() {
            return Ok(None);
        }
        self.root.space(&*self.files).map(|space| Some(room(space))).map_err(root_error)
    }

    fn room_of(&self, mailbox: &Mailbox) -> Result<Option<Room>, DeliveryError> {
        let space = self.root.space_of_home(&*self.files, mailbox.home());
        space.map(|space| space.map(room)).map_err(root_error)
    }

    fn open(&self) -> Result<(), DeliveryError> {
        self.root.start(&*self.files).map_err(root_error)
    }

    fn notice(&self) -> Option<String> {
        self.root.notice()
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        let locations = mailboxes
            .iter()
            .map(|mailbox| Ok([self.account(mailbox)?, self.location(mailbox)?]))
            .collect::<Result<Vec<_>, DeliveryError>>()?;
        let files = &*self.files;
        let root = self.root.make(files).map_err(root_error)?;
        for location in locations.iter().flatten() {
            self.directories.open_or_make(files, &root, location, Whose::Anyones)?;
        }
        Ok(())
    }

    fn part(&self, mailbox: &Mailbox) -> Result<Option<Part>, DeliveryError> {
        let home = mailbox.home().unwrap_or(Path::new(""));
        let template = self.template.of_account(home, mailbox.name());
        let template = template.map_err(|error| DeliveryError::UnusableName(error.to_string()))?;
        let places = template.only().map(|path| template.root().join(path));
        let options = Options {
            file_mode: self.file_mode,
            hostname: self.names.host().to_owned(),
            require_marker: false,
            base: None,
        };
        let store = Box::new(Self::new(template, options, Arc::clone(&self.files)));
        Ok(Some(Part { store, places: places.into_iter().collect() }))
    }

    #[cfg(feature = "reader")]
    fn reader(&self) -> Option<&dyn MailReader> {
        Some(self)
    }
}

impl Maildir {
    /// Whether the mailbox at `path` is there; where it is not it may be made.
    fn is_there(&self, mailbox: &Mailbox, path: &Path) -> Result<bool, DeliveryError> {
        let files = &*self.files;
        let root = self.root.path_for(mailbox.home());
        if (self.root.has_no_marker() || self.root.is_right(files))
            && self.directories.is_as_known(files, root, path)
        {
            return Ok(true);
        }
        let root = self.root.open_for(files, mailbox.home()).map_err(root_error)?;
        match (files.open_dir(&root, path), mailbox.if_missing()) {
            (Ok(_), _) => Ok(true),
            (Err(error), IfMissing::Create) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            (Err(error), IfMissing::Refuse) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.no_such_mailbox(&root, path))
            }
            (Err(error), _) => {
                Err(DeliveryError::io("open the mailbox", root.path().join(path), error))
            }
        }
    }

    /// The mailbox's `new`, durable, made at need, and where it lies. Of a folder
    /// that is not there, and is not to be made, it is that of the inbox.
    fn mailbox(&self, mailbox: &Mailbox) -> Result<(Dir, PathBuf), DeliveryError> {
        let files = &*self.files;
        let location = self.target(mailbox.name())?;
        if (self.root.has_no_marker() || self.root.is_plain() && self.root.is_right(files))
            && let root = self.root.path_for(mailbox.home())
            && let Some(new) = self.directories.open_known(files, root, &location.path)
        {
            return Ok((new, location.path));
        }
        let root = self.root.open_for(files, mailbox.home()).map_err(root_error)?;
        let account = self.account(mailbox.name())?;
        let whose = if mailbox.owner().is_some() { Whose::Own } else { Whose::Anyones };
        let inbox = match mailbox.if_missing() {
            IfMissing::Create => self.directories.open_or_make(files, &root, &account, whose)?,
            IfMissing::Refuse => match self.directories.open(files, &root, &account, whose)? {
                Some(new) => new,
                None => return Err(self.no_such_mailbox(&root, &account.path)),
            },
        };
        if !location.is_folder {
            return Ok((inbox, account.path));
        }
        if let Some(new) = self.directories.open(files, &root, &location, whose)? {
            return Ok((new, location.path));
        }
        let is_made = mailbox.if_no_folder() == IfNoFolder::Create
            && mailbox::may_have_more(files, &root, &account.path)?;
        if is_made {
            let new = self.directories.open_or_make(files, &root, &location, whose)?;
            return Ok((new, location.path));
        }
        Ok((inbox, account.path))
    }

    /// The `cur` of the mailbox, which lies at `path`, once its `new` has been opened.
    fn cur(&self, mailbox: &Mailbox, path: &Path) -> Result<Dir, DeliveryError> {
        let files = &*self.files;
        let root = self.root.open_for(files, mailbox.home()).map_err(root_error)?;
        let cur = path.join(mailbox::CUR);
        files
            .open_dir(&root, &cur)
            .map_err(|cause| DeliveryError::io("open the directory", root.path().join(cur), cause))
    }

    /// What it means that the mailbox is missing.
    fn no_such_mailbox(&self, root: &Dir, path: &Path) -> DeliveryError {
        let known = self.root.knows_missing(&*self.files, root, path);
        known.map_or_else(root_error, |()| DeliveryError::NoSuchMailbox)
    }

    /// An empty file in the mailbox's `tmp`.
    fn draft(&self, mailbox: &Mailbox, name: &Name) -> Result<Draft, DeliveryError> {
        let create = || {
            let (new, path) = self.mailbox(mailbox)?;
            let place = if name.has_flags() { self.cur(mailbox, &path)? } else { new };
            Draft::create(&self.files, place, name, self.file_mode)
        };
        match create() {
            // The mailbox is as it was, but for its tmp (or cur).
            Err(DeliveryError::Io(failure)) if failure.cause.kind() == io::ErrorKind::NotFound => {
                let root = self.root.path_for(mailbox.home());
                self.directories.forget(root, &self.account(mailbox.name())?.path);
                self.directories.forget(root, &self.target(mailbox.name())?.path);
                create()
            }
            created => created,
        }
    }

    /// Cleans a mailbox's `tmp` where that is due, for whoever's deliveries have
    /// their answers. No failure of it is anybody's.
    fn clean(&self, mailbox: &Mailbox) {
        let files = &*self.files;
        let root = self.root.path_for(mailbox.home());
        if let Ok(Location { path, .. }) = self.target(mailbox.name())
            && self.directories.known.cleaning_is_due(&root.join(&path))
            && let Ok(root) = self.root.open_for(files, mailbox.home())
            && let Ok(tmp) = files.open_dir(&root, &path.join(mailbox::TMP))
        {
            clean::clean(files, &tmp);
        }
    }
}

/// A Maildir is a directory with a `new` in it.
fn is_mailbox(files: &dyn Files, directory: &Dir, name: &Path) -> bool {
    let Ok(mailbox) = files.open_dir(directory, name) else { return false };
    files.stat(&mailbox, Path::new(mailbox::NEW)).is_ok()
}

fn room(space: Space) -> Room {
    Room {
        octets: space.octets,
        octets_free: space.octets_free,
        files: space.inodes,
        files_free: space.inodes_free,
    }
}

fn root_error(error: RootError) -> DeliveryError {
    match error {
        RootError::Missing { what } => DeliveryError::StoreMissing { what },
        RootError::Failed { doing, path, cause } => DeliveryError::io(doing, path, cause),
    }
}
