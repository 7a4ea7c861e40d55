//! The store that a command is about.
//!
//! Lives here: from `--store` or `--config` to a store that can be read, and the
//! exit code where there is none.
//! May not: make or change anything.

use super::{exit::Exit, init};
use crate::{
    config::{
        effective::{Role, Sources},
        flags::Given,
    },
    escape,
    stores::{self, Stores},
    sys::names,
};
use postino_store::{DeliveryError, MailReader, MailStore, ReadError};
use std::sync::Arc;

/// Where a command's arguments say that the store is.
pub(super) struct Place<'a> {
    /// `--store`.
    pub(super) store: Option<&'a str>,
    /// `--config`.
    pub(super) config: Option<&'a str>,
}

/// A store, not opened for deliveries.
pub(super) struct Opened {
    /// Its URL, for messages.
    pub(super) url: String,
    /// The store.
    pub(super) store: Arc<dyn MailStore>,
}

impl Place<'_> {
    /// The store; the complaint is printed where there is none. Without `--store`
    /// it is the one of the config file, which is checked as a whole.
    pub(super) fn open(&self, stores: &Stores) -> Result<Opened, Exit> {
        match self.store {
            Some(url) => open(url, stores),
            None => self.open_configured(stores),
        }
    }

    fn open_configured(&self, stores: &Stores) -> Result<Opened, Exit> {
        let sources = Sources {
            role: Role::Serve,
            stores: stores.clone(),
            flags: Given::default(),
            file: self.config.map(str::to_owned),
        };
        match sources.load() {
            Ok(effective) => Ok(Opened { url: effective.store_url, store: effective.store }),
            Err(error) => {
                eprintln!("{error}");
                Err(Exit::Config)
            }
        }
    }
}

/// The store of this URL.
pub(super) fn open(url: &str, stores: &Stores) -> Result<Opened, Exit> {
    let options = stores::Options {
        hostname: names::host_name(),
        require_marker: false,
        several_domains: false,
    };
    match stores.open(url, &options) {
        Ok(built) => Ok(Opened { url: url.to_owned(), store: built.store }),
        Err(error) => {
            eprintln!("{error}; nothing was changed");
            Err(Exit::Config)
        }
    }
}

impl Opened {
    /// The store's reading side.
    pub(super) fn reader(&self) -> Result<&dyn MailReader, Exit> {
        self.store.reader().ok_or_else(|| {
            eprintln!("{}: a store of this kind cannot be read back", self.shown());
            Exit::Config
        })
    }

    /// Its URL, fit to be seen.
    pub(super) fn shown(&self) -> String {
        escape::visible(self.url.as_bytes())
    }

    /// Says why something about the store failed, and how the command ends then.
    pub(super) fn failed(&self, about: &str, error: &ReadError) -> Exit {
        let about = escape::visible(about.as_bytes());
        let shown = escape::visible(error.to_string().as_bytes());
        if about.is_empty() {
            eprintln!("{}: {shown}", self.shown());
        } else {
            eprintln!("{}: {about}: {shown}", self.shown());
        }
        exit_for(error)
    }
}

/// How a command ends that the store refused.
pub(super) fn exit_for(error: &ReadError) -> Exit {
    match error {
        ReadError::NoSuchMessage
        | ReadError::Stray(_)
        | ReadError::Damaged { .. }
        | ReadError::Store(DeliveryError::UnusableName(_)) => Exit::Failure,
        ReadError::Store(error) => match init::exit_for(error) {
            Exit::CannotCreate => Exit::InputOutput,
            exit => exit,
        },
        _ => Exit::InputOutput,
    }
}
