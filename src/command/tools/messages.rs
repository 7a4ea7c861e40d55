//! `postino messages`: what a mailbox holds.
//!
//! Lives here: the command; the store does the work.
//! May not: change anything.

use super::{arguments::Messages, listing::Listing, open_store};
use crate::{command::exit::Exit, stores::Stores};
use postino_store::MessageInfo;
use serde_json::Value;
use std::ops::ControlFlow;

/// Prints a line for each message, as soon as the store has found it.
pub(super) fn run(arguments: &Messages, stores: &Stores) -> Result<Exit, Exit> {
    let opened = arguments.place().open(stores)?;
    let reader = opened.reader()?;
    let mailbox = open_store::mailbox(&arguments.mailbox)?;
    let mut listing = Listing::new(arguments.json);
    let (mut worst, mut is_begun) = (Exit::Ok, false);
    let broken_off = opened.patiently(mailbox.as_str(), || {
        let visited = reader.messages(&mailbox, &mut |found| {
            is_begun = true;
            match found {
                Ok(message) => listing.line(&columns(&message)),
                Err(stray) => {
                    worst = open_store::report(&stray);
                    ControlFlow::Continue(())
                }
            }
        });
        match visited {
            // What was printed would be printed again.
            Err(error) if is_begun => Ok(Some(error)),
            visited => visited.map(|()| None),
        }
    })?;
    listing.finish()?;
    Ok(broken_off.map_or(worst, |error| opened.failed(mailbox.as_str(), &error)))
}

fn columns(message: &MessageInfo) -> [(&'static str, Value, usize); 4] {
    let flags = message.flags.as_ref().map_or(Value::Null, |flags| flags.as_str().into());
    [
        ("id", message.id.as_str().into(), 48),
        ("bytes", message.octets.into(), 10),
        ("received", message.received.rfc3339().into(), 20),
        ("flags", flags, 0),
    ]
}
