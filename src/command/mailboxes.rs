//! `postino mailboxes`: what a store holds.
//!
//! Lives here: the command; the store does the work.
//! May not: change anything.

use super::{
    arguments::Mailboxes,
    exit::Exit,
    listing::Listing,
    open_store::{Opened, Place},
};
use crate::{escape, stores::Stores};
use postino_store::{DeliveryError, MailboxName, ReadError};
use std::ops::ControlFlow;

/// Prints a line for each mailbox.
pub(super) fn run(arguments: &Mailboxes, stores: &Stores) -> Exit {
    let Mailboxes { store, config, json } = arguments;
    let place = Place { store: store.as_deref(), config: config.as_deref() };
    match place.open(stores) {
        Ok(opened) => list(&opened, *json).unwrap_or_else(|exit| exit),
        Err(exit) => exit,
    }
}

fn list(opened: &Opened, json: bool) -> Result<Exit, Exit> {
    let reader = opened.reader()?;
    let mut names: Vec<MailboxName> = Vec::new();
    reader
        .mailboxes(&mut |found| {
            match found {
                Ok(name) => names.push(name),
                Err(stray) => eprintln!("{}", escape::visible(stray.to_string().as_bytes())),
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| opened.failed("", &error))?;
    let mut listing = Listing::new(json);
    let mut worst = Exit::Ok;
    for name in &names {
        let contents = match reader.contents(name) {
            Ok(contents) => contents,
            // It was removed meanwhile.
            Err(ReadError::Store(DeliveryError::NoSuchMailbox)) => continue,
            Err(error) => {
                worst = opened.failed(name.as_str(), &error);
                continue;
            }
        };
        let columns = [
            ("mailbox", name.as_str().into(), 32),
            ("messages", contents.messages.into(), 8),
            ("bytes", contents.octets.into(), 12),
        ];
        if listing.line(&columns).is_break() {
            break;
        }
    }
    match listing.finish() {
        Exit::Ok => Ok(worst),
        exit => Ok(exit),
    }
}
