//! A store that is called account by account, each as its owner.
//!
//! Lives here: [`AsOwners`], which is the store to all commands, and finds for a name
//! the account's part of it.
//! May not: act as anybody for longer than a call of the store takes: no thread is
//! started in one.
//! Holds: one account's trouble keeps nobody from the others.

use crate::command::accounts::{Known, Place};
use postino_store::{
    Contents, Delivery, DeliveryError, DeliveryId, Failure, Finding, FindingKind, IfMissing, Lane,
    MailReader, MailStore, Mailbox, MailboxName, Message, MessageInfo, OpenMessage, Owner,
    Prepared, ReadError, Remedy, Repair, Stray, Verified, Visit,
};
use rustix::process;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs, io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Accounts that are kept open.
const PLACES_MAX: usize = 64;

/// A store of known accounts.
pub(super) struct AsOwners {
    known: Known,
    /// Its URL's path, which is all that it is as a whole where it lies in homes.
    path: String,
    places: Mutex<HashMap<MailboxName, Arc<Place>>>,
}

/// All accounts of a store.
#[derive(Default)]
struct Accounts {
    /// By name, each with its mailboxes.
    found: BTreeMap<MailboxName, (Mailbox, Vec<MailboxName>)>,
    /// Where these lie.
    places: HashSet<PathBuf>,
    strays: Vec<Stray>,
    /// Accounts that are known, but could not be listed.
    unread: BTreeSet<MailboxName>,
}

impl AsOwners {
    /// The store of this URL.
    pub(super) fn new(url: &str, known: Known) -> Self {
        let (_, path) = url.split_once(':').unwrap_or(("", url));
        let path = path.split_once('?').map_or(path, |(path, _)| path).to_owned();
        Self { known, path, places: Mutex::default() }
    }

    /// The mailbox to store messages in. As root nobody's mail is put into a store of
    /// somebody who could not read it then.
    pub(super) fn mailbox_to_fill(&self, name: &MailboxName) -> Result<Mailbox, DeliveryError> {
        let place = self.known.place_to_fill(name)?;
        let mailbox = &place.mailbox;
        if self.known.store.written_as(mailbox).is_some() || !process::geteuid().is_root() {
            return Ok(mailbox.clone());
        }
        let of_store = place.store(&self.known).reader().map_or(Ok(None), MailReader::owner);
        match self.owner_there(mailbox).or(of_store.unwrap_or_default()) {
            Some(owner @ 1..) => {
                let why = format!("nobody knows its owner, and it lies in what is uid {owner}'s");
                let cause = io::Error::new(io::ErrorKind::PermissionDenied, why);
                let path = name.as_str().into();
                Err(DeliveryError::Misconfigured(Failure { doing: "write as root", path, cause }))
            }
            _ => Ok(mailbox.clone()),
        }
    }

    /// To whom the mailbox's directory or file belongs, where it is there and not root's.
    fn owner_there(&self, mailbox: &Mailbox) -> Option<u32> {
        let part = self.known.store.part(mailbox).ok()??;
        let status = fs::symlink_metadata(part.places.last()?).ok()?;
        Some(status.uid()).filter(|owner| *owner != 0)
    }

