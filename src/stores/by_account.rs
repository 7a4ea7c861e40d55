//! Several stores behind one: the server's, and those of accounts with a store of
//! their own.
//!
//! Lives here: which store a mailbox lies in, and the bounded memory of accounts'
//! stores that are open.
//! May not: know a kind of store, nor touch the disk but by a store, as whoever the
//! calling thread acts.
//! Holds: nothing that one user has opened is used for a mailbox of another; nobody
//! waits for an account's store but who wants that one, and few look-ups wait for it
//! together.

use super::{Options, Stores, look_ups::LookUps};
use postino_store::{
    Delivery, DeliveryError, DeliveryId, Failure, Lane, MailReader, MailStore, Mailbox,
    MailboxName, Message, Owner, Part, Prepared, Room,
};
use rustix::process::{Resource, getrlimit};
use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// Accounts' stores that are kept, where there are descriptors enough; those in use
/// beyond it are kept too. A database has some 400 KiB of memory; to open it again costs
/// a delivery a millisecond.
const STORES_MAX: u64 = 64;

/// What a database has open; the other stores nothing.
const DESCRIPTORS_EACH: u64 = 9;

/// What all of them may have of the descriptors that the system allows, as the divisor.
const DESCRIPTORS_SHARE: u64 = 8;

/// Where the directory ends from which on no symbolic link is followed.
const BASE_END: &str = "/./";

/// How many of so many descriptors accounts' stores use.
pub(super) fn descriptors(allowed: u64) -> u64 {
    (allowed / DESCRIPTORS_SHARE).clamp(DESCRIPTORS_EACH, STORES_MAX * DESCRIPTORS_EACH)
}

/// The server's store and its accounts'.
pub(super) struct ByAccount {
    usual: Arc<dyn MailStore>,
    stores: Stores,
    options: Options,
    /// The one used last stands last.
    kept: Mutex<Vec<Arc<Own>>>,
}

/// An account's store, as one user has it.
struct Own {
    location: String,
    owner: Option<Owner>,
    store: Arc<dyn MailStore>,
    /// Held while it is opened: it is once.
    is_open: Mutex<bool>,
    look_ups: LookUps,
}

impl ByAccount {
    pub(super) fn new(usual: Arc<dyn MailStore>, stores: Stores, options: Options) -> Self {
        Self { usual, stores, options, kept: Mutex::default() }
    }

    /// The account's store, if it has one of its own; not opened yet. Touches no disk.
    fn own(&self, mailbox: &Mailbox) -> Result<Option<Arc<Own>>, DeliveryError> {
        let Some(location) = mailbox.location() else { return Ok(None) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it =
            |own: &Arc<Own>| own.location == location && own.owner.as_ref() == mailbox.owner();
        let (own, idle) = if let Some(at) = kept.iter().position(is_it) {
            (kept.remove(at), Vec::new())
        } else {
            let own = Arc::new(self.make(location, mailbox)?);
            let mut beyond = (kept.len() + 1).saturating_sub(kept_max());
            let is_idle = |own: &mut Arc<Own>| {
                let goes = beyond > 0 && Arc::strong_count(own) == 1;
                beyond -= usize::from(goes);
                goes
            };
            let idle: Vec<_> = kept.extract_if(.., is_idle).collect();
            (own, idle)
        };
        kept.push(Arc::clone(&own));
        drop(kept);
        drop(idle); // closes files, which may wait
        Ok(Some(own))
    }

    fn make(&self, location: &str, mailbox: &Mailbox) -> Result<Own, DeliveryError> {
        let (url, base) = match location.split_once(BASE_END) {
            Some((before, below)) => {
                let base = before.split_once(':').map_or(before, |(_, base)| base);
                let base = if base.is_empty() { "/" } else { base };
                (format!("{before}/{below}"), Some(PathBuf::from(base)))
            }
            None => (location.to_owned(), None),
        };
        let options = Options { base, ..self.options.clone() };
        let built = self.stores.open(&url, &options).map_err(|error| {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, error);
            let doing = "use the account's own store";
            DeliveryError::Misconfigured(Failure { doing, path: url.into(), cause })
        })?;
        Ok(Own {
            location: location.to_owned(),
            owner: mailbox.owner().cloned(),
            store: built.store,
            is_open: Mutex::default(),
            look_ups: LookUps::default(),
        })
    }

