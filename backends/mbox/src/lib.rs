//! The mbox store: all messages of a mailbox in one file, as mbox(5) has it.
//!
//! Lives here: [`Mbox`] as a store; below it how deliveries are stored (`storing`),
//! and the reading side, under the feature `reader`.
//! May not: touch the disk but through [`Files`]; wait for a lock in a delivery, or
//! change in one what stands in a mailbox already, its torn end apart.
//! Holds: an `Ok` means that the message, the file's name and every directory from
//! the root down to it are on stable storage; an `Err` means that the file is as
//! long as before; below the root no symbolic link is followed; a store that is
//! not there is never made again, nor taken for one in which the mailbox is
//! missing.
//!
//! # What stands in a mailbox
//!
//! ```text
//! From SENDER DATE        MAILER-DAEMON for <>; the date in UTC, as asctime(3) writes it
//! the message             every CRLF as LF, lines like >>From quoted by one more >
//!                         an empty line
//! ```
//!
//! A message's id is the place of its From_ line in octets, `-`, and the first
//! twelve hexadecimal digits of the SHA-256 of the message as it stands there: from
//! its first header line to its last line end, quotes included, without the From_
//! line and the empty line. A reader that removes messages moves those behind; the
//! digest still tells which it was.

mod append;
mod batch;
mod content;
mod dotlock;
mod error;
mod folder;
mod id;
mod lengths;
mod lock;
mod mailbox;
mod owners;
mod paths;
mod quota;
#[cfg(feature = "reader")]
mod reader;
mod render;
mod storing;
mod strangers;
mod tail;

pub use lock::LockKind;
pub use postino_files::root::Opening;
pub use render::Format;

use batch::Batch;
use folder::Account;
use lock::Locking;
use mailbox::{Mailbox as OpenMailbox, Mailboxes};
use paths::Paths;
use postino_files::{
    Dir, Files, Kind, Space, marker,
    root::{Root, Setup},
};
use postino_store::{
    Delivery, DeliveryError, DeliveryId, IfMissing, Lane, MailStore, Mailbox, MailboxName, Part,
    PathTemplate, Quota, Room,
};
#[cfg(feature = "reader")]
use postino_store::{
    Finding, MailReader, MessageInfo, OpenMessage, ReadError, Repair, Verified, Visit,
};
use quota::{Counts, Limits};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Deliveries to one file that run at the same time: they would only find each
/// other's locks.
const AT_ONCE: usize = 1;

/// Folders of an account that are delivered to at the same time.
const FOLDERS_AT_ONCE: usize = 4;

/// Deliveries that share locks and sync.
const TOGETHER: usize = 64;

/// How an mbox store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The mode of mailboxes, `0o600` by default; directories have the execute bit
    /// wherever this has a read bit.
    pub file_mode: u32,
    /// What is quoted.
    pub format: Format,
    /// Which locks are taken, in this order.
    pub locks: Vec<LockKind>,
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
            format: Format::Mboxrd,
            locks: vec![LockKind::Fcntl, LockKind::Dotlock],
            require_marker: false,
            base: None,
        }
    }
}

/// A store of mbox files below one root.
pub struct Mbox {
    paths: Paths,
    files: Arc<dyn Files>,
    format: Format,
    root: Root,
    mailboxes: Mailboxes,
    locking: Locking,
    counts: Counts,
    #[cfg(feature = "reader")]
    places: reader::Places,
}

impl Mbox {
    /// A store whose mailboxes are the files that `template` names. Touches nothing
    /// yet.
    pub fn new(template: PathTemplate, options: Options, files: Arc<dyn Files>) -> Self {
        let Options { file_mode, format, locks, require_marker, base } = options;
        let directory_mode = file_mode | (file_mode & 0o444) >> 2;
        Self {
            root: Root::new(Setup {
                path: template.root().to_owned(),
                base,
                is_home: template.is_of_a_home(),
                store: format!("mbox:{template}"),
                require_marker,
                file_mode,
                directory_mode,
                is_mailbox,
            }),
            mailboxes: Mailboxes::new(file_mode, directory_mode),
            locking: Locking::new(locks),
            counts: Counts::default(),
            #[cfg(feature = "reader")]
            places: reader::Places::default(),
            paths: Paths::new(template),
            format,
            files,
        }
    }

    /// What [`MailStore::open`] found; none before it, or where it failed.
    pub fn opening(&self) -> Option<Opening> {
        self.root.opening()
    }
}