    fn place(&self, name: &MailboxName) -> Result<Arc<Place>, DeliveryError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(name) {
            return Ok(Arc::clone(place));
        }
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        let place = Arc::new(self.known.place_to_read(name)?);
        places.insert(name.clone(), Arc::clone(&place));
        Ok(place)
    }

    /// Reads a mailbox, as its owner.
    fn read<T>(
        &self,
        name: &MailboxName,
        read: impl FnOnce(&dyn MailReader, &MailboxName) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let place = self.place(name)?;
        self.read_at(&place, |reader| read(reader, place.mailbox.name()))
    }

    fn read_at<T>(
        &self,
        place: &Place,
        read: impl FnOnce(&dyn MailReader) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let store = place.store(&self.known);
        let Some(reader) = store.reader() else {
            return Err(ReadError::NotOffered { instead: "ask the store itself" });
        };
        match self.known.act(&place.mailbox, || read(reader))? {
            Err(ReadError::Store(DeliveryError::StoreMissing { what }))
                if self.known.is_in_homes =>
            {
                Err(ReadError::Damaged { what })
            }
            result => result,
        }
    }

    /// The accounts that are known, and where the store has a root those that others
    /// have there.
    fn accounts(&self) -> Result<Accounts, ReadError> {
        let known =
            self.known.accounts().map_err(|cause| DeliveryError::io("list", "users", cause))?;
        let mut accounts = Accounts::default();
        let mut known_places = HashSet::new();
        let mut foreign = 0;
        for mailbox in known {
            if !self.known.can_act_for(&mailbox) {
                foreign += 1;
                continue;
            }
            let name = mailbox.name().clone();
            let place = match self.known.place_of(mailbox) {
                Ok(place) => place,
                // Nobody's mail can lie there.
                Err(DeliveryError::UnusableName(_)) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(part) = place.part().filter(|_| !self.known.has_of_another(&place)) else {
                continue;
            };
            known_places.extend(part.places.iter().cloned());
            match self.mailboxes_of(&place, &mut accounts.strays) {
                Ok(names) => {
                    accounts.places.extend(part.places.iter().cloned());
                    accounts.found.insert(name, (place.mailbox, names));
                }
                Err(ReadError::Store(DeliveryError::StoreMissing { .. }))
                    if self.known.is_in_homes => {}
                Err(error) => {
                    let path = part.places.last().cloned().unwrap_or_default();
                    let why = format!("is {name}'s, and not to be read: {error}");
                    accounts.strays.push(Stray { path, why });
                    accounts.unread.insert(name);
                }
            }
        }
        if foreign > 0 {
            let why = "belong to other users, whom only root can look into".to_owned();
            accounts.strays.push(Stray { path: format!("{foreign} accounts").into(), why });
        }
        if !self.known.is_in_homes {
            self.add_others(&mut accounts, &known_places)?;
        }
        Ok(accounts)
    }

    /// Adds what lies in the store of nobody who is known.
    fn add_others(
        &self,
        accounts: &mut Accounts,
        known: &HashSet<PathBuf>,
    ) -> Result<(), ReadError> {
        let Some(reader) = self.known.store.reader() else { return Ok(()) };
        let (mut names, mut strays) = (Vec::new(), Vec::new());
        reader.mailboxes(&mut |found| {
            match found {
                Ok(name) => names.push(name),
                Err(stray) => strays.push(stray),
            }
            ControlFlow::Continue(())
        })?;
        // What root does not read, since it is a user's, has been read as that user.
        strays.retain(|stray| !lies_in(known, &stray.path));
        accounts.strays.append(&mut strays);
        names.retain(|name| {
            let inbox = name.inbox();
            !accounts.found.contains_key(&inbox) && !accounts.unread.contains(&inbox)
        });
        for name in names {
            let account = accounts.found.entry(name.inbox()).or_insert_with(|| {
                let mailbox = Mailbox::new(name.inbox(), IfMissing::Refuse);
                let part = self.known.store.part(&mailbox).ok().flatten();
                accounts.places.extend(part.into_iter().flat_map(|part| part.places));
                (mailbox, Vec::new())
            });
            account.1.push(name);
        }
        Ok(())
    }

    fn mailboxes_of(
        &self,
        place: &Place,
        strays: &mut Vec<Stray>,
    ) -> Result<Vec<MailboxName>, ReadError> {
        let store = place.store(&self.known);
        let Some(reader) = store.reader() else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        self.known.act(&place.mailbox, || {
            reader.mailboxes(&mut |found| {
                match found {
                    Ok(name) => names.push(name),
                    Err(stray) => strays.push(stray),
                }
                ControlFlow::Continue(())
            })
        })??;
        Ok(names)
    }
}

/// Whether a path is one of these places, or below one.
fn lies_in(places: &HashSet<PathBuf>, path: &Path) -> bool {
    path.ancestors().any(|above| places.contains(above))
}