    /// Has something done by the store of this mailbox, which is opened before.
    fn with<T>(
        &self,
        mailbox: &Mailbox,
        act: impl FnOnce(&dyn MailStore) -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError> {
        let Some(own) = self.own(mailbox)? else { return act(&*self.usual) };
        own.open()?;
        act(&*own.store)
    }

    /// The same for a question at RCPT, where few may be asked of an account's store
    /// at the same time.
    fn look_up<T>(
        &self,
        mailbox: &Mailbox,
        act: impl FnOnce(&dyn MailStore) -> Result<T, DeliveryError>,
    ) -> Result<T, DeliveryError> {
        let Some(own) = self.own(mailbox)? else { return act(&*self.usual) };
        own.look_ups.ask(|| own.open().and_then(|()| act(&*own.store)))
    }

    fn deliver_to_own(&self, mailbox: &Mailbox, those: &[Delivery]) -> Result<(), DeliveryError> {
        let Some(own) = self.own(mailbox)? else { return Ok(()) };
        own.open()?;
        own.store.deliver_batch(those);
        // Here, since it is to be done as the account's user too; its lane alone waits.
        if own.store.wants_upkeep() {
            own.store.upkeep();
        }
        Ok(())
    }
}

/// How many stores are kept.
fn kept_max() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors(allowed) / DESCRIPTORS_EACH).unwrap_or(1)
}

impl Own {
    fn open(&self) -> Result<(), DeliveryError> {
        let mut is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_open {
            self.store.open()?;
            *is_open = true;
            if let Some(notice) = self.store.notice() {
                log::warn!("{notice}");
            }
        }
        Ok(())
    }
}

impl MailStore for ByAccount {
    fn deliver(&self, delivery: &Delivery) -> Result<DeliveryId, DeliveryError> {
        self.with(delivery.mailbox(), |store| store.deliver(delivery))
    }

    /// As its store names it: the path of what is shared, whoever shares it.
    fn lane(&self, mailbox: &Mailbox) -> Lane {
        match self.own(mailbox) {
            Ok(None) => self.usual.lane(mailbox),
            Ok(Some(own)) => own.store.lane(mailbox),
            // Nothing will be stored there.
            Err(_) => Lane::of(mailbox.location().unwrap_or_default(), 1, 1),
        }
    }

    fn deliver_batch(&self, deliveries: &[Delivery]) {
        let are_together = |one: &Delivery, next: &Delivery| {
            let (one, next) = (one.mailbox(), next.mailbox());
            let is_usual = one.location().is_none();
            one.location() == next.location() && (is_usual || one.owner() == next.owner())
        };
        for those in deliveries.chunk_by(are_together) {
            let Some(mailbox) = those.first().map(Delivery::mailbox) else { continue };
            if mailbox.location().is_none() {
                self.usual.deliver_batch(those);
                continue;
            }
            match self.deliver_to_own(mailbox, those) {
                Ok(()) => {}
                // Each further try would wait for the lock.
                Err(DeliveryError::Locked { holder }) => {
                    for delivery in those {
                        let holder = holder.clone();
                        delivery.finish(Err(DeliveryError::Locked { holder }));
                    }
                }
                // It could not be opened: each has the reason, or is stored by now.
                Err(_) => {
                    for delivery in those {
                        delivery.finish(self.deliver(delivery));
                    }
                }
            }
        }
    }

    fn written_as<'a>(&self, mailbox: &'a Mailbox) -> Option<&'a Owner> {
        match mailbox.location() {
            None => self.usual.written_as(mailbox),
            Some(_) => mailbox.owner(),
        }
    }

    fn prepare(
        &self,
        message: &Message,
        mailboxes: &[&Mailbox],
    ) -> Result<Prepared, DeliveryError> {
        let mut places: Vec<(Option<&str>, Vec<&Mailbox>)> = Vec::new();
        for mailbox in mailboxes {
            let location = mailbox.location();
            match places.iter_mut().find(|(known, _)| *known == location) {
                Some((_, those)) => those.push(mailbox),
                None => places.push((location, vec![mailbox])),
            }
        }
        let prepare = |those: &[&Mailbox]| match those.first() {
            Some(first) => match self.with(first, |store| store.prepare(message, those)) {
                // A delivery is tried again.
                Err(DeliveryError::Locked { .. }) => Ok(Prepared::nothing()),
                prepared => prepared,
            },
            None => Ok(Prepared::nothing()),
        };
        if let [(_, those)] = &places[..] {
            return prepare(those);
        }
        // One mailbox shares nothing, and the others are not to wait for its store.
        places.retain(|(location, those)| location.is_none() || those.len() > 1);
        let prepared = places.into_iter().map(|(location, those)| {
            // A store that cannot must not fail the others'; its deliveries will tell.
            (location.map(str::to_owned), prepare(&those).unwrap_or_default())
        });
        Ok(Prepared::by_location(prepared.collect()))
    }

    fn admit(&self, mailbox: &Mailbox, size: Option<u64>) -> Result<(), DeliveryError> {
        self.look_up(mailbox, |store| store.admit(mailbox, size))
    }

    fn room(&self) -> Result<Option<Room>, DeliveryError> {
        self.usual.room()
    }

    fn room_of(&self, mailbox: &Mailbox) -> Result<Option<Room>, DeliveryError> {
        let is_own = mailbox.location().is_some();
        self.look_up(mailbox, |store| match store.room_of(mailbox)? {
            None if is_own => store.room(),
            room => Ok(room),
        })
    }

    fn open(&self) -> Result<(), DeliveryError> {
        self.usual.open()
    }

    fn notice(&self) -> Option<String> {
        self.usual.notice()
    }

    fn wants_upkeep(&self) -> bool {
        self.usual.wants_upkeep()
    }

    fn upkeep(&self) {
        self.usual.upkeep();
    }

    fn init(&self, mailboxes: &[MailboxName]) -> Result<(), DeliveryError> {
        self.usual.init(mailboxes)
    }

    /// Of the server's store.
    fn part(&self, mailbox: &Mailbox) -> Result<Option<Part>, DeliveryError> {
        self.usual.part(mailbox)
    }

    fn reader(&self) -> Option<&dyn MailReader> {
        self.usual.reader()
    }
}