impl MailStore for Mbox {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        let path = self.paths.aim(delivery.mailbox().name())?;
        let mut result = Err(DeliveryError::Unanswered);
        self.store(&path, &[delivery], &mut |_, given| result = given);
        result
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        let root = self.root.path_for(mailbox.home());
        let key = |path| root.join(path).to_string_lossy().into_owned();
        let (Ok(path), Ok(inbox)) =
            (self.paths.aim(mailbox.name()), self.paths.inbox(mailbox.name()))
        else {
            return Lane::of(key(mailbox.name().as_str().into()), AT_ONCE, TOGETHER);
        };
        let (path, inbox) = (key(path), key(inbox));
        let is_folder = path != inbox;
        let lane = Lane::of(path, AT_ONCE, TOGETHER);
        // The mailbox itself does not wait for its folders.
        if is_folder { lane.within(inbox, FOLDERS_AT_ONCE) } else { lane }
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        let mut batch: Option<Batch<'_>> = None;
        for delivery in deliveries {
            match self.paths.aim(delivery.mailbox().name()) {
                Err(error) => delivery.finish(Err(error)),
                Ok(path) => {
                    if let Some(batch) = &mut batch
                        && batch.takes(&path, delivery)
                    {
                        batch.add(delivery);
                    } else {
                        self.store_batch(batch.replace(Batch::of(path, delivery)));
                    }
                }
            }
        }
        self.store_batch(batch);
    }

    fn admit(&self, mailbox: &Mailbox, size: Option<u64>) -> Result<(), DeliveryError> {
        let files = &*self.files;
        let path = self.paths.inbox(mailbox.name())?;
        let root = self.root_for(mailbox.home())?;
        let name = Path::new(path.file_name().unwrap_or_default());
        let is_there = match self.mailboxes.chain(files, root, &path, false)? {
            Some(chain) => mailbox::look(files, chain.dir(), name)?.is_some(),
            None => false,
        };
        match mailbox.if_missing() {
            IfMissing::Refuse if !is_there => Err(self.no_such_mailbox(&path, mailbox.home())),
            _ => self.admit_size(mailbox, &path, size),
        }
    }

    fn part(&self, mailbox: &Mailbox) -> Result<Option<Part>, DeliveryError> {
        let home = mailbox.home().unwrap_or(Path::new(""));
        let inbox = self.paths.inbox(mailbox.name())?;
        let template = self.paths.template().of_account(home, mailbox.name());
        let template = template.map_err(|error| DeliveryError::UnusableName(error.to_string()))?;
        let places = folder::directory(&inbox).into_iter().chain([inbox]);
        let places = places.map(|path| template.root().join(path)).collect();
        let options = Options {
            file_mode: self.mailboxes.file_mode(),
            format: self.format,
            locks: self.locking.kinds().to_vec(),
            require_marker: false,
            base: None,
        };
        let store = Box::new(Self::new(template, options, Arc::clone(&self.files)));
        Ok(Some(Part { store, places }))
    }

    #[cfg(feature = "reader")]
    fn reader(&self) -> Option<&dyn postino_store::MailReader> {
        Some(self)
    }

    fn room(&self) -> Result<Option<Room>, DeliveryError> {
        if self.root.has_no_marker() {
            return Ok(None);
        }
        self.root.space(&*self.files).map(|space| Some(room(space))).map_err(error::of_root)
    }

    fn room_of(&self, mailbox: &Mailbox) -> Result<Option<Room>, DeliveryError> {
        let space = self.root.space_of_home(&*self.files, mailbox.home());
        space.map(|space| space.map(room)).map_err(error::of_root)
    }

    fn open(&self) -> Result<(), DeliveryError> {
        self.root.start(&*self.files).map_err(error::of_root)
    }

    fn notice(&self) -> Option<String> {
        self.root.notice()
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        let paths = |mailbox| Ok([self.paths.inbox(mailbox)?, self.paths.of(mailbox)?]);
        let paths = mailboxes.iter().map(paths).collect::<Result<Vec<_>, DeliveryError>>()?;
        let files = &*self.files;
        self.root.make(files).map_err(error::of_root)?;
        for path in paths.into_iter().flatten() {
            let mailbox = self.mailbox(&path, None, IfMissing::Create)?;
            let failed = |doing| {
                let path = mailbox.file.path();
                move |cause| DeliveryError::io(doing, path, cause)
            };
            let status = files.stat_file(&mailbox.file).map_err(failed("look at the mailbox"))?;
            files.sync_file(&mailbox.file).map_err(failed("sync the mailbox"))?;
            self.mailboxes.sync_names(files, &mailbox, &path, status.identity)?;
        }
        Ok(())
    }
}

impl Mbox {
    /// Whether a message of the size that was declared fits into the quota. Messages
    /// are counted at the delivery alone.
    fn admit_size(
        &self,
        mailbox: &Mailbox,
        inbox: &Path,
        size: Option<u64>,
    ) -> Result<(), DeliveryError> {
        let quota = Quota { messages: None, ..mailbox.quota() };
        if quota.is_none() {
            return Ok(());
        }
        let files = &*self.files;
        let root = self.root_for(mailbox.home())?;
        let account = Account { files, root: &root, inbox };
        let held = self.counts.held(&account, None, Limits::Octets)?;
        quota.admit(held, size.unwrap_or(0).max(1)) // the smallest message has an octet
    }