impl MailStore for AsOwners {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        self.known.act(delivery.mailbox(), || self.known.store.deliver(delivery))?
    }

    fn lane(&self, mailbox: &Mailbox) -> Lane {
        self.known.store.lane(mailbox)
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        for those in deliveries.chunk_by(|one, next| one.mailbox() == next.mailbox()) {
            let Some(first) = those.first() else { continue };
            let act = || self.known.store.deliver_batch(those);
            if self.known.act(first.mailbox(), act).is_err() {
                // Each is told why.
                for delivery in those {
                    delivery.finish(self.deliver(delivery));
                }
            }
        }
    }

    fn written_as<'a>(&self, mailbox: &'a Mailbox) -> Option<&'a Owner> {
        self.known.store.written_as(mailbox)
    }

    fn prepare(
        &self,
        message: &Message,
        mailboxes: &[&Mailbox],
    ) -> Result<Prepared, DeliveryError> {
        let Some(first) = mailboxes.first() else { return Ok(Prepared::nothing()) };
        self.known.act(first, || self.known.store.prepare(message, mailboxes))?
    }

    fn open(&self) -> Result<(), DeliveryError> {
        self.known.store.open()
    }

    fn wants_upkeep(&self) -> bool {
        self.known.store.wants_upkeep()
    }

    fn upkeep(&self) {
        self.known.store.upkeep();
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        self.known.init(mailboxes)
    }

    fn reader(&self) -> Option<&dyn MailReader> {
        Some(self)
    }
}

impl MailReader for AsOwners {
    fn identity(&self) -> Result<String, ReadError> {
        match self.known.store.reader() {
            Some(reader) if !self.known.is_in_homes => reader.identity(),
            _ => Ok(self.path.clone()),
        }
    }

    fn mailboxes(&self, visit: Visit<'_, MailboxName>) -> Result<(), ReadError> {
        let Accounts { found, strays, .. } = self.accounts()?;
        let names = found.into_values().flat_map(|(_, names)| names);
        for found in names.map(Ok).chain(strays.into_iter().map(Err)) {
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
        self.read(mailbox, |reader, name| reader.messages(name, visit))
    }

    fn contents(&self, mailbox: &MailboxName) -> Result<Contents, ReadError> {
        self.read(mailbox, |reader, name| reader.contents(name))
    }

    fn find(&self, mailbox: &MailboxName, id: &str) -> Result<MessageInfo, ReadError> {
        self.read(mailbox, |reader, name| reader.find(name, id))
    }

    fn open(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<OpenMessage, ReadError> {
        self.read(mailbox, |reader, name| reader.open(name, message))
    }

    fn remove(&self, mailbox: &MailboxName, message: &MessageInfo) -> Result<(), ReadError> {
        self.read(mailbox, |reader, name| reader.remove(name, message))
    }

    fn remove_mailbox(&self, mailbox: &MailboxName) -> Result<(), ReadError> {
        self.read(mailbox, |reader, name| reader.remove_mailbox(name))
    }

    fn verify(
        &self,
        repair: Repair,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Verified, ReadError> {
        let Accounts { found, places, strays, .. } = self.accounts()?;
        let mut verified = Verified::default();
        // What lies in an account's places its own check tells.
        for Stray { path, why } in strays.into_iter().filter(|it| !lies_in(&places, &it.path)) {
            report(Finding {
                kind: FindingKind::Stray,
                place: path.display().to_string(),
                what: why,
                advice: "see whose it is; where it is mail, its owner has to be able to read it"
                    .to_owned(),
                remedy: Remedy::Nothing,
            });
        }
        for (name, (mailbox, _)) in found {
            let place = self.known.place_of(mailbox)?;
            match self.read_at(&place, |reader| reader.verify(repair, report)) {
                Ok(Verified { mailboxes, messages, octets }) => {
                    verified.mailboxes += mailboxes;
                    verified.messages += messages;
                    verified.octets += octets;
                }
                Err(error) => report(Finding {
                    kind: FindingKind::Damage,
                    place: name.to_string(),
                    what: format!("was not looked at: {error}"),
                    advice: "see that its owner can read it, and check the disk".to_owned(),
                    remedy: Remedy::Nothing,
                }),
            }
        }
        Ok(verified)
    }
}
