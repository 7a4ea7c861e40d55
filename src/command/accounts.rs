//! The accounts whose mailboxes a command is about.
//!
//! Lives here: from `--users` and its companions to accounts with homes and owners;
//! a store that is called for each account as its owner.
//! May not: judge who gets mail.

use super::exit::Exit;
use crate::{
    config::{
        accounts,
        effective::{Role, Sources},
        flags::{Given, Value},
    },
    delivery::Owners,
    stores::{self, Stores},
    users::Source,
};
use postino_store::{DeliveryError, Failure, IfMissing, MailStore, Mailbox, MailboxName, Part};
use std::{io, sync::Arc};

/// What a command line says of accounts.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// `--config`.
    pub(super) config: Option<&'a str>,
    /// `--users`.
    pub(super) users: Option<&'a str>,
    /// `--first-uid`.
    pub(super) first_uid: Option<&'a str>,
    /// `--default-domain`.
    pub(super) default_domain: Option<&'a str>,
    /// `--mail-group`.
    pub(super) mail_group: Option<&'a str>,
}

impl Asked<'_> {
    /// The settings that these are.
    pub(super) fn sources(&self, stores: &Stores) -> Sources {
        let mut flags = Given::default();
        for (name, text) in [
            ("users", self.users),
            ("first-uid", self.first_uid),
            ("default-domain", self.default_domain),
            ("mail-group", self.mail_group),
        ] {
            if let Some(text) = text {
                flags.add(name, Value { text: text.to_owned(), origin: format!("--{name}") });
            }
        }
        Sources {
            role: Role::Serve,
            stores: stores.clone(),
            flags,
            file: self.config.map(str::to_owned),
            users_file: None,
        }
    }

    /// The accounts as those of the store of this URL; none where nothing is said of
    /// them. The complaint is printed.
    pub(super) fn load(&self, stores: &Stores, url: &str) -> Result<Option<Accounts>, Exit> {
        let mut sources = self.sources(stores);
        if self.config.is_none() && self.users.is_some() {
            let text = url.to_owned();
            sources.flags.add("store", Value { text, origin: "--store".to_owned() });
        }
        match accounts::Accounts::load(&sources) {
            Ok(found) => Ok(found.map(Accounts::new)),
            Err(errors) => {
                complain!("{errors}");
                Err(Exit::Config)
            }
        }
    }
}

/// Who the accounts are, and this process's right to act as they.
#[derive(Clone)]
pub(super) struct Accounts {
    users: Source,
    owners: Arc<Owners>,
    /// Whether mailboxes are shared with a group.
    pub(super) shared_with_group: bool,
}

impl Accounts {
    pub(super) fn new(accounts::Accounts { users, mail_group }: accounts::Accounts) -> Self {
        let owners = Arc::new(Owners::new(mail_group));
        Self { users, owners, shared_with_group: mail_group.is_some() }
    }
}

/// A store whose accounts are known one by one.
pub(super) struct Known {
    /// As a whole.
    pub(super) store: Arc<dyn MailStore>,
    accounts: Accounts,
    /// Whether it is nothing as a whole, but each mailbox lies in its user's home.
    pub(super) is_in_homes: bool,
}

/// A mailbox, and as what it is found.
pub(super) struct Place {
    /// With what is known of its account.
    pub(super) mailbox: Mailbox,
    /// The account's part of the store; none of an account that is not known, which is
    /// looked for in the whole.
    part: Option<Part>,
}

impl Place {
    /// The store to ask about the mailbox.
    pub(super) fn store<'a>(&'a self, known: &'a Known) -> &'a dyn MailStore {
        self.part.as_ref().map_or(&*known.store, |part| &*part.store)
    }

    /// The account's part.
    #[cfg(feature = "tools")]
    pub(super) fn part(&self) -> Option<&Part> {
        self.part.as_ref()
    }
}

impl Known {
    /// None where the store is called as a whole, since whose the accounts are makes
    /// no difference: it is one file, or who runs this can act as nobody else. The
    /// complaint is printed where they would have to be known.
    pub(super) fn of(
        url: &str,
        store: &Arc<dyn MailStore>,
        accounts: Option<&Accounts>,
    ) -> Result<Option<Self>, Exit> {
        let is_in_homes = stores::is_in_homes(url);
        let accounts = accounts.filter(|accounts| accounts.users.knows_accounts());
        let Some(accounts) = accounts else {
            if is_in_homes {
                complain!(
                    "{url} has each mailbox in its user's home: say who the users are, by --users \
                     system, --users file:PATH or --config FILE; nothing was changed"
                );
                return Err(Exit::Usage);
            }
            return Ok(None);
        };
        let is_root = rustix::process::geteuid().is_root();
        let known = Self { store: Arc::clone(store), accounts: accounts.clone(), is_in_homes };
        match known.has_parts() {
            // Else all homes would be passed over, and nobody would know.
            false if is_in_homes => {
                complain!("{url}: a store of this kind cannot be looked into home by home");
                Err(Exit::Config)
            }
            has_parts => Ok((has_parts && (is_in_homes || is_root)).then_some(known)),
        }
    }