    /// The directory below which a user with this home has his mailbox.
    fn root_for(&self, home: Option<&Path>) -> Result<Dir, DeliveryError> {
        self.root.open_for(&*self.files, home).map_err(error::of_root)
    }

    /// The mailbox's file, not locked yet, made at need.
    fn mailbox(
        &self,
        path: &Path,
        home: Option<&Path>,
        if_missing: IfMissing,
    ) -> Result<OpenMailbox, DeliveryError> {
        let files = &*self.files;
        let root = self.root_for(home)?;
        let make = if_missing == IfMissing::Create;
        match self.mailboxes.open(files, root, path, make)? {
            Some(mailbox) => Ok(mailbox),
            None => Err(self.no_such_mailbox(path, home)),
        }
    }

    /// What it means that the mailbox is missing.
    fn no_such_mailbox(&self, path: &Path, home: Option<&Path>) -> DeliveryError {
        match self.is_away(path, home) {
            Ok(false) => DeliveryError::NoSuchMailbox,
            Ok(true) => DeliveryError::Locked { holder: None },
            Err(error) => error,
        }
    }

    /// Whether a mailbox that was missing is only away: a reader may lock it and
    /// give it another name to read it.
    fn is_away(&self, path: &Path, home: Option<&Path>) -> Result<bool, DeliveryError> {
        let files = &*self.files;
        let root = self.root_for(home)?;
        self.root.knows_missing(files, &root, path).map_err(error::of_root)?;
        let Some(chain) = self.mailboxes.chain(files, root, path, false)? else {
            return Ok(false);
        };
        let name = Path::new(path.file_name().unwrap_or_default());
        // It may come back between the two looks, and the lock file go.
        Ok(dotlock::is_there(files, chain.dir(), name)?
            || mailbox::look(files, chain.dir(), name)?.is_some())
    }
}

fn room(space: Space) -> Room {
    Room {
        octets: space.octets,
        octets_free: space.octets_free,
        files: space.inodes,
        files_free: space.inodes_free,
    }
}

#[cfg(feature = "reader")]
impl Mbox {
    fn reading(&self) -> reader::Reader<'_> {
        let Self { paths, files, format, root, mailboxes, locking, places, .. } = self;
        let template = paths.template();
        reader::Reader { template, files, format: *format, root, mailboxes, locking, places }
    }
}

#[cfg(feature = "reader")]
impl MailReader for Mbox {
    fn identity(&self) -> Result<String, ReadError> {
        self.reading().identity()
    }

    fn owner(&self) -> Result<Option<u32>, ReadError> {
        self.reading().owner().map(Some)
    }

    fn mailboxes(&self, visit: Visit<'_, MailboxName>) -> Result<(), ReadError> {
        self.reading().mailboxes(visit)
    }

    fn messages(
        &self,
        mailbox: &MailboxName,
        visit: Visit<'_, MessageInfo>,
    ) -> Result<(), ReadError> {
        self.reading().messages(&self.paths.of(mailbox)?, visit)
    }

    fn find(&self, mailbox: &MailboxName, id: &str) -> Result<MessageInfo, ReadError> {
        self.reading().find(&self.paths.of(mailbox)?, id)
    }

    fn open(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<OpenMessage, ReadError> {
        self.reading().open(&self.paths.of(mailbox)?, message)
    }

    fn remove(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<(), ReadError> {
        self.reading().remove(&self.paths.of(mailbox)?, message)
    }

    fn remove_mailbox(&self, mailbox: &MailboxName) -> Result<(), ReadError> {
        let path = self.paths.of(mailbox)?;
        match paths::folder_of(mailbox) {
            None => self.reading().remove_account(&path),
            Some(_) => self.reading().remove_mailbox(&path),
        }
    }

    fn verify(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError> {
        self.reading().verify(repair, report)
    }
}

/// A mailbox is a regular file that is empty or begins with a From_ line.
fn is_mailbox(files: &dyn Files, directory: &Dir, name: &Path) -> bool {
    let text = name.as_os_str().as_encoded_bytes();
    if text.starts_with(marker::NAME.as_bytes()) || text.ends_with(dotlock::SUFFIX.as_bytes()) {
        return false;
    }
    let begins_as_one = || -> io::Result<bool> {
        let file = files.open(directory, name)?;
        let start = tail::read(files, &file, 0, render::FROM.len() as u64)?;
        Ok(start.is_empty() || start == render::FROM)
    };
    files.stat(directory, name).is_ok_and(|status| status.kind == Kind::File)
        && begins_as_one().unwrap_or(false)
}