#[cfg(test)]
#[cfg(feature = "maildir")]
mod tests {
    use super::{ByAccount, descriptors, kept_max};
    use crate::stores::{Options, Stores};
    use postino_store::{IfMissing, MailStore, Mailbox, MailboxName, Owner};
    use std::sync::{Arc, PoisonError};

    fn by_account() -> ByAccount {
        let options = Options {
            hostname: "mx.example.org".to_owned(),
            require_marker: false,
            several_domains: false,
            shared_with_group: false,
            base: None,
        };
        let stores = Stores::built_in();
        let usual = stores.open("maildir:/srv/mail", &options).unwrap().store;
        ByAccount::new(usual, stores, options)
    }

    fn mailbox(name: &str, location: Option<&str>) -> Mailbox {
        let mailbox = Mailbox::new(MailboxName::new(name).unwrap(), IfMissing::Create);
        location.into_iter().fold(mailbox, |mailbox, at| mailbox.with_location(at.to_owned()))
    }

    #[test]
    fn whoever_shares_a_place_shares_its_lane() {
        let store = by_account();
        let lane = |name, location| store.lane(&mailbox(name, location)).key().to_owned();
        let shared = lane("alice", None);
        assert_eq!(lane("bob", Some("maildir:/srv/./mail/alice")), shared);
        assert_eq!(lane("carol", Some("maildir:/srv/mail/./alice?mode=0660")), shared);
        assert_ne!(lane("alice", Some("maildir:/srv/./mail/bob")), shared);
    }

    #[test]
    fn stores_are_kept_by_place_and_user_and_the_oldest_idle_one_goes() {
        let store = by_account();
        let own = |mailbox: &Mailbox| store.own(mailbox).unwrap().unwrap();
        let first = mailbox("a", Some("maildir:/./0"));
        let used = own(&first);
        assert!(Arc::ptr_eq(&used, &own(&mailbox("b", Some("maildir:/./0")))));
        let owner = Owner { uid: 1, gid: 1, groups: Vec::new() };
        assert!(!Arc::ptr_eq(&used, &own(&first.clone().with_owner(owner))));
        for n in 0..2 * kept_max() {
            own(&mailbox("c", Some(&format!("maildir:/./{n}"))));
        }
        assert_eq!(store.kept.lock().unwrap_or_else(PoisonError::into_inner).len(), kept_max());
        assert!(Arc::ptr_eq(&used, &own(&first)), "one that is in use stays");
        // Those in use beyond it go once they are not.
        let many: Vec<_> = (0..2 * kept_max())
            .map(|n| own(&mailbox("d", Some(&format!("maildir:/./d{n}")))))
            .collect();
        drop(many);
        own(&mailbox("e", Some("maildir:/./e")));
        assert_eq!(store.kept.lock().unwrap_or_else(PoisonError::into_inner).len(), kept_max());
    }

    #[test]
    fn open_databases_have_an_eighth_of_the_descriptors_and_no_more_than_they_need() {
        for (allowed, expected) in [(1, 9), (1_024, 128), (20_000, 576), (u64::MAX, 576)] {
            assert_eq!(descriptors(allowed), expected, "{allowed}");
        }
    }
}
