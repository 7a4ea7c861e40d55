//! `postino init`: make a store, and mailboxes in it.
//!
//! Lives here: the command; the store does the work.
//! May not: change what is there.

use super::{accounts::Known, arguments::Init, exit::Exit};
use crate::{
    stores::{self, Stores},
    sys::names,
};
use postino_store::{DeliveryError, MailboxName, NameError};
use std::{
    io::{self, Write},
    slice,
};

/// Makes what is missing; says what is there now, a line each.
pub(super) fn run(arguments: &Init, stores: &Stores) -> Exit {
    let mut mailboxes = Vec::new();
    for text in &arguments.mailboxes {
        match name(text) {
            Ok(name) => mailboxes.push(name),
            Err(error) => {
                complain!("mailbox {text:?}: {error}; nothing was made");
                return Exit::Usage;
            }
        }
    }
    match make(arguments, &mailboxes, stores) {
        Ok(()) => super::ended(list(&arguments.store, &mailboxes)),
        Err(exit) => exit,
    }
}

/// A mailbox's name as it is given; that of an account is made in lower case.
fn name(text: &str) -> Result<MailboxName, NameError> {
    match text.split_once('/') {
        None => MailboxName::new(text.to_lowercase()),
        Some((account, folder)) => MailboxName::new(account.to_lowercase())?.in_folder(folder),
    }
}

/// Makes them; the complaint is printed.
fn make(arguments: &Init, mailboxes: &[MailboxName], stores: &Stores) -> Result<(), Exit> {
    let accounts = arguments.accounts().load(stores, &arguments.store)?;
    let options = stores::Options {
        hostname: names::host_name(),
        require_marker: true,
        several_domains: false,
        shared_with_group: accounts.as_ref().is_some_and(|accounts| accounts.shared_with_group),
        base: None,
    };
    let store = match stores.open(&arguments.store, &options) {
        Ok(store) => store,
        Err(error) => {
            complain!("{error}; nothing was made");
            return Err(Exit::Config);
        }
    };
    let known = Known::of(&arguments.store, &store.store, accounts.as_ref())?;
    if mailboxes.is_empty() && known.as_ref().is_some_and(|known| known.is_in_homes) {
        complain!("{} is nothing without mailboxes: name some; nothing was made", arguments.store);
        return Err(Exit::Usage);
    }
    let Some(known) = known.filter(|_| !mailboxes.is_empty()) else {
        return store.store.init(mailboxes).map_err(|error| {
            complain!("{}: {error}", arguments.store);
            Exit::of(&error)
        });
    };
    for mailbox in mailboxes {
        known.init(slice::from_ref(mailbox)).map_err(|error| {
            complain!("{}: {mailbox}: {error}", arguments.store);
            match error {
                // His home: there is nothing else that could be missing.
                DeliveryError::StoreMissing { .. } => Exit::Failure,
                error => Exit::of(&error),
            }
        })?;
    }
    Ok(())
}

fn list(store: &str, mailboxes: &[MailboxName]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{store} is a store")?;
    for mailbox in mailboxes {
        writeln!(out, "{mailbox} is there")?;
    }
    out.flush()
}
