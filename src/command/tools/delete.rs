//! `postino delete`: a message, or a mailbox, is removed.
//!
//! Lives here: the command; the store does the work.
//! May not: remove what it was not told to.

use super::{arguments::Delete, open_store};
use crate::{
    command::{exit::Exit, printed},
    escape,
    stores::Stores,
};
use std::io::{self, Write};

/// Removes it, and says what is gone.
pub(super) fn run(arguments: &Delete, stores: &Stores) -> Result<Exit, Exit> {
    let opened = arguments.place().open(stores)?;
    let reader = opened.reader()?;
    let mailbox = open_store::mailbox(&arguments.mailbox)?;
    let gone = match &arguments.id {
        Some(id) => opened.patiently(&format!("{mailbox} {id}"), || {
            let found = reader.find(&mailbox, id)?;
            reader.remove(&mailbox, &found)?;
            Ok(format!("{mailbox} {id}: removed, {} bytes", found.octets))
        }),
        None => opened.patiently(mailbox.as_str(), || {
            let contents = reader.contents(&mailbox)?;
            reader.remove_mailbox(&mailbox)?;
            let (messages, octets) = (contents.messages, contents.octets);
            Ok(format!("{mailbox}: removed with {messages} messages, {octets} bytes"))
        }),
    }?;
    printed(writeln!(io::stdout().lock(), "{}", escape::visible(gone.as_bytes())))
        .map(|()| Exit::Ok)
}
