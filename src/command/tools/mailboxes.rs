//! `postino mailboxes`: what a store holds.
//!
//! Lives here: the command; the store does the work.
//! May not: change anything.

use super::{
    arguments::Mailboxes,
    listing::Listing,
    open_store::{self, Opened},
};
use crate::{command::exit::Exit, stores::Stores};
use postino_store::{Contents, DeliveryError, MailReader, MailboxName, ReadError};
use std::ops::ControlFlow;

/// Prints a line for each mailbox; one that cannot be read does not stop the others.
pub(super) fn run(arguments: &Mailboxes, stores: &Stores) -> Result<Exit, Exit> {
    let opened = arguments.place().open(stores)?;
    let reader = opened.reader()?;
    let mut worst = Exit::Ok;
    let names = opened.patiently("", || names(reader, &mut worst))?;
    let mut listing = Listing::new(arguments.json);
    for name in &names {
        let contents = match contents(&opened, reader, name) {
            Ok(Some(contents)) => contents,
            Ok(None) => continue,
            Err(exit) => {
                worst = worst.max(exit);
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
    listing.finish().map(|()| worst)
}

/// The names of all mailboxes; strays are reported.
fn names(reader: &dyn MailReader, worst: &mut Exit) -> Result<Vec<MailboxName>, ReadError> {
    let mut names = Vec::new();
    reader.mailboxes(&mut |found| {
        match found {
            Ok(name) => names.push(name),
            Err(stray) => *worst = open_store::report(&stray).max(*worst),
        }
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// None where it was removed meanwhile.
fn contents(
    opened: &Opened,
    reader: &dyn MailReader,
    name: &MailboxName,
) -> Result<Option<Contents>, Exit> {
    opened.patiently(name.as_str(), || match reader.contents(name) {
        Err(ReadError::Store(DeliveryError::NoSuchMailbox)) => Ok(None),
        found => found.map(Some),
    })
}
