//! The store that a command is about.
//!
//! Lives here: from `--store`, `--config` and `--users` to a store that can be read; waiting
//! for what others have locked; and the exit code of what the store refused.
//! May not: make or change anything.

use super::{as_owners::AsOwners, lock_wait::unlocked};
use crate::{
    command::{
        accounts::{Accounts, Asked, Known},
        exit::Exit,
    },
    config::{
        accounts,
        values::{self, DURATION_FORM},
    },
    escape,
    stores::{self, Stores},
    sys::names,
};
use postino_store::{DeliveryError, MailReader, MailStore, MailboxName, ReadError, Stray};
use std::{sync::Arc, time::Duration};

/// Which store a command is about, as its arguments say.
pub(super) struct Place<'a> {
    /// `--store`.
    pub(super) store: Option<&'a str>,
    /// `--config`, `--users` and what goes with it.
    pub(super) accounts: Asked<'a>,
    /// `--lock-wait`.
    pub(super) lock_wait: &'a str,
}

/// A store, not opened for deliveries.
pub(super) struct Opened {
    /// Its URL.
    pub(super) url: String,
    /// The store.
    pub(super) store: Arc<dyn MailStore>,
    /// The same where it is called account by account.
    pub(super) as_owners: Option<Arc<AsOwners>>,
    /// How long what is locked is tried again.
    pub(super) lock_wait: Duration,
}

impl Place<'_> {
    /// The store; the complaint is printed where there is none. Without `--store`
    /// it is the one of the config file, which is checked as a whole.
    pub(super) fn open(&self, stores: &Stores) -> Result<Opened, Exit> {
        let lock_wait = duration("lock-wait", self.lock_wait)?;
        let (url, store, accounts) = match self.store {
            Some(url) => {
                let accounts = self.accounts.load(stores, url)?;
                let is_shared = accounts.as_ref().is_some_and(|it| it.shared_with_group);
                (url.to_owned(), open(url, stores, false, is_shared)?, accounts)
            }
            None => self.configured(stores)?,
        };
        let known = Known::of(&url, &store, accounts.as_ref())?;
        let as_owners = known.map(|known| Arc::new(AsOwners::new(&url, known)));
        let store = match &as_owners {
            Some(as_owners) => Arc::clone(as_owners) as Arc<dyn MailStore>,
            None => store,
        };
        Ok(Opened { url, store, as_owners, lock_wait })
    }

    fn configured(&self, stores: &Stores) -> Result<Configured, Exit> {
        match self.accounts.sources(stores).load() {
            Ok(effective) => {
                let accounts = Accounts::new(accounts::Accounts::of(&effective));
                Ok((effective.store_url, effective.store, Some(accounts)))
            }
            Err(error) => {
                complain!("{error}");
                Err(Exit::Config)
            }
        }
    }
}

type Configured = (String, Arc<dyn MailStore>, Option<Accounts>);

/// The store of this URL, for mailboxes of several domains if it can tell them apart;
/// the complaint is printed where there is none.
pub(super) fn open(
    url: &str,
    stores: &Stores,
    several_domains: bool,
    shared_with_group: bool,
) -> Result<Arc<dyn MailStore>, Exit> {
    let options = stores::Options {
        hostname: names::host_name(),
        require_marker: false,
        several_domains,
        shared_with_group,
        base: None,
    };
    stores.open(url, &options).map(|built| built.store).map_err(|error| {
        complain!("{error}; nothing was changed");
        Exit::Config
    })
}

impl Opened {
    /// The store's reading side.
    pub(super) fn reader(&self) -> Result<&dyn MailReader, Exit> {
        self.store.reader().ok_or_else(|| {
            complain!("{}: a store of this kind cannot be read back", self.shown());
            Exit::Config
        })
    }

    /// Tries until nobody else holds the lock, or the lock wait is over. Where it
    /// fails, `about` (what it was about, or nothing) is printed with the reason.
    pub(super) fn patiently<T>(
        &self,
        about: &str,
        act: impl FnMut() -> Result<T, ReadError>,
    ) -> Result<T, Exit> {
        unlocked(self.lock_wait, act).map_err(|error| self.failed(about, &error))
    }

    /// Says why something about the store failed, and how the command ends then.
    pub(super) fn failed(&self, about: &str, error: &ReadError) -> Exit {
        let about = if about.is_empty() { String::new() } else { format!("{about}: ") };
        complain!("{}: {}", self.shown(), escape::visible(format!("{about}{error}").as_bytes()));
        exit_for(error)
    }

    /// Its URL, fit to be seen.
    pub(super) fn shown(&self) -> String {
        escape::visible(self.url.as_bytes())
    }
}

/// Says what was not read, and how the command ends at best then.
pub(super) fn report(stray: &Stray) -> Exit {
    complain!("not read: {}", escape::visible(stray.to_string().as_bytes()));
    Exit::Failure
}

/// A mailbox's name as a listing shows it, with a folder or without; the complaint is
/// printed.
pub(super) fn mailbox(text: &str) -> Result<MailboxName, Exit> {
    MailboxName::parse(text).map_err(|error| {
        complain!("mailbox {text:?}: {error}; nothing was changed");
        Exit::Usage
    })
}

/// A flag's duration; the complaint is printed.
pub(super) fn duration(flag: &str, text: &str) -> Result<Duration, Exit> {
    values::duration(text).ok_or_else(|| {
        complain!("--{flag}: {text:?} is not {DURATION_FORM}");
        Exit::Usage
    })
}

/// How a command ends that the store refused.
pub(super) fn exit_for(error: &ReadError) -> Exit {
    match error {
        ReadError::NoSuchMessage
        | ReadError::Stray(_)
        | ReadError::Damaged { .. }
        | ReadError::Store(DeliveryError::UnusableName(_)) => Exit::Failure,
        ReadError::Store(error) => match Exit::of(error) {
            Exit::CannotCreate => Exit::InputOutput,
            exit => exit,
        },
        ReadError::NotOffered { .. } => Exit::Config,
        _ => Exit::InputOutput,
    }
}
