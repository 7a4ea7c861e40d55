//! `postino init`: make a store, and mailboxes in it.
//!
//! Lives here: the command; the store does the work.
//! May not: change what is there.

use super::{arguments::Init, exit::Exit};
use crate::{
    stores::{self, Stores},
    sys::names,
};
use postino_store::{DeliveryError, Failure, MailboxName};
use std::{io, io::Write};

/// Makes what is missing; says what is there now, a line each.
pub(super) fn run(arguments: &Init, stores: &Stores) -> Exit {
    let mut mailboxes = Vec::new();
    for text in &arguments.mailboxes {
        match MailboxName::new(text.to_lowercase()) {
            Ok(name) => mailboxes.push(name),
            Err(error) => {
                complain!("mailbox {text:?}: {error}; nothing was made");
                return Exit::Usage;
            }
        }
    }
    let options = stores::Options {
        hostname: names::host_name(),
        require_marker: true,
        several_domains: false,
    };
    let store = match stores.open(&arguments.store, &options) {
        Ok(store) => store,
        Err(error) => {
            complain!("{error}; nothing was made");
            return Exit::Config;
        }
    };
    if let Err(error) = store.store.init(&mailboxes) {
        complain!("{}: {error}", arguments.store);
        return exit_for(&error);
    }
    let listing = || -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{} is a store", arguments.store)?;
        for mailbox in &mailboxes {
            writeln!(out, "{mailbox} is there")?;
        }
        out.flush()
    };
    super::ended(listing())
}

/// How a command ends that the store refused.
pub(super) fn exit_for(error: &DeliveryError) -> Exit {
    match error {
        DeliveryError::Misconfigured(Failure { cause, .. })
            if cause.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::Permission
        }
        DeliveryError::UnusableName(_) => Exit::Usage,
        DeliveryError::NoSuchMailbox => Exit::Failure,
        DeliveryError::Locked { .. } => Exit::Locked,
        DeliveryError::Misconfigured(_) => Exit::CannotCreate,
        _ => Exit::InputOutput,
    }
}
