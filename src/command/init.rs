//! `postino init`: make a store, and mailboxes in it.
//!
//! Lives here: the command; the store does the work.
//! May not: change what is there.

use super::{arguments::Init, exit::Exit};
use crate::{
    stores::{self, Stores},
    sys::names,
};
use postino_store::MailboxName;
use std::io::{self, Write};

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
        shared_with_group: false,
        base: None,
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
        return Exit::of(&error);
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