    /// Whether the store can be called for one account.
    fn has_parts(&self) -> bool {
        let Ok(name) = MailboxName::new("a@localhost") else { return false };
        let any = Mailbox::new(name, IfMissing::Refuse);
        self.store.part(&any).is_ok_and(|part| part.is_some())
    }

    /// Where the mailbox of this name is. May block.
    pub(super) fn place(&self, name: &MailboxName) -> Result<Place, DeliveryError> {
        let found = self.accounts.users.mailbox(name).map_err(|refusal| {
            let cause = refusal.cause.unwrap_or_else(|| refusal.reply.codes().to_string());
            failed("look up", name, io::Error::other(cause))
        })?;
        match found {
            Some(mailbox) => self.place_of(mailbox),
            None if self.is_in_homes => Err(DeliveryError::NoSuchMailbox),
            None => {
                let mailbox = Mailbox::new(name.clone(), IfMissing::Create);
                Ok(Place { mailbox, part: None })
            }
        }
    }

    /// The same for what is to be put there, which nobody would find where the account's
    /// mail lies in another store. May block.
    pub(super) fn place_to_fill(&self, name: &MailboxName) -> Result<Place, DeliveryError> {
        let place = self.place(name)?;
        let Some(location) = place.mailbox.location() else { return Ok(place) };
        let why = format!("its user has a store of his own, {location}; name that one instead");
        let cause = io::Error::other(why);
        let path = name.as_str().into();
        Err(DeliveryError::Misconfigured(Failure { doing: "put mail into", path, cause }))
    }

    /// Where the mailbox of this name is to be looked into: in the whole store, where
    /// that has another's there than the account's. May block.
    #[cfg(feature = "tools")]
    pub(super) fn place_to_read(&self, name: &MailboxName) -> Result<Place, DeliveryError> {
        let place = self.place(name)?;
        if self.has_of_another(&place) {
            let mailbox = Mailbox::new(name.clone(), IfMissing::Refuse);
            return Ok(Place { mailbox, part: None });
        }
        Ok(place)
    }

    /// Whether another's mailbox lies where the account's should, as in a store that is
    /// to be copied to these accounts.
    #[cfg(feature = "tools")]
    pub(super) fn has_of_another(&self, place: &Place) -> bool {
        use std::os::unix::fs::MetadataExt;
        let (Some(owner), Some(part)) = (self.store.written_as(&place.mailbox), &place.part) else {
            return false;
        };
        let status = part.places.last().map(std::fs::symlink_metadata);
        let is_of_another = matches!(status, Some(Ok(status)) if status.uid() != owner.uid);
        !self.is_in_homes && is_of_another
    }

    /// Where the mailbox of a known account is.
    pub(super) fn place_of(&self, mailbox: Mailbox) -> Result<Place, DeliveryError> {
        Ok(Place { part: self.store.part(&mailbox)?, mailbox })
    }

    /// All accounts that are known. May block.
    #[cfg(feature = "tools")]
    pub(super) fn accounts(&self) -> io::Result<Vec<Mailbox>> {
        self.accounts.users.mailboxes()
    }

    /// Whether this process can act as the mailbox's owner, as far as that is its own
    /// matter.
    #[cfg(feature = "tools")]
    pub(super) fn can_act_for(&self, mailbox: &Mailbox) -> bool {
        let user = rustix::process::geteuid();
        let owner = self.store.written_as(mailbox);
        user.is_root() || owner.is_none_or(|owner| owner.uid == user.as_raw())
    }

    /// Acts as the mailbox's owner; `act` starts no thread.
    pub(super) fn act<T>(
        &self,
        mailbox: &Mailbox,
        act: impl FnOnce() -> T,
    ) -> Result<T, DeliveryError> {
        self.accounts.owners.act(mailbox, self.store.written_as(mailbox), act)
    }

    /// Makes these mailboxes, each as its owner.
    pub(super) fn init(&self, names: &[MailboxName]) -> Result<(), DeliveryError> {
        let places =
            names.iter().map(|name| self.place_to_fill(name)).collect::<Result<Vec<_>, _>>()?;
        if !self.is_in_homes {
            self.store.init(&[])?;
        }
        for place in places {
            let name = place.mailbox.name().clone();
            self.act(&place.mailbox, || place.store(self).init(&[name]))??;
        }
        Ok(())
    }
}

fn failed(doing: &'static str, name: &MailboxName, cause: io::Error) -> DeliveryError {
    DeliveryError::Io(Failure { doing, path: name.as_str().into(), cause })
}
